/* archive_verify.c: every manifest parsed, every object read as a whole.
 *
 * A damaged object is forgotten by the index, so that the next archive of its layer stores it again
 * under the same name, and makes every point good that names it. */
#include "snapshot/archive.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

typedef struct {
    Job *job;
    World *world;
    ArchiveTarget *target;
    GHashTable *users;    /* object -> GPtrArray of titles */
    GHashTable *objects;  /* object -> bytes, to read */
    GHashTable *points;   /* id -> title, of the points that were looked at */
    GHashTable *bad;      /* ids of points that are not whole */
    json_t *findings;
    guint64 done, total;
} Verify;

static gboolean is_about_content(const GError *error)
{
    return g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT) ||
           g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) ||
           g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
}

static void find(Verify *v, const char *kind, const char *name, json_t *affects, const char *why)
{
    g_autofree char *valid = g_utf8_make_valid(why, -1);

    json_array_append_new(v->findings, json_pack("{s:s,s:s,s:o,s:s}", "kind", kind, "name", name,
                                                 "affects", affects, "message", valid));
}

static void add_object(Verify *v, const char *point_id, const ArchiveLayer *layer)
{
    GPtrArray *users = g_hash_table_lookup(v->users, layer->object);

    if (!users) {
        users = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(v->users, g_strdup(layer->object), users);
    }
    g_ptr_array_add(users, g_strdup(point_id));
    if (!g_hash_table_contains(v->objects, layer->object)) {
        guint64 *bytes = g_new(guint64, 1);
        *bytes = layer->bytes;
        v->total += layer->bytes;
        g_hash_table_insert(v->objects, g_strdup(layer->object), bytes);
    }
}

/* "alice of 2026-11-21T02:00:00Z (0193...)".  Caller frees. */
static char *point_title(const ArchivePoint *point)
{
    g_autofree char *title = archive_point_title(point);
    g_autofree char *time = units_format_time(point->created_at);

    return g_strdup_printf("%s of %s (%s)", title, time, point->id);
}

static gboolean check_point(Verify *v, const char *id, gboolean is_deleted, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *text = v->target->ops->get_point(v->target, id, is_deleted, &local);
    g_autoptr(ArchivePoint) point =
        text ? archive_point_parse(text, strlen(text), id, &local) : NULL;

    if (!point && !is_about_content(local)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!point) {
        g_hash_table_add(v->bad, g_strdup(id));
        g_hash_table_insert(v->points, g_strdup(id), g_strdup(id));
        find(v, "manifest", id, json_pack("[s]", id), local->message);
        return TRUE;
    }
    g_hash_table_insert(v->points, g_strdup(id), point_title(point));
    const ArchiveLayer *layer;
    for (guint i = 0; (layer = archive_point_layer(point, i)); i++)
        add_object(v, id, layer);
    return TRUE;
}

typedef struct {
    Verify *v;
    gboolean is_deleted;
} Listing;

static gboolean visit_point(const char *id, guint64 bytes, gpointer user, GError **error)
{
    Listing *l = user;

    return check_point(l->v, id, l->is_deleted, error);
}

/* Objects that no point names are read as well: a later archive may count on them. */
static gboolean visit_object(const char *name, guint64 bytes, gpointer user, GError **error)
{
    Verify *v = user;

    if (!g_hash_table_contains(v->objects, name)) {
        guint64 *copy = g_new(guint64, 1);
        *copy = bytes;
        v->total += bytes;
        g_hash_table_insert(v->objects, g_strdup(name), copy);
    }
    return TRUE;
}

static void blame(Verify *v, const char *object, const char *why)
{
    const GPtrArray *users = g_hash_table_lookup(v->users, object);
    json_t *affects = json_array();

    for (guint i = 0; users && i < users->len; i++) {
        const char *title = g_hash_table_lookup(v->points, users->pdata[i]);
        json_array_append_new(affects, json_string(title));
        g_hash_table_add(v->bad, g_strdup(users->pdata[i]));
    }
    find(v, "object", object, affects, why);
}

static gboolean read_objects(Verify *v, Changes *changes, GError **error)
{
    GHashTableIter iter;
    gpointer name, bytes;

    g_hash_table_iter_init(&iter, v->objects);
    while (g_hash_table_iter_next(&iter, &name, &bytes)) {
        g_autoptr(GError) local = NULL;
        if (!job_check(v->job, error))
            return FALSE;
        if (!v->target->ops->verify_object(v->target, name, job_cancel_flag(v->job), &local)) {
            if (!is_about_content(local)) {
                g_propagate_error(error, g_steal_pointer(&local));
                return FALSE;
            }
            blame(v, name, local->message);
            changes_sql(changes,
                        "DELETE FROM archive_object WHERE target_id = ?1 AND object = ?2", "tt",
                        v->target->id, name);
        }
        v->done += *(guint64 *)bytes;
        job_progress(v->job, v->done, v->total);
    }
    return TRUE;
}

