/* rollout_run.c: the job: look at the rows, ask the rules, do what they say, again.
 *
 * Nothing is kept between two rounds, so a restart is one more round.  A stage's beginning is
 * committed with the first thing that is done in it. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/rollout.h"

typedef struct {
    Job *job;
    World *world;
    const RolloutRuns *runs;
    Rollout rollout;
    RolloutCounts n;
} Run;

static const char *rollout_of(Job *job)
{
    return json_string_value(json_object_get(job_plan(job), "rollout"));
}

/* What is now. */
static gboolean look(Run *run, GError **error)
{
    rollout_clear(&run->rollout);
    Db *db = catalog_read_begin(run->world->catalog);
    gboolean ok = rollout_find(db, rollout_of(run->job), &run->rollout, error);
    if (ok)
        rollout_count(db, run->rollout.id, &run->n);
    run->rollout.runs = run->runs;
    catalog_read_end(run->world->catalog, db);
    return ok;
}

static void tell_progress(Run *run)
{
    const RolloutCounts *n = &run->n;
    guint done = n->moved + n->unavailable + n->failed;
    guint total = done + n->waiting + n->deferred;
    const char *state = rollout_state_name(run->rollout.state);

    if (run->rollout.is_backward) {
        done = n->returned + n->held + n->kept;
        total = done + n->moved;
    }
    job_progress(run->job, done, total);
    if (run->rollout.state == ROLLOUT_GATE)
        job_message(run->job, "%s: gate, %u to be checked", run->rollout.name, n->unchecked);
    else
        job_message(run->job, "%s: %s", run->rollout.name, state);
}

static json_t *result_of(const Run *run)
{
    const RolloutCounts *n = &run->n;

    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "id", run->rollout.id,
                     "rollout", run->rollout.name, "state", rollout_state_name(run->rollout.state),
                     "n_moved", (int)n->moved, "n_unavailable", (int)n->unavailable, "n_failed",
                     (int)n->failed, "n_skipped", (int)n->skipped, "n_returned", (int)n->returned,
                     "n_held", (int)n->held, "n_kept", (int)n->kept, "n_waiting", (int)n->waiting,
                     "n_deferred", (int)n->deferred);
}

/* "1 desktop".  Caller frees. */
static char *count_of(guint n)
{
    return g_strdup_printf("%u desktop%s", n, n == 1 ? "" : "s");
}

/* ---- why it stopped ---- */

/* "lab-0007: exit code 3: ...": of the first row with this state (and health, unless NULL). */
static char *first_reason(Run *run, const char *state, const char *health)
{
    Db *db = catalog_read_begin(run->world->catalog);
    Query *q = db_query(db,
                        "SELECT coalesce(d.name, r.name) AS name, r.reason FROM rollout_desktop r"
                        " LEFT JOIN desktop d ON d.id = r.desktop_id WHERE r.rollout_id = ?1 AND"
                        " r.state = ?2 AND (?3 IS NULL OR r.health = ?3) ORDER BY r.position"
                        " LIMIT 1",
                        "ttt", run->rollout.id, state, health);
    char *text = query_next(q)
                     ? g_strdup_printf("'%s': %s", query_text(q, "name"), query_text(q, "reason"))
                     : g_strdup("(gone)");

    query_end(q, NULL);
    catalog_read_end(run->world->catalog, db);
    return text;
}

static char *reason_of(Run *run, RolloutWhy why)
{
    g_autofree char *first = NULL, *count = NULL;

    switch (why) {
    case ROLLOUT_WHY_PAUSE:
        return g_strdup("paused");
    case ROLLOUT_WHY_FAILED:
        first = first_reason(run, "failed", NULL);
        return g_strdup_printf("desktop %s", first);
    case ROLLOUT_WHY_UNHEALTHY:
        first = first_reason(run, "moved", "failed");
        return !run->rollout.health || rollout_health_is_of_run(run->rollout.health)
                   ? g_strdup_printf("desktop %s", first)
                   : g_strdup_printf("health command '%s' said no to desktop %s",
                                     run->rollout.health, first);
    case ROLLOUT_WHY_UNAVAILABLE:
        first = first_reason(run, "unavailable", NULL);
        count = count_of(run->n.unavailable);
        return g_strdup_printf("%s could not be moved now, more than %u: desktop %s", count,
                               run->rollout.max_unavailable, first);
    case ROLLOUT_WHY_DEADLINE:
        count = count_of(run->n.waiting + run->n.deferred);
        return g_strdup_printf("its deadline is over, with %s still to be moved", count);
    case ROLLOUT_WHY_HELD:
        first = first_reason(run, "held", NULL);
        count = count_of(run->n.held);
        return g_strdup_printf("%s could not be brought back now: desktop %s; once they are shut"
                               " down, or their store is back: imagectl rollout rollback %s",
                               count, first, run->rollout.name);
    case ROLLOUT_WHY_NOTHING:
        break;
    }
    return NULL;
}

