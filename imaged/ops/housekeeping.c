/* housekeeping.c: one tick every few seconds; each duty has its own pace.
 *
 * The clock is trusted while it runs as CLOCK_BOOTTIME does.  When it has jumped (or leaps ahead of
 * what it was before a stop), nothing expires until it is back, or has run steadily for a day, or
 * an administrator says that it is right. */
#include "imaged/ops/housekeeping.h"

#include <malloc.h>

#include "broker/config_disk.h"
#include "broker/run/stuck.h"
#include "broker/run/suspensions.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/archives.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/live_merge.h"
#include "imaged/ops/recover.h"
#include "imaged/ops/rollouts.h"
#include "snapshot/merges.h"
#include "snapshot/stand_in.h"
#include "snapshot/trash.h"

#define TICK_MS 2000
#define EXPIRY_MS 30000
#define SPACE_MS 10000
#define RESERVE_MS 600000
#define LEAST_FREE (16 * MIB) /* before a guest that found no space goes on */
#define TIDY_MS 300000 /* of config disks and secrets that nothing needs any more */
#define JUMP_MS 3600000ll
#define STEADY_MS 86400000ll
#define LONGEST_STOP_MS (45 * 86400000ll)
#define BIG_CHANGE 200 /* commits after which a backup is due before its time */
#define BIG_BACKUP_MS 60000 /* but no more often than this */
#define EVENTS_KEPT 1000000
#define JOBS_KEPT 1000
#define ROLLOUTS_KEPT 100

struct Housekeeping {
    World *world;
    GThread *thread;
    GMutex lock;
    GCond wake;
    gboolean is_stopping;

    gint64 wall, boot;        /* the last tick's, in ms */
    gint64 trusted_offset;    /* wall - boot while the clock was trusted */
    gint64 steady_since;      /* boot time since when the clock has run steadily */
    gint64 next_expiry, next_space, next_reserve, next_tidy;
    gint64 next_backup, next_big_backup, next_clock_note;
    guint64 commits_at_backup, commits_at_trim;
    GHashTable *levels;       /* id of a store -> its SpaceLevel at the last look */
    GHashTable *away_stores;  /* ids of stores that were offline at the last look */
};

static void say(World *world, const char *kind, const char *severity, const char *object,
                const char *message)
{
    Changes *changes = changes_new();

    changes_event(changes, kind, severity, object, NULL, "%s", message);
    catalog_commit(world->catalog, changes, NULL);
}

static void hold_expiry(Housekeeping *h, const char *why)
{
    if (!g_atomic_int_get(&h->world->expiry_held))
        say(h->world, "clock.jump", "alarm", NULL, why);
    g_atomic_int_set(&h->world->expiry_held, 1);
    h->steady_since = h->boot;
}

/* All but the newest of those that are over. */
static void forget_rollouts(Changes *changes)
{
    changes_sql(changes,
                "DELETE FROM rollout WHERE finished_at IS NOT NULL AND id NOT IN (SELECT id FROM"
                " rollout WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT ?1)",
                "i", (gint64)ROLLOUTS_KEPT);
    changes_sql(changes,
                "DELETE FROM rollout_desktop WHERE rollout_id NOT IN (SELECT id FROM rollout)", "");
}

static void watch_clock(Housekeeping *h)
{
    gint64 wall = units_now_ms(), boot = units_boottime_ms();
    gint64 drift = (wall - boot) - (h->wall - h->boot);
    gboolean was_held = g_atomic_int_get(&h->world->expiry_held);

    h->wall = wall;
    h->boot = boot;
    if (ABS(drift) > JUMP_MS)
        hold_expiry(h,
                    "the wall clock has jumped; nothing expires until it is back, has run "
                    "steadily for a day, or 'imagectl trash resume-expiry' says that it is right");
    gboolean is_back = ABS((wall - boot) - h->trusted_offset) < JUMP_MS;
    if (was_held && g_atomic_int_get(&h->world->expiry_held) &&
        (is_back || boot - h->steady_since > STEADY_MS)) {
        say(h->world, "clock.trusted", "info", NULL, "the clock is trusted again; expiry goes on");
        g_atomic_int_set(&h->world->expiry_held, 0);
    }
    if (g_atomic_int_get(&h->world->expiry_held))
        return;
    h->trusted_offset = wall - boot;
    if (boot >= h->next_clock_note) { /* what a later start compares itself with */
        Changes *changes = changes_new();
        g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, wall);
        changes_set_meta(changes, "clock", text);
        changes_sql(changes, "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1", "i",
                    (gint64)EVENTS_KEPT);
        changes_sql(changes,
                    "DELETE FROM job WHERE finished_at IS NOT NULL AND rowid <= (SELECT max(rowid)"
                    " FROM job) - ?1",
                    "i", (gint64)JOBS_KEPT);
        forget_rollouts(changes);
        catalog_commit(h->world->catalog, changes, NULL);
        h->next_clock_note = boot + 60000;
    }
}

