/* archive_collect.c: points deleted and brought back, and objects that no point names given back.
 *
 * Deleting moves a manifest aside and touches no object.  A collection holds the target's exclusive
 * lock, so nobody is storing a layer for a point that is yet to come; it reads every manifest that
 * the target has, the deleted ones that may still be brought back among them, and deletes what none
 * of them names.  It can be stopped anywhere: an object is there or gone, and the next archive
 * looks before it counts on one.  With a manifest that cannot be read nothing is deleted at all. */
#include "snapshot/archive.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* ---- Collecting garbage ---- */

typedef struct {
    ArchiveTarget *target;
    GHashTable *used;    /* objects that a point names */
    GPtrArray *garbage;  /* objects that none names */
    guint64 bytes;       /* of those */
    gboolean is_deleted;
    guint n_points;
} Collect;

static gboolean read_point(const char *id, guint64 bytes, gpointer user, GError **error)
{
    Collect *c = user;
    g_autofree char *text = c->target->ops->get_point(c->target, id, c->is_deleted, error);
    g_autoptr(ArchivePoint) point =
        text ? archive_point_parse(text, strlen(text), id, error) : NULL;

    if (!point) {
        g_prefix_error(error, "point %s can't be read, so what it names is not known: ", id);
        imaged_error_hint(error, "to give it up: imagectl archive delete --now %s", id);
        return FALSE;
    }
    c->n_points++;
    const ArchiveLayer *layer;
    for (guint i = 0; (layer = archive_point_layer(point, i)); i++)
        g_hash_table_add(c->used, g_strdup(layer->object));
    return TRUE;
}

static gboolean sort_object(const char *name, guint64 bytes, gpointer user, GError **error)
{
    Collect *c = user;

    if (!g_hash_table_contains(c->used, name)) {
        g_ptr_array_add(c->garbage, g_strdup(name));
        c->bytes += bytes;
    }
    return TRUE;
}

static gboolean find_garbage(Collect *c, GError **error)
{
    const ArchiveTargetOps *ops = c->target->ops;

    c->is_deleted = FALSE;
    if (!ops->list_points(c->target, FALSE, read_point, c, error))
        return FALSE;
    c->is_deleted = TRUE;
    return ops->list_points(c->target, TRUE, read_point, c, error) &&
           ops->list_objects(c->target, sort_object, c, error);
}

/* What a collection would free now; deleted points whose time is up still count as points. */
static gboolean reckon(ArchiveTarget *target, guint *ret_n, guint64 *ret_freed, GError **error)
{
    g_autoptr(GHashTable) used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) garbage = g_ptr_array_new_with_free_func(g_free);
    Collect c = { .target = target, .used = used, .garbage = garbage };

    if (!find_garbage(&c, error))
        return FALSE;
    *ret_n = garbage->len;
    *ret_freed = c.bytes;
    return TRUE;
}

/* Under the exclusive lock.  *ret_freed in bytes. */
static gboolean collect(World *world, ArchiveTarget *target, Changes *changes, guint *ret_n,
                        guint64 *ret_freed, GError **error)
{
    g_autoptr(GHashTable) used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) garbage = g_ptr_array_new_with_free_func(g_free);
    Collect c = { .target = target, .used = used, .garbage = garbage };
    gint64 now = units_now_ms();

    /* With a clock that cannot be trusted nothing expires. */
    if (!g_atomic_int_get(&world->expiry_held) &&
        !target->ops->purge_points(target, now - world->settings.trash_keep_ms, error))
        return FALSE;
    if (!find_garbage(&c, error) ||
        !target->ops->delete_objects(target, (const char *const *)garbage->pdata, garbage->len,
                                     ret_freed, error))
        return FALSE;
    *ret_n = garbage->len;
    for (guint i = 0; i < garbage->len; i++)
        changes_sql(changes, "DELETE FROM archive_object WHERE target_id = ?1 AND object = ?2",
                    "tt", target->id, garbage->pdata[i]);
    changes_sql(changes,
                "INSERT INTO archive_scan (target_id, scanned_at, collected_at) VALUES (?1, 0, ?2)"
                " ON CONFLICT (target_id) DO UPDATE SET collected_at = ?2",
                "ti", target->id, now);
    return TRUE;
}