static void note_states(Verify *v, Changes *changes)
{
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, v->points);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        changes_sql(changes,
                    "UPDATE archive_point SET state = ?3 WHERE id = ?1 AND target_id = ?2", "ttt",
                    id, v->target->id, g_hash_table_contains(v->bad, id) ? "damaged" : "ok");
}

static gboolean collect(Verify *v, GError **error)
{
    json_t *ids = json_object_get(job_plan(v->job), "points"), *id;
    gboolean ok = TRUE;
    size_t i;

    if (json_is_array(ids)) {
        json_array_foreach(ids, i, id) {
            const char *text = json_string_value(json_array_get(id, 0));
            ok = ok && check_point(v, text, json_is_true(json_array_get(id, 1)), error);
        }
        return ok;
    }
    Listing live = { v, FALSE }, deleted = { v, TRUE };
    const ArchiveTargetOps *ops = v->target->ops;
    return ops->list_points(v->target, FALSE, visit_point, &live, error) &&
           ops->list_points(v->target, TRUE, visit_point, &deleted, error) &&
           ops->list_objects(v->target, visit_object, v, error);
}

static gboolean verify(Verify *v, GError **error)
{
    Changes *changes = changes_new();

    if (!collect(v, error) || !read_objects(v, changes, error)) {
        changes_free(changes);
        return FALSE;
    }
    note_states(v, changes);
    guint n_bad = g_hash_table_size(v->bad), n_findings = (guint)json_array_size(v->findings);
    if (n_findings)
        changes_event(changes, "archive.verify", "alarm", v->target->name, job_owner(v->job),
                      "damaged or missing in the archive: %u; points that need them: %u",
                      n_findings, n_bad);
    return job_commit_done(v->job, changes,
                           json_pack("{s:b,s:i,s:i,s:i,s:I,s:O}", "ok", n_findings == 0,
                                     "n_points", (int)g_hash_table_size(v->points), "n_damaged",
                                     (int)n_bad, "n_objects", (int)g_hash_table_size(v->objects),
                                     "bytes", (json_int_t)v->total, "findings", v->findings),
                           error);
}

static void free_users(gpointer users)
{
    g_ptr_array_unref(users);
}

static gboolean run_verify(Job *job, gpointer data, GError **error)
{
    g_autoptr(GHashTable) users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                                        free_users);
    g_autoptr(GHashTable) objects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GHashTable) points = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GHashTable) bad = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const char *id = json_string_value(json_object_get(job_plan(job), "target"));
    g_autoptr(ArchiveTarget) target = archive_open(data, id, error);
    Verify v = { .job = job, .world = data, .target = target, .users = users, .objects = objects,
                 .points = points, .bad = bad };

    if (!target || !target->ops->lock(target, FALSE, error))
        return FALSE;
    v.findings = json_array();
    gboolean ok = verify(&v, error);
    target->ops->unlock(target);
    json_decref(v.findings);
    return ok;
}

const JobType archive_verify_job = { "archive.verify", JOB_BULK, "bytes", run_verify };

/* The points that refs name; all have to lie in one target (that one, if target_id is given). */
static json_t *name_points(Db *db, const char *target_id, const json_t *refs, char **ret_target,
                           GError **error)
{
    json_t *points = json_array(), *ref;
    size_t i;

    *ret_target = g_strdup(target_id);
    json_array_foreach((json_t *)refs, i, ref) {
        g_auto(ArchivePointRow) row = { 0 };
        gboolean ok = archive_lookup_point(db, json_string_value(ref), &row, error);
        if (ok && *ret_target && !g_str_equal(*ret_target, row.target_id)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "the points lie in different targets");
            ok = FALSE;
        }
        if (!ok) {
            json_decref(points);
            return NULL;
        }
        if (!*ret_target)
            *ret_target = g_strdup(row.target_id);
        json_array_append_new(points, json_pack("[s,b]", row.id, row.deleted_at != 0));
    }
    return points;
}

gboolean archive_plan_verify(World *world, const char *target_id, const json_t *refs,
                             JobRequest *ret, GError **error)
{
    g_autofree char *found = NULL;
    Db *db = catalog_read_begin(world->catalog);
    json_t *points = refs ? name_points(db, target_id, refs, &found, error) : json_null();
    const char *target = refs ? found : target_id;
    gint64 total = lookup_int(db, "SELECT sum(bytes) FROM (SELECT max(bytes) AS bytes FROM"
                                  " archive_object WHERE target_id = ?1 GROUP BY object)",
                              "t", target);

    catalog_read_end(world->catalog, db);
    if (!points)
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 's', "archive-target", target);
    *ret = (JobRequest){ .type = &archive_verify_job, .total = (guint64)total, .claims = keys,
                         .plan = json_pack("{s:s,s:o}", "target", target, "points", points) };
    if (claims_take(world->claims, keys, archive_verify_job.kind, error))
        return TRUE;
    json_decref(ret->plan);
    json_decref(keys);
    return FALSE;
}