static void begin_clock(Housekeeping *h)
{
    g_autofree char *text = catalog_get_meta(h->world->catalog, "clock");
    gint64 before = text ? g_ascii_strtoll(text, NULL, 10) : 0;

    h->wall = units_now_ms();
    h->boot = units_boottime_ms();
    h->trusted_offset = h->wall - h->boot;
    if (before && (h->wall < before - JUMP_MS || h->wall > before + LONGEST_STOP_MS)) {
        h->trusted_offset = G_MININT64 / 2; /* nothing to come back to */
        hold_expiry(h,
                    "the wall clock is far from where it was before the stop; nothing expires "
                    "until it has run steadily for a day, or 'imagectl trash resume-expiry' says "
                    "that it is right");
    }
}

static void watch_stores(Housekeeping *h)
{
    g_autoptr(GPtrArray) back = g_ptr_array_new_with_free_func(g_free);

    store_set_refresh(h->world->stores, back, NULL);
    /* A verb may have found out before us, or the start: so what is said is what has changed. */
    g_autoptr(GPtrArray) ids = store_set_ids(h->world->stores);
    for (guint i = 0; i < ids->len; i++) {
        g_auto(StoreEntry) e = { 0 };
        if (!store_set_describe(h->world->stores, ids->pdata[i], &e))
            continue;
        if (e.store)
            g_hash_table_remove(h->away_stores, e.id);
        else if (g_hash_table_add(h->away_stores, g_strdup(e.id)))
            say(h->world, "store.offline", "alarm", e.name, e.reason ? e.reason : "it is gone");
    }
    for (guint i = 0; i < back->len; i++) {
        g_auto(StoreEntry) e = { 0 };
        g_autoptr(GError) error = NULL;
        if (!store_set_describe(h->world->stores, back->pdata[i], &e))
            continue;
        if (recover_store(h->world, back->pdata[i], &error))
            say(h->world, "store.online", "info", e.name, "the store is back");
        else
            say(h->world, "store.online", "alarm", e.name, error->message);
    }
}

static void tell_level(World *world, const char *name, SpaceLevel level, const StoreSpace *space)
{
    static const char *const severities[] = { "info", "warning", "alarm" };
    static const char *const texts[] = { "the store has space again",
                                         "the store is nearly short of space",
                                         "the store is short of space: no new work starts there" };
    g_autofree char *free_text = units_format_size(space->free_bytes);
    g_autofree char *total = units_format_size(space->total_bytes);
    Changes *changes = changes_new();

    changes_event(changes, "store.low-space", severities[level], name, NULL, "%s (%s of %s free)",
                  texts[level], free_text, total);
    catalog_commit(world->catalog, changes, NULL);
}

static void watch_space(Housekeeping *h)
{
    g_autoptr(GPtrArray) ids = store_set_ids(h->world->stores);

    for (guint i = 0; i < ids->len; i++) {
        g_autoptr(Store) store = store_set_peek(h->world->stores, ids->pdata[i]);
        SpaceLevel was = GPOINTER_TO_UINT(g_hash_table_lookup(h->levels, ids->pdata[i]));
        SpaceLevel level = SPACE_OK;
        StoreSpace space = { 0 };
        gboolean is_known = store && world_space_level(h->world, store, was, &level, &space);
        if (h->world->runs)
            stuck_note_space(runs_stuck(h->world->runs), ids->pdata[i],
                             is_known && level != SPACE_LOW && space.free_bytes >= LEAST_FREE);
        if (!is_known || level == was)
            continue;
        g_auto(StoreEntry) e = { 0 };
        g_hash_table_insert(h->levels, g_strdup(ids->pdata[i]), GUINT_TO_POINTER(level));
        if (store_set_describe(h->world->stores, ids->pdata[i], &e))
            tell_level(h->world, e.name, level, &space);
    }
}

