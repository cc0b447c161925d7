/* pool_keeper.c: each turn looks at the rows of each pool and has done what is missing.
 *
 * What is under way is known by its jobs (pool_deeds.h).  Turns follow one another at once while
 * there is something to do, but take no more than a part of a processor. */
#include "imaged/ops/pool_keeper.h"

#include "broker/pool/members.h"
#include "imaged/base/units.h"
#include "imaged/ops/pool_deeds.h"
#include "imaged/ops/pool_leases.h"
#include "imaged/ops/pool_spares.h"

#define BUSY_MS 50   /* between turns while jobs are under way */
#define IDLE_MS 1000 /* while nothing is: somebody else's events are looked at */
#define SORT_MS 500  /* between two looks at every free desktop */
#define REST_TURNS 4 /* a turn is followed by as much rest as this many turns took */

struct PoolKeeper {
    World *world;
    PoolDeeds *deeds;
    PoolLeases *leases;
    GThread *thread;
    gint is_stopping;               /* atomic */
    gint64 seen_event;              /* of the last turn */
    gint64 sorted_event, next_sort; /* when desktops were looked at one by one; boot time */
    gboolean has_failed;            /* something could not be written: look again soon */
};

/* What is to be done to some members: their ids and names. */
typedef struct {
    json_t *ids, *names;
} Some;

static void some_init(Some *s)
{
    s->ids = json_array();
    s->names = json_array();
}

static void some_clear(Some *s)
{
    json_decref(s->ids);
    json_decref(s->names);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Some, some_clear)

static void add(PoolKeeper *k, Some *s, const char *id, const char *name, Deed deed)
{
    if (!pool_deeds_may(k->deeds, id, deed))
        return;
    json_array_append_new(s->ids, json_string(id));
    json_array_append_new(s->names, json_string(name));
}

static gint64 count(Db *db, const char *pool_id, const char *state)
{
    return lookup_int(db, "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1 AND state = ?2",
                      "tt", pool_id, state);
}

/* FALSE: it could not be written, as on a full disk.  What was not done is seen in the next turn.
 */
static gboolean commit(PoolKeeper *k, Changes *changes)
{
    gboolean ok = catalog_commit(k->world->catalog, changes, NULL);

    if (ok)
        pools_touch(k->world->pools);
    k->has_failed |= !ok;
    return ok;
}

/* ---- Those that are on their way ---- */

/* Those whose making has ended become free. */
static void settle_made(PoolKeeper *k, const PoolRow *pool)
{
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(k->world->catalog);
    Query *q = db_query(db,
                        "SELECT m.desktop_id FROM pool_desktop m LEFT JOIN job j ON j.id = m.job_id"
                        " WHERE m.pool_id = ?1 AND m.state = 'making' AND"
                        " coalesce(j.state, '') NOT IN ('queued', 'running')",
                        "t", pool->id);
    guint n = 0;

    for (; query_next(q); n++)
        members_made(changes, query_text(q, "desktop_id"));
    query_end(q, NULL);
    catalog_read_end(k->world->catalog, db);
    if (n)
        commit(k, changes);
    else
        changes_free(changes);
}

/* Returning and leaving ones: switched off first, and what then follows. */
static void carry_on(PoolKeeper *k, const PoolRow *pool)
{
    g_auto(Some) stop, reimage, leave, archive;
    Db *db = catalog_read_begin(k->world->catalog);
    Query *q = db_query(db,
                        "SELECT m.desktop_id, m.state, d.name, EXISTS (SELECT 1 FROM run r WHERE"
                        " r.desktop_id = d.id) AS has_run FROM pool_desktop m JOIN desktop d ON"
                        " d.id = m.desktop_id WHERE m.pool_id = ?1 AND m.state IN ('returning',"
                        " 'leaving', 'archiving', 'broken') AND d.is_trashed = 0",
                        "t", pool->id);

    some_init(&stop), some_init(&reimage), some_init(&leave), some_init(&archive);
    while (query_next(q)) {
        const char *id = query_text(q, "desktop_id"), *name = query_text(q, "name");
        const char *state = query_text(q, "state");
        if (query_int(q, "has_run"))
            add(k, &stop, id, name, DEED_STOP);
        else if (g_str_equal(state, "returning"))
            add(k, &reimage, id, name, DEED_REIMAGE);
        else if (g_str_equal(state, "leaving"))
            add(k, &leave, id, name, DEED_DELETE);
        else if (g_str_equal(state, "archiving"))
            add(k, &archive, id, name, DEED_ARCHIVE);
    }
    query_end(q, NULL);
    catalog_read_end(k->world->catalog, db);
    pool_deeds_do(k->deeds, pool, DEED_STOP, stop.ids, stop.names);
    pool_deeds_do(k->deeds, pool, DEED_REIMAGE, reimage.ids, reimage.names);
    pool_deeds_do(k->deeds, pool, DEED_DELETE, leave.ids, leave.names);
    pool_deeds_do(k->deeds, pool, DEED_ARCHIVE, archive.ids, archive.names);
}

