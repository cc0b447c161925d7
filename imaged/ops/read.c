/* read.c: what can be listed and shown.  Each is one statement of the catalog; figures that only
 * the storage knows are added for a single object. */
#include <string.h>

#include "broker/config_disk.h"
#include "broker/identity_settings.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/args.h"
#include "imaged/ops/inspect.h"
#include "imaged/ops/stand_in_view.h"
#include "imaged/ops/view.h"
#include "broker/run/figures.h"
#include "broker/run/runs.h"
#include "imaged/ops/hardware.h"
#include "snapshot/chain.h"
#include "templates/inspection.h"

#define PAGE_ARGS "search limit after"

#define VERSION_COLUMNS                                                                            \
    "SELECT v.id, t.name || ':' || v.version AS name, t.name AS template, v.version, v.state,"     \
    " v.cpus, v.memory_bytes, v.os, v.description, l.virtual_size, l.checksum, v.source,"          \
    " v.firmware, v.video, nullif(v.sealed_at, 0) AS sealed_at__time,"                            \
    " (SELECT count(*) FROM desktop d WHERE d.version_id = v.id AND d.is_trashed = 0)"             \
    " AS n_desktops, v.layer_id AS layer,"                                                         \
    " (SELECT group_concat(s.name, char(10)) FROM layer r JOIN store s ON s.id = r.store_id"       \
    "  WHERE r.owner_id = v.id) AS stores__lines, v.notes AS notes__lines,"                        \
    " v.identity, v.hardware,"                                                                     \
    " v.created_at AS created_at__time FROM version v JOIN template t ON t.id = v.template_id"     \
    " LEFT JOIN layer l ON l.id = v.layer_id WHERE v.is_trashed = 0 AND "

#define TEMPLATE_COLUMNS                                                                           \
    "SELECT t.id, t.name, count(v.id) AS n_versions,"                                              \
    " max(CASE v.state WHEN 'published' THEN v.version END) AS latest,"                            \
    " CASE WHEN sum(v.state = 'published') > 0 THEN 'published' WHEN sum(v.state = 'draft') > 0"   \
    "  THEN 'draft' ELSE 'retired' END AS state,"                                                  \
    " (SELECT os FROM version w WHERE w.template_id = t.id AND w.is_trashed = 0 ORDER BY"          \
    "  w.version DESC LIMIT 1) AS os,"                                                             \
    " (SELECT description FROM version w WHERE w.template_id = t.id AND w.is_trashed = 0 ORDER BY" \
    "  w.version DESC LIMIT 1) AS description,"                                                    \
    " (SELECT l.virtual_size FROM version w JOIN layer l ON l.id = w.layer_id WHERE"               \
    "  w.template_id = t.id AND w.is_trashed = 0 ORDER BY w.version DESC LIMIT 1) AS virtual_size,"\
    " (SELECT count(*) FROM desktop d JOIN version w ON w.id = d.version_id WHERE"                 \
    "  w.template_id = t.id AND d.is_trashed = 0) AS n_desktops,"                                  \
    " t.created_at AS created_at__time FROM template t LEFT JOIN version v ON"                     \
    " v.template_id = t.id AND v.is_trashed = 0 WHERE t.is_trashed = 0 AND "

