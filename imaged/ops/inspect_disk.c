/* inspect_disk.c: see inspect_disk.h. */
#include "imaged/ops/inspect_disk.h"

#include <string.h>
#include <sys/stat.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/ops/export_ref.h"
#include "snapshot/chain.h"
#include "templates/inspection.h"

#define QUICK_LIMIT_MS 60000
#define APPLIANCE_LIMIT_MS 600000

void inspect_disk_clear(InspectDisk *d)
{
    for (guint i = 0; d->fds && i < d->fds->len; i++)
        durable_close(&g_array_index(d->fds, int, i));
    g_clear_pointer(&d->fds, g_array_unref);
    lookup_rows_clear(&d->rows);
    g_free(d->kind);
    g_free(d->object_id);
    g_free(d->name);
    *d = (InspectDisk){ 0 };
}

const LayerRow *inspect_disk_top(const InspectDisk *d)
{
    return d->rows.rows->pdata[d->rows.rows->len - 1];
}

static gboolean read_rows(World *world, const ExportRef *ref, LookupRows *ret, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = chain_rows(db, ref->layer_id, ret, error);

    catalog_read_end(world->catalog, db);
    return ok;
}

static gboolean stat_top(const InspectDisk *d, StoreStat *ret, GError **error)
{
    const LayerRow *top = inspect_disk_top(d);
    g_autoptr(Store) store = store_set_get(d->world->stores, top->store_id, error);

    return store && store_stat_layer(store, top->slot, ret, error);
}

gboolean inspect_disk_open(World *world, const char *kind, const char *object_id, InspectDisk *ret,
                           GError **error)
{
    g_auto(ExportRef) ref = { 0 };

    if (!export_ref_find_by_id(world, kind, object_id, FALSE, &ref, error))
        return FALSE;
    ref.is_glance = TRUE;
    *ret = (InspectDisk){ .world = world,
                          .kind = g_strdup(kind),
                          .object_id = g_strdup(object_id),
                          .name = g_strdup(ref.name),
                          .fds = g_array_new(FALSE, FALSE, sizeof(int)) };
    return export_ref_open(world, &ref, ret->fds, error) &&
           read_rows(world, &ref, &ret->rows, error) && stat_top(ret, &ret->stat, error);
}

static gboolean was_changed(const InspectDisk *d, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the disk was changed meanwhile");
    imaged_error_hint(error, "try again");
    return FALSE;
}

/* Is each open file still what the catalog has in its slot? */
static gboolean same_files(const InspectDisk *d, const LookupRows *now)
{
    if (now->rows->len != d->fds->len || now->rows->len != d->rows.rows->len)
        return FALSE;
    for (guint i = 0; i < now->rows->len; i++) {
        const LayerRow *row = now->rows->pdata[i];
        g_autoptr(Store) store = store_set_peek(d->world->stores, row->store_id);
        struct stat open_file;
        StoreStat stat;
        if (!store || !g_str_equal(row->id, row_id(d->rows.rows->pdata[i])) ||
            fstat(g_array_index(d->fds, int, i), &open_file) < 0 ||
            !store_stat_layer(store, row->slot, &stat, NULL) || stat.inode != open_file.st_ino)
            return FALSE;
    }
    return TRUE;
}

gboolean inspect_disk_check(const InspectDisk *d, GError **error)
{
    g_auto(ExportRef) ref = { 0 };
    g_auto(LookupRows) now = { 0 };
    StoreStat stat;

    if (!export_ref_find_by_id(d->world, d->kind, d->object_id, FALSE, &ref, error) ||
        !read_rows(d->world, &ref, &now, error) || !stat_top(d, &stat, error))
        return FALSE;
    return (same_files(d, &now) && inspection_is_same_file(&stat, &d->stat)) ||
           was_changed(d, error);
}

json_t *inspect_run(World *world, const InspectRun *r, gboolean with_appliance, GError **error)
{
    GuestDisk disk = { .fds = (const int *)r->fds->data, .n_fds = r->fds->len };
    GuestRun run = { .role = GUEST_ROLE_GUEST,
                     .task = r->task,
                     .what = r->what,
                     .request = r->request,
                     .disks = &disk,
                     .n_disks = 1,
                     .needs_appliance = with_appliance,
                     .limit_ms = with_appliance ? APPLIANCE_LIMIT_MS : QUICK_LIMIT_MS,
                     .is_stream = r->events && r->events->data,
                     .cancel = r->cancel };

    if (r->events)
        run.events = *r->events;
    return guest_run(world->guest, &run, error);
}

/* ---- Keeping ---- */

/* Does it lie in the disk (or in what it does to the helper), so that it is worth keeping? */
static gboolean is_the_disks(const GError *why)
{
    return !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_CANCELLED) &&
           !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_BUSY) &&
           !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) &&
           !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE);
}

/* What is known about exactly this state of the disk stays. */
static gboolean is_known(const InspectDisk *d)
{
    StoreStat stat;
    Db *db = catalog_read_begin(d->world->catalog);
    json_t *row = inspection_of_layer(db, inspect_disk_top(d)->id, &stat);
    gboolean is = g_strcmp0(json_string_value(json_object_get(row, "state")), "ok") == 0 &&
                  inspection_is_same_file(&stat, &d->stat);

    catalog_read_end(d->world->catalog, db);
    json_decref(row);
    return is;
}

static gboolean keep_failure(const InspectDisk *d, const InspectionOf *of, const GError *why)
{
    if (!is_the_disks(why) || is_known(d) || !inspect_disk_check(d, NULL))
        return FALSE;
    Changes *changes = changes_new();
    inspection_put_failure(changes, of, why);
    return catalog_commit(d->world->catalog, changes, NULL);
}

gboolean inspect_disk_put(const InspectDisk *d, gboolean with_appliance, const gint *cancel,
                          GError **error)
{
    InspectionOf of = { inspect_disk_top(d)->id, d->stat, with_appliance ? "appliance" : "fast" };
    GError *why = NULL;
    Changes *changes = changes_new();
    InspectRun run = { .what = d->name, .task = "inspect", .fds = d->fds, .cancel = cancel };
    json_t *found = inspect_run(d->world, &run, with_appliance, &why);
    gboolean ok = found && inspection_put(changes, &of, found, &why);

    json_decref(found);
    if (ok && inspect_disk_check(d, error))
        return catalog_commit(d->world->catalog, changes, error);
    changes_free(changes);
    if (ok)
        return FALSE;
    if (with_appliance || !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED))
        keep_failure(d, &of, why);
    g_propagate_error(error, why);
    return FALSE;
}
