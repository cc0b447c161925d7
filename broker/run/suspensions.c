/* suspensions.c: see suspensions.h. */
#include "broker/run/suspensions.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

void suspension_row_clear(SuspensionRow *row)
{
    char **texts[] = { &row->desktop_id, &row->incarnation, &row->layer_id, &row->data_layer_id,
                       &row->disk_stamp, &row->store_id,    &row->host_id,  &row->hardware };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

gboolean suspension_lookup(Db *db, const char *desktop_id, SuspensionRow *ret, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM suspension WHERE desktop_id = ?1", "t", desktop_id);
    gboolean found = query_next(q);

    if (found)
        *ret = (SuspensionRow){ .desktop_id = g_strdup(query_text(q, "desktop_id")),
                                .incarnation = g_strdup(query_text(q, "incarnation")),
                                .generation = query_int(q, "generation"),
                                .layer_id = g_strdup(query_text(q, "layer_id")),
                                .data_layer_id = g_strdup(query_text(q, "data_layer_id")),
                                .disk_stamp = g_strdup(query_text(q, "disk_stamp")),
                                .store_id = g_strdup(query_text(q, "store_id")),
                                .host_id = g_strdup(query_text(q, "host_id")),
                                .hardware = g_strdup(query_text(q, "hardware")),
                                .bytes = query_int(q, "bytes"),
                                .created_at = query_int(q, "created_at") };
    if (!query_end(q, error)) {
        suspension_row_clear(ret);
        return FALSE;
    }
    if (!found)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it is not suspended");
    return found;
}

/* ---- The state of the disks ---- */

/* The active layer's file, and which layers are below it: the memory knows them by name. */
static gboolean add_stamp(World *world, Db *db, const char *layer_id, GString *out)
{
    g_auto(LayerRow) layer = { 0 };
    StoreStat stat = { 0 };

    if (!lookup_layer(db, layer_id, &layer, NULL))
        return FALSE;
    g_autoptr(Store) store = store_set_get(world->stores, layer.store_id, NULL);
    if (!store || !store_stat_layer(store, layer.slot, &stat, NULL))
        return FALSE;
    g_string_append_printf(out, "%s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT,
                           layer_id, stat.inode, stat.length, stat.mtime_ns);
    Query *q = db_query(db,
                        "WITH RECURSIVE below (id, slot, parent_id, depth) AS (SELECT id, slot,"
                        " parent_id, 0 FROM layer WHERE id = ?1 UNION ALL SELECT l.id, l.slot,"
                        " l.parent_id, b.depth + 1 FROM layer l JOIN below b ON l.id ="
                        " b.parent_id WHERE b.depth < 1000) SELECT slot FROM below ORDER BY depth",
                        "t", layer_id);
    while (query_next(q))
        g_string_append_printf(out, " %s", query_text(q, "slot"));
    g_string_append_c(out, '\n');
    return query_end(q, NULL);
}

char *suspension_stamp(World *world, Db *db, const DesktopRow *desktop)
{
    g_autoptr(GString) out = g_string_new(NULL);

    if (!add_stamp(world, db, desktop->layer_id, out) ||
        (desktop->data_layer_id && !add_stamp(world, db, desktop->data_layer_id, out)))
        return NULL;
    return g_strdup(out->str);
}

static gboolean has_layers(const DesktopRow *desktop, const SuspensionRow *row)
{
    return row->generation == desktop->generation &&
           g_str_equal(row->layer_id, desktop->layer_id) &&
           g_strcmp0(row->data_layer_id, desktop->data_layer_id) == 0;
}

gboolean suspension_is_valid(World *world, Db *db, const DesktopRow *desktop,
                             const SuspensionRow *row)
{
    g_autofree char *stamp = suspension_stamp(world, db, desktop);

    return has_layers(desktop, row) && stamp && g_str_equal(stamp, row->disk_stamp);
}

/* ---- Rows ---- */

void suspension_put(Changes *changes, const SuspensionRow *row)
{
    changes_sql(changes,
                "INSERT OR REPLACE INTO suspension (desktop_id, incarnation, generation, layer_id,"
                " data_layer_id, disk_stamp, store_id, host_id, bytes, created_at, hardware)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, (SELECT hardware FROM run WHERE"
                " desktop_id = ?1 AND incarnation = ?2))",
                "ttitttttii", row->desktop_id, row->incarnation, row->generation, row->layer_id,
                row->data_layer_id, row->disk_stamp, row->store_id, row->host_id, row->bytes,
                units_now_ms());
}

void suspension_delete(Changes *changes, const char *desktop_id)
{
    changes_sql(changes, "DELETE FROM suspension WHERE desktop_id = ?1", "t", desktop_id);
}

/* ---- Files ---- */

static char *file_name(const char *desktop_id, gint64 generation)
{
    return g_strdup_printf("%s-%" G_GINT64_FORMAT ".mem", desktop_id, generation);
}

char *suspension_path(World *world, const DesktopRow *desktop, GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, desktop->store_id, error);
    g_autofree char *name = file_name(desktop->id, desktop->generation);

    return store ? store->ops->config_path(store, name, error) : NULL;
}

gint64 suspension_file_bytes(const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    return MAX((gint64)st.st_blocks * 512, 1);
}

gboolean suspension_file_flush(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    auto_fd dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", folder);
        return FALSE;
    }
    /* it may be the host's, whose user alone may read it */
    return (fd >= 0 ? durable_sync(fd, error) : durable_sync_fs(dir, error)) &&
           durable_sync_dir(dir, error);
}

void suspension_remove_file(World *world, const char *store_id, const char *desktop_id,
                            gint64 generation)
{
    g_autoptr(Store) store = store_set_get(world->stores, store_id, NULL);
    g_autofree char *name = file_name(desktop_id, generation);

    if (store)
        store->ops->remove_config(store, name, NULL);
}

/* Its disks are others by now, or it runs: with another incarnation, so with that memory or without
 * it. */
#define IS_OVER                                                                                    \
    "NOT EXISTS (SELECT 1 FROM desktop d WHERE d.id = suspension.desktop_id AND d.is_trashed = 0"  \
    " AND d.generation = suspension.generation AND d.layer_id = suspension.layer_id) OR EXISTS"    \
    " (SELECT 1 FROM run r WHERE r.desktop_id = suspension.desktop_id AND r.state IN ('running',"  \
    " 'stuck') AND r.incarnation <> suspension.incarnation)"

void suspensions_tidy(World *world)
{
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db, "SELECT count(*) FROM suspension WHERE " IS_OVER, "");

    catalog_read_end(world->catalog, db);
    if (!n)
        return;
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM suspension WHERE " IS_OVER, "");
    catalog_commit(world->catalog, changes, NULL);
}
