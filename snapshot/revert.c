/* revert.c: a desktop's disk, its data disk or both laid on a snapshot's layers again.
 *
 *   QEMU's locks on the old layers -> new overlays, durable -> facts -> old files to trash/
 *
 * Both are one commit and one trash entry, so that one undo brings both back. */
#include "snapshot/reimage.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"
#include "snapshot/freeze.h"
#include "snapshot/overlays.h"
#include "snapshot/replaced.h"

gboolean disks_parse(const char *text, Disks *ret, GError **error)
{
    static const char *const names[] = { "all", "system", "data" };

    *ret = DISKS_ALL;
    for (guint i = 0; text && i < G_N_ELEMENTS(names); i++) {
        if (g_str_equal(text, names[i])) {
            *ret = (Disks)i;
            return TRUE;
        }
    }
    if (text)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the disk is 'all', 'system' or 'data'");
    return !text;
}

static gboolean check_snapshot(Db *db, const DesktopRow *row, const char *name, Disks disks,
                               SnapshotRow *ret, GError **error)
{
    if (!lookup_snapshot(db, row->id, name, ret, error))
        return FALSE;
    if (disks == DISKS_DATA && !ret->data_layer_id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the snapshot has no data disk");
    return disks != DISKS_DATA || ret->data_layer_id;
}

static void plan_one(Db *db, BatchPlan *plan, const DesktopRow *row, const SnapshotRow *to,
                     Disks disks)
{
    Id layer = id_new(), data = id_new(), trash = id_new();
    json_t *keys = json_array();
    json_t *item = json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name, "trash",
                             trash.s, "version", to->version_id, "snapshot", to->id);

    if (disks != DISKS_DATA)
        json_object_set_new(item, "layer", json_string(layer.s));
    if (disks != DISKS_SYSTEM && to->data_layer_id)
        json_object_set_new(item, "data_layer", json_string(data.s));
    claims_add(keys, 'x', batch_plan_desktop_key(plan), row->id);
    claims_add(keys, 's', "snapshot", to->id);
    claims_add(keys, 's', "layers", row->id);
    claims_add(keys, 's', "version", to->version_id);
    chain_claim_making(db, keys, to->store_id, to->data_layer_id);
    batch_plan_add(plan, item, keys);
}

gboolean reimage_plan_revert(World *world, const LookupRows *desktops, const char *snapshot,
                             Disks disks, BatchPlan *plan, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &revert_job);
    json_object_set_new(plan->plan, "to", json_string(snapshot));
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_auto(SnapshotRow) to = { 0 };
        g_autoptr(GError) why = NULL;
        if (check_snapshot(db, row, snapshot, disks, &to, &why))
            plan_one(db, plan, row, &to, disks);
        else
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

/* One of the two disks. */
typedef struct {
    const char *new_id; /* NULL: it is left alone */
    LayerRow base, old; /* old is empty if the desktop has no such disk now */
    Store *store, *old_store;
    gboolean has_old; /* the file is there */
    StoreStat stat;
} Side;

typedef struct {
    DesktopRow desktop;
    Side sides[DISK_N];
    gboolean is_done;
} Revert;

static void revert_clear(Revert *r)
{
    desktop_row_clear(&r->desktop);
    for (guint k = 0; k < DISK_N; k++) {
        Side *s = &r->sides[k];
        layer_row_clear(&s->base);
        layer_row_clear(&s->old);
        g_clear_pointer(&s->store, store_unref);
        g_clear_pointer(&s->old_store, store_unref);
    }
}

/* The layer that goes: its store, whether its file is there, and QEMU's lock on it. */
static gboolean load_old(BatchChunk *chunk, guint i, Db *db, const char *layer_id, Side *s,
                         GError **error)
{
    if (!layer_id)
        return TRUE;
    if (!lookup_layer(db, layer_id, &s->old, error) ||
        !(s->old_store = store_set_get(chunk->world->stores, s->old.store_id, error)))
        return FALSE;
    return batch_hold(chunk, i, s->old_store, s->old.slot, &s->stat, &s->has_old);
}

