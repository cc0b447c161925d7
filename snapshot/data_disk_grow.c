/* data_disk_grow.c: a larger disk or data disk: the active layer is frozen as it is, under an
 * overlay of more bytes, since no byte of a layer is ever changed by us.  The bytes behind the old
 * end read as zeros. */
#include "snapshot/data_disk.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"
#include "snapshot/freeze.h"

/* Why it can't be, or NULL.  *ret_now: bytes that it has. */
static GError *check_size(Db *db, const DesktopRow *row, gboolean is_data, guint64 size,
                          gint64 *ret_now)
{
    g_auto(LayerRow) layer = { 0 };
    const char *layer_id = is_data ? row->data_layer_id : row->layer_id;
    GError *why = NULL;

    if (!layer_id)
        return g_error_new(IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it has no data disk");
    if (!lookup_layer(db, layer_id, &layer, &why))
        return why;
    *ret_now = layer.virtual_size;
    if ((gint64)size >= layer.virtual_size)
        return NULL;
    g_autofree char *now = units_format_size((guint64)layer.virtual_size);
    why = g_error_new(IMAGED_ERROR, IMAGED_ERROR_INVALID,
                      "it has %s already, and a disk never shrinks", now);
    return why;
}

gboolean disk_plan_grow(World *world, const LookupRows *desktops, gboolean is_data, guint64 size,
                        BatchPlan *plan, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, is_data ? &data_disk_resize_job : &disk_resize_job);
    json_object_set_new(plan->plan, "size", json_integer((json_int_t)size));
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        gint64 now = 0;
        g_autoptr(GError) why = check_size(db, row, is_data, size, &now);
        Id layer = id_new();
        json_t *keys = json_array();
        if (why) {
            batch_plan_reject(plan, row->name, why);
            json_decref(keys);
            continue;
        }
        claims_add(keys, 'x', "desktop", row->id);
        claims_add(keys, 's', "layers", row->id); /* a run that is merged ends at a known layer */
        chain_claim_making(db, keys, row->store_id, row->data_layer_id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name,
                                 is_data ? "data_layer" : "layer", layer.s),
                       keys);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

static gboolean load(BatchChunk *chunk, guint i, Db *db, Freeze *f, GError **error)
{
    return freeze_load(chunk->world, db, batch_text(chunk, i, "id"), batch_text(chunk, i, "layer"),
                       batch_text(chunk, i, "data_layer"), f, error);
}

/* The disk that grows; one that is large enough is left alone, only its wanted size is noted. */
static gboolean choose(const BatchChunk *chunk, guint i, Freeze *f, GError **error)
{
    gboolean is_data = batch_text(chunk, i, "data_layer") != NULL;
    FreezeDisk *d = &f->disks[is_data ? DISK_DATA : DISK_SYSTEM];
    gint64 size = json_integer_value(json_object_get(chunk->plan, "size"));

    if (!d->old.id || d->old.virtual_size > size) {
        g_set_error(error, IMAGED_ERROR, d->old.id ? IMAGED_ERROR_INVALID : IMAGED_ERROR_NOT_FOUND,
                    d->old.id ? "it is larger by now" : "it has no data disk");
        return FALSE;
    }
    if (!is_data)
        f->desktop.disk_size = size;
    if (d->old.virtual_size == size) {
        layer_row_clear(&d->old);
        g_clear_pointer(&d->store, store_unref);
    }
    d->size = (guint64)size;
    return TRUE;
}

static void say_end(BatchChunk *chunk)
{
    guint64 size = (guint64)json_integer_value(json_object_get(chunk->plan, "size"));
    g_autofree char *shown = units_format_size(size);
    gboolean is_data = g_str_equal(job_type_kind(chunk->job), data_disk_resize_job.kind);
    g_autofree char *verb = g_strdup_printf("%s of %s:", is_data ? "data disk" : "disk", shown);

    if (is_data)
        batch_event(chunk, "desktop.data-disk-resize", verb, "desktops");
    else
        batch_event(chunk, "desktop.resize", verb, "desktops");
}

static gboolean prepare_grow(BatchChunk *chunk, GError **error)
{
    Freeze *freezes = g_new0(Freeze, chunk->n);
    g_autofree Freeze **sound = g_new0(Freeze *, chunk->n);
    gint64 now = units_now_ms();
    guint n = 0;
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        Freeze *f = &freezes[i];
        GError **why = &chunk->errors[i];
        if (load(chunk, i, db, f, why) &&
            (f->is_done || (choose(chunk, i, f, why) && freeze_lock(chunk, i, f))))
            sound[n++] = f;
    }
    catalog_read_end(chunk->world->catalog, db);
    gboolean ok = freeze_write(sound, n, now, error);
    for (guint i = 0; ok && i < n; i++) {
        if (!sound[i]->is_done)
            freeze_put(sound[i], chunk->changes, now);
    }
    if (ok)
        say_end(chunk);
    for (guint i = 0; i < chunk->n; i++)
        freeze_clear(&freezes[i]);
    g_free(freezes);
    return ok;
}

/* The commit failed: the old layers are the active ones still. */
static void undo_grow(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(Freeze) f = { 0 };
        if (!chunk->errors[i] && load(chunk, i, db, &f, NULL))
            freeze_undo(&f);
    }
    catalog_read_end(chunk->world->catalog, db);
}

static gboolean run_grow(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_grow, undo_grow, NULL };

    return batch_run(job, world, &type, error);
}

const JobType data_disk_resize_job = { "desktop.data-disk-resize", JOB_INTERACTIVE, "desktops",
                                       run_grow };
const JobType disk_resize_job = { "desktop.resize", JOB_INTERACTIVE, "desktops", run_grow };
