/* rollout.c: see rollout.h.  The rows: read, counted, noted. */
#include "snapshot/rollout.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

static void read_row(Query *q, Rollout *ret)
{
    *ret = (Rollout){ .id = g_strdup(query_text(q, "id")),
                      .name = g_strdup(query_text(q, "name")),
                      .template_id = g_strdup(query_text(q, "template_id")),
                      .version_id = g_strdup(query_text(q, "version_id")),
                      .health = g_strdup(query_text(q, "health")),
                      .when_running = g_strdup(query_text(q, "when_running")),
                      .reason = g_strdup(query_text(q, "reason")),
                      .owner = g_strdup(query_text(q, "owner")),
                      .job_id = g_strdup(query_text(q, "job_id")),
                      .health_limit_ms = query_int(q, "health_limit_ms"),
                      .deadline_ms = query_int(q, "deadline"),
                      .is_backward = query_int(q, "is_backward") != 0,
                      .wants_pause = query_int(q, "wants_pause") != 0,
                      .canary = (guint)query_int(q, "canary"),
                      .batch = (guint)query_int(q, "batch"),
                      .max_unavailable = (guint)query_int(q, "max_unavailable"),
                      .created_at = query_int(q, "created_at"),
                      .started_at = query_int(q, "started_at"),
                      .finished_at = query_int(q, "finished_at") };
}

gboolean rollout_find(Db *db, const char *name, Rollout *ret, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM rollout WHERE id = ?1 OR name = ?1", "t", name);
    gboolean found = query_next(q);

    if (found) {
        read_row(q, ret);
        found = rollout_state_parse(query_text(q, "state"), &ret->state);
        if (!found)
            rollout_clear(ret);
    }
    if (!query_end(q, error))
        return FALSE;
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no roll-out '%s'",
                    shown);
        imaged_error_hint(error, "see them with: imagectl rollout list");
    }
    return found;
}

void rollout_clear(Rollout *r)
{
    char **texts[] = { &r->id,           &r->name,   &r->template_id, &r->version_id, &r->health,
                       &r->when_running, &r->reason, &r->owner,       &r->job_id };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

gboolean rollout_health_is_of_run(const char *health)
{
    return g_strcmp0(health, "boot") == 0 || g_strcmp0(health, "agent") == 0;
}

void rollout_count(Db *db, const char *rollout_id, RolloutCounts *ret)
{
    const struct {
        const char *state;
        guint *count;
    } table[] = {
        { "waiting", &ret->waiting },
        { "deferred", &ret->deferred },
        { "moved", &ret->moved },
        { "unavailable", &ret->unavailable },
        { "failed", &ret->failed },
        { "skipped", &ret->skipped },
        { "returned", &ret->returned },
        { "held", &ret->held },
        { "kept", &ret->kept },
    };
    Query *q = db_query(db,
                        "SELECT state, health, count(*) AS n FROM rollout_desktop WHERE"
                        " rollout_id = ?1 GROUP BY state, health",
                        "t", rollout_id);

    *ret = (RolloutCounts){ 0 };
    while (query_next(q)) {
        guint n = (guint)query_int(q, "n");
        const char *state = query_text(q, "state"), *health = query_text(q, "health");
        for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
            if (g_str_equal(table[i].state, state))
                *table[i].count += n;
        }
        if (g_str_equal(state, "moved") && g_strcmp0(health, "unchecked") == 0)
            ret->unchecked += n;
        if (g_str_equal(state, "moved") && g_strcmp0(health, "failed") == 0)
            ret->unhealthy += n;
    }
    query_end(q, NULL);
}

void rollout_facts(const Rollout *r, const RolloutCounts *counts, gint64 now_ms, RolloutFacts *ret)
{
    *ret = (RolloutFacts){ .state = r->state,
                           .is_backward = r->is_backward,
                           .wants_pause = r->wants_pause,
                           .has_health = r->health != NULL,
                           .canary = r->canary,
                           .batch = r->batch,
                           .max_unavailable = r->max_unavailable,
                           .deadline_ms = r->deadline_ms,
                           .now_ms = now_ms,
                           .n = *counts };
}

gboolean rollout_can_reach(World *world, Db *db, const char *version_id, const char *store_id,
                           GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
    g_auto(LayerRow) copy = { 0 }, first = { 0 };
    g_auto(VersionRow) version = { 0 };
    GError *local = NULL;

    if (!store)
        return FALSE;
    if (lookup_version_layer(db, version_id, store_id, &copy, NULL))
        return TRUE;
    if (!lookup_version_by_id(db, version_id, &version, error) ||
        !lookup_layer(db, version.layer_id, &first, error))
        return FALSE;
    g_autoptr(Store) from = store_set_get(world->stores, first.store_id, &local);
    if (local)
        g_propagate_prefixed_error(error, local, "the version is not in its store: ");
    return from != NULL;
}

void rollout_put_state(Changes *changes, const Rollout *r, RolloutState state, const char *reason)
{
    gint64 now = units_now_ms();

    changes_sql(changes,
                "UPDATE rollout SET state = ?2, reason = ?3, finished_at = CASE WHEN ?4 = 0 THEN"
                " NULL ELSE ?4 END WHERE id = ?1",
                "ttti", r->id, rollout_state_name(state), reason,
                rollout_is_open(state) ? (gint64)0 : now);
    if (!rollout_is_open(state))
        changes_sql(changes,
                    "UPDATE rollout_desktop SET is_open = 0, state = CASE state WHEN 'held' THEN"
                    " 'kept' ELSE state END WHERE rollout_id = ?1 AND is_open = 1",
                    "t", r->id);
}
