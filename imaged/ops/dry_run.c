/* dry_run.c: see dry_run.h. */
#include "imaged/ops/dry_run.h"

#include <string.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/merges.h"
#include "templates/template.h"

typedef struct {
    json_t *objects, *breaks;
    gint64 now, later;
} DryRun;

static DryRun begin(void)
{
    return (DryRun){ json_array(), json_array(), 0, 0 };
}

static void add(DryRun *d, const char *id, const char *name, gboolean is_ok, gint64 now,
                gint64 later, const char *breaks)
{
    json_t *why = json_array();

    if (breaks) {
        g_autofree char *line = g_strdup_printf("%s: %s", name, breaks);
        json_array_append_new(why, json_string(breaks));
        json_array_append_new(d->breaks, json_string(line));
    }
    json_array_append_new(d->objects,
                          json_pack("{s:s,s:s,s:b,s:I,s:I,s:o}", "id", id, "name", name, "ok",
                                    is_ok, "freed_now_bytes", (json_int_t)now,
                                    "freed_later_bytes", (json_int_t)later, "breaks", why));
    if (is_ok) {
        d->now += now;
        d->later += later;
    }
}

static void add_missing(DryRun *d, const json_t *missing)
{
    size_t i;
    json_t *name;

    json_array_foreach((json_t *)missing, i, name) {
        g_autofree char *shown = text_for_message(json_string_value(name), 80);
        add(d, "", shown, FALSE, 0, 0, "there is no such desktop");
    }
}

static json_t *end(DryRun *d)
{
    return json_pack("{s:b,s:o,s:I,s:I,s:o}", "dry_run", 1, "objects", d->objects,
                     "freed_now_bytes", (json_int_t)d->now, "freed_later_bytes",
                     (json_int_t)d->later, "breaks", d->breaks);
}

/* NULL if something was not ok. */
static json_t *end_if(DryRun *d, gboolean ok)
{
    json_t *out = end(d);

    if (!ok)
        json_decref(out);
    return ok ? out : NULL;
}

/* Bytes of a layer on disk, and whether QEMU has it open.  The caller holds no reader of the
 * catalog: a store may hang. */
static gint64 layer_disk_bytes(World *world, const char *layer_id, gboolean *ret_is_live)
{
    g_auto(LayerRow) layer = { 0 };
    StoreStat stat = { 0 };

    *ret_is_live = FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean found = lookup_layer(db, layer_id, &layer, NULL);
    catalog_read_end(world->catalog, db);
    if (!found)
        return 0;
    g_autoptr(Store) store = store_set_peek(world->stores, layer.store_id);
    if (!store || !store_stat_layer(store, layer.slot, &stat, NULL))
        return 0;
    int fd = store->ops->open(store, STORE_LAYERS, layer.slot, ret_is_live, NULL);
    durable_close(&fd);
    return (gint64)stat.disk_bytes;
}

/* Bytes on disk of these of a desktop's disks, and whether QEMU has one of them open. */
static gint64 disks_bytes(World *world, const DesktopRow *row, Disks disks, gboolean *ret_is_live)
{
    gboolean is_live = FALSE, is_data_live = FALSE;
    gint64 bytes = disks == DISKS_DATA ? 0 : layer_disk_bytes(world, row->layer_id, &is_live);

    if (disks != DISKS_SYSTEM && row->data_layer_id)
        bytes += layer_disk_bytes(world, row->data_layer_id, &is_data_live);
    *ret_is_live = is_live || is_data_live;
    return bytes;
}

json_t *dry_run_disks(World *world, const LookupRows *desktops, const json_t *missing, Disks disks,
                      const char *why)
{
    DryRun d = begin();

    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        gboolean is_live;
        gint64 bytes = disks_bytes(world, row, disks, &is_live);
        const char *said = !why                                         ? NULL
                           : disks == DISKS_ALL && !row->data_layer_id ? "its present disk goes to "
                                                                         "the trash"
                                                                       : why;
        add(&d, row->id, row->name, !is_live, 0, bytes,
            is_live ? "refused: its disk is in use by QEMU" : said);
    }
    add_missing(&d, missing);
    return end(&d);
}

