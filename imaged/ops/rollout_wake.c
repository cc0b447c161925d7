/* rollout_wake.c: roll-outs that wait for desktops that run (state waiting, rows deferred) go on
 * when one's turn has come.  They have no job meanwhile: what they wait for is in the rows, so a
 * restart forgets nothing. */
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/rollouts.h"

#define START_WAIT_US (15 * G_USEC_PER_SEC)
#define LOOK_US 50000

/* Of a row o of roll-out r that is deferred: it is off, or nobody is on it any more. */
#define HAS_TURN                                                                                   \
    "o.rollout_id = r.id AND o.state = 'deferred' AND (NOT EXISTS (SELECT 1 FROM run n WHERE"      \
    " n.desktop_id = o.desktop_id) OR (r.when_running <> 'next-stop' AND NOT EXISTS (SELECT 1"     \
    " FROM session s WHERE s.desktop_id = o.desktop_id AND s.ended_at IS NULL AND s.state IN"      \
    " ('opening', 'connected'))))"

static GPtrArray *due(World *world)
{
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT r.id FROM rollout r WHERE r.state = 'waiting' AND (r.deadline"
                        " BETWEEN 1 AND ?1 OR EXISTS (SELECT 1 FROM rollout_desktop o"
                        " WHERE " HAS_TURN "))",
                        "i", units_now_ms());

    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    return ids;
}

static gboolean find(World *world, const char *id, Rollout *ret)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = rollout_find(db, id, ret, NULL);

    catalog_read_end(world->catalog, db);
    return ok && ret->state == ROLLOUT_WAITING;
}

static void go_on(World *world, const char *id)
{
    g_auto(Rollout) seen = { 0 };
    g_auto(Rollout) r = { 0 };
    JobRequest request;
    Id job = id_new();

    if (!find(world, id, &seen))
        return;
    json_t *claims = rollouts_claims(id, seen.version_id);
    if (!rollouts_claim(world, claims, seen.version_id, NULL))
        return; /* somebody is at it: at the next look */
    if (!find(world, id, &r)) {
        claims_release(world->claims, claims);
        json_decref(claims);
        return;
    }
    Changes *changes = changes_new();
    changes_sql(changes,
                "UPDATE rollout_desktop SET state = 'waiting', reason = NULL WHERE rollout_id = ?1"
                " AND position IN (SELECT o.position FROM rollout r, rollout_desktop o WHERE"
                " r.id = ?1 AND " HAS_TURN ")",
                "t", id);
    rollout_put_state(changes, &r, rollouts_resume_state(world, &r, FALSE), NULL);
    rollouts_fill(&r, claims, changes, 0, job.s, &request);
    request.owner = r.owner;
    g_free(job_submit(world->jobs, &request, NULL));
}

void rollouts_wake(World *world)
{
    g_autoptr(GPtrArray) ids = due(world);

    for (guint i = 0; i < ids->len; i++)
        go_on(world, ids->pdata[i]);
}

/* Those of these that are off, and whose turn that is. */
static guint n_due(World *world, const LookupRows *desktops, const char *states)
{
    guint n = 0;
    Db *db = catalog_read_begin(world->catalog);

    for (guint i = 0; i < desktops->rows->len; i++)
        n += lookup_int(db,
                        "SELECT EXISTS (SELECT 1 FROM rollout_desktop o JOIN rollout r ON r.id ="
                        " o.rollout_id JOIN json_each(?2) s ON s.value = o.state WHERE"
                        " o.desktop_id = ?1 AND o.is_open = 1 AND r.when_running IS NOT NULL AND"
                        " r.state IN ('waiting', 'planned', 'canary', 'gate', 'rolling') AND NOT"
                        " EXISTS (SELECT 1 FROM run n WHERE n.desktop_id = ?1)) AS is_so",
                        "tt", row_id(desktops->rows->pdata[i]), states) != 0;
    catalog_read_end(world->catalog, db);
    return n;
}

void rollouts_before_start(World *world, const LookupRows *desktops)
{
    gint64 until_us = g_get_monotonic_time() + START_WAIT_US;

    if (!n_due(world, desktops, "[\"deferred\"]"))
        return;
    while (n_due(world, desktops, "[\"deferred\", \"waiting\"]") &&
           g_get_monotonic_time() < until_us) {
        rollouts_wake(world);
        g_usleep(LOOK_US);
    }
}
