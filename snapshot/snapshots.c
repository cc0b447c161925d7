/* snapshots.c: see snapshots.h.  A snapshot costs what an overlay costs, whatever the disk's size:
 * the active layer is frozen as it is and gets a name. */
#include "snapshot/snapshots.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"
#include "snapshot/freeze.h"

#define DESCRIPTION_MAX 2000

static gboolean check_new(Db *db, const char *desktop_id, const char *name, GError **error)
{
    g_auto(SnapshotRow) there = { 0 };

    if (!lookup_snapshot(db, desktop_id, name, &there, NULL))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "it has a snapshot '%s' already", name);
    return FALSE;
}

gboolean snapshot_plan_create(World *world, const LookupRows *desktops, const char *name,
                              const char *description, BatchPlan *plan, GError **error)
{
    batch_plan_init(plan, world, &snapshot_create_job);
    if (!name_check("snapshot", name, error) ||
        !text_check("description", description, DESCRIPTION_MAX, error))
        return FALSE;
    json_object_set_new(plan->plan, "snapshot", json_string(name));
    json_object_set_new(plan->plan, "description", json_string(description));
    Db *db = catalog_read_begin(world->catalog);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_autoptr(GError) why = NULL;
        Id layer = id_new(), data = id_new(), id = id_new();
        json_t *keys = json_array();
        if (!check_new(db, row->id, name, &why)) {
            batch_plan_reject(plan, row->name, why);
            json_decref(keys);
            continue;
        }
        claims_add(keys, 'x', "desktop", row->id);
        claims_add(keys, 'x', "snapshots", row->id);
        chain_claim_making(db, keys, row->store_id, row->data_layer_id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", row->id, "name", row->name,
                                 "layer", layer.s, "data_layer", data.s, "snapshot_id", id.s),
                       keys);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

static void put_snapshot(BatchChunk *chunk, guint i, Freeze *f, gint64 now)
{
    SnapshotRow row = { .id = (char *)batch_text(chunk, i, "snapshot_id"),
                        .desktop_id = f->desktop.id,
                        .name = (char *)json_string_value(json_object_get(chunk->plan, "snapshot")),
                        .description =
                            (char *)json_string_value(json_object_get(chunk->plan, "description")),
                        .layer_id = f->disks[DISK_SYSTEM].old.id,
                        .data_layer_id = f->disks[DISK_DATA].old.id,
                        .store_id = f->disks[DISK_SYSTEM].old.store_id,
                        .version_id = f->desktop.version_id,
                        .generation = f->desktop.generation,
                        .created_at = now,
                        .changed_at = now };

    freeze_put(f, chunk->changes, now);
    changes_put(chunk->changes, ROW_SNAPSHOT, &row, row.store_id);
}

static gboolean load_freeze(const BatchChunk *chunk, guint i, Db *db, Freeze *f, GError **error)
{
    return freeze_load(chunk->world, db, batch_text(chunk, i, "id"), batch_text(chunk, i, "layer"),
                       batch_text(chunk, i, "data_layer"), f, error);
}

static gboolean prepare_create(BatchChunk *chunk, GError **error)
{
    Freeze *freezes = g_new0(Freeze, chunk->n);
    g_autofree Freeze **sound = g_new0(Freeze *, chunk->n);
    const char *name = json_string_value(json_object_get(chunk->plan, "snapshot"));
    gint64 now = units_now_ms();
    guint n = 0;
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        Freeze *f = &freezes[i];
        if (load_freeze(chunk, i, db, f, &chunk->errors[i]) &&
            (f->is_done || (check_new(db, f->desktop.id, name, &chunk->errors[i]) &&
                            freeze_lock(chunk, i, f))))
            sound[n++] = f;
    }
    catalog_read_end(chunk->world->catalog, db);
    gboolean ok = freeze_write(sound, n, now, error);
    for (guint i = 0; ok && i < chunk->n; i++) {
        if (!chunk->errors[i] && !freezes[i].is_done)
            put_snapshot(chunk, i, &freezes[i], now);
    }
    if (ok) {
        g_autofree char *verb = g_strdup_printf(json_array_size(chunk->items) == 1
                                                    ? "took snapshot '%s'"
                                                    : "took snapshot '%s' of",
                                                name);
        batch_event(chunk, "snapshot.create", verb, "desktops");
    }
    for (guint i = 0; i < chunk->n; i++)
        freeze_clear(&freezes[i]);
    g_free(freezes);
    return ok;
}

/* The commit failed: the old layers are the active ones still. */
static void undo_create(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(Freeze) f = { 0 };
        if (!chunk->errors[i] && load_freeze(chunk, i, db, &f, NULL))
            freeze_undo(&f);
    }
    catalog_read_end(chunk->world->catalog, db);
}

static const BatchType create_type = { prepare_create, undo_create, NULL };

static gboolean run_create(Job *job, gpointer world, GError **error)
{
    return batch_run(job, world, &create_type, error);
}

gboolean snapshot_create_one(Job *job, World *world, json_t *item, GError **error)
{
    json_auto_t *items = json_pack("[O]", item);
    g_autoptr(BatchChunk) chunk = batch_chunk_new(job, world, job_plan(job), items, changes_new());

    if (!prepare_create(chunk, error))
        return FALSE;
    if (!chunk->errors[0])
        return batch_chunk_commit(chunk, &create_type, error);
    g_propagate_error(error, g_steal_pointer(&chunk->errors[0]));
    return FALSE;
}

const JobType snapshot_create_job = { "snapshot.create", JOB_INTERACTIVE, "desktops", run_create };

static gboolean change(World *world, Db *db, const char *desktop, const char *name,
                       const char *new_name, const char *description, SnapshotRow *row,
                       GError **error)
{
    g_auto(DesktopRow) owner = { 0 };

    if (!lookup_desktop(db, desktop, &owner, error) ||
        !lookup_snapshot(db, owner.id, name, row, error))
        return FALSE;
    if (new_name && !g_str_equal(new_name, name)) {
        if (!name_check("snapshot", new_name, error) || !check_new(db, owner.id, new_name, error))
            return FALSE;
        g_free(row->name);
        row->name = g_strdup(new_name);
    }
    if (description) {
        if (!text_check("description", description, DESCRIPTION_MAX, error))
            return FALSE;
        g_free(row->description);
        row->description = g_strdup(description);
    }
    row->changed_at = units_now_ms();
    return TRUE;
}

gboolean snapshot_rename(World *world, const char *desktop, const char *name, const char *new_name,
                         const char *description, const char *who, GError **error)
{
    g_auto(SnapshotRow) row = { 0 };
    g_auto(DesktopRow) owner = { 0 };
    json_t *keys = json_array();
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop(db, desktop, &owner, error);

    catalog_read_end(world->catalog, db);
    if (ok) {
        claims_add(keys, 'x', "snapshots", owner.id);
        ok = claims_take(world->claims, keys, "snapshot.rename", error);
    }
    if (ok) {
        db = catalog_read_begin(world->catalog);
        ok = change(world, db, desktop, name, new_name, description, &row, error);
        catalog_read_end(world->catalog, db);
        if (ok) {
            Changes *changes = changes_new();
            changes_put(changes, ROW_SNAPSHOT, &row, row.store_id);
            changes_event(changes, "snapshot.change", "info", desktop, who,
                          "snapshot '%s' is '%s' now", name, row.name);
            ok = catalog_commit(world->catalog, changes, error);
        }
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    return ok;
}
