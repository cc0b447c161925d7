/* rollouts.c: roll-outs paused, gone on with, rolled back, ended, forgotten.
 *
 * Each of these takes the roll-out's own claim, which its job holds while it is at work; so of two
 * that come at once one is told that it is busy.  What a run begins with is committed together with
 * its job's intent. */
#include "imaged/ops/rollouts.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/rollout_view.h"
#include "imaged/ops/submit.h"

#define PAUSE_WAIT_MS 60000 /* for what is being done to end */

/* ---- common ---- */

static gboolean find(OpsCall *call, Rollout *ret, GError **error)
{
    const char *name = args_text(call, "rollout", TRUE, error);

    if (!name)
        return FALSE;
    rollout_clear(ret);
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = rollout_find(db, name, ret, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

static RolloutCounts counts_of(World *world, const Rollout *r)
{
    RolloutCounts counts;
    Db *db = catalog_read_begin(world->catalog);

    rollout_count(db, r->id, &counts);
    catalog_read_end(world->catalog, db);
    return counts;
}

json_t *rollouts_claims(const char *rollout_id, const char *version_id)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', "rollout", rollout_id);
    if (version_id)
        claims_add(keys, 's', "version", version_id);
    return keys;
}

/* Its job comes to an end, soon: nothing new is begun.  Only the run that was seen is meant, not
 * one that somebody else has begun since. */
static gboolean halt(OpsCall *call, const Rollout *r, GError **error)
{
    g_autofree char *thing = g_strconcat("rollout/", r->id, NULL);
    Changes *changes;

    if (!rollout_is_active(r->state) || !claims_has(call->world->claims, thing))
        return TRUE;
    changes = changes_new();
    changes_sql(changes, "UPDATE rollout SET wants_pause = 1 WHERE id = ?1 AND job_id = ?2", "tt",
                r->id, r->job_id);
    if (!catalog_commit(call->world->catalog, changes, error))
        return FALSE;
    job_cancel(call->world->jobs, r->job_id, NULL);
    job_wait(call->world->jobs, r->job_id, PAUSE_WAIT_MS);
    return TRUE;
}

/* The version was looked up before it was claimed. */
static gboolean is_still_there(World *world, const char *version_id, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_version_by_id(db, version_id, &version, error);

    catalog_read_end(world->catalog, db);
    if (!ok || !version.is_trashed)
        return ok;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "its template version was deleted");
    imaged_error_hint(error, "it may still be in the trash: imagectl trash list");
    return FALSE;
}

gboolean rollouts_claim(World *world, json_t *claims, const char *version_id, GError **error)
{
    if (!claims_take(world->claims, claims, rollout_job.kind, error)) {
        json_decref(claims);
        return FALSE;
    }
    if (!version_id || is_still_there(world, version_id, error))
        return TRUE;
    claims_release(world->claims, claims);
    json_decref(claims);
    return FALSE;
}

gboolean rollouts_parse_deadline(OpsCall *call, gint64 *ret, GError **error)
{
    const char *text = args_text(call, "deadline", FALSE, NULL);
    g_autoptr(GDateTime) time = NULL;

    *ret = 0;
    if (!text || g_str_equal(text, "none"))
        return TRUE;
    time = g_date_time_new_from_iso8601(text, NULL);
    if (!time) {
        g_autofree char *shown = text_for_message(text, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the deadline '%s' is no time",
                    shown);
        imaged_error_hint(error, "write it like 2026-11-21T22:30:00Z");
        return FALSE;
    }
    *ret = g_date_time_to_unix(time) * 1000;
    if (*ret > units_now_ms())
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the deadline is over already");
    return FALSE;
}

void rollouts_fill(const Rollout *r, json_t *claims, Changes *changes, guint total,
                   const char *job_id, JobRequest *ret)
{
    *ret = (JobRequest){ .type = &rollout_job,
                         .plan = json_pack("{s:s}", "rollout", r->id),
                         .claims = claims,
                         .total = total,
                         .id = job_id,
                         .changes = changes };
    changes_sql(changes, "UPDATE rollout SET job_id = ?2, started_at = ?3 WHERE id = ?1", "tti",
                r->id, job_id, units_now_ms());
}

void rollouts_submit(OpsCall *call, const Rollout *r, json_t *claims, Changes *changes, guint total,
                     GError **error)
{
    Id id = id_new();
    JobRequest request;

    rollouts_fill(r, claims, changes, total, id.s, &request);
    submit_request(call, &request, error);
}

/* ---- pause, resume ---- */

