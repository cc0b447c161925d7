/* archive_change.c: archives made, restored, verified, deleted, pruned. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/archives.h"
#include "imaged/ops/args.h"
#include "imaged/ops/dry_run.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/pool_guard.h"
#include "imaged/ops/submit.h"
#include "snapshot/archive.h"
#include "snapshot/archive_keep.h"
#include "snapshot/archive_restore.h"
#include "templates/template.h"

/* ---- Making ---- */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static gboolean select_desktops(World *world, const json_t *what, LookupRows *ret, GError **error)
{
    const char *prefix = text_of(what, "prefix"), *template = text_of(what, "template");
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = prefix
                      ? lookup_rows(db, ROW_DESKTOP, ret, error,
                                    "SELECT * FROM desktop WHERE is_trashed = 0 AND"
                                    " substr(name, 1, length(?1)) = ?1 ORDER BY name",
                                    "t", prefix)
                      : lookup_rows(db, ROW_DESKTOP, ret, error,
                                    "SELECT d.* FROM desktop d JOIN version v ON v.id ="
                                    " d.version_id JOIN template t ON t.id = v.template_id WHERE"
                                    " d.is_trashed = 0 AND (t.name = ?1 OR t.name || ':' ||"
                                    " v.version = ?1) ORDER BY d.name",
                                    "t", template);

    catalog_read_end(world->catalog, db);
    if (ok && ret->rows->len == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "no desktop is selected");
        ok = FALSE;
    }
    return ok;
}

gboolean archives_plan_selection(World *world, const json_t *what, const char *target_id,
                                 const char *description, const char *keep, BatchPlan *plan,
                                 GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    json_t *names = json_object_get(what, "names");
    ArchiveCreate create = { .target_id = target_id, .description = description };

    if (!!names + !!text_of(what, "prefix") + !!text_of(what, "template") != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "name desktops or templates, or a prefix, or the template whose desktops are"
                    " meant: one of the three");
        return FALSE;
    }
    if (names)
        create.refs = names;
    else if (select_desktops(world, what, &desktops, error))
        create.desktops = &desktops;
    else
        return FALSE;
    if (!archive_plan_create(world, &create, plan, error))
        return FALSE;
    json_object_set_new(plan->plan, "keep", json_string(keep));
    json_object_set_new(plan->plan, "keep_of", json_string(description));
    return TRUE;
}

/* What an archive job leaves to do when it is done: retention, if a schedule asked for it. */
static gboolean run_create(Job *job, gpointer world, GError **error)
{
    const char *keep = text_of(job_plan(job), "keep");
    json_t *items = json_object_get(job_plan(job), "items"), *names = json_array(), *item;
    size_t i;

    json_array_foreach(items, i, item) {
        const char *name = text_of(item, "name");
        json_array_append_new(names, json_stringn(name, strcspn(name, "@:")));
    }
    gboolean ok = archive_create_job.run(job, world, error);
    if (ok && keep && *keep)
        archive_keep_apply(world, text_of(job_plan(job), "target"), names,
                           text_of(job_plan(job), "keep_of"), keep);
    json_decref(names);
    return ok;
}

const JobType archive_create_keep_job = { "archive.create", JOB_BULK, "bytes", run_create };

json_t *ops_archive_create(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    g_autofree char *target = NULL;
    json_t *names = NULL;

    if (!args_check(call, "names prefix template target description", error) ||
        !args_are_texts(call, "prefix template description", error) ||
        !args_texts(call, "names", &names, error) || submit_is_repeat(call, error) ||
        (error && *error) || !archives_find_target(call, "target", TRUE, &target, error))
        return NULL;
    const char *description = args_text(call, "description", FALSE, NULL);
    if (!archives_plan_selection(call->world, call->args, target, description ? description : "",
                                 "", &plan, error))
        return NULL;
    plan.type = &archive_create_keep_job;
    return submit_plan(call, &plan, error);
}

/* ---- Restoring ---- */

static gboolean run_restore(Job *job, gpointer world, GError **error)
{
    return archive_restore_run(job, world, template_replicate, error);
}

const JobType archive_restore_job = { "archive.restore", JOB_BULK, "bytes", run_restore };

