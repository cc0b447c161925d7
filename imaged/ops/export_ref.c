/* export_ref.c: see export_ref.h. */
#include "imaged/ops/export_ref.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/lookup.h"
#include "snapshot/archive.h"
#include "snapshot/chain.h"

#define ARCHIVE_PREFIX "archive:"
#define DATA_SUFFIX "/data"
#define SWITCH_WAIT_US 10000000 /* a commit's time, by far */
#define SWITCH_POLL_US 10000

void export_ref_clear(ExportRef *ref)
{
    g_free(ref->kind);
    g_free(ref->object_id);
    g_free(ref->name);
    g_free(ref->version_id);
    g_free(ref->layer_id);
    g_free(ref->store_id);
    *ref = (ExportRef){ 0 };
}

/* ---- Finding ---- */

/* Let ref stand for the data disk of what it is, whose layer is layer_id (or NULL). */
static gboolean set_data(Db *db, ExportRef *ref, const char *layer_id, GError **error)
{
    g_auto(LayerRow) layer = { 0 };
    g_autofree char *name = ref->name;

    if (!layer_id) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "'%s' has no data disk", name);
        ref->name = NULL;
        return FALSE;
    }
    ref->name = g_strconcat(name, DATA_SUFFIX, NULL);
    if (!lookup_layer(db, layer_id, &layer, error))
        return FALSE;
    g_free(ref->layer_id);
    g_free(ref->store_id);
    g_clear_pointer(&ref->version_id, g_free); /* it stands on none */
    ref->layer_id = g_strdup(layer.id);
    ref->store_id = g_strdup(layer.store_id);
    return TRUE;
}

static gboolean set_desktop(Db *db, ExportRef *ref, const DesktopRow *row, gboolean is_data,
                            GError **error)
{
    ref->kind = g_strdup(is_data ? "data" : "desktop");
    ref->object_id = g_strdup(row->id);
    ref->name = g_strdup(row->name);
    ref->version_id = g_strdup(row->version_id);
    ref->layer_id = g_strdup(row->layer_id);
    ref->store_id = g_strdup(row->store_id);
    ref->generation = row->generation;
    return !is_data || set_data(db, ref, row->data_layer_id, error);
}

static gboolean set_version(Db *db, ExportRef *ref, const VersionRow *row, GError **error)
{
    g_auto(LayerRow) layer = { 0 };

    ref->kind = g_strdup("version");
    ref->object_id = g_strdup(row->id);
    ref->name = lookup_version_name(db, row->id);
    ref->version_id = g_strdup(row->id);
    ref->layer_id = g_strdup(row->layer_id);
    if (!lookup_layer(db, row->layer_id, &layer, error))
        return FALSE;
    ref->store_id = g_strdup(layer.store_id);
    return TRUE;
}

/* q yields the columns of snapshot, and desktop_name. */
static gboolean set_snapshot(Db *db, Query *q, ExportRef *ref, gboolean is_data, const char *shown,
                             GError **error)
{
    gboolean found = query_next(q);
    g_autofree char *data = NULL;

    if (found) {
        ref->kind = g_strdup(is_data ? "snapshot-data" : "snapshot");
        data = g_strdup(query_text(q, "data_layer_id"));
        ref->object_id = g_strdup(query_text(q, "id"));
        ref->name = g_strconcat(query_text(q, "desktop_name"), "@", query_text(q, "name"), NULL);
        ref->version_id = g_strdup(query_text(q, "version_id"));
        ref->layer_id = g_strdup(query_text(q, "layer_id"));
        ref->store_id = g_strdup(query_text(q, "store_id"));
        ref->generation = query_int(q, "generation");
    }
    if (!query_end(q, error))
        return FALSE;
    if (!found)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no snapshot '%s'",
                    shown);
    return found && (!is_data || set_data(db, ref, data, error));
}