/* Find it and take its claims, unless its job is at work. */
static json_t *take(OpsCall *call, Rollout *r, gboolean with_version, GError **error)
{
    if (!find(call, r, error))
        return NULL;
    const char *version_id = with_version && !r->is_backward ? r->version_id : NULL;
    json_t *claims = rollouts_claims(r->id, version_id);
    if (!rollouts_claim(call->world, claims, version_id, error))
        return NULL;
    /* what it was before the claim may be old */
    if (find(call, r, error))
        return claims;
    claims_release(call->world->claims, claims);
    json_decref(claims);
    return NULL;
}

static void drop(OpsCall *call, json_t *claims)
{
    claims_release(call->world->claims, claims);
    json_decref(claims);
}

/* One that waits has no job: nothing is begun any more. */
static json_t *pause_waiting(OpsCall *call, Rollout *r, GError **error)
{
    json_t *claims = take(call, r, FALSE, error);
    gboolean ok = claims != NULL;

    if (!claims)
        return NULL;
    if (r->state == ROLLOUT_WAITING) {
        Changes *changes = changes_new();
        rollout_put_state(changes, r, ROLLOUT_PAUSED, "paused");
        changes_event(changes, "rollout.stop", "info", r->name, call->who, "paused");
        ok = catalog_commit(call->world->catalog, changes, error);
    }
    drop(call, claims);
    return ok ? rollout_view(call->world, r->id, error) : NULL;
}

json_t *ops_rollout_pause(OpsCall *call, GError **error)
{
    g_auto(Rollout) r = { 0 };

    if (!args_check(call, "rollout", error) || !find(call, &r, error))
        return NULL;
    if (r.state == ROLLOUT_WAITING)
        return pause_waiting(call, &r, error);
    if (!rollout_is_active(r.state)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "roll-out '%s' is not at work: %s",
                    r.name, rollout_state_name(r.state));
        return NULL;
    }
    return halt(call, &r, error) ? rollout_view(call->world, r.id, error) : NULL;
}

/* What did not go well is tried again, or given up with a word. */
static void put_second_try(Changes *changes, const Rollout *r, gboolean skip)
{
    if (r->is_backward) {
        changes_sql(changes,
                    "UPDATE rollout_desktop SET state = ?2, reason = CASE WHEN ?3 THEN 'given up:"
                    " ' || coalesce(reason, '') END WHERE rollout_id = ?1 AND state = 'held'",
                    "tti", r->id, skip ? "kept" : "moved", (gint64)skip);
        return;
    }
    if (skip) {
        changes_sql(changes,
                    "UPDATE rollout_desktop SET state = 'skipped', is_open = 0, reason = 'given up:"
                    " ' || coalesce(reason, '') WHERE rollout_id = ?1 AND state IN ('failed',"
                    " 'unavailable')",
                    "t", r->id);
        changes_sql(changes,
                    "UPDATE rollout_desktop SET health = 'waived' WHERE rollout_id = ?1 AND"
                    " state = 'moved' AND health = 'failed'",
                    "t", r->id);
        return;
    }
    changes_sql(changes,
                "UPDATE rollout_desktop SET state = 'waiting', reason = NULL WHERE rollout_id = ?1"
                " AND state IN ('failed', 'unavailable', 'deferred')",
                "t", r->id);
    changes_sql(changes,
                "UPDATE rollout_desktop SET health = ?2, reason = NULL WHERE rollout_id = ?1 AND"
                " state = 'moved' AND health = 'failed'",
                "tt", r->id, r->health ? "unchecked" : NULL);
}

/* The state to go on in, by the counts that put_second_try() leads to. */
RolloutState rollouts_resume_state(World *world, const Rollout *r, gboolean skip)
{
    RolloutCounts n = counts_of(world, r);
    RolloutFacts facts;

    n.unchecked += skip ? 0 : n.unhealthy;
    rollout_facts(r, &n, units_now_ms(), &facts);
    return rollout_resume_state(&facts);
}

