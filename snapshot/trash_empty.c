/* trash_empty.c: giving space back.
 *
 *   PURGE -> RECLAIM -> FORGET, and again while that freed a template version to go
 *
 * Purge commits that entries are gone and their layers are to be reclaimed; reclaim shrinks the
 * files in steps with pauses (unlinking a big file at once stalls every flush of a file system that
 * is mounted with discard); forget drops the layers' rows.  A stop anywhere is taken up by the next
 * run: what is to be reclaimed is a state of the layer, not of the job. */
#include "snapshot/trash.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/digest_cache.h"
#include "snapshot/stand_in.h"
#include "snapshot/trash_claims.h"
#include "snapshot/trash_purge.h"

#define PURGE_CHUNK 1000u
#define STEP_PAUSE_US 60000
#define SMALL_FILE (4 * MIB) /* of these, many are deleted between two pauses */

/* An entry that is named, or why it can't be. */
static gboolean find_named(Db *db, const char *id, LookupRows *ret, GError **error)
{
    lookup_rows(db, ROW_TRASH, ret, NULL, "SELECT * FROM trash WHERE id = ?1", "t", id);
    if (ret->rows->len == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no such trash entry");
        return FALSE;
    }
    if (!trash_is_held(db, ret->rows->pdata[0]))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                "a roll-out that is not over may bring it back");
    imaged_error_hint(error, "see it with: imagectl rollout list");
    return FALSE;
}

gboolean trash_plan_empty(World *world, const json_t *ids, BatchPlan *plan, GError **error)
{
    g_auto(LookupRows) entries = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    size_t i;
    json_t *id;
    gboolean ok = TRUE;

    batch_plan_init(plan, world, &trash_empty_job);
    if (!ids)
        ok = lookup_rows(db, ROW_TRASH, &entries, error, "SELECT * FROM trash ORDER BY trashed_at",
                         "");
    json_array_foreach((json_t *)ids, i, id) {
        g_auto(LookupRows) one = { 0 };
        g_autoptr(GError) why = NULL;
        const char *text = json_is_string(id) ? json_string_value(id) : "";
        if (!entries.rows)
            entries = (LookupRows){ ROW_TRASH, g_ptr_array_new() };
        if (find_named(db, text, &one, &why)) {
            g_ptr_array_add(entries.rows, g_ptr_array_steal_index(one.rows, 0));
            continue;
        }
        g_autofree char *shown = text_for_message(text, 40);
        batch_plan_reject(plan, shown, why);
    }
    catalog_read_end(world->catalog, db);
    for (guint k = 0; ok && entries.rows && k < entries.rows->len; k++) {
        const TrashRow *row = entries.rows->pdata[k];
        json_t *keys = json_array();
        claims_add(keys, 'x', "trash", row->id);
        batch_plan_add(plan, json_pack("{s:s,s:s}", "id", row->id, "name", row->name), keys);
    }
    if (!ok)
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "trash", "reclaim");
    return batch_plan_claim(plan, keys, error);
}

/* Take hold of the layers of all desktops that the entries belong to. */
static void claim_entries(World *world, TrashClaims *claims, const json_t *items)
{
    size_t i;
    json_t *item;
    Db *db = catalog_read_begin(world->catalog);

    json_array_foreach((json_t *)items, i, item) {
        g_auto(TrashRow) entry = { 0 };
        const char *id = json_string_value(json_object_get(item, "id"));
        if (lookup_trash(db, id, &entry, NULL) && entry.desktop_id)
            trash_claims_take(claims, entry.desktop_id);
    }
    catalog_read_end(world->catalog, db);
}

