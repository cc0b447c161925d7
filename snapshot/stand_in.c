/* stand_in.c: see stand_in.h.
 *
 *   COUNT (advice_count.h) -> BUILD (tmp/) -> PUBLISH (frozen, its slot) -> FACT (the layer)
 *         -> for each desktop: a merge onto it, compared before the switch (merge.h)
 *
 * Each desktop is durable by itself: wherever it stops, a desktop stands on the version or on the
 * stand-in, and reads the same.  After a stop the layer in its slot is taken as it is: what it
 * holds decides what is saved, never what a guest reads. */
#include "snapshot/stand_in.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "snapshot/advice.h"
#include "snapshot/chain.h"
#include "snapshot/merge.h"
#include "snapshot/merge_runs.h"
#include "snapshot/stand_in_build.h"

#define CLAIMS_WAIT_MS 60000 /* for whoever works on a desktop when its turn comes */

char *stand_in_name(Db *db, const LayerRow *row)
{
    g_auto(LayerRow) version = { 0 };

    if (!row->parent_id || !lookup_layer(db, row->parent_id, &version, NULL))
        return g_strdup("a stand-in");
    g_autofree char *name = lookup_version_name(db, version.owner_id);
    return g_strdup_printf("%s (stand-in)", name);
}

/* ---- Planning ---- */

/* Why a desktop is left as it is, or NULL.  Static. */
static const char *reason_not(Db *db, const DesktopRow *desktop)
{
    g_auto(LookupRows) chain = { 0 };
    g_autoptr(GArray) runs = runs_of_disk(db, desktop, desktop->layer_id, NULL);

    if (!runs || !chain_rows(db, desktop->layer_id, &chain, NULL))
        return "its layers are not all there";
    guint n_own = chain_n_own(&chain);
    if (n_own == chain.rows->len)
        return "it stands on nothing: it was flattened";
    if (n_own != chain_n_above_version(&chain))
        return "it stands on a stand-in already";
    if (runs->len > 1 || lookup_int(db,
                                    "SELECT EXISTS (SELECT 1 FROM snapshot WHERE desktop_id = ?1"
                                    " AND is_trashed = 0)",
                                    "t", desktop->id))
        return "it has snapshots";
    return NULL;
}

static void plan_desktop(Db *db, BatchPlan *plan, json_t *skipped, const DesktopRow *row)
{
    const char *reason = reason_not(db, row);

    if (reason) {
        json_array_append_new(skipped, json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name,
                                                 "reason", reason));
        return;
    }
    /* Its claims are taken when its turn comes: counting takes hours, in which its user is not to
     * wait for a snapshot. */
    batch_plan_add(plan, json_pack("{s:s,s:s}", "id", row->id, "name", row->name), json_array());
}

/* The version's layer in the store that is meant. */
static gboolean find_base(World *world, Db *db, const char *ref, const char *store,
                          VersionRow *version, LayerRow *base, GError **error)
{
    g_autofree char *store_id = NULL;

    if (!lookup_version(db, ref, !strchr(ref, ':'), version, error) ||
        !lookup_layer(db, version->layer_id, base, error))
        return FALSE;
    if (store && !(store_id = store_set_find(world->stores, store, error)))
        return FALSE;
    if (store && !g_str_equal(store_id, base->store_id)) {
        layer_row_clear(base);
        *base = (LayerRow){ 0 };
        if (!lookup_version_layer(db, version->id, store_id, base, error))
            return FALSE;
    }
    return TRUE;
}

/* Can a stand-in be made there?  No reader of the catalog waits for that. */
static gboolean check_store(World *world, const LayerRow *base, GError **error)
{
    g_autoptr(Store) there = store_set_get(world->stores, base->store_id, error);

    if (there && !advice_frees_blocks(there)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the layers of this store have no subclusters: single blocks of 4 KiB can't be"
                    " freed in them");
        return FALSE;
    }
    return there && world_check_space(world, there, 0, error);
}

static gboolean claim_all(BatchPlan *plan, const VersionRow *version, const LayerRow *base,
                          GError **error)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', LAYER_STAND_IN, version->id);
    claims_add(keys, 's', "version", version->id);
    claims_add(keys, 's', "making", base->store_id);
    return batch_plan_claim(plan, keys, error);
}

gboolean stand_in_plan(World *world, const char *ref, const char *store, gint64 share,
                       BatchPlan *plan, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(TemplateRow) template = { 0 };
    g_auto(LayerRow) base = { 0 };
    g_auto(LookupRows) desktops = { 0 };
    Id layer = id_new();
    Db *db = catalog_read_begin(world->catalog);
    json_t *skipped = json_array();

    batch_plan_init(plan, world, &stand_in_job);
    gboolean ok = find_base(world, db, ref, store, &version, &base, error) &&
                  lookup_template_by_id(db, version.template_id, &template, error) &&
                  lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop WHERE is_trashed = 0 AND version_id = ?1 AND"
                              " store_id = ?2 ORDER BY name",
                              "tt", version.id, base.store_id) &&
                  claim_all(plan, &version, &base, error);
    for (guint i = 0; ok && i < desktops.rows->len; i++)
        plan_desktop(db, plan, skipped, desktops.rows->pdata[i]);
    g_autofree char *name = ok ? lookup_version_name(db, version.id) : NULL;
    catalog_read_end(world->catalog, db);
    ok = ok && check_store(world, &base, error);
    if (ok) {
        json_t *more = json_pack("{s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:I}", "name", name, "version",
                                 version.id, "template", template.name, "number",
                                 (json_int_t)version.version, "base", base.id, "store_id",
                                 base.store_id, "layer", layer.s, "share", (json_int_t)share);
        json_object_update(plan->plan, more);
        json_object_set(plan->plan, "skipped", skipped);
        json_decref(more);
    }
    json_decref(skipped);
    return ok;
}

