/* store_check.c: proof that nothing is lost: each store's files against the catalog, and each of
 * its layers by itself (store_check_layer.c).
 *
 * What nobody accounts for goes to quarantine and is reported; nothing is ever deleted here. */
#include "imaged/ops/store_check.h"

#include "cow/identity.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/account.h"
#include "imaged/ops/jobs.h"
#include "snapshot/stand_in.h"
#include "snapshot/trash.h"

/* Names of what stands on a layer (desktops, at most 20), for "affects". */
static json_t *affected(StoreCheck *c, const char *layer_id)
{
    Db *db = catalog_read_begin(c->world->catalog);
    Query *q =
        db_query(db,
                 "WITH RECURSIVE above(id) AS (SELECT ?1 UNION SELECT l.id FROM layer l JOIN"
                 " above a ON l.parent_id = a.id) SELECT DISTINCT d.name FROM desktop d JOIN above"
                 " a ON a.id IN (d.layer_id, d.data_layer_id) WHERE d.is_trashed = 0 ORDER BY"
                 " d.name LIMIT 20",
                 "t", layer_id);
    json_t *out = json_array();

    while (query_next(q))
        json_array_append_new(out, json_string(query_text(q, "name")));
    query_end(q, NULL);
    catalog_read_end(c->world->catalog, db);
    return out;
}

/* The name that people know a layer by. Caller frees. */
static char *owner_name(StoreCheck *c, const LayerRow *layer)
{
    g_auto(DesktopRow) desktop = { 0 };
    char *name;
    Db *db = catalog_read_begin(c->world->catalog);

    if (g_str_equal(layer->owner_kind, "template"))
        name = lookup_version_name(db, layer->owner_id);
    else if (g_str_equal(layer->owner_kind, LAYER_STAND_IN))
        name = stand_in_name(db, layer);
    else
        name = lookup_desktop_by_id(db, layer->owner_id, &desktop, NULL) ? g_strdup(desktop.name)
                                                                         : g_strdup("");
    catalog_read_end(c->world->catalog, db);
    return name;
}

void store_check_find(StoreCheck *c, const char *severity, const char *kind, const char *slot,
                      const LayerRow *layer, gboolean repaired, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *name = layer ? owner_name(c, layer) : g_strdup("");
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    g_autofree char *shown = g_utf8_make_valid(slot ? slot : "", -1);
    json_array_append_new(c->findings,
                          json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:b}", "severity", severity, "kind",
                                    kind, "layer", shown, "name", name, "affects",
                                    layer ? affected(c, layer->id) : json_array(), "message", valid,
                                    "repaired", repaired));
    if (g_str_equal(severity, "error") && !repaired)
        c->is_ok = FALSE;
}

/* What is this file that nobody accounts for?  It goes to quarantine, where it harms nobody. */
static void quarantine(StoreCheck *c, const char *slot)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(Layer) layer = store_open_layer(c->store, slot, NULL, NULL);
    g_auto(Identity) identity = { 0 };
    const char *kind = "orphan";
    gboolean is_known = FALSE;

    if (layer && layer_header(layer)->identity &&
        identity_parse(layer_header(layer)->identity, &identity, NULL)) {
        Db *db = catalog_read_begin(c->world->catalog);
        is_known = lookup_int(db, "SELECT EXISTS (SELECT 1 FROM layer WHERE id = ?1)", "t",
                              identity.id);
        catalog_read_end(c->world->catalog, db);
        kind = is_known ? "duplicate" : "orphan";
    }
    StoreStat stat;
    StorePlace from = c->store->ops->stat(c->store, STORE_LAYERS, slot, &stat, NULL) ? STORE_LAYERS
                                                                                      : STORE_TRASH;
    gboolean moved = c->store->ops->move(c->store, &slot, 1, from, STORE_QUARANTINE, TRUE, NULL,
                                         &local);
    c->is_ok = FALSE;
    store_check_find(
        c, "error", kind, slot, NULL, FALSE, "%s%s%s; %s", is_known ? "a copy of layer " : "",
        is_known ? identity.id : "a file that nobody accounts for",
        !is_known && identity.owner_name ? " (it says it belonged to a desktop or template)" : "",
        moved ? "moved to quarantine" : local->message);
}

static gboolean report_quarantined(const char *name, const StoreStat *stat, gpointer user,
                                   GError **error)
{
    g_autofree char *size = units_format_size(stat->disk_bytes);

    store_check_find(user, "note", "quarantined", name, NULL, FALSE,
         "%s wait in quarantine; look at it, then delete it or put it back by hand", size);
    return TRUE;
}

static json_t *rows_of(const Account *a)
{
    json_t *rows = json_array();

    for (guint i = 0; i < ACCOUNT_N_KINDS; i++) {
        if (i != ACCOUNT_UNKNOWN || a->n_files[i])
            json_array_append_new(rows, json_pack("{s:s,s:i,s:I}", "kind", account_kind_name(i),
                                                  "n_files", (int)a->n_files[i], "bytes",
                                                  (json_int_t)a->bytes[i]));
    }
    return rows;
}