/* ---- ends ---- */

static void set_end_error(const Run *run, GError **error)
{
    const char *name = run->rollout.name, *reason = run->rollout.reason;

    if (run->rollout.state == ROLLOUT_PAUSED) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "roll-out '%s' is paused", name);
        imaged_error_hint(error, "go on with: imagectl rollout resume %s", name);
        return;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "roll-out '%s' stopped: %s", name,
                reason ? reason : "?");
    if (run->rollout.is_backward) {
        imaged_error_hint(error,
                          "see it with: imagectl rollout show %s; 'imagectl rollout cancel %s'"
                          " leaves what is not back where it is",
                          name, name);
        return;
    }
    imaged_error_hint(error,
                      "see it with: imagectl rollout show %s; then 'imagectl rollout resume %s' or"
                      " 'imagectl rollout rollback %s'",
                      name, name, name);
}

/* Of what was moved: how many stand on the version no more, because somebody put them elsewhere or
 * deleted them meanwhile.  Their rows say so. */
static guint note_elsewhere(const Run *run, Changes *changes)
{
    Db *db = catalog_read_begin(run->world->catalog);
    Query *q = db_query(db,
                        "SELECT r.position, d.is_trashed, t.name || ':' || v.version AS now FROM"
                        " rollout_desktop r LEFT JOIN desktop d ON d.id = r.desktop_id LEFT JOIN"
                        " version v ON v.id = d.version_id LEFT JOIN template t ON t.id ="
                        " v.template_id WHERE r.rollout_id = ?1 AND r.state = 'moved' AND"
                        " (d.id IS NULL OR d.is_trashed = 1 OR d.version_id <> ?2)",
                        "tt", run->rollout.id, run->rollout.version_id);
    guint n = 0;

    for (; query_next(q); n++) {
        const char *now = query_int(q, "is_trashed") ? NULL : query_text(q, "now");
        g_autofree char *why =
            now ? g_strdup_printf("it was put on %s since", now) : g_strdup("it was deleted since");
        changes_sql(changes,
                    "UPDATE rollout_desktop SET reason = ?3 WHERE rollout_id = ?1 AND"
                    " position = ?2",
                    "tit", run->rollout.id, query_int(q, "position"), why);
    }
    query_end(q, NULL);
    catalog_read_end(run->world->catalog, db);
    return n;
}

static void add_end_event(Changes *changes, const Run *run, RolloutState state, const char *reason)
{
    const RolloutCounts *n = &run->n;
    const char *who = job_owner(run->job), *name = run->rollout.name;
    g_autofree char *count = count_of(state == ROLLOUT_DONE ? n->moved : n->returned);

    if (state == ROLLOUT_DONE)
        changes_event(changes, "rollout.done", "info", name, who,
                      "moved %s; %u unavailable, %u skipped%s%s", count, n->unavailable,
                      n->skipped, reason ? "; " : "", reason ? reason : "");
    else if (state == ROLLOUT_WAITING)
        changes_event(changes, "rollout.stage", "info", name, who, "waiting for %u that run",
                      n->deferred);
    else if (state == ROLLOUT_ROLLED_BACK)
        changes_event(changes, "rollout.rollback", n->kept ? "warning" : "info", name, who,
                      "brought back %s; %u could not be", count, n->kept);
    else
        changes_event(changes, "rollout.stop", state == ROLLOUT_PAUSED ? "info" : "warning", name,
                      who, "%s", reason);
}

