/* reimage.c: see reimage.h.
 *
 *   QEMU's lock on the old layer -> new overlays, durable -> facts -> old file to trash/
 *
 * The new overlay stands on a template version; revert.c has those that stand on a snapshot's
 * layer.  The lock is held until the end, so QEMU can't open a disk in the moment of its
 * replacement.  A data disk is not looked at. */
#include "snapshot/reimage.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/overlays.h"
#include "snapshot/replaced.h"

typedef struct {
    char *id; /* of the version, or NULL */
    char *why_not;
    int code;
} Target;

static void target_free(gpointer data)
{
    Target *target = data;

    g_free(target->id);
    g_free(target->why_not);
    g_free(target);
}

/* Another version must be a published one; that on which the desktop stands is always good. */
static void judge(Target *target, Query *q, const char *version_id, gint64 to)
{
    const char *state = q ? query_text(q, "state") : NULL;

    target->code = q ? IMAGED_ERROR_INVALID : IMAGED_ERROR_NOT_FOUND;
    if (!q)
        target->why_not = to ? g_strdup_printf("its template has no version %" G_GINT64_FORMAT, to)
                             : g_strdup("its template version was deleted");
    else if (!g_str_equal(state, "published") && !g_str_equal(query_text(q, "id"), version_id))
        target->why_not =
            g_strdup_printf("version %" G_GINT64_FORMAT " is %s, not published", to, state);
    else
        target->id = g_strdup(query_text(q, "id"));
}

/* Version number to of the template that version_id belongs to (0: itself).  Thousands of desktops
 * stand on a few versions, so each is asked for once; known owns it. */
static const Target *find_target(Db *db, GHashTable *known, const char *version_id, gint64 to)
{
    Target *target = g_hash_table_lookup(known, version_id);

    if (target)
        return target;
    target = g_new0(Target, 1);
    Query *q = db_query(db,
                        "SELECT w.id AS id, w.state AS state FROM version v JOIN version w ON"
                        " w.template_id = v.template_id WHERE v.id = ?1 AND w.is_trashed = 0"
                        " AND CASE WHEN ?2 = 0 THEN w.id = v.id ELSE w.version = ?2 END",
                        "ti", version_id, to);
    judge(target, query_next(q) ? q : NULL, version_id, to);
    query_end(q, NULL);
    g_hash_table_insert(known, g_strdup(version_id), target);
    return target;
}

gboolean reimage_plan_reset(World *world, const LookupRows *desktops, gint64 to, BatchPlan *plan,
                            GError **error)
{
    g_autoptr(GHashTable) targets =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, target_free);
    g_autoptr(GHashTable) claimed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &reimage_job);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        Id layer = id_new(), trash = id_new();
        const Target *target = find_target(db, targets, row->version_id, to);
        const char *version_id = target->id;
        if (version_id) {
            json_t *keys = json_array();
            gsize n_before = json_array_size(plan->items);
            claims_add(keys, 'x', "desktop", row->id);
            if (!g_hash_table_contains(claimed, version_id)) /* what all share is claimed once */
                claims_add(keys, 's', "version", version_id);
            if (!g_hash_table_contains(claimed, row->store_id))
                claims_add(keys, 's', "making", row->store_id);
            batch_plan_add(plan,
                           json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name,
                                     "layer", layer.s, "trash", trash.s, "version", version_id,
                                     "store", row->store_id),
                           keys);
            if (json_array_size(plan->items) > n_before) {
                g_hash_table_add(claimed, g_strdup(version_id));
                g_hash_table_add(claimed, g_strdup(row->store_id));
            }
        } else {
            g_autoptr(GError) why =
                g_error_new_literal(IMAGED_ERROR, target->code, target->why_not);
            batch_plan_reject(plan, row->name, why);
        }
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

/* What one item works with. */
typedef struct {
    DesktopRow desktop;
    LayerRow old, base;
    Store *store, *old_store; /* of base and old: they differ after a move */
    gboolean has_old; /* the old disk's file is there */
    gboolean is_done;
    StoreStat stat;
} Reset;

static void reset_clear(Reset *r)
{
    desktop_row_clear(&r->desktop);
    layer_row_clear(&r->old);
    layer_row_clear(&r->base);
    g_clear_pointer(&r->store, store_unref);
    g_clear_pointer(&r->old_store, store_unref);
}

/* Store and base of r: those of the item before it, if they are the same. */
static gboolean find_base(BatchChunk *chunk, guint i, Db *db, Reset *r, const Reset *before,
                          GError **error)
{
    const char *version_id = batch_text(chunk, i, "version");

    if (before && before->store && before->base.id &&
        g_str_equal(before->store->id, r->desktop.store_id) &&
        g_str_equal(before->base.owner_id, version_id)) {
        LayerRow *copy = row_copy(ROW_LAYER, &before->base);
        r->store = store_ref(before->store);
        r->base = *copy;
        g_free(copy);
        return TRUE;
    }
    r->store = store_set_get(chunk->world->stores, r->desktop.store_id, error);
    return r->store &&
           lookup_version_layer(db, version_id, r->desktop.store_id, &r->base, error);
}