json_t *ops_rollout_resume(OpsCall *call, GError **error)
{
    g_auto(Rollout) r = { 0 };
    gboolean skip;
    gint64 deadline;

    if (!args_check(call, "rollout skip_failed deadline", error) ||
        !args_are_texts(call, "deadline", error) || !args_bool(call, "skip_failed", &skip, error) ||
        !rollouts_parse_deadline(call, &deadline, error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    json_t *claims = take(call, &r, TRUE, error);
    if (!claims)
        return NULL;
    if (!rollout_is_open(r.state)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "roll-out '%s' is over: %s", r.name,
                    rollout_state_name(r.state));
        drop(call, claims);
        return NULL;
    }
    Changes *changes = changes_new();
    RolloutCounts n = counts_of(call->world, &r);
    put_second_try(changes, &r, skip);
    rollout_put_state(changes, &r, rollouts_resume_state(call->world, &r, skip), NULL);
    changes_sql(changes,
                "UPDATE rollout SET wants_pause = 0, deadline = CASE WHEN ?2 THEN ?3 ELSE deadline"
                " END WHERE id = ?1",
                "tii", r.id, (gint64)(json_object_get(call->args, "deadline") != NULL), deadline);
    changes_event(changes, "rollout.resume", "info", r.name, call->who, "%s",
                  skip ? "without what had failed" : "goes on");
    rollouts_submit(call, &r, claims, changes, r.is_backward ? n.moved + n.held : n.waiting, error);
    return NULL;
}

/* ---- back, end, forget ---- */

static void put_rollback(Changes *changes, OpsCall *call, const Rollout *r)
{
    rollout_put_state(changes, r, ROLLOUT_ROLLING_BACK, NULL);
    changes_sql(changes, "UPDATE rollout SET is_backward = 1, wants_pause = 0 WHERE id = ?1", "t",
                r->id);
    changes_sql(changes,
                "UPDATE rollout_desktop SET is_open = 1, state = 'moved', reason = NULL,"
                " back_id = coalesce(back_id, lower(hex(randomblob(16)))) WHERE rollout_id = ?1 AND"
                " state IN ('moved', 'held', 'kept')",
                "t", r->id);
    changes_event(changes, "rollout.rollback", "info", r->name, call->who, "begun");
}

/* While its job may be at work: have that end, unless it is on its way back and goes on so. */
static gboolean halt_found(OpsCall *call, gboolean goes_back, GError **error)
{
    g_auto(Rollout) r = { 0 };

    return find(call, &r, error) && ((goes_back && r.is_backward) || halt(call, &r, error));
}

json_t *ops_rollout_rollback(OpsCall *call, GError **error)
{
    g_auto(Rollout) r = { 0 };
    GError *local = NULL;

    if (!args_check(call, "rollout", error) || submit_is_repeat(call, error) || (error && *error) ||
        !halt_found(call, TRUE, error))
        return NULL;
    json_t *claims = take(call, &r, FALSE, error);
    if (!claims)
        return NULL;
    RolloutCounts n = counts_of(call->world, &r);
    guint total = n.moved + n.held + n.kept;
    if (total == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "roll-out '%s' has no desktop that could be brought back", r.name);
        imaged_error_hint(error, "'imagectl rollout cancel %s' ends one that is not over", r.name);
        drop(call, claims);
        return NULL;
    }
    Changes *changes = changes_new();
    put_rollback(changes, call, &r);
    rollouts_submit(call, &r, claims, changes, total, &local);
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "a desktop of roll-out '%s' is part of another one that is not over", r.name);
        imaged_error_hint(error, "see them with: imagectl rollout list");
        g_error_free(local);
    } else if (local) {
        g_propagate_error(error, local);
    }
    return NULL;
}

json_t *ops_rollout_cancel(OpsCall *call, GError **error)
{
    g_auto(Rollout) r = { 0 };
    gboolean ok = FALSE;

    if (!args_check(call, "rollout", error) || !halt_found(call, FALSE, error))
        return NULL;
    json_t *claims = take(call, &r, FALSE, error);
    if (!claims)
        return NULL;
    if (rollout_is_open(r.state)) {
        Changes *changes = changes_new();
        rollout_put_state(changes, &r, ROLLOUT_CANCELLED, "ended as it was");
        changes_event(changes, "rollout.cancel", "info", r.name, call->who, "ended as it was");
        ok = catalog_commit(call->world->catalog, changes, error);
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "roll-out '%s' is over: %s", r.name,
                    rollout_state_name(r.state));
    }
    drop(call, claims);
    return ok ? rollout_view(call->world, r.id, error) : NULL;
}

json_t *ops_rollout_delete(OpsCall *call, GError **error)
{
    g_auto(Rollout) r = { 0 };
    json_t *out = NULL;

    if (!args_check(call, "rollout", error))
        return NULL;
    json_t *claims = take(call, &r, FALSE, error);
    if (!claims)
        return NULL;
    if (rollout_is_open(r.state)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "roll-out '%s' is not over: %s",
                    r.name, rollout_state_name(r.state));
        imaged_error_hint(error, "end it with: imagectl rollout cancel %s", r.name);
    } else if ((out = rollout_view(call->world, r.id, error))) {
        Changes *changes = changes_new();
        changes_sql(changes, "DELETE FROM rollout_desktop WHERE rollout_id = ?1", "t", r.id);
        changes_sql(changes, "DELETE FROM rollout WHERE id = ?1", "t", r.id);
        changes_event(changes, "rollout.delete", "info", r.name, call->who, "its record");
        if (!catalog_commit(call->world->catalog, changes, error))
            g_clear_pointer(&out, json_decref);
    }
    drop(call, claims);
    return out;
}
