/* inspect_view.c: what is known about what is inside of disks, shown.
 *
 * The rows are read first and the storage is looked at afterwards: no reader of the catalog, of
 * which there are few, waits for a store. */
#include "imaged/ops/args.h"
#include "imaged/ops/inspect.h"
#include "imaged/ops/view.h"
#include "snapshot/chain.h"
#include "templates/inspection.h"

/* A template's copies in several stores hold the same: the one that was read is its version's. */
static char *inspected_layer(Db *db, const LayerRow *row)
{
    Query *q = db_query(db,
                        "SELECT coalesce((SELECT v.layer_id FROM version v WHERE v.id = ?2 AND"
                        " ?3 = 'template'), ?1) AS layer",
                        "ttt", row->id, row->owner_id, row->owner_kind);
    char *layer = query_next(q) ? g_strdup(query_text(q, "layer")) : g_strdup(row->id);

    query_end(q, NULL);
    return layer;
}

/* Does it hold anything?  If that can't be told, it may. */
static gboolean holds_data(World *world, const LayerRow *row)
{
    g_autoptr(Store) store = store_set_peek(world->stores, row->store_id);
    gboolean is_live = FALSE;
    g_autoptr(Layer) layer = store ? store_open_layer(store, row->slot, &is_live, NULL) : NULL;
    LayerCounts counts;

    return !layer || is_live || !layer_count(layer, &counts, NULL) || counts.data_bytes ||
           counts.zero_bytes;
}

static gboolean is_as_read(World *world, const LayerRow *row, const StoreStat *read)
{
    g_autoptr(Store) store = store_set_peek(world->stores, row->store_id);
    StoreStat now;

    return g_str_equal(row->state, "frozen") ||
           (store && store_stat_layer(store, row->slot, &now, NULL) &&
            inspection_is_same_file(read, &now));
}

typedef struct {
    LookupRows rows; /* the chain */
    guint n_above;   /* at its end: layers on the one that was looked into */
    char *layer;     /* whose inspection it is */
    json_t *found;   /* or NULL */
    StoreStat read;
    gboolean is_template, is_current;
} Found;

static void found_clear(Found *f)
{
    lookup_rows_clear(&f->rows);
    g_clear_pointer(&f->layer, g_free);
    g_clear_pointer(&f->found, json_decref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Found, found_clear)

/* From the top down to the template: the first layer that was looked into.  What a template version
 * stands on says nothing about it. */
static void find_rows(Db *db, const char *layer_id, Found *f)
{
    if (!chain_rows(db, layer_id, &f->rows, NULL))
        return;
    for (guint i = f->rows.rows->len; i > 0 && !f->is_template; i--) {
        const LayerRow *row = f->rows.rows->pdata[i - 1];
        g_autofree char *layer = inspected_layer(db, row);
        f->is_template = g_str_equal(row->owner_kind, "template");
        f->found = inspection_of_layer(db, layer, &f->read);
        if (f->found) {
            f->layer = g_steal_pointer(&layer);
            return;
        }
        f->n_above++;
    }
}

static void find(World *world, const char *layer_id, Found *f)
{
    Db *db = catalog_read_begin(world->catalog);

    find_rows(db, layer_id, f);
    catalog_read_end(world->catalog, db);
    if (!f->found)
        return;
    guint top = f->rows.rows->len;
    f->is_current = is_as_read(world, f->rows.rows->pdata[top - 1 - f->n_above], &f->read);
    for (guint i = 0; f->is_current && i < f->n_above; i++)
        f->is_current = !holds_data(world, f->rows.rows->pdata[top - 1 - i]);
}

json_t *inspect_show(World *world, const char *layer_id)
{
    g_auto(Found) f = { 0 };

    find(world, layer_id, &f);
    if (!f.found)
        return json_pack("{s:s}", "state", "none");
    json_object_set_new(f.found, "is_current", json_boolean(f.is_current));
    json_object_set_new(f.found, "of", json_string(f.is_template ? "template" : "desktop"));
    return g_steal_pointer(&f.found);
}

/* ---- Applications ---- */

static json_t *applications(World *world, const char *layer_id, const char *glob)
{
    g_auto(Found) f = { 0 };

    find(world, layer_id, &f);
    Db *db = catalog_read_begin(world->catalog);
    g_autofree char *why = f.found ? inspection_why_not_known(db, f.layer) : NULL;
    json_t *list = f.found && !why ? inspection_applications(db, f.layer, glob) : NULL;
    catalog_read_end(world->catalog, db);
    return json_pack("{s:s,s:O?,s:b,s:s?,s:O?,s:s?,s:o}", "state",
                     list      ? "ok"
                     : f.found ? "failed"
                               : "none",
                     "as_of", json_object_get(f.found, "as_of"), "is_current", f.is_current, "of",
                     !f.found        ? NULL
                     : f.is_template ? "template"
                                     : "desktop",
                     "error", json_object_get(f.found, "error"), "reason", why, "applications",
                     list ? list : json_array());
}

static json_t *with_name(json_t *out, const char *id, const char *name)
{
    if (out) {
        json_object_set_new(out, "id", json_string(id));
        json_object_set_new(out, "name", json_string(name));
    }
    return out;
}

json_t *ops_desktop_apps(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    const char *name = args_text(call, "desktop", TRUE, error);

    if (!name || !args_check(call, "desktop app", error) || !args_are_texts(call, "app", error))
        return NULL;
    const char *glob = args_text(call, "app", FALSE, NULL);
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_desktop(db, name, &row, error);
    catalog_read_end(call->world->catalog, db);
    return ok ? with_name(applications(call->world, row.layer_id, glob), row.id, row.name) : NULL;
}

json_t *ops_template_apps(OpsCall *call, GError **error)
{
    g_auto(VersionRow) row = { 0 };
    const char *ref = args_text(call, "template", TRUE, error);

    if (!ref || !args_check(call, "template app", error) || !args_are_texts(call, "app", error))
        return NULL;
    const char *glob = args_text(call, "app", FALSE, NULL);
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_version(db, ref, FALSE, &row, error);
    g_autofree char *name = ok ? lookup_version_name(db, row.id) : NULL;
    catalog_read_end(call->world->catalog, db);
    return ok ? with_name(applications(call->world, row.layer_id, glob), row.id, name) : NULL;
}