static gboolean find_snapshot(Db *db, const char *text, gboolean is_data, const char *shown,
                              ExportRef *ret, GError **error)
{
    const char *at = strchr(text, '@');
    g_autofree char *desktop = g_strndup(text, (gsize)(at - text));

    return set_snapshot(db,
                        db_query(db,
                                 "SELECT s.*, d.name AS desktop_name FROM snapshot s JOIN desktop d"
                                 " ON d.id = s.desktop_id WHERE d.name = ?1 AND s.name = ?2 AND"
                                 " d.is_trashed = 0 AND s.is_trashed = 0",
                                 "tt", desktop, at + 1),
                        ret, is_data, shown, error);
}

/* Did they mean an archive point by its id? */
static void hint_archive(Db *db, const char *text, GError **error)
{
    g_auto(ArchivePointRow) row = { 0 };

    if (archive_lookup_point(db, text, &row, NULL))
        imaged_error_hint(error, "the archive point of '%s' is written " ARCHIVE_PREFIX "%s",
                          row.name, row.id);
}

static gboolean find_desktop_or_version(Db *db, const char *text, gboolean is_data,
                                        const char *shown, ExportRef *ret, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(VersionRow) version = { 0 };

    if (is_data)
        return lookup_desktop(db, text, &desktop, error) &&
               set_desktop(db, ret, &desktop, TRUE, error);
    if (!strchr(text, ':') && lookup_desktop(db, text, &desktop, NULL))
        return set_desktop(db, ret, &desktop, FALSE, error);
    GError *local = NULL;
    if (lookup_version(db, text, TRUE, &version, &local))
        return set_version(db, ret, &version, error);
    if (!strchr(text, ':') && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) &&
        lookup_int(db, "SELECT count(*) FROM template WHERE name = ?1 AND is_trashed = 0", "t",
                   text) == 0) {
        g_clear_error(&local);
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "there is no desktop or template '%s'", shown);
        hint_archive(db, text, &local);
    }
    g_propagate_error(error, local);
    return FALSE;
}

/* A disk that changes, as opposed to a snapshot, a version, an archive point. */
static gboolean is_active(const ExportRef *ref)
{
    return g_str_equal(ref->kind, "desktop") || g_str_equal(ref->kind, "data");
}

static gboolean check_mode(const ExportRef *ref, GError **error)
{
    if (!ref->is_read_write || is_active(ref))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' never changes: only a desktop can be exported for writing", ref->name);
    return FALSE;
}

static void set_archive(ExportRef *ref, const char *id, gboolean is_data)
{
    ref->kind = g_strdup(is_data ? "archive-data" : "archive");
    ref->object_id = g_strdup(id);
    ref->name = g_strconcat(ARCHIVE_PREFIX, id, is_data ? DATA_SUFFIX : NULL, NULL);
}

/* The point that ref (an id, or its beginning) means, or its data disk. */
static gboolean find_archive(World *world, const char *ref, gboolean is_data, ExportRef *ret,
                             GError **error)
{
    g_auto(ArchivePointRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = archive_lookup_point(db, ref, &row, error);

    catalog_read_end(world->catalog, db);
    if (ok && is_data) {
        g_autoptr(ArchivePoint) point =
            archive_point_parse(row.manifest, strlen(row.manifest), row.id, error);
        ok = point && point->data_layers->len > 0;
        if (point && !ok)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                        "'" ARCHIVE_PREFIX "%s' has no data disk", row.id);
    }
    if (ok)
        set_archive(ret, row.id, is_data);
    return ok;
}