static gboolean load_side(BatchChunk *chunk, guint i, Db *db, const char *base_id,
                          const char *old_id, Side *s, GError **error)
{
    if (!s->new_id)
        return TRUE;
    if (!lookup_layer(db, base_id, &s->base, error))
        return FALSE;
    s->store = store_set_get(chunk->world->stores, s->base.store_id, error);
    return s->store && load_old(chunk, i, db, old_id, s, error);
}

static gboolean revert_load(BatchChunk *chunk, guint i, Db *db, Revert *r, GError **error)
{
    g_auto(SnapshotRow) to = { 0 };
    Side *system = &r->sides[DISK_SYSTEM], *data = &r->sides[DISK_DATA];

    system->new_id = batch_text(chunk, i, "layer");
    data->new_id = batch_text(chunk, i, "data_layer");
    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &r->desktop, error))
        return FALSE;
    const DesktopRow *desktop = &r->desktop;
    if (desktop->is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        return FALSE;
    }
    r->is_done = g_strcmp0(desktop->layer_id, system->new_id) == 0 ||
                 (data->new_id && g_strcmp0(desktop->data_layer_id, data->new_id) == 0);
    return r->is_done ||
           (lookup_snapshot_by_id(db, batch_text(chunk, i, "snapshot"), &to, error) &&
            load_side(chunk, i, db, to.layer_id, desktop->layer_id, system, error) &&
            load_side(chunk, i, db, to.data_layer_id, desktop->data_layer_id, data, error));
}

/* A disk that was grown since is not smaller for that. */
static guint64 size_of(const Revert *r, guint k)
{
    const LayerRow *base = &r->sides[k].base;

    return k == DISK_SYSTEM ? reimage_disk_size(base, &r->desktop) : (guint64)base->virtual_size;
}

/* The generation is of what the guest boots: going back with the data disk alone leaves it. */
static gint64 generation_of(const Revert *r)
{
    return r->desktop.generation + (r->sides[DISK_SYSTEM].new_id != NULL);
}

static gboolean write_overlays(BatchChunk *chunk, const Revert *reverts, gint64 now, GError **error)
{
    g_autoptr(Overlays) overlays = overlays_new();

    for (guint i = 0; i < chunk->n; i++) {
        const Revert *r = &reverts[i];
        for (guint k = 0; !chunk->errors[i] && !r->is_done && k < DISK_N; k++) {
            const Side *s = &r->sides[k];
            Identity identity = { .id = (char *)s->new_id,
                                  .parent = s->base.id,
                                  .owner_kind = s->base.owner_kind,
                                  .owner_id = r->desktop.id,
                                  .owner_name = r->desktop.name,
                                  .generation = generation_of(r),
                                  .created_at = now };
            if (s->new_id)
                overlays_add(overlays, s->store, &identity, s->base.slot, size_of(r, k));
        }
    }
    return overlays_write(overlays, error);
}

static void put_new(BatchChunk *chunk, const Revert *r, guint k, gint64 now)
{
    const Side *s = &r->sides[k];
    LayerRow layer = s->base;

    layer.id = layer.slot = (char *)s->new_id;
    layer.parent_id = s->base.id;
    layer.generation = generation_of(r);
    layer.state = "active";
    layer.virtual_size = (gint64)size_of(r, k);
    layer.checksum = NULL;
    layer.created_at = now;
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
}

static ReplacedDisk replaced_side(Side *s)
{
    return (ReplacedDisk){ s->old.id ? &s->old : NULL, s->has_old ? &s->stat : NULL };
}

