/* snapshot_delete.c: a snapshot's name goes to the trash, and its layer is merged into the one
 * above where that is the only one.  Both are one commit, so a snapshot is there or gone; the data
 * disk's layer is merged before. */
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "snapshot/chain.h"
#include "snapshot/merge.h"
#include "snapshot/merge_runs.h"
#include "snapshot/merges.h"

/* What will be merged when this snapshot goes: the id of the layer above layer_id, one of its two,
 * or NULL.  Caller frees. */
static char *find_upper(Db *db, const SnapshotRow *row, const char *layer_id)
{
    g_autoptr(GHashTable) live = runs_live_layers(db, row->desktop_id, row->id);
    guint n;

    if (!layer_id ||
        lookup_int(db, "SELECT EXISTS (SELECT 1 FROM snapshot WHERE (layer_id = ?1 OR"
                       " data_layer_id = ?1) AND id <> ?2 AND is_trashed = 0)",
                   "tt", layer_id, row->id))
        return NULL; /* another name for the same state */
    return runs_live_child(db, live, layer_id, &n);
}

/* Add what merging one of its two layers needs. */
static gboolean reckon_layer(World *world, Db *db, const SnapshotRow *row, const char *layer_id,
                             SnapshotDeleteNeed *ret, GError **error)
{
    g_auto(LayerRow) layer = { 0 };
    g_auto(LayerRow) above = { 0 };
    g_autofree char *upper = find_upper(db, row, layer_id);
    LayerMergeNeed need = { 0 };
    StoreStat stat = { 0 };

    if (!lookup_layer(db, layer_id, &layer, error))
        return FALSE;
    g_autoptr(Store) store = store_set_get(world->stores, layer.store_id, error);
    if (!store)
        return FALSE;
    if (store_stat_layer(store, layer.slot, &stat, NULL)) {
        ret->own += stat.disk_bytes;
        ret->freed += stat.disk_bytes;
    }
    if (!upper)
        return TRUE;
    if (lookup_layer(db, upper, &above, NULL) &&
        store_stat_layer(store, above.slot, &stat, NULL))
        ret->freed += stat.disk_bytes;
    Merge merge = { .top = upper, .bottom = layer_id, .merged = "", .trash = "" };
    if (!merge_reckon(world, &merge, &need, error))
        return FALSE;
    ret->written += need.new_bytes;
    return TRUE;
}

gboolean snapshot_delete_reckon(World *world, Db *db, const SnapshotRow *row,
                                SnapshotDeleteNeed *ret, GError **error)
{
    *ret = (SnapshotDeleteNeed){ 0 };
    return reckon_layer(world, db, row, row->layer_id, ret, error) &&
           (!row->data_layer_id ||
            reckon_layer(world, db, row, row->data_layer_id, ret, error));
}

/* Is there room for the largest merge? */
static gboolean check_space(World *world, Db *db, const SnapshotRow *row, GError **error)
{
    SnapshotDeleteNeed need;
    g_autoptr(Store) store = store_set_get(world->stores, row->store_id, error);

    if (!store || !snapshot_delete_reckon(world, db, row, &need, error))
        return FALSE;
    g_autofree char *size = units_format_size(need.written);
    if (!need.written || world_check_space(world, store, need.written, error))
        return TRUE;
    g_prefix_error(error, "merging '%s' needs %s: ", row->name, size);
    imaged_error_hint(error, "give space back first: imagectl trash empty");
    return FALSE;
}

