/* world.c: see world.h. */
#include "imaged/job/world.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define LOW_INODES 1000
#define WATCH_US 300000

static guint64 watermark(const World *world, const StoreSpace *space)
{
    guint64 share = space->total_bytes / 100 * world->settings.low_space_percent;

    /* A small store keeps its share, a big one no more than the fixed figure. */
    return MIN(world->settings.low_space_bytes, share);
}

gboolean world_is_low(World *world, Store *store)
{
    StoreSpace space;

    return store->ops->space(store, &space, NULL) &&
           (space.free_bytes < watermark(world, &space) || space.free_inodes < LOW_INODES);
}

gboolean world_space_level(World *world, Store *store, SpaceLevel was, SpaceLevel *ret,
                           StoreSpace *ret_space)
{
    const Settings *s = &world->settings;

    if (!store->ops->space(store, ret_space, NULL))
        return FALSE;
    guint64 warn_share = ret_space->total_bytes / 100 * s->warn_space_percent;
    SpaceFigures figures = { .free_bytes = ret_space->free_bytes,
                             .free_inodes = ret_space->free_inodes,
                             .warn_bytes = MIN(s->warn_space_bytes, warn_share),
                             .low_bytes = watermark(world, ret_space),
                             .low_inodes = LOW_INODES };
    *ret = space_level(was, &figures);
    return TRUE;
}

gboolean world_check_space(World *world, Store *store, guint64 wanted_bytes, GError **error)
{
    StoreSpace space;

    if (!store->ops->space(store, &space, error))
        return FALSE;
    guint64 keep = watermark(world, &space);
    if (space.free_bytes >= keep && space.free_bytes - keep >= wanted_bytes &&
        space.free_inodes >= LOW_INODES)
        return TRUE;
    g_autofree char *free_text = units_format_size(space.free_bytes);
    g_autofree char *keep_text = units_format_size(keep);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE,
                "the store at '%s' is short of space (%s free, %s are kept, %" G_GUINT64_FORMAT
                " inodes)",
                store->location, free_text, keep_text, space.free_inodes);
    imaged_error_hint(error, "give space back with: imagectl trash empty");
    return FALSE;
}

gboolean world_watch_space(gpointer data, GError **error)
{
    SpaceWatch *watch = data;
    gint64 now = g_get_monotonic_time();
    guint64 wanted = watch->wanted_bytes;

    if (!wanted && now < watch->next_us)
        return TRUE;
    watch->next_us = now + WATCH_US;
    watch->wanted_bytes = 0;
    return world_check_space(watch->world, watch->store, wanted, error);
}

gboolean world_wait_claims(World *world, Job *job, const json_t *keys, gint64 limit_ms,
                           GError **error)
{
    gint64 until = units_boottime_ms() + limit_ms;

    for (;;) {
        GError *local = NULL;
        if (claims_take(world->claims, keys, job_type_kind(job), &local))
            return TRUE;
        if (units_boottime_ms() >= until) {
            g_propagate_error(error, local);
            return FALSE;
        }
        g_clear_error(&local);
        if (!job_check(job, error))
            return FALSE;
        g_usleep(20000);
    }
}
