/* store_check.c: proof that nothing is lost: each store's files against the catalog, each layer's
 * tables against its refcounts, its identity and parent against what the catalog says, and on
 * request the bytes of frozen layers against their checksums.
 *
 * What nobody accounts for goes to quarantine and is reported; nothing is ever deleted here. */
#include "cow/identity.h"
#include "cow/layer_check.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/account.h"
#include "imaged/ops/jobs.h"
#include "snapshot/stand_in.h"
#include "snapshot/trash.h"

typedef struct {
    Job *job;
    World *world;
    Store *store;
    gboolean data, repair;
    json_t *findings;
    gboolean is_ok;
    guint n_checked, n_live;
    guint64 done, total; /* layers */
} Check;

/* Names of what stands on a layer (desktops, at most 20), for "affects". */
static json_t *affected(Check *c, const char *layer_id)
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
static char *owner_name(Check *c, const LayerRow *layer)
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

static void find(Check *c, const char *severity, const char *kind, const char *slot,
                 const LayerRow *layer, gboolean repaired, const char *format, ...)
    G_GNUC_PRINTF(7, 8);
static void find(Check *c, const char *severity, const char *kind, const char *slot,
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

/* The layer below, as the catalog knows it; all NULL for a base.  Caller clears. */
static void find_parent(Check *c, const LayerRow *row, LayerRow *ret)
{
    Db *db = catalog_read_begin(c->world->catalog);

    if (row->parent_id)
        lookup_layer(db, row->parent_id, ret, NULL);
    catalog_read_end(c->world->catalog, db);
}

static void check_identity(Check *c, const LayerRow *row, const Layer *layer)
{
    const Qcow2Header *h = layer_header(layer);
    g_auto(Identity) identity = { 0 };
    g_auto(LayerRow) parent = { 0 };

    find_parent(c, row, &parent);
    g_autofree char *expected = parent.slot ? g_strdup_printf("../layers/%s", parent.slot) : NULL;
    /* What was merged into the slot below, or taken back into it, has an id that a header from
     * before doesn't know. */
    gboolean was_merged = parent.slot && (!g_str_equal(parent.slot, parent.id) ||
                                          layer_row_is_own(&parent));
    if (!h->identity || !identity_parse(h->identity, &identity, NULL))
        find(c, "error", "forged", row->slot, row, FALSE, "the layer's file carries no identity");
    else if (!g_str_equal(identity.id, row->id) || !identity.parent != !row->parent_id ||
             (!was_merged && g_strcmp0(identity.parent, row->parent_id) != 0))
        find(c, "error", "forged", row->slot, row, FALSE,
             "the file in this slot says that it is layer %s", identity.id);
    if (g_strcmp0(expected, h->backing_name) != 0)
        find(c, "error", "wrong_parent", row->slot, row, FALSE,
             "its file names another backing file than the catalog");
    if ((gint64)layer_virtual_size(layer) != row->virtual_size)
        find(c, "warning", "wrong_size", row->slot, row, FALSE,
             "its virtual size is not the catalog's");
}

static gboolean check_tables(Check *c, const LayerRow *row, const Layer *layer, GError **error)
{
    g_auto(LayerCheck) result = { 0 };

    if (!layer_check(layer, job_cancel_flag(c->job), NULL, NULL, &result, error))
        return FALSE;
    c->n_checked++;
    if (result.n_errors)
        find(c, "error", "corrupt", row->slot, row, FALSE, "%" G_GUINT64_FORMAT " errors: %s",
             result.n_errors,
             result.messages->len ? (const char *)result.messages->pdata[0] : "");
    else if (result.n_leaks)
        find(c, "note", "leak", row->slot, row, FALSE,
             "%" G_GUINT64_FORMAT " clusters are allocated but not used (harmless; the next"
             " re-image drops them)", result.n_leaks);
    return TRUE;
}

/* A layer that was frozen without being read (a snapshot) has its checksum from now on. */
static gboolean note_checksum(Check *c, const LayerRow *seen, char *checksum, GError **error)
{
    gboolean is_own = layer_row_is_own(seen), ok = TRUE;
    gboolean is_stand_in = g_str_equal(seen->owner_kind, LAYER_STAND_IN);
    json_t *keys = json_array();

    claims_add(keys, 'x', is_own ? "layers" : is_stand_in ? LAYER_STAND_IN : "version",
               seen->owner_id);
    if (is_own)
        claims_add(keys, 'x', "desktop", seen->owner_id);
    if (claims_take(c->world->claims, keys, "store.check", NULL)) { /* else at the next check */
        g_auto(LayerRow) row = { 0 };
        Db *db = catalog_read_begin(c->world->catalog);
        gboolean is_there = lookup_layer(db, seen->id, &row, NULL) &&
                            g_str_equal(row.state, "frozen") && !row.checksum;
        catalog_read_end(c->world->catalog, db);
        if (is_there) {
            Changes *changes = changes_new();
            row.checksum = g_strdup(checksum);
            changes_put(changes, ROW_LAYER, &row, row.store_id);
            ok = catalog_commit(c->world->catalog, changes, error);
        }
        claims_release(c->world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

static gboolean check_data(Check *c, const LayerRow *row, const Layer *layer, GError **error)
{
    g_autoptr(GError) local = NULL;
    Digest digest;

    if (!c->data || (!row->checksum && !g_str_equal(row->state, "frozen")))
        return TRUE;
    if (!digest_file(layer_fd(layer), job_cancel_flag(c->job), NULL, NULL, &digest, &local)) {
        if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        find(c, "error", "data", row->slot, row, FALSE, "%s", local->message);
        return TRUE;
    }
    g_autofree char *found = digest_to_text(&digest);
    if (!row->checksum)
        return note_checksum(c, row, found, error);
    if (!g_str_equal(found, row->checksum))
        find(c, "error", "data", row->slot, row, FALSE,
             "its bytes do not match its checksum: the storage has damaged it, or somebody wrote "
             "it");
    return TRUE;
}

static gboolean check_layer(Check *c, const LayerRow *row, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean is_live = FALSE;

    if (g_str_equal(row->state, "reclaim"))
        return TRUE; /* on its way out, in part gone */
    g_autoptr(Layer) layer = store_open_layer(c->store, row->slot, &is_live, &local);
    if (!layer) {
        gboolean is_gone = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
        find(c, "error", is_gone ? "missing" : "corrupt", row->slot, row, FALSE, "%s",
             is_gone ? "the layer's file is not in the store" : local->message);
        return TRUE;
    }
    check_identity(c, row, layer);
    if (is_live) { /* its tables on disk are stale */
        c->n_live++;
        return TRUE;
    }
    return check_tables(c, row, layer, error) && check_data(c, row, layer, error);
}

/* What is this file that nobody accounts for?  It goes to quarantine, where it harms nobody. */
static void quarantine(Check *c, const char *slot)
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
    find(c, "error", kind, slot, NULL, FALSE, "%s%s%s; %s", is_known ? "a copy of layer " : "",
         is_known ? identity.id : "a file that nobody accounts for",
         !is_known && identity.owner_name ? " (it says it belonged to a desktop or template)" : "",
         moved ? "moved to quarantine" : local->message);
}

static gboolean report_quarantined(const char *name, const StoreStat *stat, gpointer user,
                                   GError **error)
{
    g_autofree char *size = units_format_size(stat->disk_bytes);

    find(user, "note", "quarantined", name, NULL, FALSE,
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

static gboolean check_files(Check *c, const char *name, json_t **ret, GError **error)
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
        find(c, "error", "unknown_file", a.foreign->pdata[i], NULL, FALSE,
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

static gboolean check_layers(Check *c, GError **error)
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
        ok = job_check(c->job, error) && (!is_there || check_layer(c, &now, error));
        c->done++;
        job_progress(c->job, c->done, MAX(c->total, c->done));
    }
    return ok;
}

static gboolean check_store(Check *c, const char *store_id, json_t *stores, GError **error)
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
        find(c, "error", "offline", NULL, NULL, FALSE, "%s", local->message);
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
    Check c = { .job = job, .world = world, .data = json_is_true(json_object_get(plan, "data")),
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
