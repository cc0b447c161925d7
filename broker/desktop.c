/* desktop.c: planning and renaming; the jobs are in desktop_jobs.c. */
#include "broker/desktop.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

/* "desk" -> "desk-"; a prefix that ends in a separator is used as it is. */
static char *stem_of(const char *prefix)
{
    gsize len = strlen(prefix);

    return len && !g_ascii_isalnum(prefix[len - 1]) ? g_strdup(prefix)
                                                    : g_strconcat(prefix, "-", NULL);
}

void desktop_make_names(const char *prefix, guint count, guint64 after, GPtrArray *out)
{
    g_autofree char *stem = stem_of(prefix);
    g_autofree char *last = g_strdup_printf("%" G_GUINT64_FORMAT, after + count);
    int width = MAX(3, (int)strlen(last));

    for (guint i = 1; i <= count; i++)
        g_ptr_array_add(out, g_strdup_printf("%s%0*" G_GUINT64_FORMAT, stem, width, after + i));
}

/* The highest number that a desktop with this prefix has. */
static guint64 highest_number(Db *db, const char *prefix)
{
    g_autofree char *stem = stem_of(prefix);
    g_autofree char *end = g_strconcat(stem, ":", NULL); /* ':' follows '9' */
    Query *q =
        db_query(db, "SELECT name FROM desktop WHERE is_trashed = 0 AND name >= ?1 AND name < ?2",
                 "tt", stem, end);
    guint64 highest = 0;

    while (query_next(q)) {
        const char *digits = query_text(q, "name") + strlen(stem);
        gsize n = strspn(digits, "0123456789");
        if (n && n <= 9 && !digits[n])
            highest = MAX(highest, g_ascii_strtoull(digits, NULL, 10));
    }
    query_end(q, NULL);
    return highest;
}

static gboolean collect_names(Db *db, const DesktopSpec *spec, GPtrArray *out, GError **error)
{
    gsize n = spec->names ? json_array_size(spec->names) : spec->count;
    size_t i;
    json_t *name;

    if (n == 0 || n > DESKTOP_MAX_BATCH) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a batch has 1 to %d desktops, not %zu", DESKTOP_MAX_BATCH, n);
        return FALSE;
    }
    if (!spec->names) {
        if (!name_check("desktop", spec->prefix, error))
            return FALSE;
        desktop_make_names(spec->prefix, spec->count, highest_number(db, spec->prefix), out);
        return name_check("desktop", out->pdata[0], error);
    }
    json_array_foreach((json_t *)spec->names, i, name) {
        if (!json_is_string(name)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a name is not a text");
            return FALSE;
        }
        g_ptr_array_add(out, g_strdup(json_string_value(name)));
    }
    return TRUE;
}

static gboolean check_geometry(const DesktopSpec *spec, GError **error)
{
    guint32 size = spec->cluster_size;

    if (!size || ((size & (size - 1)) == 0 && size >= (spec->has_subclusters ? 16384u : 4096u) &&
                  size <= 2 * MIB))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a cluster size of %u is out of range",
                size);
    imaged_error_hint(error, "a power of two from 4K (16K with subclusters) to 2M");
    return FALSE;
}

/* Which store, and what of the template lies there. */
static gboolean plan_target(World *world, Db *db, const DesktopSpec *spec, json_t *plan,
                            GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(LayerRow) base = { 0 };
    g_autofree char *store_id = NULL;

    if (!lookup_version(db, spec->template, !spec->is_draft, &version, error))
        return FALSE;
    if (g_str_equal(version.state, "retired") ||
        (g_str_equal(version.state, "draft") && !spec->is_draft)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "version %" G_GINT64_FORMAT " is %s, not published", version.version,
                    version.state);
        imaged_error_hint(error, "publish it first: imagectl template publish %s", spec->template);
        return FALSE;
    }
    if (spec->store)
        store_id = store_set_find(world->stores, spec->store, error);
    if ((spec->store && !store_id) || !lookup_layer(db, version.layer_id, &base, error))
        return FALSE;
    if (!store_id)
        store_id = g_strdup(base.store_id);
    if (spec->disk_size && (gint64)spec->disk_size < base.virtual_size) {
        g_autofree char *size = units_format_size((guint64)base.virtual_size);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a disk can't be smaller than its template's, which has %s", size);
        return FALSE;
    }
    g_autofree char *name = lookup_version_name(db, version.id);
    json_object_set_new(plan, "version_id", json_string(version.id));
    json_object_set_new(plan, "version_name", json_string(name));
    json_object_set_new(plan, "store_id", json_string(store_id));
    json_object_set_new(plan, "owner", json_string(spec->owner ? spec->owner : ""));
    json_object_set_new(plan, "cluster_bits", json_integer(spec->cluster_size
                                                ? __builtin_ctz(spec->cluster_size) : 0));
    json_object_set_new(plan, "disk_size", json_integer((json_int_t)spec->disk_size));
    json_object_set_new(plan, "data_size", json_integer((json_int_t)spec->data_size));
    if (spec->hardware)
        json_object_set_new(plan, "hardware", json_string(spec->hardware));
    json_object_set_new(plan, "has_subclusters", json_boolean(spec->has_subclusters));
    if (spec->is_draft)
        json_object_set_new(plan, "draft_of", json_string(version.template_id));
    return TRUE;
}