gboolean snapshot_plan_delete(World *world, const char *desktop, const json_t *names,
                              BatchPlan *plan, GError **error)
{
    g_auto(DesktopRow) owner = { 0 };
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop(db, desktop, &owner, error);
    size_t i;
    json_t *name;

    batch_plan_init(plan, world, &snapshot_delete_job);
    if (ok) {
        json_t *keys = json_array();
        claims_add(keys, 'x', "snapshots", owner.id);
        claims_add(keys, 'x', "layers", owner.id);
        ok = batch_plan_claim(plan, keys, error);
    }
    json_array_foreach((json_t *)names, i, name) {
        if (!g_hash_table_add(seen, (gpointer)json_string_value(name)))
            continue; /* named twice */
        g_auto(SnapshotRow) row = { 0 };
        Id trash = id_new(), merged = id_new(), former = id_new();
        Id data_merged = id_new(), data_former = id_new();
        if (!ok || !(ok = lookup_snapshot(db, owner.id, json_string_value(name), &row, error)) ||
            !(ok = check_space(world, db, &row, error)))
            break;
        json_t *keys = json_array();
        claims_add(keys, 'x', "snapshot", row.id);
        chain_claim_making(db, keys, row.store_id, row.data_layer_id);
        if (!(ok = batch_plan_claim(plan, keys, error)))
            break;
        json_array_append_new(plan->items,
                              json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", row.id, "name",
                                        row.name, "desktop", owner.name, "trash", trash.s,
                                        "merged", merged.s, "former", former.s, "data_merged",
                                        data_merged.s, "data_former", data_former.s));
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

static const char *item_text(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

static Changes *delete_changes(Job *job, World *world, const json_t *item, SnapshotRow *row,
                               guint64 bytes)
{
    Changes *changes = changes_new();
    gint64 now = units_now_ms();

    row->is_trashed = TRUE;
    row->changed_at = now;
    TrashRow trash = { .id = (char *)item_text(item, "trash"), .kind = "snapshot",
                       .reason = "deleted", .name = row->name, .desktop_id = row->desktop_id,
                       .version_id = row->version_id, .layer_id = row->layer_id,
                       .store_id = row->store_id, .generation = row->generation,
                       .disk_bytes = (gint64)bytes, .trashed_at = now,
                       .expires_at = now + world->settings.trash_keep_ms, .snapshot_id = row->id };
    changes_put(changes, ROW_SNAPSHOT, row, row->store_id);
    changes_put(changes, ROW_TRASH, &trash, row->store_id);
    changes_event(changes, "snapshot.delete", "info", item_text(item, "desktop"), job_owner(job),
                  "snapshot '%s' moved to the trash", row->name);
    return changes;
}

/* Merge the data disk's layer, as a step of its own: as long as the snapshot is there its layer
 * stays below the merged one's, so that a stop after this loses nothing. */
static gboolean merge_data(Job *job, World *world, const json_t *item, const SnapshotRow *row,
                           gboolean is_live, gboolean *ret_merged, GError **error)
{
    Merge merge = { .bottom = row->data_layer_id, .merged = item_text(item, "data_merged"),
                    .trash = item_text(item, "data_former"), .is_live = is_live };
    g_auto(LayerRow) done = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_done = merge.merged && lookup_layer(db, merge.merged, &done, NULL);
    g_autofree char *upper = is_done ? NULL : find_upper(db, row, row->data_layer_id);

    catalog_read_end(world->catalog, db);
    *ret_merged = is_done || upper;
    merge.top = upper;
    return is_done || !upper || !merge.merged || merge_layers(job, world, &merge, NULL, error);
}

static gboolean delete_one(Job *job, World *world, json_t *item, gboolean is_live, GError **error)
{
    g_auto(SnapshotRow) row = { 0 };
    SnapshotDeleteNeed need = { 0 };
    g_autofree char *upper = NULL;
    gboolean has_data_merged;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_snapshot_by_id(db, item_text(item, "id"), &row, error);

    if (ok && !row.is_trashed) {
        upper = find_upper(db, &row, row.layer_id);
        ok = snapshot_delete_reckon(world, db, &row, &need, error);
    }
    catalog_read_end(world->catalog, db);
    if (!ok || row.is_trashed) /* committed before a stop */
        return ok;
    if (!merge_data(job, world, item, &row, is_live, &has_data_merged, error))
        return FALSE;
    g_autofree char *layer_id = g_strdup(row.layer_id);
    Merge merge = { .top = upper, .bottom = layer_id, .merged = item_text(item, "merged"),
                    .trash = item_text(item, "former"), .is_live = is_live };
    Changes *changes = delete_changes(job, world, item, &row, need.own);
    json_object_set_new(item, "result",
                        json_pack("{s:b,s:I}", "merged", upper != NULL || has_data_merged,
                                  "written_bytes_max", (json_int_t)need.written));
    if (!upper)
        return job_commit(job, changes, job_step(job) + 1, error);
    return merge_layers(job, world, &merge, changes, error);
}

gboolean snapshot_delete_live(Job *job, World *world, json_t *item, GError **error)
{
    return delete_one(job, world, item, TRUE, error);
}

void snapshot_delete_uppers(World *world, const char *snapshot_id, char **ret_upper,
                            char **ret_data_upper)
{
    g_auto(SnapshotRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);

    *ret_upper = *ret_data_upper = NULL;
    if (lookup_snapshot_by_id(db, snapshot_id, &row, NULL) && !row.is_trashed) {
        *ret_upper = find_upper(db, &row, row.layer_id);
        *ret_data_upper = find_upper(db, &row, row.data_layer_id);
    }
    catalog_read_end(world->catalog, db);
}

static gboolean delete_at_rest(Job *job, World *world, json_t *item, GError **error)
{
    return delete_one(job, world, item, FALSE, error);
}

static gboolean run_delete(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, delete_at_rest, error);
}

const JobType snapshot_delete_job = { "snapshot.delete", JOB_BULK, "bytes", run_delete };