#define DESKTOP_COLUMNS                                                                            \
    "SELECT d.id, d.name, t.name AS template, v.version, d.owner, d.generation, s.name AS store,"  \
    " d.layer_id AS layer, d.state, d.mac, d.uuid, l.virtual_size,"                                \
    " (SELECT b.name FROM template b WHERE b.id = d.draft_of) AS draft_of,"                        \
    " b.virtual_size AS data_disk_size, d.data_layer_id AS data_layer,"                            \
    " (SELECT count(*) FROM snapshot n WHERE n.desktop_id = d.id AND n.is_trashed = 0) AS"         \
    "  n_snapshots,"                                                                               \
    " EXISTS (SELECT 1 FROM trash x WHERE " LOOKUP_UNDO_OF_D ") AS undo_available__bool,"          \
    " coalesce(r.state, (SELECT 'suspended' FROM suspension u WHERE u.desktop_id = d.id AND"       \
    "  u.generation = d.generation AND u.layer_id = d.layer_id), 'off') AS run,"                   \
    " r.reason AS run_reason, h.name AS host,"                                                     \
    " (SELECT p.name FROM pool_desktop m JOIN pool p ON p.id = m.pool_id WHERE m.desktop_id ="     \
    "  d.id) AS pool,"                                                                             \
    " (SELECT group_concat(name, char(10)) FROM (SELECT u.name FROM user u WHERE u.id IN (SELECT"  \
    "  a.user_id FROM assignment a WHERE a.desktop_id = d.id UNION ALL SELECT m.user_id FROM"      \
    "  pool_desktop m WHERE m.desktop_id = d.id) ORDER BY u.name)) AS users__lines,"               \
    " d.created_at AS created_at__time, d.changed_at AS changed_at__time FROM desktop d"           \
    " JOIN version v ON v.id = d.version_id JOIN template t ON t.id = v.template_id"               \
    " LEFT JOIN layer l ON l.id = d.layer_id LEFT JOIN store s ON s.id = d.store_id"               \
    " LEFT JOIN layer b ON b.id = d.data_layer_id"                                                 \
    " LEFT JOIN run r ON r.desktop_id = d.id LEFT JOIN host h ON h.id = r.host_id"                 \
    " WHERE d.is_trashed = 0 AND "

