/* rollout_runs.c: what roll-outs do with desktops that run (RolloutRuns in snapshot/rollout.h).
 *
 *   row: to be started again, as what and where -> off -> disk and row -> on -> row: started
 *
 * The row's note goes before all, so whatever stops the daemon between, the desktop is not left
 * off: the next run of the roll-out finds the note. */
#include "broker/run/live.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/rollouts.h"
#include "imaged/ops/run_replace.h"

#define CLAIM_WAIT_US (60 * G_USEC_PER_SEC)
#define LOOK_US 500000
#define BOOT_MS 15000 /* it goes on for so long without an end or an error: it is up */

/* ---- Whose turn it is ---- */

/* Is somebody on it, or just about to be? */
static gboolean has_user(Db *db, const char *desktop_id)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM session WHERE desktop_id = ?1 AND ended_at IS"
                      " NULL AND state IN ('opening', 'connected')) AS is_so",
                      "t", desktop_id) != 0;
}

static gboolean is_to_start(const RolloutItem *item)
{
    return g_strcmp0(item->start_state, "to do") == 0;
}

static RolloutTurn turn(Db *db, const Rollout *rollout, const RolloutItem *item,
                        const char **ret_why)
{
    g_auto(RunRow) run = { 0 };
    const char *when = rollout->when_running;

    if (!when)
        return ROLLOUT_TURN_OFF;
    if (!run_lookup(db, item->desktop_id, &run, NULL))
        return is_to_start(item) ? ROLLOUT_TURN_RUNS : ROLLOUT_TURN_OFF;
    if (g_str_equal(when, "next-stop"))
        *ret_why = "it runs";
    else if (g_str_equal(when, "idle") && has_user(db, item->desktop_id))
        *ret_why = "its user is on it";
    return *ret_why ? ROLLOUT_TURN_LATER : ROLLOUT_TURN_RUNS;
}

/* ---- Off, and on again ---- */

static gboolean commit_start(Job *job, const Rollout *rollout, gint64 position, const char *id,
                             const char *host, const char *state, GError **error)
{
    Changes *changes = changes_new();

    rollout_put_start(changes, rollout, position, id, host, state);
    return job_commit(job, changes, job_step(job) + 1, error);
}

/* Its disk is what it is to be, but it is off: that is no health, whatever that is known by. */
static gboolean note_not_started(Job *job, const Rollout *rollout, gint64 position,
                                 const GError *why)
{
    g_autofree char *message = imaged_error_message(why);
    g_autofree char *reason = g_strdup_printf("it was not started again: %s", message);
    Changes *changes = changes_new();

    changes_sql(changes,
                "UPDATE rollout_desktop SET start_state = 'done', reason = ?3, health = CASE state"
                " WHEN 'moved' THEN 'failed' ELSE health END, changed_at = ?4 WHERE"
                " rollout_id = ?1 AND position = ?2",
                "titi", rollout->id, position, reason, units_now_ms());
    return job_commit(job, changes, job_step(job) + 1, NULL);
}

/* FALSE: the daemon stops. */
static gboolean start_again(Job *job, World *world, const Rollout *rollout, gint64 position,
                            json_t *item)
{
    g_autoptr(GError) why = NULL;

    if (job_is_stopping(job))
        return FALSE;
    if (!run_replace_start(job, world, item, &why))
        return !job_is_stopping(job) && note_not_started(job, rollout, position, why);
    return commit_start(job, rollout, position,
                        json_string_value(json_object_get(item, "incarnation")),
                        json_string_value(json_object_get(item, "host")), "done", NULL);
}

typedef struct {
    const Rollout *rollout;
    const RolloutItem *item;
    gboolean (*disk)(Job *job, World *world, const Rollout *rollout, const RolloutItem *item,
                     GError **error);
} Replace;

static gboolean never_done(World *world, const json_t *item)
{
    return FALSE; /* the row is looked at by disk() */
}