/* Take the state that the rules say is the end of this run. */
static gboolean finish(Run *run, const RolloutVerdict *v, GError **error)
{
    g_autofree char *reason = reason_of(run, v->why);
    Changes *changes = changes_new();
    guint n_elsewhere = v->state == ROLLOUT_DONE ? note_elsewhere(run, changes) : 0;

    if (n_elsewhere) {
        g_autofree char *count = count_of(n_elsewhere);
        reason = g_strdup_printf("no longer on its version: %s; see them with: imagectl rollout"
                                 " show %s --in-state moved",
                                 count, run->rollout.name);
    }
    rollout_put_state(changes, &run->rollout, v->state, reason);
    add_end_event(changes, run, v->state, reason);
    run->rollout.state = v->state;
    if (!rollout_is_open(v->state) || v->state == ROLLOUT_WAITING) {
        tell_progress(run);
        return job_commit_done(run->job, changes, result_of(run), error);
    }
    g_free(run->rollout.reason);
    run->rollout.reason = g_steal_pointer(&reason);
    job_set_partial(run->job, result_of(run));
    if (job_commit(run->job, changes, job_step(run->job) + 1, error))
        set_end_error(run, error);
    return FALSE;
}

/* ---- rounds ---- */

static void begin_stage(Changes *changes, const Run *run, RolloutState state)
{
    if (state == run->rollout.state)
        return;
    rollout_put_state(changes, &run->rollout, state, NULL);
    changes_event(changes, "rollout.stage", "info", run->rollout.name, job_owner(run->job), "%s",
                  rollout_state_name(state));
}

static gboolean check(Run *run, RolloutState state, GError **error)
{
    if (state != run->rollout.state) {
        Changes *changes = changes_new();
        begin_stage(changes, run, state);
        run->rollout.state = state;
        if (!job_commit(run->job, changes, job_step(run->job) + 1, error))
            return FALSE;
    }
    tell_progress(run);
    return rollout_check(run->job, run->world, &run->rollout, error);
}

static gboolean act(Run *run, const RolloutVerdict *v, GError **error)
{
    Changes *changes;

    if (v->act == ROLLOUT_ACT_CHECK)
        return check(run, v->state, error);
    changes = changes_new();
    begin_stage(changes, run, v->state);
    return (v->act == ROLLOUT_ACT_MOVE ? rollout_move : rollout_return)(
        run->job, run->world, &run->rollout, v->n, changes, error);
}

/* One round.  *ret_is_end: there is no next one. */
static gboolean go_on(Run *run, gboolean *ret_is_end, GError **error)
{
    RolloutFacts facts;

    *ret_is_end = TRUE;
    if (!look(run, error))
        return FALSE;
    if (!rollout_is_active(run->rollout.state)) { /* committed just before a stop */
        job_set_partial(run->job, result_of(run));
        set_end_error(run, error);
        return FALSE;
    }
    tell_progress(run);
    *ret_is_end = FALSE;
    if (run->runs && !run->runs->start_rest(run->job, run->world, &run->rollout, error))
        return FALSE;
    *ret_is_end = TRUE;
    rollout_facts(&run->rollout, &run->n, units_now_ms(), &facts);
    if (!job_check(run->job, NULL)) {
        if (job_is_stopping(run->job))
            return job_check(run->job, error);
        facts.wants_pause = TRUE;
    }
    RolloutVerdict v = rollout_decide(&facts);
    if (v.act == ROLLOUT_ACT_END && rollout_may_move(facts.state, v.state))
        return finish(run, &v, error);
    *ret_is_end = FALSE;
    if (!rollout_may_move(facts.state, v.state)) { /* rows that were changed by hand */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "its rows contradict each other: it is %s",
                    rollout_state_name(facts.state));
        return FALSE;
    }
    return act(run, &v, error);
}

gboolean rollout_run(Job *job, World *world, const RolloutRuns *runs, GError **error)
{
    Run run = { .job = job, .world = world, .runs = runs };
    GError *local = NULL;
    gboolean ok, is_end;

    do
        ok = go_on(&run, &is_end, &local);
    while (ok && !is_end);
    if (!ok && !is_end) {
        rollout_fail(job, world, local);
        g_prefix_error(&local, "roll-out '%s' stopped: ", run.rollout.name);
    }
    rollout_clear(&run.rollout);
    if (local)
        g_propagate_error(error, local);
    return ok;
}

void rollout_fail(Job *job, World *world, const GError *why)
{
    Run run = { .job = job, .world = world };

    if (job_is_stopping(job) || !look(&run, NULL)) {
        rollout_clear(&run.rollout);
        return;
    }
    g_autofree char *reason = imaged_error_message(why);
    Changes *changes = changes_new();
    rollout_put_state(changes, &run.rollout, ROLLOUT_STOPPED, reason);
    add_end_event(changes, &run, ROLLOUT_STOPPED, reason);
    job_set_partial(job, result_of(&run));
    job_commit(job, changes, job_step(job) + 1, NULL);
    rollout_clear(&run.rollout);
}