json_t *ops_template_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, PAGE_ARGS " app", error) || !args_are_texts(call, "app", error) ||
        !view_page_of(call, "templates", &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_ids(db, call->caller, "template");
    json_t *out = view_found(
        db_query(db,
                 TEMPLATE_COLUMNS
                 "t.name > coalesce(?1, '') AND (?2 IS NULL OR EXISTS (SELECT 1 FROM version w"
                 " WHERE w.template_id = t.id AND w.is_trashed = 0 AND "
                 INSPECTION_HAS_APP("w.layer_id", "?2") ")) AND (?3 IS NULL OR t.id IN (SELECT"
                 " value FROM json_each(?3))) GROUP BY t.id ORDER BY t.name",
                 "ttt", page.after, args_text(call, "app", FALSE, NULL), visible),
                             &page, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* Where nobody has said how it starts, what was found on the disk: null if nothing was. */
static void add_firmware(json_t *version)
{
    const json_t *boot = json_object_get(json_object_get(version, "inspection"), "boot");

    if (json_is_null(json_object_get(version, "firmware")) && json_array_size(boot))
        json_object_set(version, "firmware", json_array_get(boot, 0)); /* bios, if it can do both */
}

/* What the storage says of each version's layer; no reader of the catalog is held meanwhile. */
static void add_disk_bytes(World *world, json_t *versions)
{
    size_t i;
    json_t *version;

    json_array_foreach(versions, i, version) {
        g_auto(LayerRow) layer = { 0 };
        StoreStat stat = { 0 };
        LayerCounts counts = { 0 };
        const char *top = json_string_value(json_object_get(version, "layer"));
        Db *db = catalog_read_begin(world->catalog);
        gboolean found = lookup_layer(db, top, &layer, NULL);
        catalog_read_end(world->catalog, db);
        if (found) {
            g_autoptr(Store) store = store_set_peek(world->stores, layer.store_id);
            g_autoptr(Layer) file = store ? store_open_layer(store, layer.slot, NULL, NULL) : NULL;
            if (file && store_stat_layer(store, layer.slot, &stat, NULL))
                layer_count(file, &counts, NULL);
        }
        json_object_set_new(version, "inspection", inspect_show(world, top));
        add_firmware(version);
        json_object_set_new(
            version, "stand_ins",
            stand_in_list(world, json_string_value(json_object_get(version, "id"))));
        json_object_set_new(version, "data_bytes", json_integer((json_int_t)counts.data_bytes));
        json_object_set_new(version, "disk_bytes", json_integer((json_int_t)stat.disk_bytes));
    }
}

static json_t *read_versions(Db *db, const char *template_id, GError **error)
{
    return view_array(db_query(db, VERSION_COLUMNS "v.template_id = ?1 ORDER BY v.version", "t",
                               template_id),
                      NULL, G_MAXINT64, error);
}

/* What the rows of read_versions() (may be NULL) are shown with. */
static void complete_versions(World *world, json_t *versions)
{
    size_t i;
    json_t *version;

    add_disk_bytes(world, versions);
    json_array_foreach(versions, i, version) {
        const char *identity = json_string_value(json_object_get(version, "identity"));
        if (identity)
            json_object_set_new(version, "identity", identity_settings_shown(identity));
        const char *hardware = json_string_value(json_object_get(version, "hardware"));
        if (hardware)
            json_object_set_new(version, "hardware", hardware_merge(&hardware, 1));
    }
}

json_t *ops_template_versions(OpsCall *call, GError **error)
{
    g_auto(TemplateRow) row = { 0 };
    const char *name = args_text(call, "template", TRUE, error);
    json_t *out = NULL;

    if (!name || !args_check(call, "template", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_template(db, name, &row, error))
        out = read_versions(db, row.id, error);
    catalog_read_end(call->world->catalog, db);
    complete_versions(call->world, out);
    return out;
}

json_t *ops_template_show(OpsCall *call, GError **error)
{
    g_auto(TemplateRow) row = { 0 };
    const char *name = args_text(call, "template", TRUE, error);
    json_t *out = NULL;

    if (!name || !args_check(call, "template", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_template(db, name, &row, error)) {
        Query *q = db_query(db, TEMPLATE_COLUMNS "t.id = ?1 GROUP BY t.id", "t", row.id);
        out = query_next(q) ? view_object(q) : json_object();
        query_end(q, NULL);
        json_object_set_new(out, "versions", read_versions(db, row.id, NULL));
    }
    catalog_read_end(call->world->catalog, db);
    complete_versions(call->world, json_object_get(out, "versions"));
    return out;
}

/* A filter that names nothing is a slip.  What the caller may not see is not there for him. */
static gboolean check_template(Db *db, const Caller *caller, const char *name, GError **error)
{
    g_autofree char *visible = access_visible_ids(db, caller, "template");

    if (lookup_int(db,
                   "SELECT count(*) FROM template t LEFT JOIN version v ON v.template_id = t.id"
                   " WHERE (t.name = ?1 OR t.name || ':' || v.version = ?1) AND (?2 IS NULL OR t.id"
                   " IN (SELECT value FROM json_each(?2)))",
                   "tt", name, visible))
        return TRUE;
    g_autofree char *shown = text_for_message(name, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no template '%s'", shown);
    imaged_error_hint(error, "see them with: imagectl template list");
    return FALSE;
}

json_t *ops_desktop_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, PAGE_ARGS " template prefix app", error) ||
        !args_are_texts(call, "app", error) || !view_page_of(call, "desktops", &page, error))
        return NULL;
    const char *template = args_text(call, "template", FALSE, NULL);
    const char *prefix = args_text(call, "prefix", FALSE, NULL);
    Db *db = catalog_read_begin(call->world->catalog);
    /* what was found is visible */
    g_autofree char *found = view_found_ids(&page);
    g_autofree char *visible = found ? NULL
                                     : access_visible_ids(db, call->caller, "desktop");
    json_t *out = view_found(db_query(db,
                                      DESKTOP_COLUMNS
                                      "d.name > coalesce(?1, '') AND (?2 IS NULL OR t.name = ?2 OR"
                                      " t.name || ':' || v.version = ?2) AND (?3 IS NULL OR"
                                      " substr(d.name, 1, length(?3)) = ?3) AND (?4 IS NULL OR "
                                      INSPECTION_DESKTOP_HAS_APP("d", "?4") ") AND (?5 IS NULL OR"
                                      " d.id IN (SELECT value FROM json_each(?5)))"
                                      " ORDER BY d.name",
                                      "ttttt", page.after, template, prefix,
                                      args_text(call, "app", FALSE, NULL), found ? found : visible),
                             &page, error);
    if (out && json_array_size(out) == 0 && template &&
        !check_template(db, call->caller, template, error))
        g_clear_pointer(&out, json_decref);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* Bytes on disk of an active layer, and whether QEMU has it open. */
static gint64 look_at_layer(World *world, const LayerRow *layer, gboolean *ret_is_live)
{
    g_autoptr(Store) store = store_set_peek(world->stores, layer->store_id);
    StoreStat stat = { 0 };

    *ret_is_live = FALSE;
    if (!store)
        return 0;
    int fd = store->ops->open(store, STORE_LAYERS, layer->slot, ret_is_live, NULL);
    durable_close(&fd);
    store_stat_layer(store, layer->slot, &stat, NULL);
    return (gint64)stat.disk_bytes;
}

/* What its host told of it last. */
static void add_figures(World *world, const char *id, json_t *out)
{
    DesktopFigures figures = { 0 };
    json_t *addresses = json_array();
    gboolean is_known = figures_get(world->figures, id, &figures);
    g_auto(GStrv) each = g_strsplit(figures.addresses, " ", -1);

    for (guint i = 0; each[i]; i++)
        json_array_append_new(addresses, json_string(each[i]));
    json_object_set_new(out, "addresses", addresses);
    json_object_set_new(out, "cpu_usage", is_known ? json_real(figures.cpu_usage) : json_null());
}

json_t *ops_desktop_show(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    g_auto(LayerRow) layer = { 0 };
    g_auto(LayerRow) data = { 0 };
    const char *name = args_text(call, "desktop", TRUE, error);
    json_t *out = NULL;

    if (!name || !args_check(call, "desktop", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (lookup_desktop(db, name, &row, error) && lookup_layer(db, row.layer_id, &layer, error)) {
        Query *q = db_query(db, DESKTOP_COLUMNS "d.id = ?1", "t", row.id);
        out = query_next(q) ? view_object(q) : json_object();
        query_end(q, NULL);
        g_auto(LookupRows) chain = { 0 };
        const char *stand_in = NULL;
        if (chain_rows(db, row.layer_id, &chain, NULL)) {
            json_object_set_new(out, "chain_depth", json_integer(chain.rows->len));
            stand_in = stand_in_of_chain(&chain);
        }
        json_object_set_new(out, "stand_in", stand_in ? json_string(stand_in) : json_null());
        json_object_set_new(out, "inspection", json_null()); /* below: in its place */
        if (row.data_layer_id)
            lookup_layer(db, row.data_layer_id, &data, NULL);
        gint64 archived_at = lookup_int(db,
                                        "SELECT coalesce(max(created_at), 0) FROM archive_point"
                                        " WHERE desktop_id = ?1 AND deleted_at IS NULL AND"
                                        " state = 'ok'",
                                        "t", row.id);
        g_autofree char *archived = archived_at ? units_format_time(archived_at) : NULL;
        json_object_set_new(out, "last_archive_at",
                            archived ? json_string(archived) : json_null());
        g_autofree char *hostname = config_disk_hostname(db, &row);
        json_object_set_new(out, "hostname", json_string(hostname));
        json_object_set_new(out, "identity", config_disk_shown(db, &row));
        json_object_set_new(out, "hardware", hardware_shown(db, row.version_id, &row));
        g_auto(RunRow) run = { 0 };
        run_lookup(db, row.id, &run, NULL);
        json_object_set_new(out, "pending",
                            hardware_pending(run.hardware, json_object_get(out, "hardware")));
    }
    catalog_read_end(call->world->catalog, db);
    if (!out)
        return NULL;
    json_object_set_new(out, "inspection", inspect_show(call->world, row.layer_id));
    gboolean is_live, is_data_live = FALSE;
    gint64 bytes = look_at_layer(call->world, &layer, &is_live);
    json_object_set_new(out, "disk_bytes", json_integer(bytes));
    if (data.id) {
        bytes = look_at_layer(call->world, &data, &is_data_live);
        json_object_set_new(out, "data_disk_bytes", json_integer(bytes));
    } else {
        json_object_set_new(out, "data_disk_bytes", json_null());
    }
    json_object_set_new(out, "live", json_boolean(is_live || is_data_live));
    add_figures(call->world, row.id, out);
    return out;
}

json_t *ops_desktop_path(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    g_auto(LayerRow) layer = { 0 };
    const char *name = args_text(call, "desktop", TRUE, error);
    gboolean is_data;

    if (!name || !args_check(call, "desktop data", error) ||
        !args_bool(call, "data", &is_data, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_desktop(db, name, &row, error);
    if (ok && is_data && !row.data_layer_id) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "'%s' has no data disk", row.name);
        imaged_error_hint(error, "imagectl desktop data-disk add %s --size SIZE", row.name);
        ok = FALSE;
    }
    ok = ok && lookup_layer(db, is_data ? row.data_layer_id : row.layer_id, &layer, error);
    catalog_read_end(call->world->catalog, db);
    g_autoptr(Store) store = ok ? store_set_get(call->world->stores, layer.store_id, error) : NULL;
    g_autofree char *path = store ? store->ops->path(store, layer.slot, error) : NULL;
    return path ? json_pack("{s:s,s:s,s:s}", "id", row.id, "name", row.name, "path", path) : NULL;
}

json_t *ops_trash_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, PAGE_ARGS, error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_ids(db, call->caller, "trash");
    json_t *out = view_array(
        db_query(
            db,
            "SELECT x.id, x.name, d.name AS desktop, x.desktop_id, x.kind, x.reason, x.generation,"
            " s.name AS store, x.layer_id AS layer, x.data_layer_id AS data_layer, x.disk_bytes,"
            " x.trashed_at AS trashed_at__time,"
            " x.expires_at AS expires_at__time FROM trash x LEFT JOIN store s ON s.id = x.store_id"
            " LEFT JOIN desktop d ON d.id = x.desktop_id WHERE"
            " (?1 IS NULL OR (x.trashed_at, x.id) < (SELECT trashed_at, id FROM trash WHERE"
            " id = ?1)) AND (?2 IS NULL OR x.id IN (SELECT value FROM json_each(?2)))"
            " ORDER BY x.trashed_at DESC, x.id DESC",
            "tt", page.after, visible),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_job_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, PAGE_ARGS " state", error) || !view_page_of(call, "jobs", &page, error))
        return NULL;
    const char *state = args_text(call, "state", FALSE, NULL);
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) wanted = g_hash_table_new(g_str_hash, g_str_equal);
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_sql(call->caller, "job", "j");
    g_autofree char *sql = g_strdup_printf(
        "SELECT j.id FROM job j WHERE (?1 IS NULL OR j.rowid < (SELECT rowid FROM job WHERE"
        " id = ?1)) AND %s ORDER BY j.rowid DESC LIMIT 10000", visible ? visible : "1");
    Query *q = db_query_once(db, sql, "t", page.after);
    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    catalog_read_end(call->world->catalog, db);
    g_autoptr(GPtrArray) found = page.found;
    for (guint i = 0; found && i < found->len; i++)
        g_hash_table_add(wanted, found->pdata[i]);
    json_t *out = json_array();
    for (guint i = 0; i < ids->len && (gint64)json_array_size(out) < page.limit; i++) {
        if (found && !g_hash_table_contains(wanted, ids->pdata[i]))
            continue;
        json_t *job = job_to_json(call->world->jobs, ids->pdata[i], FALSE, NULL);
        const char *is = json_string_value(json_object_get(job, "state"));
        if (job && (!state || g_str_equal(is, state)))
            json_array_append(out, job);
        json_decref(job);
    }
    return out;
}

json_t *ops_job_show(OpsCall *call, GError **error)
{
    const char *id = args_text(call, "job", TRUE, error);

    return id && args_check(call, "job", error) ? job_to_json(call->world->jobs, id, TRUE, error)
                                                : NULL;
}