static gboolean replace_disk(Job *job, World *world, json_t *item, gpointer user, GError **error)
{
    const Replace *r = user;

    return r->disk(job, world, r->rollout, r->item, error);
}

/* As what and where: what the row says, if that is to be done still. */
static json_t *plan_start(World *world, const RolloutItem *row, GError **error)
{
    g_auto(RunPlaces) places = { 0 };
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(RunRow) run = { 0 };
    json_t *item = json_pack("{s:s,s:s}", "id", row->desktop_id, "name", row->name);
    json_auto_t *keys = json_array(); /* not used: x:run is held, and hosts of runs stay */
    Db *db = catalog_read_begin(world->catalog);
    gboolean runs = run_lookup(db, row->desktop_id, &run, NULL);
    gboolean ok = lookup_desktop_by_id(db, row->desktop_id, &desktop, error) &&
                  run_places_load(world, db, &places, error) &&
                  run_replace_plan(world, db, &places, &desktop, item, keys, error);

    catalog_read_end(world->catalog, db);
    if (ok && is_to_start(row) && g_strcmp0(run.incarnation, row->start_id) != 0) {
        json_object_set_new(item, "incarnation", json_string(row->start_id));
        if (!runs)
            json_object_set_new(item, "host", json_string(row->start_host));
    }
    if (ok)
        return item;
    json_decref(item);
    return NULL;
}

static gboolean replace_claimed(Job *job, World *world, const Rollout *rollout,
                                const RolloutItem *row, json_t *item, const Replace *r,
                                GError **error)
{
    RunReplace how = { never_done, replace_disk, (gpointer)r };
    const char *id = json_string_value(json_object_get(item, "incarnation"));
    const char *host = json_string_value(json_object_get(item, "host"));

    if (!commit_start(job, rollout, row->position, id, host, id ? "to do" : NULL, error) ||
        !run_replace_stop(job, world, item, error))
        return FALSE;
    gboolean ok = run_replace_disk(job, world, item, &how, error);
    return (!id || start_again(job, world, rollout, row->position, item)) && ok;
}

/* Somebody has come just now.  TRUE: that is noted. */
static gboolean note_later(Job *job, World *world, const Rollout *rollout, const RolloutItem *row)
{
    const char *why = NULL;
    Db *db = catalog_read_begin(world->catalog);
    RolloutTurn now = turn(db, rollout, row, &why);

    catalog_read_end(world->catalog, db);
    if (now != ROLLOUT_TURN_LATER)
        return FALSE;
    Changes *changes = changes_new();
    changes_sql(changes,
                "UPDATE rollout_desktop SET state = ?3, reason = ?4, changed_at = ?5 WHERE"
                " rollout_id = ?1 AND position = ?2",
                "titti", rollout->id, row->position, rollout->is_backward ? "held" : "deferred",
                why, units_now_ms());
    return job_commit(job, changes, job_step(job) + 1, NULL);
}

static gboolean replace(Job *job, World *world, const Rollout *rollout, const RolloutItem *row,
                        gboolean (*disk)(Job *, World *, const Rollout *, const RolloutItem *,
                                         GError **),
                        GError **error)
{
    const Replace r = { rollout, row, disk };
    json_auto_t *keys = json_array();
    gboolean ok = FALSE;

    claims_add(keys, 'x', "run", row->desktop_id);
    if (!claims_take(world->claims, keys, job_type_kind(job), error))
        return FALSE;
    if (note_later(job, world, rollout, row)) {
        ok = TRUE;
    } else {
        json_auto_t *item = plan_start(world, row, error);
        ok = item && replace_claimed(job, world, rollout, row, item, &r, error);
    }
    claims_release(world->claims, keys);
    return ok;
}

/* ---- What a stop of the daemon has left ---- */

static gboolean wait_run(Job *job, World *world, const json_t *keys, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + CLAIM_WAIT_US;

    while (!claims_take(world->claims, keys, job_type_kind(job), NULL)) {
        if (job_is_stopping(job) && !job_check(job, error))
            return FALSE;
        if (g_get_monotonic_time() >= until_us)
            return claims_take(world->claims, keys, job_type_kind(job), error);
        g_usleep(LOOK_US);
    }
    return TRUE;
}

