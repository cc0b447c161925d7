/* archive_create_plan.c: what an archive job is to do: one item for each point. */
#include "snapshot/archive.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

static void add_item(BatchPlan *plan, const char *kind, const char *name, const char *owner_id,
                     const char *snapshot_id)
{
    Id point = id_new(), layer = id_new(), data = id_new();

    json_array_append_new(plan->items,
                          json_pack("{s:s,s:s,s:s,s:s,s:s?,s:s,s:s}", "id", point.s, "name", name,
                                    "kind", kind, "of", owner_id, "snapshot", snapshot_id, "layer",
                                    layer.s, "data_layer", data.s));
}

static gboolean add_snapshot(Db *db, BatchPlan *plan, const char *ref, const char *at,
                             GError **error)
{
    g_autofree char *name = g_strndup(ref, (gsize)(at - ref));
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(SnapshotRow) snapshot = { 0 };

    if (!lookup_desktop(db, name, &desktop, error))
        return FALSE;
    if (!lookup_snapshot(db, desktop.id, at + 1, &snapshot, error))
        return FALSE;
    add_item(plan, "desktop", ref, desktop.id, snapshot.id);
    return TRUE;
}

static gboolean add_ref(Db *db, BatchPlan *plan, const char *ref, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(VersionRow) version = { 0 };
    const char *at = strchr(ref, '@');

    if (at)
        return add_snapshot(db, plan, ref, at, error);
    if (lookup_desktop(db, ref, &desktop, NULL)) {
        add_item(plan, "desktop", desktop.name, desktop.id, NULL);
        return TRUE;
    }
    GError *local = NULL;
    if (!lookup_version(db, ref, FALSE, &version, &local)) {
        if (strchr(ref, ':') || !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
            g_propagate_error(error, local);
            return FALSE;
        }
        g_error_free(local);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "there is no such desktop or template");
        return FALSE;
    }
    g_autofree char *name = lookup_version_name(db, version.id);
    add_item(plan, "template", name, version.id, NULL);
    return TRUE;
}

gboolean archive_check_refs(World *world, const json_t *refs, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = TRUE;
    size_t i;
    json_t *ref;

    batch_plan_init(&plan, world, &archive_create_job);
    json_array_foreach((json_t *)refs, i, ref) {
        ok = ok && add_ref(db, &plan, json_string_value(ref), error);
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

gboolean archive_plan_create(World *world, const ArchiveCreate *create, BatchPlan *plan,
                             GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    json_t *ref, *keys = json_array();
    size_t i;

    batch_plan_init(plan, world, &archive_create_job);
    if (!text_check("description", create->description, 2000, error)) {
        json_decref(keys);
        return FALSE;
    }
    json_object_set_new(plan->plan, "target", json_string(create->target_id));
    json_object_set_new(plan->plan, "description", json_string(create->description));
    claims_add(keys, 's', "archive-target", create->target_id);
    if (!batch_plan_claim(plan, keys, error))
        return FALSE;
    for (guint k = 0; create->desktops && k < create->desktops->rows->len; k++) {
        const DesktopRow *row = create->desktops->rows->pdata[k];
        add_item(plan, "desktop", row->name, row->id, NULL);
    }
    Db *db = catalog_read_begin(world->catalog);
    json_array_foreach((json_t *)create->refs, i, ref) {
        g_autoptr(GError) why = NULL;
        const char *text = json_string_value(ref);
        g_autofree char *shown = text_for_message(text, 130);
        if (g_hash_table_add(seen, (gpointer)text) && !add_ref(db, plan, text, &why))
            batch_plan_reject(plan, shown, why);
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}