static gboolean run_collect(Job *job, gpointer world, GError **error)
{
    const char *id = text_of(job_plan(job), "target");
    g_autoptr(ArchiveTarget) target = archive_open(world, id, error);
    gboolean is_dry = json_is_true(json_object_get(job_plan(job), "dry_run"));
    guint n = 0;
    guint64 freed = 0;

    if (!target || !target->ops->lock(target, TRUE, error))
        return FALSE;
    Changes *changes = changes_new();
    gboolean ok = is_dry ? reckon(target, &n, &freed, error)
                         : collect(world, target, changes, &n, &freed, error);
    target->ops->unlock(target);
    if (!ok || !archive_rescan(world, target, NULL, error)) { /* what was purged */
        changes_free(changes);
        return FALSE;
    }
    if (n && !is_dry)
        changes_event(changes, "archive.collect", "info", target->name, job_owner(job),
                      "gave back %u layer%s that no archive point names", n, n == 1 ? "" : "s");
    return job_commit_done(job, changes,
                           json_pack("{s:s,s:s,s:i,s:I,s:b}", "id", id, "name",
                                     target->name, "n_objects", (int)n, "freed_bytes",
                                     (json_int_t)freed, "dry_run", is_dry),
                           error);
}

const JobType archive_collect_job = { "archive.collect", JOB_BULK, "objects", run_collect };

gboolean archive_plan_collect(World *world, const char *target_id, gboolean is_dry, JobRequest *ret,
                              GError **error)
{
    json_t *keys = json_array();

    claims_add(keys, 's', "archive-target", target_id);
    claims_add(keys, 'x', "archive-collect", target_id);
    if (!claims_take(world->claims, keys, archive_collect_job.kind, error)) {
        json_decref(keys);
        return FALSE;
    }
    *ret = (JobRequest){ .type = &archive_collect_job, .claims = keys,
                         .plan = json_pack("{s:s,s:b}", "target", target_id, "dry_run", is_dry) };
    return TRUE;
}

/* ---- Deleting and bringing back ---- */

static gboolean delete_one(ArchiveTarget *target, const json_t *item, gboolean is_now,
                           Changes *changes, GError **error)
{
    const char *id = text_of(item, "id");
    GError *local = NULL;
    gboolean ok = is_now ? target->ops->forget_point(target, id, &local)
                         : target->ops->delete_point(target, id, &local);

    /* One that the target has lost can be deleted all the same. */
    gboolean is_lost = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    if (!ok && !is_lost) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_clear_error(&local);
    if (is_now || is_lost) {
        changes_sql(changes, "DELETE FROM archive_use WHERE point_id = ?1", "t", id);
        changes_sql(changes, "DELETE FROM archive_point WHERE id = ?1", "t", id);
    } else {
        changes_sql(changes, "UPDATE archive_point SET deleted_at = ?2 WHERE id = ?1", "ti", id,
                    units_now_ms());
    }
    return TRUE;
}

static gboolean undelete_one(ArchiveTarget *target, const json_t *item, Changes *changes,
                             GError **error)
{
    const char *id = text_of(item, "id");

    if (!target->ops->undelete_point(target, id, error))
        return FALSE;
    changes_sql(changes, "UPDATE archive_point SET deleted_at = NULL WHERE id = ?1", "t", id);
    return TRUE;
}

/* One open target after another: items come in the order of their targets. */
typedef struct {
    World *world;
    ArchiveTarget *target;
    gboolean is_locked;
} Session;

static void session_end(Session *s)
{
    if (s->is_locked)
        s->target->ops->unlock(s->target);
    g_clear_pointer(&s->target, archive_target_free);
    s->is_locked = FALSE;
}

static gboolean session_move(Session *s, const char *target_id, GError **error)
{
    if (s->is_locked && g_str_equal(s->target->id, target_id))
        return TRUE;
    session_end(s);
    s->target = archive_open(s->world, target_id, error);
    return s->target && (s->is_locked = s->target->ops->lock(s->target, FALSE, error));
}

/* The one target of all items, or NULL. */
static const char *only_target(const json_t *items)
{
    const char *first = text_of(json_array_get(items, 0), "target");

    for (gsize i = 1; i < json_array_size(items); i++) {
        if (!g_str_equal(text_of(json_array_get(items, i), "target"), first))
            return NULL;
    }
    return first;
}

