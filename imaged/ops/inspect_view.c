/* inspect_view.c: what is known about what is inside of disks, shown. */
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

/* From the top down to the template: the first layer that was looked into.  What a template version
 * stands on says nothing about it.  Caller unrefs what is returned. */
static json_t *find(World *world, Db *db, const char *layer_id, char **ret_layer,
                    gboolean *ret_is_current, gboolean *ret_is_template)
{
    g_auto(LookupRows) rows = { 0 };
    json_t *found = NULL;
    gboolean is_current = TRUE, is_template = FALSE;

    if (!chain_rows(db, layer_id, &rows, NULL))
        return NULL;
    for (guint i = rows.rows->len; i > 0 && !found && !is_template; i--) {
        const LayerRow *row = rows.rows->pdata[i - 1];
        g_autofree char *layer = inspected_layer(db, row);
        StoreStat read;
        is_template = g_str_equal(row->owner_kind, "template");
        found = inspection_of_layer(db, layer, &read);
        if (!found) {
            is_current = is_current && !holds_data(world, row);
            continue;
        }
        *ret_is_current = is_current && is_as_read(world, row, &read);
        *ret_is_template = is_template;
        *ret_layer = g_steal_pointer(&layer);
    }
    return found;
}

char *inspect_find_layer(World *world, Db *db, const char *layer_id, gboolean *ret_is_current)
{
    char *layer = NULL;
    gboolean is_template;

    json_decref(find(world, db, layer_id, &layer, ret_is_current, &is_template));
    return layer;
}

json_t *inspect_show(World *world, Db *db, const char *layer_id)
{
    g_autofree char *layer = NULL;
    gboolean is_current, is_template;
    json_t *found = find(world, db, layer_id, &layer, &is_current, &is_template);

    if (!found)
        return json_pack("{s:s}", "state", "none");
    json_object_set_new(found, "is_current", json_boolean(is_current));
    json_object_set_new(found, "of", json_string(is_template ? "template" : "desktop"));
    return found;
}

/* ---- Applications ---- */

static json_t *applications(World *world, Db *db, const char *layer_id, const char *glob)
{
    g_autofree char *layer = NULL;
    gboolean is_current = FALSE, is_template = FALSE;
    json_t *found = find(world, db, layer_id, &layer, &is_current, &is_template);
    g_autofree char *why = found ? inspection_why_not_known(db, layer) : NULL;
    json_t *list = found && !why ? inspection_applications(db, layer, glob) : NULL;
    json_t *out =
        json_pack("{s:s,s:O?,s:b,s:s?,s:O?,s:s?,s:o}", "state",
                  list    ? "ok"
                  : found ? "failed"
                          : "none",
                  "as_of", json_object_get(found, "as_of"), "is_current", is_current, "of",
                  !found        ? NULL
                  : is_template ? "template"
                                : "desktop",
                  "error", json_object_get(found, "error"), "reason", why, "applications",
                  list ? list : json_array());

    json_decref(found);
    return out;
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
    json_t *out = NULL;

    if (!name || !args_check(call, "desktop app", error) || !args_are_texts(call, "app", error))
        return NULL;
    const char *glob = args_text(call, "app", FALSE, NULL);
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_desktop(db, name, &row, error)) {
        out = with_name(applications(call->world, db, row.layer_id, glob), row.id, row.name);
    }
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_template_apps(OpsCall *call, GError **error)
{
    g_auto(VersionRow) row = { 0 };
    const char *ref = args_text(call, "template", TRUE, error);
    json_t *out = NULL;

    if (!ref || !args_check(call, "template app", error) || !args_are_texts(call, "app", error))
        return NULL;
    const char *glob = args_text(call, "app", FALSE, NULL);
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_version(db, ref, FALSE, &row, error)) {
        g_autofree char *name = lookup_version_name(db, row.id);
        out = with_name(applications(call->world, db, row.layer_id, glob), row.id, name);
    }
    catalog_read_end(call->world->catalog, db);
    return out;
}