/* Purge what can go of the plan's entries; *ret_n says how many went. */
static gboolean purge_some(Job *job, World *world, guint *ret_n, GError **error)
{
    json_t *items = json_object_get(job_plan(job), "items");
    size_t i;
    json_t *item;
    guint n = 0;
    gboolean ok = TRUE;
    Changes *changes = changes_new();
    g_auto(TrashClaims) claims = TRASH_CLAIMS_INIT(world->claims);

    claim_entries(world, &claims, items);
    Db *db = catalog_read_begin(world->catalog); /* after the claims: nothing of it is old */
    json_array_foreach(items, i, item) {
        g_auto(TrashRow) entry = { 0 };
        const char *id = json_string_value(json_object_get(item, "id"));
        if (!ok || n >= PURGE_CHUNK || !lookup_trash(db, id, &entry, NULL) ||
            trash_is_needed(db, &entry) ||
            (entry.desktop_id && !trash_claims_has(&claims, entry.desktop_id)))
            continue;
        if (trash_stores_are_there(world, db, &entry) &&
            (ok = trash_purge(db, changes, &entry, error)))
            n++;
    }
    catalog_read_end(world->catalog, db);
    *ret_n = n;
    if (!ok || n == 0) {
        changes_free(changes);
        return ok;
    }
    return job_commit(job, changes, job_step(job) + 1, error);
}

typedef struct {
    Job *job;
    guint64 freed, small;
} Reclaimed;

/* Has QEMU it open still?  A guest may read a layer that was merged under it. */
static gboolean is_open(Store *store, const char *slot)
{
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    g_autoptr(GError) error = NULL;

    return !store_lock_layer(store, slot, &lock, &error) &&
           g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
}

/* Shrink and unlink one layer's file, wherever it lies. */
static gboolean reclaim_file(Reclaimed *sum, Store *store, const char *slot, GError **error)
{
    static const StorePlace places[] = { STORE_TRASH, STORE_LAYERS };

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        gboolean is_gone = FALSE;
        while (!is_gone) {
            guint64 freed;
            if (!job_check(sum->job, error) ||
                !store->ops->reclaim_step(store, places[i], slot, &freed, &is_gone, error))
                return FALSE;
            sum->freed += freed;
            sum->small += MAX(freed, 4096);
            if (sum->small >= SMALL_FILE) {
                g_usleep(STEP_PAUSE_US);
                sum->small = 0;
            }
        }
    }
    return TRUE;
}

/* Copies of templates in stores that are being drained go when nothing stands on them any more. */
static gboolean find_drained_copies(World *world, LookupRows *ret, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        lookup_rows(db, ROW_LAYER, ret, error,
                    "SELECT l.* FROM layer l JOIN store s ON s.id = l.store_id JOIN version"
                    " v ON v.id = l.owner_id WHERE s.state = 'draining' AND"
                    " l.state = 'frozen' AND v.layer_id <> l.id AND NOT EXISTS (SELECT 1"
                    " FROM layer c WHERE c.parent_id = l.id)",
                    "");

    catalog_read_end(world->catalog, db);
    return ok;
}

/* A job that has a share in the version, as a roll-out between two steps, may need the copy yet. */
static gboolean drop_drained_copies(Job *job, World *world, GError **error)
{
    g_auto(LookupRows) seen = { 0 };
    g_auto(LookupRows) layers = { 0 };
    g_autoptr(GHashTable) owners = g_hash_table_new(g_str_hash, g_str_equal);
    json_auto_t *claimed = json_array();

    if (!find_drained_copies(world, &seen, error))
        return FALSE;
    for (guint i = 0; i < seen.rows->len; i++) {
        char *owner = ((const LayerRow *)seen.rows->pdata[i])->owner_id;
        json_auto_t *keys = json_array();
        claims_add(keys, 'x', "version", owner);
        if (g_hash_table_contains(owners, owner) ||
            !claims_take(world->claims, keys, "trash.empty", NULL))
            continue;
        json_array_extend(claimed, keys);
        g_hash_table_add(owners, owner);
    }
    gboolean ok = g_hash_table_size(owners) == 0 || find_drained_copies(world, &layers, error);
    Changes *changes = changes_new();
    guint n = 0;
    for (guint i = 0; ok && layers.rows && i < layers.rows->len; i++) {
        const LayerRow *layer = layers.rows->pdata[i];
        if (!g_hash_table_contains(owners, layer->owner_id))
            continue;
        trash_reclaim_layer(changes, layer);
        n++;
    }
    if (n)
        ok = job_commit(job, changes, job_step(job) + 1, error);
    else
        changes_free(changes);
    claims_release(world->claims, claimed);
    return ok;
}