static gboolean run_changes(Job *job, gpointer data, GError **error)
{
    json_t *items = json_object_get(job_plan(job), "items"), *list;
    gboolean is_undelete = g_str_equal(job_type_kind(job), archive_undelete_job.kind);
    gboolean is_now = json_is_true(json_object_get(job_plan(job), "now"));
    Session s = { .world = data };
    gint64 started = units_now_ms();
    gsize n = json_array_size(items), n_done = 0;
    const char *target_id = only_target(items);
    gboolean ok = TRUE;

    /* What keeps all of them from being changed is said once, not of each. */
    if (target_id && !session_move(&s, target_id, error)) {
        session_end(&s);
        return FALSE;
    }
    list = json_array();
    for (gsize i = 0; ok && i < n; i++) {
        const json_t *item = json_array_get(items, i);
        g_autoptr(GError) why = NULL;
        Changes *changes = changes_new();
        gboolean is_done = session_move(&s, text_of(item, "target"), &why) &&
                           (is_undelete ? undelete_one(s.target, item, changes, &why)
                                        : delete_one(s.target, item, is_now, changes, &why));
        json_t *out = json_pack("{s:s,s:s,s:b}", "id", text_of(item, "id"), "name",
                                text_of(item, "name"), "ok", is_done);
        n_done += is_done;
        if (why)
            json_object_set_new(out, "error", job_error_json(why));
        json_array_append_new(list, out);
        ok = job_commit(job, changes, (gint64)i + 1, error) && job_check(job, error);
        job_progress(job, i + 1, n);
    }
    session_end(&s);
    json_array_extend(list, json_object_get(job_plan(job), "rejected"));
    json_t *result = json_pack("{s:I,s:I,s:I,s:o}", "n_done", (json_int_t)n_done, "n_failed",
                               (json_int_t)(json_array_size(list) - n_done), "elapsed_ms",
                               (json_int_t)(units_now_ms() - started), "items", list);
    if (!ok) {
        job_set_partial(job, result);
        return FALSE;
    }
    Changes *changes = changes_new();
    if (n_done)
        changes_event(changes, is_undelete ? "archive.undelete" : "archive.delete", "info", NULL,
                      job_owner(job), "%zu archive point%s %s", n_done, n_done == 1 ? "" : "s",
                      is_undelete ? "brought back" : is_now ? "deleted for good" : "deleted");
    return job_commit_done(job, changes, result, error);
}

const JobType archive_delete_job = { "archive.delete", JOB_INTERACTIVE, "points", run_changes };
const JobType archive_undelete_job = { "archive.undelete", JOB_INTERACTIVE, "points",
                                       run_changes };

static void plan_point(Db *db, BatchPlan *plan, const char *ref)
{
    g_auto(ArchivePointRow) row = { 0 };
    g_autoptr(GError) why = NULL;
    g_autofree char *shown = text_for_message(ref, 40);
    json_t *keys = json_array();

    if (!archive_lookup_point(db, ref, &row, &why)) {
        batch_plan_reject(plan, shown, why);
        json_decref(keys);
        return;
    }
    claims_add(keys, 'x', "archive-point", row.id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s}", "id", row.id, "name", row.name, "target",
                             row.target_id),
                   keys);
}

static gboolean plan_changes(World *world, const JobType *type, const json_t *refs, BatchPlan *plan,
                             GError **error)
{
    json_t *ref;
    size_t i;

    batch_plan_init(plan, world, type);
    if (json_array_size(refs) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no archive point is named");
        return FALSE;
    }
    Db *db = catalog_read_begin(world->catalog);
    json_array_foreach((json_t *)refs, i, ref) {
        plan_point(db, plan, json_string_value(ref));
    }
    catalog_read_end(world->catalog, db);
    return TRUE;
}

gboolean archive_plan_delete(World *world, const json_t *refs, gboolean is_now, BatchPlan *plan,
                             GError **error)
{
    if (!plan_changes(world, &archive_delete_job, refs, plan, error))
        return FALSE;
    json_object_set_new(plan->plan, "now", json_boolean(is_now));
    return TRUE;
}

gboolean archive_plan_undelete(World *world, const json_t *refs, BatchPlan *plan, GError **error)
{
    return plan_changes(world, &archive_undelete_job, refs, plan, error);
}
