/* rollout_rules.c: see rollout_rules.h.  The order of the questions in rollout_decide() is the
 * policy: a person's word first, then bad signs, then health, then the clock, then work. */
#include "snapshot/rollout_rules.h"

#define TO(state) (1u << ROLLOUT_##state)

static const struct {
    const char *name;
    guint next; /* bits */
    gboolean is_active, is_open;
} states[] = {
    [ROLLOUT_PLANNED] = { "planned",
                          TO(CANARY) | TO(GATE) | TO(ROLLING) | TO(PAUSED) | TO(STOPPED) |
                              TO(WAITING) | TO(DONE),
                          TRUE, TRUE },
    [ROLLOUT_CANARY] = { "canary",
                         TO(GATE) | TO(ROLLING) | TO(PAUSED) | TO(STOPPED) | TO(WAITING) | TO(DONE),
                         TRUE, TRUE },
    [ROLLOUT_GATE] = { "gate",
                       TO(CANARY) | TO(ROLLING) | TO(PAUSED) | TO(STOPPED) | TO(WAITING) | TO(DONE),
                       TRUE, TRUE },
    [ROLLOUT_ROLLING] = { "rolling",
                          TO(GATE) | TO(PAUSED) | TO(STOPPED) | TO(WAITING) | TO(DONE), TRUE,
                          TRUE },
    [ROLLOUT_WAITING] = { "waiting",
                          TO(CANARY) | TO(GATE) | TO(ROLLING) | TO(PAUSED) | TO(STOPPED) |
                              TO(ROLLING_BACK) | TO(CANCELLED),
                          FALSE, TRUE },
    [ROLLOUT_PAUSED] = { "paused",
                         TO(CANARY) | TO(GATE) | TO(ROLLING) | TO(ROLLING_BACK) | TO(CANCELLED),
                         FALSE, TRUE },
    [ROLLOUT_STOPPED] = { "stopped",
                          TO(CANARY) | TO(GATE) | TO(ROLLING) | TO(ROLLING_BACK) | TO(CANCELLED),
                          FALSE, TRUE },
    [ROLLOUT_ROLLING_BACK] = { "rolling-back", TO(ROLLED_BACK) | TO(PAUSED) | TO(STOPPED), TRUE,
                               TRUE },
    [ROLLOUT_ROLLED_BACK] = { "rolled-back", TO(ROLLING_BACK), FALSE, FALSE },
    [ROLLOUT_DONE] = { "done", TO(ROLLING_BACK), FALSE, FALSE },
    [ROLLOUT_CANCELLED] = { "cancelled", TO(ROLLING_BACK), FALSE, FALSE },
};
G_STATIC_ASSERT(G_N_ELEMENTS(states) == ROLLOUT_N_STATES);

const char *rollout_state_name(RolloutState state)
{
    return states[state].name;
}

gboolean rollout_state_parse(const char *name, RolloutState *ret)
{
    for (guint i = 0; i < ROLLOUT_N_STATES; i++) {
        if (g_str_equal(states[i].name, name)) {
            *ret = i;
            return TRUE;
        }
    }
    return FALSE;
}

gboolean rollout_may_move(RolloutState from, RolloutState to)
{
    return from == to || (states[from].next & (1u << to));
}

gboolean rollout_is_active(RolloutState state)
{
    return states[state].is_active;
}

gboolean rollout_is_open(RolloutState state)
{
    return states[state].is_open;
}

static RolloutVerdict stop(RolloutWhy why)
{
    return (RolloutVerdict){ why == ROLLOUT_WHY_PAUSE ? ROLLOUT_PAUSED : ROLLOUT_STOPPED,
                             ROLLOUT_ACT_END, 0, why };
}

static RolloutVerdict go(RolloutState state, RolloutAct act, guint n)
{
    return (RolloutVerdict){ state, act, n, ROLLOUT_WHY_NOTHING };
}

/* Desktops of the canary that are still to be moved. */
static guint canary_left(const RolloutFacts *f)
{
    return f->n.moved < f->canary ? f->canary - f->n.moved : 0;
}

static guint to_check(const RolloutFacts *f)
{
    return f->has_health ? f->n.unchecked : 0;
}

/* Is what was moved to be looked at before anything else is moved?  At the end of the canary, of a
 * batch and of all; and a gate that was begun is gone through. */
static gboolean is_gate_due(const RolloutFacts *f)
{
    guint n = to_check(f), batch = f->n.moved <= f->canary ? f->canary : f->batch;

    return n > 0 && (f->state == ROLLOUT_GATE || f->n.waiting == 0 ||
                     (canary_left(f) == 0 && n >= MAX(batch, 1)));
}

static RolloutVerdict move(const RolloutFacts *f)
{
    guint left = canary_left(f);

    if (left)
        return go(ROLLOUT_CANARY, ROLLOUT_ACT_MOVE, MIN(MIN(left, f->n.waiting), ROLLOUT_CHUNK));
    left = MAX(f->batch, 1) - MIN(to_check(f), MAX(f->batch, 1) - 1);
    return go(ROLLOUT_ROLLING, ROLLOUT_ACT_MOVE, MIN(MIN(left, f->n.waiting), ROLLOUT_CHUNK));
}

RolloutVerdict rollout_decide(const RolloutFacts *f)
{
    if (f->wants_pause)
        return stop(ROLLOUT_WHY_PAUSE);
    if (f->is_backward && f->n.moved)
        return go(ROLLOUT_ROLLING_BACK, ROLLOUT_ACT_RETURN, MIN(f->n.moved, ROLLOUT_CHUNK));
    if (f->is_backward) /* one that is over lets go of former disks */
        return f->n.held ? stop(ROLLOUT_WHY_HELD) : go(ROLLOUT_ROLLED_BACK, ROLLOUT_ACT_END, 0);
    if (f->n.failed)
        return stop(ROLLOUT_WHY_FAILED);
    if (f->n.unhealthy)
        return stop(ROLLOUT_WHY_UNHEALTHY);
    if (f->n.unavailable > f->max_unavailable)
        return stop(ROLLOUT_WHY_UNAVAILABLE);
    if (is_gate_due(f))
        return go(ROLLOUT_GATE, ROLLOUT_ACT_CHECK, f->n.unchecked);
    if (!f->n.waiting && !f->n.deferred)
        return go(ROLLOUT_DONE, ROLLOUT_ACT_END, 0);
    /* What was moved is still looked at after the deadline; nothing more is moved. */
    if (f->deadline_ms && f->now_ms >= f->deadline_ms)
        return to_check(f) ? go(ROLLOUT_GATE, ROLLOUT_ACT_CHECK, f->n.unchecked)
                           : stop(ROLLOUT_WHY_DEADLINE);
    return f->n.waiting ? move(f) : go(ROLLOUT_WAITING, ROLLOUT_ACT_END, 0);
}

RolloutState rollout_resume_state(const RolloutFacts *f)
{
    if (f->is_backward)
        return ROLLOUT_ROLLING_BACK;
    if (to_check(f))
        return ROLLOUT_GATE;
    return canary_left(f) ? ROLLOUT_CANARY : ROLLOUT_ROLLING;
}

guint rollout_default_canary(guint n)
{
    return n > 1 ? 1 : 0;
}

guint rollout_default_unavailable(guint n)
{
    return MAX(n / 10, 1);
}