gboolean export_ref_find(World *world, const char *text, gboolean is_read_write, ExportRef *ret,
                         GError **error)
{
    g_autofree char *shown = text_for_message(text, 100);
    gboolean is_data = g_str_has_suffix(text, DATA_SUFFIX), ok;
    g_autofree char *name = g_strndup(text, strlen(text) - (is_data ? strlen(DATA_SUFFIX) : 0));

    ret->is_read_write = is_read_write;
    if (g_str_has_prefix(text, ARCHIVE_PREFIX)) {
        ok = find_archive(world, name + strlen(ARCHIVE_PREFIX), is_data, ret, error);
    } else {
        Db *db = catalog_read_begin(world->catalog);
        ok = strchr(name, '@') ? find_snapshot(db, name, is_data, shown, ret, error)
                               : find_desktop_or_version(db, name, is_data, shown, ret, error);
        catalog_read_end(world->catalog, db);
    }
    if (ok && check_mode(ret, error))
        return TRUE;
    export_ref_clear(ret);
    return FALSE;
}

static gboolean check_is_there(gint64 is_trashed, GError **error)
{
    if (is_trashed)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted");
    return !is_trashed;
}

gboolean export_ref_find_by_id(World *world, const char *kind, const char *id,
                               gboolean is_read_write, ExportRef *ret, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(VersionRow) version = { 0 };
    gboolean ok = TRUE;
    Db *db = catalog_read_begin(world->catalog);

    if (g_str_equal(kind, "desktop") || g_str_equal(kind, "data")) {
        ok = lookup_desktop_by_id(db, id, &desktop, error) &&
             check_is_there(desktop.is_trashed, error) &&
             set_desktop(db, ret, &desktop, g_str_equal(kind, "data"), error);
    } else if (g_str_equal(kind, "version")) {
        ok = lookup_version_by_id(db, id, &version, error) &&
             check_is_there(version.is_trashed, error) && set_version(db, ret, &version, error);
    } else if (g_str_has_prefix(kind, "snapshot")) {
        ok = set_snapshot(db,
                          db_query(db,
                                   "SELECT s.*, d.name AS desktop_name FROM snapshot s JOIN desktop"
                                   " d ON d.id = s.desktop_id WHERE s.id = ?1 AND s.is_trashed = 0",
                                   "t", id),
                          ret, g_str_equal(kind, "snapshot-data"), id, error);
    } else {
        set_archive(ret, id, g_str_equal(kind, "archive-data"));
    }
    catalog_read_end(world->catalog, db);
    ret->is_read_write = is_read_write;
    if (!ok)
        export_ref_clear(ret);
    return ok;
}

/* ---- The chain ---- */

static gboolean find_chain(World *world, const ExportRef *ref, LookupRows *ret, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = chain_rows(db, ref->layer_id, ret, error);

    catalog_read_end(world->catalog, db);
    return ok;
}

json_t *export_ref_claims(World *world, const ExportRef *ref)
{
    g_auto(LookupRows) rows = { 0 };
    json_t *keys = json_array();

    const char *what = is_active(ref)                            ? "desktop"
                       : g_str_has_prefix(ref->kind, "snapshot") ? "snapshot"
                       : g_str_has_prefix(ref->kind, "archive")  ? "archive"
                                                                 : ref->kind;
    claims_add(keys, ref->is_read_write ? 'x' : 's', what, ref->object_id);
    if (ref->version_id && !g_str_equal(ref->kind, "version"))
        claims_add(keys, 's', "version", ref->version_id);
    /* A layer whose snapshot is merged away meanwhile must not be given back under our eyes. */
    if (ref->layer_id && find_chain(world, ref, &rows, NULL)) {
        for (guint i = 0; i < rows.rows->len; i++)
            claims_add(keys, 's', "layer", row_id(rows.rows->pdata[i]));
    }
    return keys;
}

/* A point's packed layers, the base first, as open qcow2 files: each is checked against its digest
 * now.  The target need not keep them for us: an open file stays readable. */