/* What restoring in place would replace. */
static json_t *dry_run_restore(World *world, const char *ref, gboolean in_place, Disks disks,
                               GError **error)
{
    g_auto(ArchivePointRow) row = { 0 };
    g_auto(LookupRows) desktops = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = archive_lookup_point(db, ref, &row, error) &&
                  lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop WHERE is_trashed = 0 AND (id = (SELECT"
                              " desktop_id FROM archive_point WHERE id = ?1) OR name = ?2) ORDER BY"
                              " name = ?2 LIMIT 1",
                              "tt", row.id, row.name);

    catalog_read_end(world->catalog, db);
    if (!ok)
        return NULL;
    if (!in_place)
        return json_pack("{s:b,s:[],s:i,s:i,s:[]}", "dry_run", 1, "objects", "freed_now_bytes", 0,
                         "freed_later_bytes", 0, "breaks");
    g_autoptr(ArchivePoint) point =
        archive_point_parse(row.manifest, strlen(row.manifest), row.id, NULL);
    if (point && point->data_layers->len == 0)
        disks = DISKS_SYSTEM;
    return dry_run_disks(world, &desktops, NULL, disks,
                         disks == DISKS_SYSTEM ? "its present disk goes to the trash"
                         : disks == DISKS_DATA ? "its present data disk goes to the trash"
                                               : "its present disk and data disk go to the trash");
}

json_t *ops_archive_restore(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    ArchiveRestore restore = { .point = args_text(call, "point", TRUE, error) };
    gboolean dry_run;

    if (!restore.point || !args_check(call, "point as in_place store disk dry_run", error) ||
        !args_are_texts(call, "as store", error) ||
        !args_bool(call, "in_place", &restore.in_place, error) ||
        !args_disks(call, &restore.disks, error) ||
        !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    restore.as = args_text(call, "as", FALSE, NULL);
    restore.store = args_text(call, "store", FALSE, NULL);
    if ((!dry_run && submit_is_repeat(call, error)) || (error && *error) ||
        !archive_plan_restore(call->world, &archive_restore_job, &restore, &request, error))
        return NULL;
    gboolean is_fine =
        !restore.in_place ||
        pool_guard_item(call->world, GUARD_ARCHIVE,
                        json_string_value(json_object_get(request.plan, "desktop_id")), error);
    if (dry_run || !is_fine) {
        claims_release(call->world->claims, request.claims);
        json_decref(request.claims);
        json_decref(request.plan);
        if (!is_fine)
            return NULL;
        return dry_run_restore(call->world, restore.point, restore.in_place, restore.disks, error);
    }
    return submit_request(call, &request, error);
}

/* ---- Verifying, collecting ---- */

json_t *ops_archive_verify(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    g_autofree char *target = NULL;
    json_t *points = NULL;

    if (!args_check(call, "points target", error) || !args_texts(call, "points", &points, error) ||
        !archives_find_target(call, "target", FALSE, &target, error) ||
        submit_is_repeat(call, error) || (error && *error))
        return NULL;
    if (!target && !points) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "name points, or a target");
        return NULL;
    }
    return archive_plan_verify(call->world, target, points, &request, error)
               ? submit_request(call, &request, error)
               : NULL;
}

json_t *ops_archive_collect(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    g_autofree char *target = NULL;
    gboolean is_dry;

    if (!args_check(call, "target dry_run", error) ||
        !args_bool(call, "dry_run", &is_dry, error) ||
        !archives_find_target(call, "target", TRUE, &target, error) ||
        submit_is_repeat(call, error) || (error && *error) ||
        !archive_plan_collect(call->world, target, is_dry, &request, error))
        return NULL;
    return submit_request(call, &request, error);
}

/* ---- Deleting ---- */

typedef struct {
    World *world;
    Db *db;
    GHashTable *going; /* object -> points among those to be deleted that name it */
    json_t *objects, *breaks;
    gint64 freed;
} Going;

/* Bytes that nobody needs once this point, the last of those that name them, has gone. */
static gint64 freed_by(Going *g, const ArchivePointRow *row)
{
    g_autoptr(ArchivePoint) point =
        archive_point_parse(row->manifest, strlen(row->manifest), row->id, NULL);
    gint64 sum = 0;

    const ArchiveLayer *layer;
    for (guint i = 0; point && (layer = archive_point_layer(point, i)); i++) {
        gint64 n = GPOINTER_TO_INT(g_hash_table_lookup(g->going, layer->object)) + 1;
        g_hash_table_insert(g->going, g_strdup(layer->object), GINT_TO_POINTER((gint)n));
        if (n == lookup_int(g->db, "SELECT count(*) FROM archive_use u JOIN archive_point p ON"
                                   " p.id = u.point_id WHERE u.object = ?1 AND p.target_id = ?2",
                            "tt", layer->object, row->target_id))
            sum += (gint64)layer->bytes;
    }
    return sum;
}