static void back_up(Housekeeping *h)
{
    guint64 n = catalog_n_commits(h->world->catalog), bytes;
    gboolean is_due = h->boot >= h->next_backup && n != h->commits_at_backup;
    g_autoptr(GError) error = NULL;

    gboolean is_big = n >= h->commits_at_backup + BIG_CHANGE && h->boot >= h->next_big_backup;
    if (!is_due && !is_big)
        return;
    if (!recover_backup(h->world, &bytes, &error))
        say(h->world, "catalog.backup", "warning", NULL, error->message);
    h->next_backup = h->boot + h->world->settings.backup_interval_ms;
    h->next_big_backup = h->boot + BIG_BACKUP_MS;
    h->commits_at_backup = catalog_n_commits(h->world->catalog);
}

/* Read all frozen layers now and then; the time of the last read survives a restart. */
static void check_data(Housekeeping *h)
{
    g_autofree char *text = catalog_get_meta(h->world->catalog, "data_check");
    gint64 last = text ? g_ascii_strtoll(text, NULL, 10) : 0;
    JobRequest request = { 0 };

    if (!h->world->settings.data_check_interval_ms || g_atomic_int_get(&h->world->expiry_held) ||
        (last && h->wall < last + h->world->settings.data_check_interval_ms))
        return;
    Changes *changes = changes_new();
    g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT, h->wall);
    changes_set_meta(changes, "data_check", now);
    if (catalog_commit(h->world->catalog, changes, NULL) && last &&
        jobs_plan_check(h->world, NULL, TRUE, FALSE, &request, NULL)) {
        request.owner = "imaged";
        g_free(job_submit(h->world->jobs, &request, NULL));
    }
}

/* A batch of thousands leaves much freed memory behind: give it back once it is over. */
static void give_memory_back(Housekeeping *h)
{
    guint64 n = catalog_n_commits(h->world->catalog);

    if (n != h->commits_at_trim && job_n_running(h->world->jobs) == 0) {
        malloc_trim(0);
        h->commits_at_trim = n;
    }
}

static void tick(Housekeeping *h)
{
    watch_clock(h);
    watch_stores(h);
    give_memory_back(h);
    if (h->world->rescue_reason)
        return;
    rollouts_wake(h->world);
    if (h->boot >= h->next_space) {
        watch_space(h);
        h->next_space = h->boot + SPACE_MS;
    }
    if (h->boot >= h->next_expiry) {
        merges_govern(h->world);
        live_govern(h->world);
        stand_in_drop_unused(h->world);
        if (!g_atomic_int_get(&h->world->expiry_held)) {
            trash_expire(h->world, h->wall);
            check_data(h);
            archives_tick(h->world, h->wall);
        }
        h->next_expiry = h->boot + EXPIRY_MS;
    }
    if (h->boot >= h->next_reserve) {
        catalog_reserve(h->world->catalog);
        h->next_reserve = h->boot + RESERVE_MS;
    }
    if (h->boot >= h->next_tidy) {
        suspensions_tidy(h->world);
        config_disks_tidy(h->world);
        h->next_tidy = h->boot + TIDY_MS;
    }
    back_up(h);
}

static gpointer keep_house(gpointer data)
{
    Housekeeping *h = data;

    begin_clock(h);
    h->next_backup = h->boot + h->world->settings.backup_interval_ms;
    h->next_reserve = h->boot + RESERVE_MS;
    h->commits_at_backup = catalog_n_commits(h->world->catalog);
    g_mutex_lock(&h->lock);
    while (!h->is_stopping) {
        g_mutex_unlock(&h->lock);
        tick(h);
        g_mutex_lock(&h->lock);
        if (!h->is_stopping)
            g_cond_wait_until(&h->wake, &h->lock, g_get_monotonic_time() + TICK_MS * 1000);
    }
    g_mutex_unlock(&h->lock);
    return NULL;
}

Housekeeping *housekeeping_start(World *world)
{
    Housekeeping *h = g_new0(Housekeeping, 1);

    h->world = world;
    h->levels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    h->away_stores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_mutex_init(&h->lock);
    g_cond_init(&h->wake);
    h->thread = g_thread_new("housekeeping", keep_house, h);
    return h;
}

void housekeeping_stop(Housekeeping *h)
{
    g_mutex_lock(&h->lock);
    h->is_stopping = TRUE;
    g_cond_signal(&h->wake);
    g_mutex_unlock(&h->lock);
    g_thread_join(h->thread);
    g_hash_table_unref(h->levels);
    g_hash_table_unref(h->away_stores);
    g_mutex_clear(&h->lock);
    g_cond_clear(&h->wake);
    g_free(h);
}