/* Own layers of desktops that carry no snapshot, and that nothing stands on any more. */
static gboolean find_unneeded(World *world, LookupRows *ret, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        lookup_rows(db, ROW_LAYER, ret, error,
                    "SELECT l.* FROM layer l WHERE l.owner_kind IN ('desktop', 'data')"
                    " AND l.state = 'frozen' AND NOT EXISTS (SELECT 1 FROM layer c WHERE"
                    " c.parent_id = l.id) AND NOT EXISTS (SELECT 1 FROM snapshot s WHERE"
                    " l.id = s.layer_id) AND NOT EXISTS (SELECT 1 FROM snapshot s WHERE"
                    " l.id = s.data_layer_id) AND NOT EXISTS (SELECT 1 FROM desktop d WHERE"
                    " d.layer_id = l.id) AND NOT EXISTS (SELECT 1 FROM desktop d WHERE"
                    " d.data_layer_id = l.id)",
                    "");

    catalog_read_end(world->catalog, db);
    return ok;
}

static gboolean drop_unneeded(Job *job, World *world, gboolean *ret_any, GError **error)
{
    g_auto(LookupRows) seen = { 0 };
    g_auto(LookupRows) layers = { 0 };
    g_auto(TrashClaims) claims = TRASH_CLAIMS_INIT(world->claims);
    guint n = 0;

    *ret_any = FALSE;
    if (!find_unneeded(world, &seen, error))
        return FALSE;
    for (guint i = 0; i < seen.rows->len; i++)
        trash_claims_take(&claims, ((const LayerRow *)seen.rows->pdata[i])->owner_id);
    if (seen.rows->len == 0 || !find_unneeded(world, &layers, error))
        return seen.rows->len == 0;
    Changes *changes = changes_new();
    for (guint i = 0; i < layers.rows->len; i++) {
        const LayerRow *layer = layers.rows->pdata[i];
        g_autoptr(Store) store = store_set_get(world->stores, layer->store_id, NULL);
        if (!store || !trash_claims_has(&claims, layer->owner_id))
            continue;
        trash_reclaim_layer(changes, layer);
        n++;
    }
    if (n == 0) {
        changes_free(changes);
        return TRUE;
    }
    *ret_any = TRUE;
    return job_commit(job, changes, job_step(job) + 1, error);
}

/* Give back every layer that is marked for it, and forget it. */
static gboolean reclaim_all(Job *job, World *world, Reclaimed *sum, GError **error)
{
    for (;;) {
        g_auto(LookupRows) layers = { 0 };
        Db *db = catalog_read_begin(world->catalog);
        gboolean ok = lookup_rows(
            db, ROW_LAYER, &layers, error,
            "SELECT * FROM layer WHERE state = 'reclaim' ORDER BY random() LIMIT 1000", "");
        catalog_read_end(world->catalog, db);
        if (!ok || layers.rows->len == 0)
            return ok;
        Changes *changes = changes_new();
        guint n = 0;
        for (guint i = 0; ok && i < layers.rows->len; i++) {
            const LayerRow *layer = layers.rows->pdata[i];
            g_autofree char *thing = g_strconcat("layer/", layer->id, NULL);
            g_autoptr(Store) store = store_set_get(world->stores, layer->store_id, NULL);
            /* An export may still read it, though nothing in the catalog stands on it any more. */
            if (!store || claims_has(world->claims, thing) || is_open(store, layer->slot))
                continue;
            if ((ok = reclaim_file(sum, store, layer->slot, error))) {
                changes_delete(changes, ROW_LAYER, layer->id, layer->store_id);
                changes_sql(changes, "DELETE FROM layer_counts WHERE layer_id = ?1", "t",
                            layer->id);
                digest_cache_forget(world, layer->id);
                n++;
            }
        }
        if (!job_commit(job, changes, job_step(job) + 1, ok ? error : NULL) || !ok)
            return FALSE;
        if (n == 0)
            return TRUE; /* the rest lies on stores that are offline */
    }
}

