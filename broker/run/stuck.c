/* stuck.c: see stuck.h.
 *
 * A store may say that it has space and refuse to give it (a quota, a thin volume below).  So one
 * that is stuck again soon after it was resumed waits twice as long for the next time. */
#include "broker/run/stuck.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define WAIT_MIN_MS 5000
#define WAIT_MAX_MS 600000
#define STEADY_MS 60000 /* behind the wait: what is stuck again later begins anew */

typedef struct {
    gint64 resumed_at, wait_ms; /* boot time, in ms */
} Try;

struct Stuck {
    World *world;
    GMutex lock;       /* guards the tables */
    GHashTable *roomy; /* ids of stores with space */
    GHashTable *tries; /* incarnation -> Try: of those that were resumed */
};

Stuck *stuck_new(World *world)
{
    Stuck *stuck = g_new0(Stuck, 1);

    stuck->world = world;
    g_mutex_init(&stuck->lock);
    stuck->roomy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    stuck->tries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return stuck;
}

void stuck_free(Stuck *stuck)
{
    if (!stuck)
        return;
    g_hash_table_unref(stuck->roomy);
    g_hash_table_unref(stuck->tries);
    g_mutex_clear(&stuck->lock);
    g_free(stuck);
}

static gboolean is_forgotten(gpointer key, gpointer value, gpointer now)
{
    const Try *t = value;

    return *(gint64 *)now > t->resumed_at + t->wait_ms + STEADY_MS;
}

void stuck_note_space(Stuck *stuck, const char *store_id, gboolean has_space)
{
    gint64 now = units_boottime_ms();

    g_mutex_lock(&stuck->lock);
    if (has_space)
        g_hash_table_add(stuck->roomy, g_strdup(store_id));
    else
        g_hash_table_remove(stuck->roomy, store_id);
    g_hash_table_foreach_remove(stuck->tries, is_forgotten, &now);
    g_mutex_unlock(&stuck->lock);
}

/* Has QEMU paused it for want of space, and for nothing else? */
static gboolean is_full(const RunRow *row, const HostDriver *driver, gpointer link)
{
    gboolean is = FALSE;

    return driver->is_full && driver->is_full(link, row->uuid, &is, NULL) && is;
}

void stuck_begin(const RunRow *row, const HostDriver *driver, gpointer link, Changes *changes)
{
    gboolean full = is_full(row, driver, link);

    run_set_state(changes, row, "stuck",
                  full ? "its store is full" : "an error of its disk stopped it");
    changes_event(changes, "desktop.stuck", "alarm", row->name, NULL, "%s",
                  full ? "paused: its store is full; it goes on when there is space again"
                       : "paused: its disk cannot be read or written; see what is wrong there,"
                         " then: imagectl desktop resume");
}

/* The stores that it writes to. */
static gboolean has_space(Stuck *stuck, const char *desktop_id)
{
    gboolean all = TRUE;
    guint n = 0;
    Db *db = catalog_read_begin(stuck->world->catalog);
    Query *q = db_query(db,
                        "SELECT l.store_id FROM desktop d JOIN layer l ON l.id IN (d.layer_id,"
                        " d.data_layer_id) WHERE d.id = ?1",
                        "t", desktop_id);

    while (query_next(q)) {
        g_mutex_lock(&stuck->lock);
        all = all && g_hash_table_contains(stuck->roomy, query_text(q, "store_id"));
        g_mutex_unlock(&stuck->lock);
        n++;
    }
    gboolean ok = query_end(q, NULL);
    catalog_read_end(stuck->world->catalog, db);
    return ok && all && n > 0;
}

/* Is it time?  Then it is reckoned as tried now. */
static gboolean may_try(Stuck *stuck, const char *incarnation)
{
    gint64 now = units_boottime_ms();

    g_mutex_lock(&stuck->lock);
    Try *t = g_hash_table_lookup(stuck->tries, incarnation);
    gboolean may = !t || now >= t->resumed_at + t->wait_ms;
    if (may && !t) {
        t = g_new0(Try, 1);
        t->wait_ms = WAIT_MIN_MS / 2;
        g_hash_table_insert(stuck->tries, g_strdup(incarnation), t);
    }
    if (may) {
        t->wait_ms = MIN(2 * t->wait_ms, WAIT_MAX_MS);
        t->resumed_at = now;
    }
    g_mutex_unlock(&stuck->lock);
    return may;
}

/* With the run claimed, and what was seen looked at once more. */
static void resume(Stuck *stuck, const RunRow *row, const HostDriver *driver, gpointer link)
{
    HostDomain *d = driver->find(link, row->uuid, NULL);
    gboolean is_right = d && d->state == DOMAIN_STUCK &&
                        g_strcmp0(d->incarnation, row->incarnation) == 0 &&
                        is_full(row, driver, link) && may_try(stuck, row->incarnation);

    host_domain_free(d);
    if (!is_right || !driver->resume(link, row->uuid, NULL))
        return;
    Changes *changes = changes_new();
    run_set_state(changes, row, "running", NULL);
    changes_event(changes, "desktop.unstuck", "info", row->name, NULL,
                  "it goes on: its store has space again");
    catalog_commit(stuck->world->catalog, changes, NULL);
}

void stuck_look(Stuck *stuck, const RunRow *row, const HostDriver *driver, gpointer link)
{
    World *world = stuck->world;
    json_t *keys = json_array();
    g_auto(RunRow) now = { 0 };

    claims_add(keys, 'x', "run", row->desktop_id);
    if (has_space(stuck, row->desktop_id)) {
        Db *db = catalog_read_begin(world->catalog); /* sees what is at its first question */
        gboolean is_claimed = claims_take_briefly(world->claims, keys, "desktop.resume", NULL);
        gboolean is_same = is_claimed && run_lookup(db, row->desktop_id, &now, NULL) &&
                           g_str_equal(now.incarnation, row->incarnation) &&
                           g_str_equal(now.state, "stuck");
        catalog_read_end(world->catalog, db);
        if (is_same)
            resume(stuck, &now, driver, link);
        if (is_claimed)
            claims_release(world->claims, keys);
    }
    json_decref(keys);
}