/* Free ones that are not fit; rows without a desktop. */
static void sort_out(PoolKeeper *k, const PoolRow *pool)
{
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(k->world->catalog);
    guint n = members_sort_out(db, changes, pool->id);

    n += pool_leases_archived(db, changes, pool->id);
    catalog_read_end(k->world->catalog, db);
    if (!n)
        changes_free(changes);
    else if (!commit(k, changes))
        k->sorted_event = -1;
}

/* ---- How many there are ---- */

/* Why a pool is not as it should be, for pool show; NULL: it is. */
static void note_reason(PoolKeeper *k, const PoolRow *pool, const char *reason)
{
    Db *db = catalog_read_begin(k->world->catalog);
    gboolean same = lookup_int(db, "SELECT reason IS ?2 AS same FROM pool WHERE id = ?1", "tt",
                               pool->id, reason) != 0;

    catalog_read_end(k->world->catalog, db);
    if (same)
        return;
    Changes *changes = changes_new();
    changes_sql(changes, "UPDATE pool SET reason = ?2 WHERE id = ?1", "tt", pool->id, reason);
    if (reason)
        changes_event(changes, "pool.trouble", "warning", pool->name, NULL, "%s", reason);
    catalog_commit(k->world->catalog, changes, NULL);
}

static void grow(PoolKeeper *k, const PoolRow *pool, gint64 n)
{
    g_autoptr(GError) error = NULL;

    if (!pool_deeds_may(k->deeds, pool->id, DEED_CREATE))
        return;
    if (pool_deeds_create(k->deeds, pool, (guint)MIN(n, 20000), &error)) {
        note_reason(k, pool, NULL);
    } else {
        g_autofree char *why = g_strdup_printf("no more desktops can be made: %s", error->message);
        why[strcspn(why, "\n")] = 0; /* without the hint */
        note_reason(k, pool, why);
    }
}

/* The ones that are off, or being re-imaged, go first; nobody loses the one that he has. */
static void shrink(PoolKeeper *k, const PoolRow *pool, gint64 n)
{
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(k->world->catalog);
    Query *q = db_query(db,
                        "SELECT m.desktop_id FROM pool_desktop m JOIN desktop d ON d.id ="
                        " m.desktop_id WHERE m.pool_id = ?1 AND m.state IN ('free', 'returning')"
                        " ORDER BY EXISTS (SELECT 1 FROM run r WHERE r.desktop_id = d.id),"
                        " m.state = 'free', length(d.name) DESC, d.name DESC LIMIT ?2",
                        "ti", pool->id, n);

    while (query_next(q))
        members_leave(changes, query_text(q, "desktop_id"));
    query_end(q, NULL);
    catalog_read_end(k->world->catalog, db);
    commit(k, changes); /* those that leave are carried on in the next turn */
}

/* Broken ones are replaced: they don't count, and are deleted when that can be. */
static void drop_broken(PoolKeeper *k, const PoolRow *pool)
{
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(k->world->catalog);
    Query *q = db_query(db,
                        "SELECT m.desktop_id, d.name, m.reason FROM pool_desktop m JOIN desktop d"
                        " ON d.id = m.desktop_id WHERE m.pool_id = ?1 AND m.state = 'broken'",
                        "t", pool->id);
    guint n = 0;

    for (; query_next(q); n++) {
        const char *why = query_text(q, "reason");
        members_leave(changes, query_text(q, "desktop_id"));
        changes_event(changes, "pool.broken", "warning", query_text(q, "name"), NULL,
                      "it could not be re-imaged, and is replaced: %s", why ? why : "");
    }
    query_end(q, NULL);
    catalog_read_end(k->world->catalog, db);
    if (n)
        commit(k, changes);
    else
        changes_free(changes);
}

