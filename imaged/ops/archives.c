/* archives.c: archive targets, and what is read of archives: lists, one point, the past. */
#include "imaged/ops/archives.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"
#include "snapshot/archive.h"

#define POINT_COLUMNS                                                                              \
    "SELECT p.id, p.name, p.kind, t.name AS target, p.snapshot, p.state, p.bytes, p.new_bytes,"    \
    " CASE WHEN json_valid(p.manifest) THEN json_extract(p.manifest, '$.template.name') || ':' ||" \
    " json_extract(p.manifest, '$.template.version') END AS version,"                              \
    " CASE WHEN json_valid(p.manifest) THEN json_extract(p.manifest, '$.description') END AS"      \
    " description, p.created_at AS created_at__time, p.deleted_at AS deleted_at__time FROM"        \
    " archive_point p JOIN archive_target t ON t.id = p.target_id WHERE "

/* ---- Targets ---- */

#define TARGET_COLUMNS                                                                             \
    "SELECT t.id, t.name, t.kind, t.location, t.created_at AS created_at__time,"                   \
    " (SELECT count(*) FROM archive_point p WHERE p.target_id = t.id AND p.deleted_at IS NULL)"    \
    "  AS n_points,"                                                                               \
    " (SELECT count(*) FROM archive_point p WHERE p.target_id = t.id AND p.deleted_at IS NULL"     \
    "  AND p.state <> 'ok') AS n_damaged,"                                                         \
    " (SELECT max(created_at) FROM archive_point p WHERE p.target_id = t.id AND p.deleted_at IS"   \
    "  NULL) AS last_point_at__time FROM archive_target t WHERE "

/* Is it there?  Adds state and reason. */
static void add_state(World *world, json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "id"));
    g_autoptr(GError) error = NULL;
    g_autoptr(ArchiveTarget) target = archive_open(world, id, &error);

    json_object_set_new(object, "state", json_string(target ? "online" : "offline"));
    json_object_set_new(object, "reason", target ? json_null() : json_string(error->message));
}

static json_t *target_object(World *world, const char *id)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, TARGET_COLUMNS "t.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (out)
        add_state(world, out);
    return out;
}

static gboolean refresh(World *world, const char *target_id, gboolean only_new, GError **error);

json_t *ops_archive_target_list(OpsCall *call, GError **error)
{
    ViewPage page;
    json_t *target;
    size_t i;

    /* after a rebuild of the catalog nobody has looked into them yet */
    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error) ||
        !refresh(call->world, NULL, TRUE, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out =
        view_array(db_query(db, TARGET_COLUMNS "t.name > coalesce(?1, '') ORDER BY t.name", "t",
                            page.after),
                   page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach(out, i, target) {
        add_state(call->world, target);
    }
    return out;
}

char *archives_default_store(World *world, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id FROM store WHERE is_default = 1", "");
    char *id = query_next(q) ? g_strdup(query_text(q, "id")) : NULL;

    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (!id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "there is no default store");
    return id;
}

static gboolean check_new_target(World *world, const ArchiveTarget *target, const char *name,
                                 GError **error)
{
    g_auto(ArchiveTargetRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean has_name = archive_lookup_target(db, name, &row, NULL);
    gboolean has_id =
        target && !has_name && archive_lookup_target_by_id(db, target->id, &row, NULL);

    catalog_read_end(world->catalog, db);
    if (has_name)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                    "there is an archive target '%s' already", name);
    else if (has_id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                    "that is the archive target '%s' already", row.name);
    return !has_name && !has_id;
}

static gboolean adopt(OpsCall *call, ArchiveTarget *target, const char *name, const char *secret,
                      GError **error)
{
    World *world = call->world;
    g_autofree char *store_id = archives_default_store(world, error);
    ArchiveTargetRow row = { .id = target->id, .name = (char *)name,
                             .kind = (char *)target->ops->kind, .location = target->location,
                             .store_id = store_id, .created_at = units_now_ms() };
    guint n_new = 0;

    if (!store_id || (secret && !archive_set_secret(world, target->id, secret, error)))
        return FALSE;
    Changes *changes = changes_new();
    changes_put(changes, ROW_ARCHIVE_TARGET, &row, store_id);
    changes_event(changes, "archive.target-add", "info", name, call->who, "%s", target->location);
    /* What it holds already is taken up: points of another imaged, or of this one before. */
    return catalog_commit(world->catalog, changes, error) &&
           archive_rescan(world, target, &n_new, error);
}

json_t *ops_archive_target_add(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "name", TRUE, error);
    ArchiveTargetOptions options = { .create = TRUE, .state_dir = call->world->state_dir };

    options.location = name ? args_text(call, "location", TRUE, error) : NULL;
    if (!options.location ||
        !args_check(call, "name location kind passphrase encryption", error) ||
        !args_are_texts(call, "kind passphrase encryption", error) ||
        !name_check("archive target", name, error) ||
        !check_new_target(call->world, NULL, name, error))
        return NULL;
    options.kind = args_text(call, "kind", FALSE, NULL);
    options.kind = options.kind ? options.kind : "dir";
    options.passphrase = args_text(call, "passphrase", FALSE, NULL);
    options.encryption = args_text(call, "encryption", FALSE, NULL);
    if (g_str_equal(options.kind, "dir") && (options.passphrase || options.encryption)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "a target of kind dir is not encrypted");
        imaged_error_hint(error, "use kind borg, or an encrypted file system");
        return NULL;
    }
    g_autoptr(ArchiveTarget) target = archive_target_open(&options, error);
    if (!target || !check_new_target(call->world, target, name, error) ||
        !adopt(call, target, name, options.passphrase, error))
        return NULL;
    return target_object(call->world, target->id);
}