static void put_facts(BatchChunk *chunk, guint i, Revert *r, gint64 now)
{
    DesktopRow desktop = r->desktop;
    Side *system = &r->sides[DISK_SYSTEM], *data = &r->sides[DISK_DATA];
    Replaced replaced = { .desktop = &r->desktop,
                          .disk = replaced_side(system),
                          .data = replaced_side(data),
                          .trash_id = batch_text(chunk, i, "trash"),
                          .reason = "revert",
                          .now = now };

    if (data->new_id) { /* first, see replaced_put() */
        put_new(chunk, r, DISK_DATA, now);
        desktop.data_layer_id = (char *)data->new_id;
    }
    replaced_put_item(chunk, i, &replaced);
    if (system->new_id) {
        put_new(chunk, r, DISK_SYSTEM, now);
        desktop.layer_id = (char *)system->new_id;
        desktop.store_id = system->base.store_id;
        desktop.version_id = (char *)batch_text(chunk, i, "version");
        desktop.generation = generation_of(r);
        desktop.state = "ok";
    }
    desktop.changed_at = now;
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
}

/* Overlays that no row names. */
static void discard(Revert *reverts, const BatchChunk *chunk)
{
    for (guint i = 0; i < chunk->n; i++) {
        for (guint k = 0; !reverts[i].is_done && k < DISK_N; k++) {
            Side *s = &reverts[i].sides[k];
            if (s->new_id && s->store)
                s->store->ops->discard(s->store, STORE_LAYERS, &s->new_id, 1, NULL);
        }
    }
}

static Revert *load_all(BatchChunk *chunk)
{
    Revert *reverts = g_new0(Revert, chunk->n);
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        if (!chunk->errors[i])
            revert_load(chunk, i, db, &reverts[i], &chunk->errors[i]);
    }
    catalog_read_end(chunk->world->catalog, db);
    return reverts;
}

static void free_all(Revert *reverts, guint n)
{
    for (guint i = 0; i < n; i++)
        revert_clear(&reverts[i]);
    g_free(reverts);
}

static gboolean prepare_revert(BatchChunk *chunk, GError **error)
{
    Revert *reverts = load_all(chunk);
    gint64 now = units_now_ms();
    gboolean ok = write_overlays(chunk, reverts, now, error);

    for (guint i = 0; ok && i < chunk->n; i++) {
        if (!chunk->errors[i] && !reverts[i].is_done)
            put_facts(chunk, i, &reverts[i], now);
    }
    if (ok) {
        const char *to = json_string_value(json_object_get(chunk->plan, "to"));
        g_autofree char *verb = g_strdup_printf("back to snapshot '%s':", to ? to : "?");
        batch_event(chunk, "snapshot.revert", verb, "desktops");
    } else {
        discard(reverts, chunk);
    }
    free_all(reverts, chunk->n);
    return ok;
}

/* The commit failed.  The locks are held still: the rows are what they were. */
static void undo_revert(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(DesktopRow) desktop = { 0 };
        g_auto(SnapshotRow) to = { 0 };
        const char *slots[] = { batch_text(chunk, i, "layer"), batch_text(chunk, i, "data_layer") };
        if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL) ||
            !lookup_snapshot_by_id(db, batch_text(chunk, i, "snapshot"), &to, NULL) ||
            g_strcmp0(desktop.layer_id, slots[0]) == 0 ||
            (slots[1] && g_strcmp0(desktop.data_layer_id, slots[1]) == 0))
            continue;
        const char *bases[] = { to.layer_id, to.data_layer_id };
        for (guint k = 0; k < DISK_N; k++) {
            g_auto(LayerRow) base = { 0 };
            if (!slots[k] || !lookup_layer(db, bases[k], &base, NULL))
                continue;
            g_autoptr(Store) store = store_set_peek(chunk->world->stores, base.store_id);
            if (store)
                store->ops->discard(store, STORE_LAYERS, &slots[k], 1, NULL);
        }
    }
    catalog_read_end(chunk->world->catalog, db);
}

static const BatchType revert_type = { prepare_revert, undo_revert, batch_move_now };

static gboolean run_revert(Job *job, gpointer world, GError **error)
{
    return batch_run(job, world, &revert_type, error);
}

gboolean revert_one(Job *job, World *world, json_t *item, GError **error)
{
    return batch_run_one(job, world, item, &revert_type, error);
}

const JobType revert_job = { "snapshot.revert", JOB_INTERACTIVE, "desktops", run_revert };