static void fit_size(PoolKeeper *k, const PoolRow *pool)
{
    Db *db = catalog_read_begin(k->world->catalog);
    gint64 n = lookup_int(db,
                          "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1 AND state NOT IN"
                          " ('leaving', 'broken')",
                          "t", pool->id);
    gint64 n_all =
        lookup_int(db, "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1", "t", pool->id);
    gboolean has_broken = count(db, pool->id, "broken") > 0;

    catalog_read_end(k->world->catalog, db);
    if (has_broken)
        drop_broken(k, pool);
    if (n < pool->size)
        grow(k, pool, pool->size - n);
    else if (n > pool->size)
        shrink(k, pool, n - pool->size);
    if (pool->is_deleting && n_all == 0) {
        Changes *changes = changes_new();
        changes_sql(changes, "DELETE FROM pool_grant WHERE pool_id = ?1", "t", pool->id);
        changes_sql(changes,
                    "DELETE FROM pool WHERE id = ?1 AND is_deleting = 1 AND NOT EXISTS (SELECT 1"
                    " FROM pool_desktop WHERE pool_id = ?1)",
                    "t", pool->id);
        changes_event(changes, "pool.deleted", "info", pool->name, NULL,
                      "the last of its desktops"
                      " is gone");
        commit(k, changes);
    }
}

/* ---- Turns ---- */

static void free_pool(gpointer data)
{
    pool_row_clear(data);
    g_free(data);
}

static GPtrArray *load_pools(World *world)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(free_pool);
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id FROM pool", "");

    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    for (guint i = 0; i < ids->len; i++) {
        PoolRow *row = g_new0(PoolRow, 1);
        if (pool_lookup(db, ids->pdata[i], row, NULL))
            g_ptr_array_add(out, row);
        else
            g_free(row);
    }
    catalog_read_end(world->catalog, db);
    return out;
}

/* Returns when a lease wants to be looked at again (0: none). */
static gint64 turn(PoolKeeper *k)
{
    g_autoptr(GPtrArray) pools = load_pools(k->world);
    gint64 event = catalog_wait_event(k->world->catalog, G_MAXINT64, 0);
    gboolean is_news = event != k->sorted_event && units_boottime_ms() >= k->next_sort;

    double memory_given = pools->len ? pool_spares_memory_given(k->world) : 0;

    k->seen_event = event;
    k->has_failed = FALSE;
    if (is_news) {
        k->sorted_event = event;
        k->next_sort = units_boottime_ms() + SORT_MS;
    }
    for (guint i = 0; i < pools->len && !g_atomic_int_get(&k->is_stopping); i++) {
        const PoolRow *pool = pools->pdata[i];
        settle_made(k, pool);
        if (is_news)
            sort_out(k, pool);
        carry_on(k, pool);
        fit_size(k, pool);
        pool_spares_keep(k->world, k->deeds, pool, memory_given);
    }
    return pool_leases_turn(k->leases, units_now_ms());
}

/* Until something was touched, an event was written by others, a lease is due, or jobs of ours
 * may have ended. */
static void rest(PoolKeeper *k, guint64 *stamp, gint64 due_ms, gboolean is_busy)
{
    gint64 end =
        units_boottime_ms() + (due_ms ? CLAMP(due_ms - units_now_ms(), 0, 60000) : 60000);
    gint64 again = pool_deeds_next(k->deeds);

    end = again ? MIN(end, again) : end;
    end = k->has_failed ? MIN(end, units_boottime_ms() + IDLE_MS) : end;

    while (!g_atomic_int_get(&k->is_stopping)) {
        guint64 before = *stamp;
        gint64 left = end - units_boottime_ms();
        pools_wait(k->world->pools, stamp, CLAMP(left, 0, is_busy ? BUSY_MS : IDLE_MS));
        if (*stamp != before || is_busy || left <= 0 ||
            catalog_wait_event(k->world->catalog, k->seen_event, 0) != k->seen_event)
            return;
    }
}

static gpointer keep(gpointer data)
{
    PoolKeeper *k = data;
    guint64 stamp = pools_stamp(k->world->pools);

    k->seen_event = k->sorted_event = -1;
    while (!g_atomic_int_get(&k->is_stopping)) {
        gint64 start = g_get_monotonic_time();
        gboolean is_busy = pool_deeds_look(k->deeds);
        gint64 due = turn(k);
        gint64 took = g_get_monotonic_time() - start;
        g_usleep((gulong)CLAMP(took * REST_TURNS, 1000, 1000000));
        is_busy = is_busy || pool_deeds_are_under_way(k->deeds) || k->sorted_event != k->seen_event;
        rest(k, &stamp, due, is_busy);
    }
    return NULL;
}

PoolKeeper *pool_keeper_start(World *world)
{
    PoolKeeper *k = g_new0(PoolKeeper, 1);

    k->world = world;
    k->deeds = pool_deeds_new(world);
    k->leases = pool_leases_new(world, k->deeds);
    k->thread = g_thread_new("pools", keep, k);
    return k;
}

void pool_keeper_stop(PoolKeeper *k)
{
    if (!k)
        return;
    g_atomic_int_set(&k->is_stopping, 1);
    pools_touch(k->world->pools);
    g_thread_join(k->thread);
    pool_leases_free(k->leases);
    pool_deeds_free(k->deeds);
    g_free(k);
}
