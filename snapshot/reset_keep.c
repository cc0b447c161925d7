/* reset_keep.c: for each desktop
 *
 *   BUILD (an empty overlay in tmp/) -> FILL (the helper) -> FLUSH -> PUBLISH (its slot)
 *     -> SWITCH (reimage.h: facts, commit) -> the former disk to trash/
 *
 * QEMU's lock on the former disk is held while it is read.  The switch takes it anew, and then the
 * disk must not have changed in between, or the kept files would not be the last ones.  After a
 * stop all is built again, because nobody knows what was done to the former disk meanwhile. */
#include "snapshot/reset_keep.h"

#include <string.h>

#include "cow/identity.h"
#include "cow/layer_whole.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "snapshot/chain.h"

#define KEEP_LIMIT_MS (2 * 3600 * 1000)
#define PATH_MAX_BYTES 4096u

/* ---- Planning ---- */

/* The guest would walk over them, and keep something else than what was named. */
static gboolean has_dots(const char *path, gboolean is_dos)
{
    g_auto(GStrv) parts = g_strsplit_set(path, is_dos ? "\\/" : "/", -1);

    return g_strv_contains((const char *const *)parts, ".") ||
           g_strv_contains((const char *const *)parts, "..");
}

static gboolean is_dos_path(const char *path)
{
    return g_ascii_isalpha(*path) && path[1] == ':' && path[2] == '\\';
}

static gboolean check_path(const char *path, GError **error)
{
    g_autofree char *shown = text_for_message(path, 100);
    gboolean is_dos = is_dos_path(path);
    gsize n = strlen(path);

    if ((*path == '/' || is_dos) && n > 1 && n < PATH_MAX_BYTES &&
        !has_dots(path, is_dos) && text_check("a path", path, PATH_MAX_BYTES, NULL))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' cannot be kept: it is no absolute path below / without . and ..", shown);
    return FALSE;
}

/* "/home/alice/", as the helper understands what was written, to compare.  Caller frees. */
static char *path_key(const char *path)
{
    g_auto(GStrv) parts = g_strsplit_set(is_dos_path(path) ? path + 2 : path, "\\/", -1);
    g_autoptr(GString) key = g_string_new("/");

    for (guint i = 0; parts[i]; i++) {
        if (*parts[i])
            g_string_append_printf(key, "%s/", parts[i]);
    }
    return g_string_free(g_steal_pointer(&key), FALSE);
}

/* Is a what b is, or below it?  Windows' names are compared without regard to case. */
static gboolean is_within(const char *a, const char *b)
{
    g_autofree char *inner = path_key(a), *outer = path_key(b);
    gsize n = strlen(outer);

    return (is_dos_path(a) || is_dos_path(b) ? g_ascii_strncasecmp : strncmp)(inner, outer, n) == 0;
}

json_t *reset_keep_paths(const json_t *paths)
{
    gsize n = json_array_size(paths);
    json_t *out = json_array();

    for (gsize i = 0; i < n; i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        gboolean is_over = FALSE;
        for (gsize k = 0; !is_over && k < n; k++) {
            const char *other = json_string_value(json_array_get(paths, k));
            /* of two that are the same the first one stays */
            is_over = k != i && is_within(path, other) && (k < i || !is_within(other, path));
        }
        if (!is_over)
            json_array_append_new(out, json_string(path));
    }
    return out;
}

gboolean reset_keep_plan(World *world, const LookupRows *desktops, gint64 to, const json_t *paths,
                         BatchPlan *plan, GError **error)
{
    size_t i;
    json_t *path;

    json_array_foreach ((json_t *)paths, i, path) {
        if (!check_path(json_string_value(path), error))
            return FALSE;
    }
    if (i == 0 || i > RESET_KEEP_MAX_PATHS) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "1 to %u paths can be kept, not %zu",
                    RESET_KEEP_MAX_PATHS, i);
        return FALSE;
    }
    if (!reimage_plan_reset(world, desktops, to, plan, error))
        return FALSE;
    plan->type = &reset_keep_job;
    json_object_set_new(plan->plan, "keep", reset_keep_paths(paths));
    return TRUE;
}

/* ---- One desktop ---- */

typedef struct {
    Job *job;
    World *world;
    json_t *item;
    DesktopRow desktop;
    LayerRow base; /* what the new disk stands on */
    LookupRows old_rows, new_rows;
    Store *store, *old_store;
    ImageLock lock;
    StoreStat before; /* of the former disk, under the lock */
    json_t *report;
    SpaceWatch watch;
} Keep;