static gboolean start_one_rest(Job *job, World *world, const Rollout *rollout,
                               const RolloutItem *row, GError **error)
{
    g_auto(RunRow) run = { 0 };
    json_auto_t *keys = json_array();
    json_auto_t *item = json_pack("{s:s,s:s,s:s?,s:s?}", "id", row->desktop_id, "name", row->name,
                                  "incarnation", row->start_id, "host", row->start_host);
    gboolean ok;

    claims_add(keys, 'x', "run", row->desktop_id);
    if (!wait_run(job, world, keys, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean runs = run_lookup(db, row->desktop_id, &run, NULL) &&
                    g_strcmp0(run.incarnation, row->start_id) != 0; /* somebody else's start */
    catalog_read_end(world->catalog, db);
    ok = runs ? commit_start(job, rollout, row->position, run.incarnation, run.host_id, "done",
                             error)
              : start_again(job, world, rollout, row->position, item);
    claims_release(world->claims, keys);
    return ok;
}

static gboolean start_rest(Job *job, World *world, const Rollout *rollout, GError **error)
{
    g_autoptr(GPtrArray) rows = rollout_to_start(world, rollout);
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < rows->len; i++)
        ok = start_one_rest(job, world, rollout, rows->pdata[i], error);
    if (!ok && error && !*error)
        job_check(job, error);
    return ok;
}

/* ---- Health ---- */

/* It should run, because it was started again. */
static gboolean was_started(Db *db, const Rollout *rollout, const char *desktop_id)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM rollout_desktop WHERE rollout_id = ?1 AND"
                      " desktop_id = ?2 AND start_state = 'done') AS is_so",
                      "tt", rollout->id, desktop_id) != 0;
}

/* Is it up by now?  FALSE with error: it never will be; without: not yet (*ret_why, static). */
static gboolean look(World *world, const Rollout *rollout, const RunRow *run, const char **ret_why,
                     GError **error)
{
    g_autoptr(GError) local = NULL;
    gint64 boot_ms = MIN(BOOT_MS, rollout->health_limit_ms / 2);

    if (g_str_equal(rollout->health, "agent")) {
        *ret_why = "its guest agent did not answer";
        return live_ping(world, run, NULL);
    }
    HostDomain *d = live_find(world, run->host_id, run, &local);
    if (!d && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "it has ended since it was started");
    *ret_why = d ? "it does not run on" : "its host did not answer";
    gboolean is_up = d && d->state == DOMAIN_RUNNING && units_now_ms() - run->started_at >= boot_ms;
    host_domain_free(d);
    return is_up;
}

static gboolean is_healthy(World *world, const Rollout *rollout, const char *desktop_id,
                           const gint *cancel, gboolean *ret_is_off, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + rollout->health_limit_ms * 1000;
    const char *why = "";

    do {
        g_auto(RunRow) run = { 0 };
        GError *local = NULL;
        Db *db = catalog_read_begin(world->catalog);
        gboolean runs = run_lookup(db, desktop_id, &run, NULL);
        *ret_is_off = !runs && !was_started(db, rollout, desktop_id);
        catalog_read_end(world->catalog, db);
        if (*ret_is_off || (runs && look(world, rollout, &run, &why, &local)))
            return TRUE;
        if (!runs)
            g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                        "it has ended since it was started");
        if (!local && g_atomic_int_get(cancel))
            g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        if (local) {
            g_propagate_error(error, local);
            return FALSE;
        }
        g_usleep(LOOK_US);
    } while (g_get_monotonic_time() < until_us);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "%s within %d s", why,
                (int)(rollout->health_limit_ms / 1000));
    return FALSE;
}

const RolloutRuns rollout_runs = { turn, replace, start_rest, is_healthy };
