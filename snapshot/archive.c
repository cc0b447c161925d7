/* archive.c: targets as the catalog knows them, and the index of their points. */
#include "snapshot/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define SECRETS "archive-keys"
#define SECRET_MAX 4096

/* ---- Targets ---- */

static gboolean one_target(Query *q, const char *name, ArchiveTargetRow *ret, GError **error)
{
    gboolean found = query_next(q);

    if (found)
        row_read(ROW_ARCHIVE_TARGET, q, ret);
    if (!query_end(q, error))
        return FALSE;
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "there is no archive target '%s'", shown);
        imaged_error_hint(error, "see them with: imagectl archive target list");
    }
    return found;
}

gboolean archive_lookup_target(Db *db, const char *name, ArchiveTargetRow *ret, GError **error)
{
    return one_target(db_query(db, "SELECT * FROM archive_target WHERE name = ?1", "t", name), name,
                      ret, error);
}

gboolean archive_lookup_target_by_id(Db *db, const char *id, ArchiveTargetRow *ret, GError **error)
{
    return one_target(db_query(db, "SELECT * FROM archive_target WHERE id = ?1", "t", id), id, ret,
                      error);
}

int archive_scratch(World *world, GError **error)
{
    int fd = open(world->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open the state folder");
    return fd;
}

static int open_secrets(World *world, gboolean create, GError **error)
{
    auto_fd state = archive_scratch(world, error);

    if (state < 0 || (create && !durable_mkdir(state, SECRETS, 0700, error)))
        return -1;
    int fd = openat(state, SECRETS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open the folder of archive keys");
    return fd;
}

gboolean archive_set_secret(World *world, const char *target_id, const char *secret,
                            GError **error)
{
    auto_fd folder = open_secrets(world, secret != NULL, secret ? error : NULL);

    if (folder < 0)
        return !secret;
    return secret ? durable_replace(folder, target_id, secret, strlen(secret), 0600, error)
                  : durable_unlink(folder, target_id, error);
}

static char *get_secret(World *world, const char *target_id)
{
    auto_fd folder = open_secrets(world, FALSE, NULL);
    char *secret = NULL;

    return folder >= 0 && durable_read(folder, target_id, SECRET_MAX, &secret, NULL, NULL) ? secret
                                                                                           : NULL;
}

ArchiveTarget *archive_open(World *world, const char *target_id, GError **error)
{
    g_auto(ArchiveTargetRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = archive_lookup_target_by_id(db, target_id, &row, error);

    catalog_read_end(world->catalog, db);
    if (!ok)
        return NULL;
    g_autofree char *secret = get_secret(world, target_id);
    ArchiveTargetOptions options = { .kind = row.kind, .location = row.location,
                                     .expect_id = row.id, .passphrase = secret,
                                     .state_dir = world->state_dir };
    ArchiveTarget *target = archive_target_open(&options, error);
    if (target)
        target->name = g_strdup(row.name);
    return target;
}

/* ---- The index ---- */

void archive_point_row_clear(ArchivePointRow *row)
{
    g_free(row->id);
    g_free(row->target_id);
    g_free(row->name);
    g_free(row->kind);
    g_free(row->state);
    g_free(row->manifest);
    *row = (ArchivePointRow){ 0 };
}

static void read_point_row(Query *q, ArchivePointRow *ret)
{
    archive_point_row_clear(ret);
    ret->id = g_strdup(query_text(q, "id"));
    ret->target_id = g_strdup(query_text(q, "target_id"));
    ret->name = g_strdup(query_text(q, "name"));
    ret->kind = g_strdup(query_text(q, "kind"));
    ret->state = g_strdup(query_text(q, "state"));
    ret->manifest = g_strdup(query_text(q, "manifest"));
    ret->created_at = query_int(q, "created_at");
    ret->deleted_at = query_int(q, "deleted_at");
}

gboolean archive_lookup_point(Db *db, const char *ref, ArchivePointRow *ret, GError **error)
{
    gsize len = strlen(ref);
    gboolean is_sound = len >= 6 && len <= ID_LEN && strspn(ref, "0123456789abcdef") == len;
    guint n = 0;

    if (is_sound) {
        Query *q = db_query(db,
                            "SELECT p.* FROM archive_point p JOIN archive_target t ON"
                            " t.id = p.target_id WHERE p.id >= ?1 AND p.id < ?1 || 'g' LIMIT 2",
                            "t", ref);
        for (; query_next(q); n++)
            read_point_row(q, ret);
        if (!query_end(q, error))
            return FALSE;
    }
    if (n == 1)
        return TRUE;
    g_autofree char *shown = text_for_message(ref, 40);
    archive_point_row_clear(ret);
    g_set_error(error, IMAGED_ERROR, n ? IMAGED_ERROR_INVALID : IMAGED_ERROR_NOT_FOUND,
                n ? "more than one archive point begins with '%s'"
                  : "there is no archive point '%s'", shown);
    imaged_error_hint(error, "see them with: imagectl archive list");
    return FALSE;
}

void archive_index_point(Changes *changes, const char *target_id, const ArchivePoint *p,
                         const char *text, gboolean is_deleted)
{
    g_autofree char *title = archive_point_title(p);

    changes_sql(changes,
                "INSERT INTO archive_point (id, target_id, kind, name, desktop_id, version_id,"
                " snapshot, created_at, deleted_at, state, bytes, new_bytes, manifest) VALUES"
                " (?1,?2,?3,?4,?5,?6,?7,?8, CASE ?9 WHEN 0 THEN NULL ELSE ?9 END,'ok',?10,?11,?12)"
                " ON CONFLICT (id) DO UPDATE SET kind=?3, name=?4, desktop_id=?5, version_id=?6,"
                " snapshot=?7, created_at=?8, deleted_at=CASE ?9 WHEN 0 THEN NULL ELSE"
                " coalesce(deleted_at, ?9) END, state = CASE WHEN kind = 'unknown' OR state ="
                " 'missing' THEN 'ok' ELSE state END, bytes=?10, new_bytes=?11, manifest=?12"
                " WHERE target_id = ?2",
                "tttttttiiiit", p->id, target_id, p->is_template ? "template" : "desktop", title,
                p->desktop_id, p->version_id, p->snapshot, p->created_at,
                is_deleted ? units_now_ms() : (gint64)0, (gint64)archive_point_bytes(p),
                (gint64)p->new_bytes, text);
    const ArchiveLayer *layer;
    for (guint i = 0; (layer = archive_point_layer(p, i)); i++) {
        changes_sql(changes, "INSERT OR IGNORE INTO archive_use (point_id, object) VALUES (?1, ?2)",
                    "tt", p->id, layer->object);
        changes_sql(changes,
                    "INSERT OR IGNORE INTO archive_object (target_id, layer_id, object, bytes)"
                    " SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM layer WHERE id = ?2)",
                    "ttti", target_id, layer->layer_id, layer->object, (gint64)layer->bytes);
    }
}

/* ---- Rescan ---- */

typedef struct {
    ArchiveTarget *target;
    gboolean is_deleted;
    GHashTable *known; /* id -> "ok" or "ok deleted" and so on */
    GHashTable *seen;  /* ids */
    Changes *changes;
    guint n_new;
} Rescan;

static void index_unreadable(Rescan *r, const char *id)
{
    changes_sql(r->changes,
                "INSERT INTO archive_point (id, target_id, kind, name, version_id, created_at,"
                " deleted_at, state, bytes, new_bytes, manifest) VALUES (?1, ?2, 'unknown',"
                " '(unreadable)', '', ?3, CASE ?4 WHEN 0 THEN NULL ELSE ?4 END, 'damaged', 0, 0,"
                " '') ON CONFLICT (id) DO UPDATE SET state = 'damaged' WHERE target_id = ?2",
                "ttii", id, r->target->id, units_now_ms(),
                r->is_deleted ? units_now_ms() : (gint64)0);
}

static gboolean rescan_point(const char *id, guint64 bytes, gpointer user, GError **error)
{
    Rescan *r = user;
    const char *before = g_hash_table_lookup(r->known, id);
    g_autoptr(GError) local = NULL;

    if (!id_is_valid(id) || !g_hash_table_add(r->seen, g_strdup(id)))
        return TRUE;
    if (g_strcmp0(before, r->is_deleted ? "ok deleted" : "ok") == 0)
        return TRUE;
    g_autofree char *text = r->target->ops->get_point(r->target, id, r->is_deleted, &local);
    g_autoptr(ArchivePoint) point =
        text ? archive_point_parse(text, strlen(text), id, &local) : NULL;
    if (point) {
        archive_index_point(r->changes, r->target->id, point, text, r->is_deleted);
        r->n_new += before == NULL;
        return TRUE;
    }
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return TRUE; /* deleted meanwhile */
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CORRUPT) &&
        !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    index_unreadable(r, id);
    return TRUE;
}

/* What is in the index and no longer in the target. */
static void note_gone(Rescan *r)
{
    GHashTableIter iter;
    gpointer id, state;

    g_hash_table_iter_init(&iter, r->known);
    while (g_hash_table_iter_next(&iter, &id, &state)) {
        if (g_hash_table_contains(r->seen, id))
            continue;
        if (strstr(state, "deleted")) {
            changes_sql(r->changes, "DELETE FROM archive_use WHERE point_id = ?1", "t", id);
            changes_sql(r->changes, "DELETE FROM archive_point WHERE id = ?1", "t", id);
        } else {
            changes_sql(r->changes, "UPDATE archive_point SET state = 'missing' WHERE id = ?1",
                        "t", id);
        }
    }
}

static GHashTable *known_points(World *world, const char *target_id)
{
    GHashTable *known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT id, state || CASE WHEN deleted_at IS NULL THEN '' ELSE ' deleted'"
                        " END AS state FROM archive_point WHERE target_id = ?1",
                        "t", target_id);

    while (query_next(q))
        g_hash_table_insert(known, g_strdup(query_text(q, "id")),
                            g_strdup(query_text(q, "state")));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    return known;
}

gboolean archive_rescan(World *world, ArchiveTarget *target, guint *ret_n_new, GError **error)
{
    g_autoptr(GHashTable) known = known_points(world, target->id);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Rescan r = { .target = target, .known = known, .seen = seen, .changes = changes_new() };

    if (!target->ops->lock(target, FALSE, error)) {
        changes_free(r.changes);
        return FALSE;
    }
    gboolean ok = target->ops->list_points(target, FALSE, rescan_point, &r, error);
    r.is_deleted = TRUE;
    ok = ok && target->ops->list_points(target, TRUE, rescan_point, &r, error);
    target->ops->unlock(target);
    if (!ok) {
        changes_free(r.changes);
        return FALSE;
    }
    note_gone(&r);
    changes_sql(r.changes,
                "INSERT INTO archive_scan (target_id, scanned_at, collected_at) VALUES (?1, ?2, 0)"
                " ON CONFLICT (target_id) DO UPDATE SET scanned_at = ?2",
                "ti", target->id, units_now_ms());
    if (ret_n_new)
        *ret_n_new = r.n_new;
    return catalog_commit(world->catalog, r.changes, error);
}

gint64 archive_cost_of_merge(Db *db, const char *const *layer_ids, guint n)
{
    gint64 sum = 0;

    for (guint i = 0; i < n; i++)
        sum += lookup_int(db, "SELECT max(bytes) FROM archive_object WHERE layer_id = ?1", "t",
                          layer_ids[i]);
    return sum;
}

/* ---- Shared by the jobs ---- */

GPtrArray *archive_open_layers(World *world, ArchiveTarget *target, const GArray *chain,
                               guint from, guint to, const gint *cancel, ArchiveProgress progress,
                               gpointer data, GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
    auto_fd scratch = archive_scratch(world, error);

    for (guint i = from; scratch >= 0 && i < to; i++) {
        const ArchiveLayer *l = &g_array_index(chain, ArchiveLayer, i);
        int fd = target->ops->open_object(target, l->object, scratch, cancel, progress, data,
                                          error);
        Layer *layer = fd < 0 ? NULL : layer_open_fd(fd, l->object, error);
        if (!layer)
            return NULL;
        g_ptr_array_add(layers, layer);
    }
    return scratch < 0 ? NULL : g_steal_pointer(&layers);
}