static void add_item(BatchPlan *plan, const char *name, gboolean has_data)
{
    Id id = id_new(), layer = id_new(), data = id_new();
    json_t *keys = json_array();
    json_t *item = json_pack("{s:s,s:s,s:s}", "id", id.s, "name", name, "layer", layer.s);

    if (has_data)
        json_object_set_new(item, "data_layer", json_string(data.s));
    claims_add(keys, 'x', "name", name);
    batch_plan_add(plan, item, keys);
}

gboolean desktop_plan_create(World *world, const DesktopSpec *spec, BatchPlan *plan, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    Db *db = catalog_read_begin(world->catalog);

    batch_plan_init(plan, world, &desktop_create_job);
    gboolean ok = (!spec->owner || text_check("owner", spec->owner, 256, error)) &&
                  check_geometry(spec, error) && collect_names(db, spec, names, error) &&
                  plan_target(world, db, spec, plan->plan, error);
    for (guint i = 0; ok && i < names->len; i++) {
        g_autoptr(GError) local = NULL;
        if (lookup_check_new_name(db, "desktop", names->pdata[i], &local)) {
            add_item(plan, names->pdata[i], spec->data_size > 0);
        } else if (names->len > 1) {
            batch_plan_reject(plan, names->pdata[i], local);
        } else {
            g_propagate_error(error, g_steal_pointer(&local));
            ok = FALSE;
        }
    }
    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;

    const char *store_id = json_string_value(json_object_get(plan->plan, "store_id"));
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
    g_auto(StoreEntry) entry = { 0 };
    guint64 each = 16 * KIB * (spec->data_size ? 2 : 1);
    if (!store || !world_check_space(world, store, names->len * each, error))
        return FALSE;
    if (store_set_describe(world->stores, store_id, &entry) && entry.is_draining) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the store '%s' is being drained", entry.name);
        return FALSE;
    }
    json_t *keys = json_array();
    claims_add(keys, 's', "version", json_string_value(json_object_get(plan->plan, "version_id")));
    claims_add(keys, 's', "store", store_id);
    claims_add(keys, 's', "making", store_id);
    return batch_plan_claim(plan, keys, error);
}

gboolean desktop_plan_delete(World *world, const LookupRows *desktops, BatchPlan *plan,
                             GError **error)
{
    batch_plan_init(plan, world, &desktop_delete_job);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        Id trash = id_new();
        json_t *keys = json_array();
        claims_add(keys, 'x', "desktop", row->id);
        batch_plan_add(plan,
                       json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name, "trash",
                                 trash.s),
                       keys);
    }
    return TRUE;
}

gboolean desktop_rename(World *world, const char *name, const char *new_name, const char *who,
                        GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        lookup_desktop(db, name, &row, error) &&
        (g_str_equal(name, new_name) || lookup_check_new_name(db, "desktop", new_name, error));

    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "desktop", row.id);
    claims_add(keys, 'x', "name", new_name);
    if ((ok = claims_take(world->claims, keys, "desktop.rename", error))) {
        Changes *changes = changes_new();
        g_free(row.name);
        row.name = g_strdup(new_name);
        row.changed_at = units_now_ms();
        changes_put(changes, ROW_DESKTOP, &row, row.store_id);
        changes_event(changes, "desktop.rename", "info", new_name, who, "renamed from %s", name);
        ok = catalog_commit(world->catalog, changes, error);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    return ok;
}