static void add_going(Going *g, const char *ref, gboolean is_now)
{
    g_auto(ArchivePointRow) row = { 0 };
    g_autoptr(GError) why = NULL;
    g_autofree char *shown = text_for_message(ref, 40);
    json_t *breaks = json_array();
    gboolean ok = archive_lookup_point(g->db, ref, &row, &why);
    gint64 bytes = ok ? freed_by(g, &row) : 0;
    g_autofree char *message = ok ? NULL : imaged_error_message(why);

    if (!ok || is_now) {
        g_autofree char *line =
            g_strdup_printf("%s: %s", ok ? row.name : shown,
                            ok ? "this point can't be brought back" : message);
        json_array_append_new(breaks, json_string(line));
        json_array_append_new(g->breaks, json_string(line));
    }
    json_array_append_new(g->objects, json_pack("{s:s,s:s,s:b,s:i,s:I,s:o}", "id",
                                                ok ? row.id : "", "name", ok ? row.name : shown,
                                                "ok", ok, "freed_now_bytes", 0,
                                                "freed_later_bytes", (json_int_t)bytes, "breaks",
                                                breaks));
    g->freed += bytes;
}

static json_t *dry_run_delete(World *world, const json_t *refs, gboolean is_now)
{
    g_autoptr(GHashTable) going = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Going g = { .world = world, .going = going, .objects = json_array(), .breaks = json_array() };
    size_t i;
    json_t *ref;

    g.db = catalog_read_begin(world->catalog);
    json_array_foreach((json_t *)refs, i, ref) {
        add_going(&g, json_string_value(ref), is_now);
    }
    catalog_read_end(world->catalog, g.db);
    return json_pack("{s:b,s:o,s:i,s:I,s:o}", "dry_run", 1, "objects", g.objects,
                     "freed_now_bytes", 0, "freed_later_bytes", (json_int_t)g.freed, "breaks",
                     g.breaks);
}

json_t *ops_archive_delete(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    json_t *points = NULL;
    gboolean dry_run, is_now;

    if (!args_check(call, "points now dry_run", error) ||
        !args_texts(call, "points", &points, error) ||
        !args_bool(call, "now", &is_now, error) || !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    if (dry_run)
        return dry_run_delete(call->world, points, is_now);
    if (submit_is_repeat(call, error) || (error && *error) ||
        !archive_plan_delete(call->world, points, is_now, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_archive_undelete(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    json_t *points = NULL;

    if (!args_check(call, "points", error) || !args_texts(call, "points", &points, error) ||
        submit_is_repeat(call, error) || (error && *error) ||
        !archive_plan_undelete(call->world, points, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_archive_prune(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    g_autofree char *target = NULL;
    PrunePolicy policy = { 0 };
    gboolean dry_run;
    const char *keep = args_text(call, "keep", TRUE, error);

    if (!keep || !args_check(call, "target of keep dry_run", error) ||
        !args_are_texts(call, "of", error) || !args_bool(call, "dry_run", &dry_run, error) ||
        !archives_find_target(call, "target", TRUE, &target, error) ||
        !prune_policy_parse(keep, &policy, error))
        return NULL;
    if (!dry_run && (submit_is_repeat(call, error) || (error && *error)))
        return NULL;
    json_t *points = archive_keep_reckon(call->world, target, args_text(call, "of", FALSE, NULL),
                                         NULL, &policy, error);
    json_t *ids = archive_keep_to_delete(points), *out = NULL;
    if (points && dry_run) {
        out = dry_run_delete(call->world, ids, FALSE);
        json_object_set(out, "points", points);
    } else if (points && json_array_size(ids) == 0) {
        out = json_pack("{s:i,s:i,s:i,s:[]}", "n_done", 0, "n_failed", 0, "elapsed_ms", 0,
                        "items");
    } else if (points && archive_plan_delete(call->world, ids, FALSE, &plan, error)) {
        submit_plan(call, &plan, error);
    }
    json_decref(points);
    json_decref(ids);
    return out;
}
