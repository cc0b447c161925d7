/* test_rollout_rules.c: what a roll-out does next, by counts alone. */
#include "snapshot/rollout_rules.h"

typedef struct {
    const char *name;
    RolloutFacts facts;
    RolloutState state;
    RolloutAct act;
    guint n;
    RolloutWhy why;
} Case;

#define NOW 1000000

/* A canary of 2, batches of 10, a health command, 1 may be missing; or what a case says itself. */
#define FACTS(...) WITH(2, 10, TRUE, 1, __VA_ARGS__)
#define WITH(canary_, batch_, health_, max_, ...)                                                  \
    {                                                                                              \
        .canary = canary_, .batch = batch_, .has_health = health_, .max_unavailable = max_,        \
        .now_ms = NOW, __VA_ARGS__                                                                 \
    }

static const Case cases[] = {
    /* the way through */
    { "the canary goes first", FACTS(.state = ROLLOUT_PLANNED, .n = { .waiting = 30 }),
      ROLLOUT_CANARY, ROLLOUT_ACT_MOVE, 2 },
    { "it is no larger than what there is", FACTS(.state = ROLLOUT_PLANNED, .n = { .waiting = 1 }),
      ROLLOUT_CANARY, ROLLOUT_ACT_MOVE, 1 },
    { "another one for a canary that was busy",
      FACTS(.state = ROLLOUT_CANARY,
            .n = { .waiting = 28, .moved = 1, .unchecked = 1, .unavailable = 1 }),
      ROLLOUT_CANARY, ROLLOUT_ACT_MOVE, 1 },
    { "the canary's health is looked at",
      FACTS(.state = ROLLOUT_CANARY, .n = { .waiting = 28, .moved = 2, .unchecked = 2 }),
      ROLLOUT_GATE, ROLLOUT_ACT_CHECK, 2 },
    { "a gate is gone through to its end",
      FACTS(.state = ROLLOUT_GATE, .n = { .waiting = 28, .moved = 2, .unchecked = 1 }),
      ROLLOUT_GATE, ROLLOUT_ACT_CHECK, 1 },
    { "then a batch", FACTS(.state = ROLLOUT_GATE, .n = { .waiting = 28, .moved = 2 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 10 },
    { "what of a batch was busy is made up for",
      FACTS(.state = ROLLOUT_ROLLING,
            .n = { .waiting = 18, .moved = 11, .unchecked = 9, .unavailable = 1 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 1 },
    { "a whole batch is looked at",
      FACTS(.state = ROLLOUT_ROLLING, .n = { .waiting = 18, .moved = 12, .unchecked = 10 }),
      ROLLOUT_GATE, ROLLOUT_ACT_CHECK, 10 },
    { "so is the last one, which is smaller",
      FACTS(.state = ROLLOUT_ROLLING, .n = { .moved = 30, .unchecked = 8 }), ROLLOUT_GATE,
      ROLLOUT_ACT_CHECK, 8 },
    { "and it is done", FACTS(.state = ROLLOUT_GATE, .n = { .moved = 30 }), ROLLOUT_DONE,
      ROLLOUT_ACT_END, 0 },
    { "with what was left behind",
      FACTS(.state = ROLLOUT_ROLLING, .n = { .moved = 29, .unavailable = 1, .skipped = 4 }),
      ROLLOUT_DONE, ROLLOUT_ACT_END, 0 },
    { "nothing to do is done", FACTS(.state = ROLLOUT_PLANNED, .n = { .skipped = 3 }), ROLLOUT_DONE,
      ROLLOUT_ACT_END, 0 },
    /* without canary, without health */
    { "no canary", WITH(0, 10, TRUE, 1, .state = ROLLOUT_PLANNED, .n = { .waiting = 30 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 10 },
    { "no health, no gate",
      WITH(2, 10, FALSE, 1, .state = ROLLOUT_CANARY, .n = { .waiting = 28, .moved = 2 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 10 },
    { "no health, next batch",
      WITH(2, 10, FALSE, 1, .state = ROLLOUT_ROLLING, .n = { .waiting = 18, .moved = 12 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 10 },
    { "a batch is moved in chunks",
      WITH(2, 5000, TRUE, 1, .state = ROLLOUT_ROLLING, .n = { .waiting = 4998, .moved = 2 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, ROLLOUT_CHUNK },
    { "until it is whole",
      WITH(2, 1500, TRUE, 1, .state = ROLLOUT_ROLLING,
           .n = { .waiting = 4998, .moved = 1026, .unchecked = 1024 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 476 },
    /* bad signs */
    { "one that failed stops it",
      FACTS(.state = ROLLOUT_ROLLING, .n = { .waiting = 18, .moved = 11, .failed = 1 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_FAILED },
    { "one that is not well, too",
      FACTS(.state = ROLLOUT_GATE,
            .n = { .waiting = 28, .moved = 2, .unchecked = 1, .unhealthy = 1 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_UNHEALTHY },
    { "at the very end as well", FACTS(.state = ROLLOUT_GATE, .n = { .moved = 30, .unhealthy = 1 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_UNHEALTHY },
    { "too many that are busy",
      FACTS(.state = ROLLOUT_CANARY, .n = { .waiting = 28, .unavailable = 2 }), ROLLOUT_STOPPED,
      ROLLOUT_ACT_END, 0, ROLLOUT_WHY_UNAVAILABLE },
    { "none may be busy",
      WITH(2, 10, TRUE, 0, .state = ROLLOUT_ROLLING, .n = { .moved = 9, .unavailable = 1 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_UNAVAILABLE },
    /* those that run */
    { "only deferred ones are left",
      FACTS(.state = ROLLOUT_GATE, .n = { .moved = 9, .deferred = 3 }), ROLLOUT_WAITING,
      ROLLOUT_ACT_END, 0 },
    { "what was moved is looked at before",
      FACTS(.state = ROLLOUT_ROLLING, .n = { .moved = 9, .unchecked = 9, .deferred = 3 }),
      ROLLOUT_GATE, ROLLOUT_ACT_CHECK, 9 },
    { "they are waited for until the deadline",
      FACTS(.state = ROLLOUT_ROLLING, .deadline_ms = NOW, .n = { .moved = 9, .deferred = 3 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_DEADLINE },
    /* the clock */
    { "before its deadline it goes on",
      FACTS(.state = ROLLOUT_GATE, .deadline_ms = NOW + 1, .n = { .waiting = 28, .moved = 2 }),
      ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, 10 },
    { "at it, it stops",
      FACTS(.state = ROLLOUT_GATE, .deadline_ms = NOW, .n = { .waiting = 28, .moved = 2 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_DEADLINE },
    { "what was moved before is looked at all the same",
      FACTS(.state = ROLLOUT_ROLLING, .deadline_ms = NOW,
            .n = { .waiting = 20, .moved = 10, .unchecked = 3 }),
      ROLLOUT_GATE, ROLLOUT_ACT_CHECK, 3 },
    { "a deadline is none for what is done",
      FACTS(.state = ROLLOUT_GATE, .deadline_ms = NOW, .n = { .moved = 30 }), ROLLOUT_DONE,
      ROLLOUT_ACT_END, 0 },
    /* a person's word */
    { "pause", FACTS(.state = ROLLOUT_ROLLING, .wants_pause = TRUE, .n = { .waiting = 20 }),
      ROLLOUT_PAUSED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_PAUSE },
    { "pause before anything",
      FACTS(.state = ROLLOUT_PLANNED, .wants_pause = TRUE, .n = { .waiting = 20 }), ROLLOUT_PAUSED,
      ROLLOUT_ACT_END, 0, ROLLOUT_WHY_PAUSE },
    { "pause comes before a bad sign",
      FACTS(.state = ROLLOUT_GATE, .wants_pause = TRUE, .n = { .moved = 2, .unhealthy = 1 }),
      ROLLOUT_PAUSED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_PAUSE },
    /* back */
    { "back",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE,
            .n = { .waiting = 20, .moved = 10, .unhealthy = 1, .failed = 3 }),
      ROLLOUT_ROLLING_BACK, ROLLOUT_ACT_RETURN, 10 },
    { "back in chunks",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE, .n = { .moved = 5000 }),
      ROLLOUT_ROLLING_BACK, ROLLOUT_ACT_RETURN, ROLLOUT_CHUNK },
    { "back, whatever the clock says",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE, .deadline_ms = 1,
            .n = { .moved = 1 }),
      ROLLOUT_ROLLING_BACK, ROLLOUT_ACT_RETURN, 1 },
    { "all are back",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE,
            .n = { .waiting = 20, .returned = 9, .kept = 1 }),
      ROLLOUT_ROLLED_BACK, ROLLOUT_ACT_END, 0 },
    { "one that is in use does not keep the others",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE, .n = { .moved = 3, .held = 2 }),
      ROLLOUT_ROLLING_BACK, ROLLOUT_ACT_RETURN, 3 },
    { "but it is not over without it",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE,
            .n = { .returned = 9, .kept = 1, .held = 1 }),
      ROLLOUT_STOPPED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_HELD },
    { "pause on the way back",
      FACTS(.state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE, .wants_pause = TRUE,
            .n = { .moved = 9 }),
      ROLLOUT_PAUSED, ROLLOUT_ACT_END, 0, ROLLOUT_WHY_PAUSE },
};

static void test_decide(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        RolloutVerdict v = rollout_decide(&c->facts);
        g_test_message("%s: %s, act %d, %u, why %d", c->name, rollout_state_name(v.state), v.act,
                       v.n, v.why);
        g_assert_cmpint(v.state, ==, c->state);
        g_assert_cmpint(v.act, ==, c->act);
        g_assert_cmpuint(v.n, ==, c->n);
        g_assert_cmpint(v.why, ==, c->why);
        g_assert_true(rollout_may_move(c->facts.state, v.state));
    }
}

static void test_resume(void)
{
    const struct {
        RolloutFacts facts;
        RolloutState state;
    } table[] = {
        { FACTS(.state = ROLLOUT_PAUSED, .n = { .waiting = 30 }), ROLLOUT_CANARY },
        { FACTS(.state = ROLLOUT_PAUSED, .n = { .waiting = 28, .moved = 2 }), ROLLOUT_ROLLING },
        { FACTS(.state = ROLLOUT_STOPPED, .n = { .waiting = 28, .moved = 2, .unchecked = 1 }),
          ROLLOUT_GATE },
        { WITH(2, 10, FALSE, 1, .state = ROLLOUT_PAUSED,
               .n = { .waiting = 28, .moved = 2, .unchecked = 1 }),
          ROLLOUT_ROLLING },
        { FACTS(.state = ROLLOUT_STOPPED, .is_backward = TRUE, .n = { .moved = 2 }),
          ROLLOUT_ROLLING_BACK },
        { FACTS(.state = ROLLOUT_STOPPED, .is_backward = TRUE, .n = { .returned = 2, .held = 1 }),
          ROLLOUT_ROLLING_BACK },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        RolloutState state = rollout_resume_state(&table[i].facts);
        g_assert_cmpint(state, ==, table[i].state);
        g_assert_true(rollout_may_move(table[i].facts.state, state));
    }
}

/* Every pair of states, against a list of its own. */
static void test_transitions(void)
{
    static const char *const allowed =
        "planned>waiting canary>waiting gate>waiting rolling>waiting waiting>canary waiting>gate "
        "waiting>rolling waiting>paused waiting>stopped waiting>rolling-back waiting>cancelled "
        "planned>canary planned>gate planned>rolling planned>paused planned>stopped planned>done "
        "canary>gate canary>rolling canary>paused canary>stopped canary>done "
        "gate>canary gate>rolling gate>paused gate>stopped gate>done "
        "rolling>gate rolling>paused rolling>stopped rolling>done "
        "paused>canary paused>gate paused>rolling paused>rolling-back paused>cancelled "
        "stopped>canary stopped>gate stopped>rolling stopped>rolling-back stopped>cancelled "
        "rolling-back>rolled-back rolling-back>paused rolling-back>stopped "
        "rolled-back>rolling-back done>rolling-back cancelled>rolling-back ";
    guint n = 0;

    for (guint from = 0; from < ROLLOUT_N_STATES; from++) {
        RolloutState parsed;
        g_assert_true(rollout_state_parse(rollout_state_name(from), &parsed));
        g_assert_cmpint(parsed, ==, from);
        for (guint to = 0; to < ROLLOUT_N_STATES; to++) {
            g_autofree char *pair =
                g_strdup_printf("%s>%s ", rollout_state_name(from), rollout_state_name(to));
            const char *found = g_strstr_len(allowed, -1, pair);
            gboolean is_word = found && (found == allowed || found[-1] == ' ');
            g_assert_cmpint(rollout_may_move(from, to), ==, from == to || is_word);
            n += from != to && rollout_may_move(from, to);
        }
        g_assert_false(rollout_is_active(from) && !rollout_is_open(from));
    }
    g_assert_cmpuint(n, ==, 47);
    RolloutState none;
    g_assert_false(rollout_state_parse("going", &none));
}

/* Any course of events comes to an end, by allowed steps alone. */
static void test_courses(void)
{
    for (guint seed = 0; seed < 2000; seed++) {
        g_autoptr(GRand) dice = g_rand_new_with_seed(seed);
        RolloutFacts f = { .state = ROLLOUT_PLANNED, .now_ms = NOW };
        guint total = (guint)g_rand_int_range(dice, 0, 60), rounds = 0;
        f.canary = (guint)g_rand_int_range(dice, 0, 5);
        f.batch = (guint)g_rand_int_range(dice, 1, 20);
        f.max_unavailable = (guint)g_rand_int_range(dice, 0, 20);
        f.has_health = g_rand_boolean(dice);
        f.n.waiting = total;
        for (;;) {
            RolloutVerdict v = rollout_decide(&f);
            g_assert_true(rollout_may_move(f.state, v.state));
            g_assert_cmpuint(rounds++, <, 500);
            f.state = v.state;
            if (v.act == ROLLOUT_ACT_END)
                break;
            if (v.act == ROLLOUT_ACT_CHECK) {
                guint n = (guint)g_rand_int_range(dice, 1, (gint)f.n.unchecked + 1);
                f.n.unchecked -= n;
                f.n.unhealthy += g_rand_int_range(dice, 0, 20) == 0;
                continue;
            }
            g_assert_cmpint(v.act, ==, ROLLOUT_ACT_MOVE);
            g_assert_cmpuint(v.n, >, 0);
            g_assert_cmpuint(v.n, <=, f.n.waiting);
            for (guint i = 0; i < v.n; i++) {
                gint what = g_rand_int_range(dice, 0, 100);
                f.n.waiting--;
                if (what < 5)
                    f.n.unavailable++;
                else if (what < 8)
                    f.n.skipped++;
                else if (what < 9)
                    f.n.failed++;
                else {
                    f.n.moved++;
                    f.n.unchecked += f.has_health;
                }
            }
            /* never more than one batch that nobody has looked at */
            g_assert_cmpuint(f.n.unchecked, <=, MAX(f.canary, f.batch));
        }
        if (f.state == ROLLOUT_DONE)
            g_assert_cmpuint(f.n.waiting + f.n.unchecked + f.n.failed, ==, 0);
        else
            g_assert_cmpint(f.state, ==, ROLLOUT_STOPPED);
    }
}

/* On the way back each is tried once in a run, and it is over only when none is held. */
static void test_courses_back(void)
{
    for (guint seed = 0; seed < 500; seed++) {
        g_autoptr(GRand) dice = g_rand_new_with_seed(seed);
        RolloutFacts f = { .state = ROLLOUT_ROLLING_BACK, .is_backward = TRUE, .now_ms = NOW };
        guint total = (guint)g_rand_int_range(dice, 0, 3 * ROLLOUT_CHUNK), rounds = 0;
        f.n.moved = total;
        while (f.state != ROLLOUT_ROLLED_BACK) {
            RolloutVerdict v = rollout_decide(&f);
            g_assert_true(rollout_may_move(f.state, v.state));
            g_assert_cmpuint(rounds++, <, 500);
            f.state = v.state;
            if (v.state == ROLLOUT_STOPPED) { /* a person goes on with it */
                g_assert_cmpuint(f.n.moved, ==, 0);
                f.n.moved = f.n.held;
                f.n.held = 0;
                f.state = rollout_resume_state(&f);
            }
            for (guint i = 0; v.act == ROLLOUT_ACT_RETURN && i < v.n; i++) {
                gint what = g_rand_int_range(dice, 0, 10);
                f.n.moved--;
                *(what < 3 ? &f.n.held : what < 4 ? &f.n.kept : &f.n.returned) += 1;
            }
        }
        g_assert_cmpuint(f.n.returned + f.n.kept, ==, total);
    }
}

static void test_defaults(void)
{
    g_assert_cmpuint(rollout_default_canary(0), ==, 0);
    g_assert_cmpuint(rollout_default_canary(1), ==, 0);
    g_assert_cmpuint(rollout_default_canary(2), ==, 1);
    g_assert_cmpuint(rollout_default_unavailable(1), ==, 1);
    g_assert_cmpuint(rollout_default_unavailable(19), ==, 1);
    g_assert_cmpuint(rollout_default_unavailable(500), ==, 50);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rollout-rules/decide", test_decide);
    g_test_add_func("/rollout-rules/resume", test_resume);
    g_test_add_func("/rollout-rules/transitions", test_transitions);
    g_test_add_func("/rollout-rules/courses", test_courses);
    g_test_add_func("/rollout-rules/courses-back", test_courses_back);
    g_test_add_func("/rollout-rules/defaults", test_defaults);
    return g_test_run();
}