/* ---- Each desktop ---- */

static const char *plan_text(Job *job, const char *key)
{
    return json_string_value(json_object_get(job_plan(job), key));
}

/* The rows of a desktop; *ret_bottom (caller frees) is its lowest own layer, NULL if it stands on
 * the stand-in already (before a stop). */
static gboolean load_desktop(Db *db, const char *id, const char *onto, DesktopRow *desktop,
                             char **ret_bottom, GError **error)
{
    g_auto(LookupRows) chain = { 0 };
    const char *reason;

    if (!lookup_desktop_by_id(db, id, desktop, error) ||
        !chain_rows(db, desktop->layer_id, &chain, error))
        return FALSE;
    guint n_own = chain_n_own(&chain), n = chain.rows->len;
    const LayerRow *below = n_own < n ? chain.rows->pdata[n - n_own - 1] : NULL;
    if (below && g_str_equal(below->id, onto))
        return TRUE;
    reason = desktop->is_trashed ? "it was deleted meanwhile" : reason_not(db, desktop);
    if (reason) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s", reason);
        return FALSE;
    }
    *ret_bottom = g_strdup(((const LayerRow *)chain.rows->pdata[n - n_own])->id);
    return TRUE;
}

/* What its disk takes now: kept over a stop by being asked before the first change. */
static gint64 own_bytes(World *world, const char *id)
{
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gint64 bytes = lookup_desktop_by_id(db, id, &desktop, NULL)
                       ? chain_own_bytes(world, db, desktop.layer_id)
                       : 0;

    catalog_read_end(world->catalog, db);
    return bytes;
}

/* With its claims. */
static gboolean move_claimed(Job *job, World *world, json_t *item, GError **error)
{
    const char *id = json_string_value(json_object_get(item, "id"));
    const char *onto = plan_text(job, "layer");
    g_auto(DesktopRow) desktop = { 0 };
    g_autofree char *bottom = NULL;
    gint64 before = own_bytes(world, id);
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = load_desktop(db, id, onto, &desktop, &bottom, error);

    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    if (bottom) {
        Id merged = id_derive(job_id(job), desktop.layer_id, "merged");
        Id trash = id_derive(job_id(job), desktop.layer_id, "trash");
        Merge merge = { .top = desktop.layer_id,
                        .bottom = bottom,
                        .onto = onto,
                        .merged = merged.s,
                        .trash = trash.s,
                        .drop = TRUE };
        if (!merge_layers(job, world, &merge, NULL, error))
            return FALSE;
    }
    json_object_set_new(item, "result",
                        json_pack("{s:I,s:I}", "before_bytes", (json_int_t)before, "after_bytes",
                                  (json_int_t)own_bytes(world, id)));
    return TRUE;
}

static gboolean move_one(Job *job, World *world, json_t *item, GError **error)
{
    const char *id = json_string_value(json_object_get(item, "id"));
    json_t *keys = json_array();

    claims_add(keys, 'x', "snapshots", id);
    claims_add(keys, 'x', "layers", id);
    gboolean ok = world_wait_claims(world, job, keys, CLAIMS_WAIT_MS, error);
    if (ok) {
        ok = move_claimed(job, world, item, error);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

/* ---- The job ---- */

static gboolean is_known(World *world, const char *layer_id)
{
    g_auto(LayerRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_layer(db, layer_id, &row, NULL);

    catalog_read_end(world->catalog, db);
    return is;
}

static const char *why_nothing(Job *job)
{
    static const char *const lists[] = { "items", "skipped", "rejected" };
    gsize n = 0;

    for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
        n += json_array_size(json_object_get(job_plan(job), lists[i]));
    if (n == 0)
        return "no desktop stands on this version in this store";
    if (json_array_size(json_object_get(job_plan(job), "items")) < 2)
        return ADVICE_TOO_FEW;
    return ADVICE_NOTHING_PAYS;
}

/* There is nothing that would pay: the job is done. */
static gboolean end_without(Job *job, GError **error)
{
    const char *why = why_nothing(job);
    Changes *changes = changes_new();

    changes_event(changes, "template.stand-in", "info", plan_text(job, "name"), job_owner(job),
                  "%s: nothing was made", why);
    return job_commit_done(job, changes,
                           json_pack("{s:i,s:i,s:i,s:[],s:s}", "n_done", 0, "n_failed", 0,
                                     "elapsed_ms", 0, "items", "reason", why),
                           error);
}

static gboolean run_stand_in(Job *job, gpointer data, GError **error)
{
    World *world = data;
    gboolean is_worth = TRUE;
    gboolean ok =
        is_known(world, plan_text(job, "layer")) || stand_in_build(job, world, &is_worth, error);

    if (ok && !is_worth)
        return end_without(job, error);
    return ok && job_each(job, world, move_one, error);
}

const JobType stand_in_job = { "template.stand-in", JOB_BULK, "desktops", run_stand_in };