static void keep_clear(Keep *k)
{
    image_lock_release(&k->lock);
    desktop_row_clear(&k->desktop);
    layer_row_clear(&k->base);
    lookup_rows_clear(&k->old_rows);
    lookup_rows_clear(&k->new_rows);
    g_clear_pointer(&k->store, store_unref);
    g_clear_pointer(&k->old_store, store_unref);
    g_clear_pointer(&k->report, json_decref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Keep, keep_clear)

static const char *item_text(const Keep *k, const char *key)
{
    return json_string_value(json_object_get(k->item, key));
}

static const LayerRow *old_top(const Keep *k)
{
    return k->old_rows.rows->pdata[k->old_rows.rows->len - 1];
}

static gboolean is_switched(const Keep *k)
{
    return g_strcmp0(k->desktop.layer_id, item_text(k, "layer")) == 0;
}

static gboolean load_rows(Keep *k, Db *db, GError **error)
{
    if (!lookup_desktop_by_id(db, item_text(k, "id"), &k->desktop, error))
        return FALSE;
    if (k->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        return FALSE;
    }
    return is_switched(k) || (chain_rows(db, k->desktop.layer_id, &k->old_rows, error) &&
                              lookup_version_layer(db, item_text(k, "version"),
                                                   item_text(k, "store"), &k->base, error) &&
                              chain_rows(db, k->base.id, &k->new_rows, error));
}

static gboolean load(Keep *k, GError **error)
{
    Db *db = catalog_read_begin(k->world->catalog);
    gboolean ok = load_rows(k, db, error);

    catalog_read_end(k->world->catalog, db);
    if (!ok || is_switched(k))
        return ok;
    k->store = store_set_get(k->world->stores, k->base.store_id, error);
    k->old_store = k->store ? store_set_get(k->world->stores, old_top(k)->store_id, error) : NULL;
    return k->old_store && store_lock_layer(k->old_store, old_top(k)->slot, &k->lock, error) &&
           store_stat_layer(k->old_store, old_top(k)->slot, &k->before, error);
}

/* ---- The new layer ---- */

static gboolean write_blank(Keep *k, int fd, GError **error)
{
    g_autofree char *backing = g_strdup_printf("../layers/%s", k->base.slot);
    Identity identity = { .id = (char *)item_text(k, "layer"),
                          .parent = k->base.id,
                          .owner_kind = (char *)"desktop",
                          .owner_id = k->desktop.id,
                          .owner_name = k->desktop.name,
                          .generation = k->desktop.generation + 1,
                          .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    BlankSpec spec = { .virtual_size = reimage_disk_size(&k->base, &k->desktop),
                       .backing_name = backing,
                       .identity = text };
    LayerSummary summary;

    store_geometry(k->store, &spec.cluster_bits, &spec.has_subclusters);
    g_autoptr(LayerWriter) writer = layer_writer_new(fd, &spec, error);
    return writer && layer_writer_finish(writer, &summary, error);
}

/* What it says it copies next is reckoned with before it has. */
static void show_progress(gpointer data, guint64 done, guint64 total, const char *message)
{
    Keep *k = data;

    k->watch.wanted_bytes = total > done ? total - done : 0;
    if (message)
        job_message(k->job, "%s", message);
}

static void add_fds(GArray *fds, const GPtrArray *layers)
{
    for (guint i = 0; i < layers->len; i++) {
        int fd = layer_fd(layers->pdata[i]);
        g_array_append_val(fds, fd);
    }
}

static gboolean fill(Keep *k, int fd, GError **error)
{
    g_autoptr(GPtrArray) old = chain_open(k->world, &k->old_rows, error);
    g_autoptr(GPtrArray) below = old ? chain_open(k->world, &k->new_rows, error) : NULL;
    g_autoptr(GArray) from = g_array_new(FALSE, FALSE, sizeof(int));
    g_autoptr(GArray) to = g_array_new(FALSE, FALSE, sizeof(int));

    if (!below)
        return FALSE;
    add_fds(from, old);
    add_fds(to, below);
    g_array_append_val(to, fd);
    k->watch = (SpaceWatch){ .world = k->world, .store = k->store };
    json_t *request = json_pack("{s:O}", "paths", json_object_get(job_plan(k->job), "keep"));
    GuestDisk disks[] = { { (const int *)from->data, from->len, FALSE },
                          { (const int *)to->data, to->len, TRUE } };
    GuestRun run = { .role = GUEST_ROLE_GUEST,
                     .task = "keep",
                     .what = k->desktop.name,
                     .request = request,
                     .disks = disks,
                     .n_disks = G_N_ELEMENTS(disks),
                     .needs_appliance = TRUE,
                     .limit_ms = KEEP_LIMIT_MS,
                     .cancel = job_cancel_flag(k->job),
                     .events = { .progress = show_progress, .user = k },
                     .look = world_watch_space,
                     .look_user = &k->watch };
    k->report = guest_run(k->world->guest, &run, error);
    json_decref(request);
    return k->report && durable_sync(fd, error) &&
           layer_whole(fd, job_cancel_flag(k->job), error);
}

static void discard(const Keep *k)
{
    const char *slot = item_text(k, "layer");

    k->store->ops->discard(k->store, STORE_TMP, &slot, 1, NULL);
    k->store->ops->discard(k->store, STORE_LAYERS, &slot, 1, NULL);
}

/* The filled layer in its slot, durable there. */
static gboolean build(Keep *k, GError **error)
{
    const char *slot = item_text(k, "layer");

    discard(k); /* from before a stop */
    if (!world_check_space(k->world, k->store, 0, error))
        return FALSE;
    auto_fd fd = k->store->ops->create_tmp(k->store, slot, error);
    if (fd >= 0 && write_blank(k, fd, error) && fill(k, fd, error) &&
        k->store->ops->publish_tmp(k->store, slot, FALSE, error))
        return TRUE;
    discard(k);
    return FALSE;
}

/* ---- The switch ---- */

static gboolean check_unchanged(const Keep *k, GError **error)
{
    StoreStat now;

    if (!store_stat_layer(k->old_store, old_top(k)->slot, &now, error))
        return FALSE;
    if (now.inode == k->before.inode && now.length == k->before.length &&
        now.mtime_ns == k->before.mtime_ns && now.ctime_ns == k->before.ctime_ns)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                "its disk was written to while its files were being copied");
    imaged_error_hint(error, "leave the desktop shut down until the reset is done");
    return FALSE;
}

static void put_event(Keep *k, Changes *changes)
{
    gint64 bytes = json_integer_value(json_object_get(k->report, "bytes"));
    gint64 n = json_integer_value(json_object_get(k->report, "n_files"));
    gint64 ms = json_integer_value(json_object_get(k->report, "elapsed_ms"));
    g_autofree char *size = units_format_size((guint64)MAX(bytes, 0));

    changes_event(changes, "desktop.reset", "info", k->desktop.name, job_owner(k->job),
                  "re-imaged; %" G_GINT64_FORMAT " files (%s) kept, in %" G_GINT64_FORMAT " s", n,
                  size, ms / 1000);
}

static gboolean switch_disk(Keep *k, GError **error)
{
    static const BatchType type = { NULL, reimage_undo_prepare, batch_move_now };
    json_t *items = json_pack("[O]", k->item);
    g_autoptr(BatchChunk) chunk =
        batch_chunk_new(k->job, k->world, job_plan(k->job), items, changes_new());
    GError *local = NULL;

    image_lock_release(&k->lock);
    gboolean ok = reimage_prepare(chunk, &local); /* finds the layer in its slot; locks the old */
    if (ok && chunk->errors[0]) {
        local = g_error_copy(chunk->errors[0]);
        ok = FALSE;
    }
    ok = ok && check_unchanged(k, &local);
    if (ok) {
        put_event(k, chunk->changes);
        ok = batch_chunk_commit(chunk, &type, &local);
    } else {
        discard(k);
    }
    json_decref(items);
    if (local)
        g_propagate_error(error, local);
    return ok;
}

static void set_result(Keep *k)
{
    static const char *const keys[] = { "n_files", "bytes", "elapsed_ms", "copy_ms" };
    json_t *out = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
        json_object_set_new(
            out, keys[i],
            json_integer(MAX(0, json_integer_value(json_object_get(k->report, keys[i])))));
    gint64 ms = json_integer_value(json_object_get(out, "copy_ms"));
    gint64 bytes = json_integer_value(json_object_get(out, "bytes"));
    json_object_set_new(out, "bytes_per_second",
                        json_integer(ms > 0 ? (gint64)((double)bytes * 1000 / (double)ms) : 0));
    json_object_set_new(k->item, "result", out);
}

static gboolean keep_one(Job *job, World *world, json_t *item, GError **error)
{
    g_auto(Keep) k = { .job = job, .world = world, .item = item, .lock = IMAGE_LOCK_INIT };

    if (!load(&k, error))
        return FALSE;
    if (is_switched(&k))
        return TRUE; /* before a stop */
    if (!build(&k, error) || !switch_disk(&k, error))
        return FALSE;
    set_result(&k);
    return TRUE;
}

static gboolean run_reset_keep(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, keep_one, error);
}

const JobType reset_keep_job = { "desktop.reset-keep", JOB_BULK, "desktops", run_reset_keep };