json_t *dry_run_desktops(World *world, const LookupRows *desktops, const json_t *missing,
                         gboolean is_reset)
{
    return dry_run_disks(world, desktops, missing, is_reset ? DISKS_SYSTEM : DISKS_ALL,
                         is_reset ? "its present disk goes to the trash" : NULL);
}

json_t *dry_run_undo(World *world, const LookupRows *desktops, const json_t *missing)
{
    DryRun d = begin();

    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_auto(TrashRow) entry = { 0 };
        Db *db = catalog_read_begin(world->catalog);
        gboolean is_live, has_undo = lookup_undo(db, row->id, &entry, NULL);
        catalog_read_end(world->catalog, db);
        Disks disks = has_undo && g_str_equal(entry.kind, "data") ? DISKS_DATA
                      : entry.data_layer_id && row->data_layer_id ? DISKS_ALL
                                                                  : DISKS_SYSTEM;
        gint64 bytes = disks_bytes(world, row, disks, &is_live);
        add(&d, row->id, row->name, has_undo && !is_live, 0, bytes,
            !has_undo             ? "refused: there is no reset of it to undo"
            : is_live             ? "refused: its disk is in use by QEMU"
            : disks == DISKS_DATA ? "its present data disk goes to the trash"
            : disks == DISKS_ALL  ? "its present disk and data disk go to the trash"
                                  : "its present disk goes to the trash");
    }
    add_missing(&d, missing);
    return end(&d);
}

json_t *dry_run_template(World *world, const char *ref, GError **error)
{
    g_auto(LookupRows) versions = { 0 };
    g_auto(TemplateRow) template = { 0 };
    g_auto(VersionRow) one = { 0 };
    DryRun d = begin();
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = strchr(ref, ':') ? lookup_version(db, ref, FALSE, &one, error) &&
                                         lookup_rows(db, ROW_VERSION, &versions, error,
                                                     "SELECT * FROM version WHERE id = ?1", "t",
                                                     one.id)
                                   : lookup_template(db, ref, &template, error) &&
                                         lookup_rows(db, ROW_VERSION, &versions, error,
                                                     "SELECT * FROM version WHERE template_id = ?1"
                                                     " AND is_trashed = 0 ORDER BY version",
                                                     "t", template.id);

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < versions.rows->len; i++) {
        const VersionRow *row = versions.rows->pdata[i];
        gboolean is_live;
        db = catalog_read_begin(world->catalog);
        g_autofree char *name = lookup_version_name(db, row->id);
        g_autofree char *standing = template_version_standing(db, row->id, !strchr(ref, ':'));
        catalog_read_end(world->catalog, db);
        gint64 bytes = layer_disk_bytes(world, row->layer_id, &is_live);
        g_autofree char *why = standing ? g_strdup_printf("refused: %s", standing) : NULL;
        add(&d, row->id, name, !standing, 0, bytes, why);
    }
    return end_if(&d, ok);
}

static gboolean is_listed(const json_t *ids, const char *id)
{
    size_t i;
    json_t *text;

    json_array_foreach((json_t *)ids, i, text) {
        if (g_strcmp0(json_string_value(text), id) == 0)
            return TRUE;
    }
    return FALSE;
}