static json_t *dry_run_remove(const ArchiveTargetRow *row, gint64 n_points, gint64 n_schedules)
{
    g_autofree char *why =
        n_schedules ? g_strdup_printf("%s: refused: schedules archive to it", row->name)
                    : g_strdup_printf("%s: no longer listed, though they stay where they are: %"
                                      G_GINT64_FORMAT " point%s",
                                      row->name, n_points, n_points == 1 ? "" : "s");
    json_t *breaks = json_pack("[s]", why);

    return json_pack("{s:b,s:[{s:s,s:s,s:b,s:i,s:i,s:O}],s:i,s:i,s:o}", "dry_run", 1, "objects",
                     "id", row->id, "name", row->name, "ok", n_schedules == 0, "freed_now_bytes",
                     0, "freed_later_bytes", 0, "breaks", breaks, "freed_now_bytes", 0,
                     "freed_later_bytes", 0, "breaks", breaks);
}

static gboolean forget_target(OpsCall *call, const ArchiveTargetRow *row, GError **error)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', "archive-target", row->id);
    gboolean ok = claims_take(call->world->claims, keys, "archive.target-remove", error);
    if (ok) {
        Changes *changes = changes_new();
        changes_delete(changes, ROW_ARCHIVE_TARGET, row->id, row->store_id);
        changes_sql(changes,
                    "DELETE FROM archive_use WHERE point_id IN (SELECT id FROM archive_point WHERE"
                    " target_id = ?1)",
                    "t", row->id);
        changes_sql(changes, "DELETE FROM archive_point WHERE target_id = ?1", "t", row->id);
        changes_sql(changes, "DELETE FROM archive_object WHERE target_id = ?1", "t", row->id);
        changes_sql(changes, "DELETE FROM archive_scan WHERE target_id = ?1", "t", row->id);
        changes_event(changes, "archive.target-remove", "info", row->name, call->who,
                      "its files stay at %s", row->location);
        ok = catalog_commit(call->world->catalog, changes, error);
        claims_release(call->world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

json_t *ops_archive_target_remove(OpsCall *call, GError **error)
{
    g_auto(ArchiveTargetRow) row = { 0 };
    const char *name = args_text(call, "target", TRUE, error);
    gboolean dry_run;

    if (!name || !args_check(call, "target dry_run", error) ||
        !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = archive_lookup_target(db, name, &row, error);
    gint64 n_points = lookup_int(db, "SELECT count(*) FROM archive_point WHERE target_id = ?1", "t",
                                 row.id);
    gint64 n_schedules = lookup_int(db, "SELECT count(*) FROM archive_schedule WHERE target_id ="
                                        " ?1", "t", row.id);
    catalog_read_end(call->world->catalog, db);
    if (!ok || dry_run)
        return ok ? dry_run_remove(&row, n_points, n_schedules) : NULL;
    if (n_schedules) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "schedules archive to '%s'", name);
        imaged_error_hint(error, "remove them first: imagectl archive schedule list");
        return NULL;
    }
    json_t *out = target_object(call->world, row.id);
    if (forget_target(call, &row, error)) {
        /* The secret stays: with a name that is only the id, and whoever removed the target by
         * mistake still has it. */
        return out;
    }
    json_decref(out);
    return NULL;
}

gboolean archives_find_target(OpsCall *call, const char *key, gboolean is_needed, char **ret_id,
                              GError **error)
{
    g_auto(ArchiveTargetRow) row = { 0 };
    GError *local = NULL;
    const char *name = args_text(call, key, is_needed, &local);

    *ret_id = NULL;
    if (local || !name) {
        if (local)
            g_propagate_error(error, local);
        return !local;
    }
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = archive_lookup_target(db, name, &row, error);
    catalog_read_end(call->world->catalog, db);
    *ret_id = ok ? g_strdup(row.id) : NULL;
    return ok;
}

/* ---- Points ---- */

/* Look at targets again: the one, or all (then what is away is passed over). */
static gboolean refresh(World *world, const char *target_id, gboolean only_new, GError **error)
{
    g_auto(LookupRows) targets = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_rows(db, ROW_ARCHIVE_TARGET, &targets, error,
                              "SELECT * FROM archive_target WHERE (?1 IS NULL OR id = ?1) AND"
                              " (?2 = 0 OR id NOT IN (SELECT target_id FROM archive_scan))",
                              "ti", target_id, (gint64)only_new);

    catalog_read_end(world->catalog, db);
    for (guint i = 0; ok && i < targets.rows->len; i++) {
        GError *local = NULL;
        g_autoptr(ArchiveTarget) target = archive_open(world, row_id(targets.rows->pdata[i]),
                                                       &local);
        if (target && archive_rescan(world, target, NULL, &local))
            continue;
        if (target_id && !only_new) {
            g_propagate_error(error, local);
            return FALSE;
        }
        g_clear_error(&local);
    }
    return ok;
}

json_t *ops_archive_list(OpsCall *call, GError **error)
{
    g_autofree char *target = NULL;
    ViewPage page;
    gboolean deleted, fresh;

    if (!args_check(call, "search limit after target of deleted refresh", error) ||
        !args_are_texts(call, "of after", error) ||
        !args_bool(call, "deleted", &deleted, error) ||
        !args_bool(call, "refresh", &fresh, error) ||
        !archives_find_target(call, "target", FALSE, &target, error) ||
        !refresh(call->world, target, !fresh || args_text(call, "after", FALSE, NULL), error) ||
        !(deleted ? view_page(call, &page, error) /* the language knows none that are deleted */
                  : view_page_of(call, "archives", &page, error)))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_found(
        db_query(db,
                 POINT_COLUMNS
                 "(?1 IS NULL OR (p.created_at, p.id) < (SELECT created_at, id FROM archive_point"
                 " WHERE id = ?1)) AND (?2 IS NULL OR t.id = ?2) AND (?3 IS NULL OR p.name = ?3 OR"
                 " substr(p.name, 1, length(?3) + 1) IN (?3 || '@', ?3 || ':')) AND"
                 " (p.deleted_at IS NOT NULL) = ?4 ORDER BY p.created_at DESC, p.id DESC",
                 "ttti", page.after, target, args_text(call, "of", FALSE, NULL), (gint64)deleted),
        &page, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* The whole manifest, and for kind dir the file that qemu-img can convert. */
static void add_manifest(json_t *out, const ArchivePointRow *row, const ArchiveTargetRow *target)
{
    json_t *manifest = json_loads(row->manifest, 0, NULL);
    json_t *chain = json_object_get(manifest, "chain");
    json_t *top = json_array_get(chain, json_array_size(chain) ? json_array_size(chain) - 1 : 0);
    const char *object = json_string_value(json_object_get(top, "object"));

    if (object && target->kind && g_str_equal(target->kind, "dir")) {
        g_autofree char *file = g_strdup_printf("%s/layers/%s.qcow2", target->location, object);
        json_object_set_new(out, "file", json_string(file));
    }
    json_object_set_new(out, "n_layers", json_integer((json_int_t)json_array_size(chain)));
    const json_t *data_size = json_object_get(json_object_get(manifest, "data"), "virtual_size");
    json_object_set_new(out, "data_disk_size",
                        data_size ? json_integer(json_integer_value(data_size)) : json_null());
    json_object_set_new(out, "manifest", manifest ? manifest : json_null());
}

json_t *ops_archive_show(OpsCall *call, GError **error)
{
    g_auto(ArchivePointRow) row = { 0 };
    g_auto(ArchiveTargetRow) target = { 0 };
    const char *ref = args_text(call, "point", TRUE, error);
    json_t *out = NULL;

    if (!ref || !args_check(call, "point", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    if (archive_lookup_point(db, ref, &row, error) &&
        archive_lookup_target_by_id(db, row.target_id, &target, error)) {
        Query *q = db_query(db, POINT_COLUMNS "p.id = ?1", "t", row.id);
        out = query_next(q) ? view_object(q) : json_object();
        query_end(q, NULL);
        add_manifest(out, &row, &target);
    }
    catalog_read_end(call->world->catalog, db);
    return out;
}