static gboolean run_empty(Job *job, gpointer data, GError **error)
{
    World *world = data;
    Reclaimed sum = { .job = job };
    guint n_total = (guint)json_array_size(json_object_get(job_plan(job), "items")), n_done = 0, n;
    gboolean any;
    gint64 started = units_now_ms();

    do {
        if (!job_check(job, error) || !purge_some(job, world, &n, error))
            return FALSE;
        n_done += n;
        if (!drop_drained_copies(job, world, error) || !reclaim_all(job, world, &sum, error) ||
            !drop_unneeded(job, world, &any, error))
            return FALSE;
        job_progress(job, MIN(n_done, n_total), n_total);
    } while (n > 0 || any);
    stand_in_drop_unused(world);
    Changes *changes = changes_new();
    if (n_done)
        changes_event(changes, "trash.empty", "info", NULL, job_owner(job),
                      "gave back %u trash entries", n_done);
    json_t *rejected = json_object_get(job_plan(job), "rejected");
    json_t *result = json_pack("{s:I,s:I,s:I,s:I,s:I,s:O}", "n_done", (json_int_t)n_done,
                               "n_failed", (json_int_t)json_array_size(rejected), "n_kept",
                               (json_int_t)(n_total - MIN(n_done, n_total)), "freed_bytes",
                               (json_int_t)sum.freed, "elapsed_ms",
                               (json_int_t)(units_now_ms() - started), "items", rejected);
    return job_commit_done(job, changes, result, error);
}

const JobType trash_empty_job = { "trash.empty", JOB_BULK, "entries", run_empty };

static void add_ids(World *world, json_t *ids, const char *sql, gint64 value)
{
    g_auto(LookupRows) rows = { 0 };
    Db *db = catalog_read_begin(world->catalog);

    lookup_rows(db, ROW_TRASH, &rows, NULL, sql, "i", value);
    catalog_read_end(world->catalog, db);
    for (guint i = 0; rows.rows && i < rows.rows->len; i++)
        json_array_append_new(ids, json_string(row_id(rows.rows->pdata[i])));
}

static gboolean any_store_low(World *world)
{
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);

    for (guint i = 0; i < ids->len; i++) {
        g_autoptr(Store) store = store_set_peek(world->stores, ids->pdata[i]);
        if (store && world_is_low(world, store))
            return TRUE;
    }
    return FALSE;
}

#define NOT_HELD " AND NOT EXISTS (SELECT 1 FROM " TRASH_HOLDERS " AND o.trash_id = trash.id)"

void trash_expire(World *world, gint64 now_ms)
{
    json_t *ids = json_array();
    g_auto(BatchPlan) plan = { 0 };
    g_autoptr(GError) error = NULL;

    add_ids(world, ids,
            "SELECT * FROM trash WHERE expires_at <= ?1" NOT_HELD " ORDER BY expires_at LIMIT 1000",
            now_ms);
    if (json_array_size(ids) == 0 && world->settings.empty_when_low && any_store_low(world))
        add_ids(world, ids, "SELECT * FROM trash WHERE 1" NOT_HELD " ORDER BY trashed_at LIMIT ?1",
                100);
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_left = lookup_int(db, "SELECT EXISTS (SELECT 1 FROM layer WHERE state = 'reclaim')",
                                  ""); /* layers that were in use then */
    catalog_read_end(world->catalog, db);
    if ((json_array_size(ids) || is_left) && trash_plan_empty(world, ids, &plan, &error) &&
        (json_array_size(plan.items) || is_left)) {
        JobRequest request = { .owner = "imaged" };
        batch_plan_take(&plan, &request);
        g_free(job_submit(world->jobs, &request, NULL));
    }
    json_decref(ids);
}