static gboolean open_archive_point(World *world, const ExportRef *ref, GArray *fds, GError **error)
{
    g_auto(ArchivePointRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = archive_lookup_point(db, ref->object_id, &row, error);

    catalog_read_end(world->catalog, db);
    g_autoptr(ArchivePoint) point =
        ok ? archive_point_parse(row.manifest, strlen(row.manifest), row.id, error) : NULL;
    g_autoptr(ArchiveTarget) target = point ? archive_open(world, row.target_id, error) : NULL;
    if (!target || !target->ops->lock(target, FALSE, error))
        return FALSE;
    const GArray *chain =
        g_str_equal(ref->kind, "archive-data") ? point->data_layers : point->layers;
    g_autoptr(GPtrArray) layers =
        archive_open_layers(world, target, chain, 0, chain->len, NULL, NULL, NULL, error);
    target->ops->unlock(target);
    for (guint i = 0; layers && i < layers->len; i++) {
        int fd = fcntl(layer_fd(layers->pdata[i]), F_DUPFD_CLOEXEC, 0);
        g_array_append_val(fds, fd);
    }
    return layers != NULL;
}

static int open_layer(Store *store, const LayerRow *row, gboolean *ret_is_live, GError **error)
{
    GError *local = NULL;
    int fd = store->ops->open(store, STORE_LAYERS, row->slot, ret_is_live, &local);

    if (fd < 0 && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_clear_error(&local);
        fd = store->ops->open(store, STORE_TRASH, row->slot, ret_is_live, &local);
    }
    if (local)
        g_propagate_error(error, local);
    return fd;
}

/* Is it the layer of this row? */
static gboolean check_content(int fd, const LayerRow *row, gboolean *ret_is_behind, GError **error)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    g_autoptr(Layer) layer = NULL;

    if (copy < 0) {
        imaged_error_set_errno(error, errno, "cannot open the layers");
        return FALSE;
    }
    layer = layer_open_fd(copy, row->slot, error);
    *ret_is_behind = layer && !chain_check_layer(layer, row, error);
    return layer && !*ret_is_behind;
}

/* is_behind: a slot of the chain has another content than the row says. */
static gboolean open_chain(Store *store, const ExportRef *ref, const LookupRows *rows, GArray *fds,
                           gboolean *ret_is_behind, GError **error)
{
    *ret_is_behind = FALSE;
    for (guint i = 0; i < rows->rows->len; i++) {
        gboolean is_live = FALSE;
        int fd = open_layer(store, rows->rows->pdata[i], &is_live, error);
        if (fd < 0)
            return FALSE;
        g_array_append_val(fds, fd);
        if (is_live) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the disk is in use by QEMU");
            imaged_error_hint(error, "shut the desktop down first");
            return FALSE;
        }
        if (!check_content(fd, rows->rows->pdata[i], ret_is_behind, error))
            return FALSE;
        if (i < rows->rows->len - 1 || !is_active(ref) || ref->is_read_write || ref->is_glance)
            continue;
        if (!image_lock_hold_readonly(fd, error))
            return FALSE;
    }
    return TRUE;
}

static void close_from(GArray *fds, guint first)
{
    for (guint i = first; i < fds->len; i++)
        durable_close(&g_array_index(fds, int, i));
    g_array_set_size(fds, first);
}

/* A merge below a snapshot needs no claim that an export holds, so the rows are read again when it
 * switches a slot meanwhile. */
gboolean export_ref_open(World *world, const ExportRef *ref, GArray *fds, GError **error)
{
    gint64 until = g_get_monotonic_time() + SWITCH_WAIT_US;

    if (g_str_has_prefix(ref->kind, "archive"))
        return open_archive_point(world, ref, fds, error);
    g_autoptr(Store) store = store_set_get(world->stores, ref->store_id, error);
    if (!store)
        return FALSE;
    for (;;) {
        g_auto(LookupRows) rows = { 0 };
        GError *local = NULL;
        gboolean is_behind;
        guint first = fds->len;
        if (!find_chain(world, ref, &rows, error))
            return FALSE;
        if (open_chain(store, ref, &rows, fds, &is_behind, &local))
            return TRUE;
        if (!is_behind || g_get_monotonic_time() > until) {
            g_propagate_error(error, local);
            return FALSE;
        }
        g_clear_error(&local);
        close_from(fds, first);
        g_usleep(SWITCH_POLL_US);
    }
}