static gboolean check_files(StoreCheck *c, const char *name, json_t **ret, GError **error)
{
    g_auto(Account) before = { 0 };
    g_auto(Account) a = { 0 };
    guint64 used = 0, accounted = 0;

    if (!account_store(c->world, c->store, &before, error))
        return FALSE;
    /* In rescue mode the catalog knows nothing, so that nothing is an orphan. */
    for (guint i = 0; !c->world->rescue_reason && i < before.orphans->len; i++)
        quarantine(c, before.orphans->pdata[i]);
    if (!account_store(c->world, c->store, &a, error))
        return FALSE;
    for (guint i = 0; i < a.foreign->len; i++)
        store_check_find(c, "error", "unknown_file", a.foreign->pdata[i], NULL, FALSE,
             "a file or folder that is not the store's lies in its folder");
    for (guint i = 0; i < ACCOUNT_N_KINDS; i++) {
        used += a.bytes[i];
        accounted += i == ACCOUNT_UNKNOWN ? 0 : a.bytes[i];
    }
    c->is_ok &= used == accounted;
    *ret = json_pack("{s:s,s:s,s:I,s:I,s:o}", "id", c->store->id, "name", name, "used_bytes",
                     (json_int_t)used, "accounted_bytes", (json_int_t)accounted, "rows",
                     rows_of(&a));
    return TRUE;
}

static gboolean check_layers(StoreCheck *c, GError **error)
{
    g_auto(LookupRows) layers = { 0 };
    Db *db = catalog_read_begin(c->world->catalog);
    gboolean ok = lookup_rows(db, ROW_LAYER, &layers, error,
                              "SELECT * FROM layer WHERE store_id = ?1 ORDER BY slot", "t",
                              c->store->id);

    catalog_read_end(c->world->catalog, db);
    for (guint i = 0; ok && i < layers.rows->len; i++) {
        const LayerRow *row = layers.rows->pdata[i];
        g_auto(LayerRow) now = { 0 };
        db = catalog_read_begin(c->world->catalog);
        gboolean is_there = lookup_layer(db, row->id, &now, NULL); /* it may have gone meanwhile */
        catalog_read_end(c->world->catalog, db);
        ok = job_check(c->job, error) && (!is_there || store_check_layer(c, &now, error));
        c->done++;
        job_progress(c->job, c->done, MAX(c->total, c->done));
    }
    return ok;
}

static gboolean check_store(StoreCheck *c, const char *store_id, json_t *stores, GError **error)
{
    g_auto(StoreEntry) entry = { 0 };
    g_autoptr(GError) local = NULL;
    json_t *out = NULL;

    if (!store_set_describe(c->world->stores, store_id, &entry))
        return TRUE;
    c->findings = json_array();
    c->is_ok = TRUE;
    c->n_checked = c->n_live = 0;
    c->store = store_set_get(c->world->stores, store_id, &local);
    if (!c->store) {
        store_check_find(c, "error", "offline", NULL, NULL, FALSE, "%s", local->message);
        out = json_pack("{s:s,s:s,s:i,s:i,s:[]}", "id", store_id, "name", entry.name, "used_bytes",
                        0, "accounted_bytes", 0, "rows");
    } else if ((c->repair && !trash_sweep(c->world, store_id, error)) ||
               !check_files(c, entry.name, &out, error) ||
               !c->store->ops->list(c->store, STORE_QUARANTINE, report_quarantined, c, error) ||
               !check_layers(c, error)) {
        g_clear_pointer(&c->store, store_unref);
        json_decref(c->findings);
        json_decref(out);
        return FALSE;
    }
    g_clear_pointer(&c->store, store_unref);
    json_object_set_new(out, "ok", json_boolean(c->is_ok));
    json_object_set_new(out, "n_layers_checked", json_integer(c->n_checked));
    json_object_set_new(out, "n_live", json_integer(c->n_live));
    json_object_set_new(out, "findings", c->findings);
    json_array_append_new(stores, out);
    return TRUE;
}

gboolean jobs_plan_check(World *world, const char *store, gboolean data, gboolean repair,
                         JobRequest *ret, GError **error)
{
    g_autofree char *store_id = store ? store_set_find(world->stores, store, error) : NULL;

    if (store && !store_id)
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "check", "all");
    if (!claims_take(world->claims, keys, jobs_check.kind, error)) {
        json_decref(keys);
        return FALSE;
    }
    Db *db = catalog_read_begin(world->catalog);
    gint64 total = lookup_int(db, "SELECT count(*) FROM layer WHERE ?1 IS NULL OR store_id = ?1",
                              "t", store_id);
    catalog_read_end(world->catalog, db);
    *ret = (JobRequest){ .type = &jobs_check, .claims = keys, .total = (guint64)total,
                         .plan = json_pack("{s:s?,s:b,s:b}", "store_id", store_id, "data", data,
                                           "repair", repair) };
    return TRUE;
}

static gboolean run_check(Job *job, gpointer data, GError **error)
{
    World *world = data;
    json_t *plan = job_plan(job), *stores = json_array(), *store;
    const char *only = json_string_value(json_object_get(plan, "store_id"));
    StoreCheck c = { .job = job,
                     .world = world,
                     .data = json_is_true(json_object_get(plan, "data")),
                     .repair = json_is_true(json_object_get(plan, "repair")) };
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);
    gboolean ok = TRUE;
    size_t n_bad = 0, i;

    for (guint k = 0; ok && k < ids->len; k++) {
        if (!only || g_str_equal(only, ids->pdata[k]))
            ok = check_store(&c, ids->pdata[k], stores, error);
    }
    if (!ok) {
        json_decref(stores);
        return FALSE;
    }
    json_array_foreach(stores, i, store) {
        n_bad += !json_is_true(json_object_get(store, "ok"));
    }
    Changes *changes = changes_new();
    if (n_bad)
        changes_event(changes, "store.check", "alarm", NULL, job_owner(job),
                      "the check found something wrong in %zu store%s", n_bad,
                      n_bad == 1 ? "" : "s");
    return job_commit_done(job, changes, json_pack("{s:b,s:o}", "ok", n_bad == 0, "stores", stores),
                           error);
}

const JobType jobs_check = { "store.check", JOB_BULK, "layers", run_check };