static gboolean reset_load(BatchChunk *chunk, guint i, Db *db, Reset *r, const Reset *before,
                           GError **error)
{
    if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &r->desktop, error) ||
        !lookup_layer(db, r->desktop.layer_id, &r->old, error))
        return FALSE;
    if (r->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        return FALSE;
    }
    if (g_str_equal(r->desktop.layer_id, batch_text(chunk, i, "layer"))) {
        r->is_done = TRUE; /* committed to the journal just before a stop */
        return TRUE;
    }
    if (!find_base(chunk, i, db, r, before, error))
        return FALSE;
    r->old_store = g_str_equal(r->store->id, r->old.store_id)
                       ? store_ref(r->store)
                       : store_set_get(chunk->world->stores, r->old.store_id, error);
    if (!r->old_store)
        return FALSE;
    return batch_hold(chunk, i, r->old_store, r->old.slot, &r->stat, &r->has_old);
}

guint64 reimage_disk_size(const LayerRow *base, const DesktopRow *desktop)
{
    return (guint64)MAX(base->virtual_size, desktop->disk_size);
}

static guint64 disk_size(const Reset *r)
{
    return reimage_disk_size(&r->base, &r->desktop);
}

static void put_reset(BatchChunk *chunk, guint i, Reset *r, gint64 now)
{
    char *layer_id = (char *)batch_text(chunk, i, "layer");
    LayerRow layer = { .id = layer_id, .slot = layer_id, .store_id = r->base.store_id,
                       .parent_id = r->base.id, .owner_kind = "desktop", .owner_id = r->desktop.id,
                       .generation = r->desktop.generation + 1, .state = "active",
                       .place = "layers", .virtual_size = (gint64)disk_size(r),
                       .created_at = now };
    DesktopRow desktop = r->desktop;
    const char *reason = json_string_value(json_object_get(chunk->plan, "reason"));
    Replaced replaced = { .desktop = &r->desktop,
                          .disk = { &r->old, r->has_old ? &r->stat : NULL },
                          .trash_id = batch_text(chunk, i, "trash"),
                          .reason = reason ? reason : "reset", .now = now };

    replaced_put_item(chunk, i, &replaced);
    desktop.layer_id = layer_id;
    desktop.store_id = r->base.store_id;
    desktop.version_id = (char *)batch_text(chunk, i, "version");
    desktop.generation++;
    desktop.state = "ok";
    desktop.changed_at = now;
    changes_put(chunk->changes, ROW_LAYER, &layer, layer.store_id);
    changes_put(chunk->changes, ROW_DESKTOP, &desktop, desktop.store_id);
}

/* Write the overlays of all items that are fine. */
static gboolean write_overlays(BatchChunk *chunk, const Reset *resets, gint64 now, GError **error)
{
    g_autoptr(Overlays) overlays = overlays_new();

    for (guint i = 0; i < chunk->n; i++) {
        const Reset *r = &resets[i];
        Identity identity = { .id = (char *)batch_text(chunk, i, "layer"), .parent = r->base.id,
                              .owner_kind = "desktop", .owner_id = r->desktop.id,
                              .owner_name = r->desktop.name,
                              .generation = r->desktop.generation + 1, .created_at = now };
        if (!chunk->errors[i] && !r->is_done)
            overlays_add(overlays, r->store, &identity, r->base.slot, disk_size(r));
    }
    return overlays_write(overlays, error);
}

void reimage_undo_prepare(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(DesktopRow) desktop = { 0 };
        const char *slot = batch_text(chunk, i, "layer");
        if (!lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL) ||
            g_str_equal(desktop.layer_id, slot))
            continue;
        g_autoptr(Store) store = store_set_peek(chunk->world->stores,
                                                batch_text(chunk, i, "store"));
        if (store)
            store->ops->discard(store, STORE_LAYERS, &slot, 1, NULL);
    }
    catalog_read_end(chunk->world->catalog, db);
}

gboolean reimage_prepare(BatchChunk *chunk, GError **error)
{
    Reset *resets = g_new0(Reset, chunk->n);
    gint64 now = units_now_ms();
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++)
        reset_load(chunk, i, db, &resets[i], i ? &resets[i - 1] : NULL, &chunk->errors[i]);
    catalog_read_end(chunk->world->catalog, db);
    gboolean ok = write_overlays(chunk, resets, now, error);
    for (guint i = 0; ok && i < chunk->n; i++) {
        if (chunk->errors[i] || resets[i].is_done)
            continue;
        put_reset(chunk, i, &resets[i], now);
    }
    if (!ok)
        reimage_undo_prepare(chunk);
    for (guint i = 0; i < chunk->n; i++)
        reset_clear(&resets[i]);
    g_free(resets);
    return ok;
}

static gboolean prepare_reset(BatchChunk *chunk, GError **error)
{
    if (!reimage_prepare(chunk, error))
        return FALSE;
    batch_event(chunk, "desktop.reset", "re-imaged", "desktops");
    return TRUE;
}

static gboolean run_reset(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_reset, reimage_undo_prepare, batch_move_now };

    return batch_run(job, world, &type, error);
}

const JobType reimage_job = { "desktop.reset", JOB_INTERACTIVE, "desktops", run_reset };