json_t *dry_run_trash(World *world, const json_t *ids, GError **error)
{
    g_auto(LookupRows) entries = { 0 };
    g_autoptr(GHashTable) going = g_hash_table_new(g_str_hash, g_str_equal); /* desktops */
    DryRun d = begin();
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_TRASH, &entries, error,
                              "SELECT * FROM trash ORDER BY trashed_at", "");

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < entries.rows->len; i++) {
        const TrashRow *row = entries.rows->pdata[i];
        if (g_str_equal(row->kind, "desktop") && is_listed(ids, row->id))
            g_hash_table_add(going, row->desktop_id);
    }
    for (guint i = 0; ok && i < entries.rows->len; i++) {
        const TrashRow *row = entries.rows->pdata[i];
        gboolean is_live;
        /* A desktop takes its former disks along. */
        if (ids && !is_listed(ids, row->id) &&
            !((g_str_equal(row->kind, "disk") || g_str_equal(row->kind, "data")) &&
              row->desktop_id && g_hash_table_contains(going, row->desktop_id)))
            continue;
        gint64 bytes = layer_disk_bytes(world, row->layer_id, &is_live);
        if (row->data_layer_id)
            bytes += layer_disk_bytes(world, row->data_layer_id, &is_live);
        add(&d, row->id, row->name, TRUE, bytes, 0,
            g_str_equal(row->kind, "disk")       ? "this former disk can't be brought back"
            : g_str_equal(row->kind, "data")     ? "this data disk can't be brought back"
            : g_str_equal(row->kind, "desktop")  ? "this desktop can't be brought back"
            : g_str_equal(row->kind, "snapshot") ? "this snapshot can't be brought back"
            : g_str_equal(row->kind, "layer")    ? "this merge can't be undone"
            : g_str_equal(row->kind, "stand_in") ? NULL /* nothing stands on it */
                                                 : "this version can't be brought back");
    }
    return end_if(&d, ok);
}

json_t *dry_run_snapshots(World *world, const char *desktop, const json_t *names, GError **error)
{
    g_auto(DesktopRow) owner = { 0 };
    DryRun d = begin();
    size_t i;
    json_t *name;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop(db, desktop, &owner, error);

    json_array_foreach((json_t *)names, i, name) {
        g_auto(SnapshotRow) row = { 0 };
        SnapshotDeleteNeed need = { 0 };
        ok = ok && lookup_snapshot(db, owner.id, json_string_value(name), &row, error) &&
             snapshot_delete_reckon(world, db, &row, &need, error);
        if (!ok)
            break;
        g_autofree char *size = units_format_size(need.written);
        g_autofree char *why = need.written
                                   ? g_strdup_printf("merging its layer writes at most %s until "
                                                     "the trash is emptied",
                                                     size)
                                   : NULL;
        add(&d, row.id, row.name, TRUE, 0, (gint64)need.freed, why);
    }
    catalog_read_end(world->catalog, db);
    return end_if(&d, ok);
}

static void take_off(json_t *object, const char *key, json_int_t bytes)
{
    json_int_t before = json_integer_value(json_object_get(object, key));

    json_object_set_new(object, key, json_integer(before - bytes));
}

static void refuse(json_t *dry_run, json_t *object, const char *message)
{
    static const char *const sums[] = { "freed_now_bytes", "freed_later_bytes" };
    g_autofree char *why = g_strdup_printf("refused: %s", message);
    g_autofree char *line =
        g_strdup_printf("%s: %s", json_string_value(json_object_get(object, "name")), why);

    if (!json_is_true(json_object_get(object, "ok")))
        return;
    for (guint i = 0; i < G_N_ELEMENTS(sums); i++)
        take_off(dry_run, sums[i], json_integer_value(json_object_get(object, sums[i])));
    json_object_set_new(object, "ok", json_false());
    json_object_set_new(object, "breaks", json_pack("[s]", why));
    json_array_append_new(json_object_get(dry_run, "breaks"), json_string(line));
}

void dry_run_refuse(json_t *dry_run, const json_t *rejected)
{
    g_autoptr(GHashTable) by_name = g_hash_table_new(g_str_hash, g_str_equal);
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)rejected, i, item) {
        g_hash_table_insert(by_name, (gpointer)json_string_value(json_object_get(item, "name")),
                            item);
    }
    json_array_foreach(json_object_get(dry_run, "objects"), i, item) {
        const json_t *why = g_hash_table_lookup(
            by_name, json_string_value(json_object_get(item, "name")));
        const json_t *error = json_object_get(why, "error");
        if (why)
            refuse(dry_run, item, json_string_value(json_object_get(error, "message")));
    }
}
