/* change.c: templates, desktops and trash: from the words of a request to a planned job. */
#include <string.h>

#include "broker/desktop.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/dry_run.h"
#include "imaged/ops/hardware.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/pool_guard.h"
#include "imaged/ops/run_replace.h"
#include "imaged/ops/run_reset.h"
#include "imaged/ops/submit.h"
#include "snapshot/reset_keep.h"
#include "snapshot/trash.h"
#include "templates/template.h"

static const char *text_or(const OpsCall *call, const char *key, const char *fallback)
{
    const char *text = args_text(call, key, FALSE, NULL);

    return text ? text : fallback;
}

json_t *ops_template_import(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    TemplateImport import = { 0 };
    json_t *notes = NULL;

    if (!args_check(call,
                    "name source source_name cpus memory_bytes os description firmware store draft"
                    " notes",
                    error) ||
        !(import.name = args_text(call, "name", TRUE, error)) ||
        !(import.source = args_text(call, "source", TRUE, error)) ||
        !args_int(call, "cpus", 2, 1, 1024, &import.cpus, error) ||
        !args_int(call, "memory_bytes", 2 * (gint64)GIB, (gint64)MIB, G_MAXINT64,
                  &import.memory_bytes, error) ||
        !args_bool(call, "draft", &import.is_draft, error) ||
        !args_texts(call, "notes", &notes, error) ||
        !args_are_texts(call, "source_name os description firmware store", error) ||
        submit_is_repeat(call, error))
        return NULL;
    import.source_name = text_or(call, "source_name", import.source);
    import.os = text_or(call, "os", "");
    import.description = text_or(call, "description", "");
    import.firmware = args_text(call, "firmware", FALSE, NULL);
    import.store = args_text(call, "store", FALSE, NULL);
    import.notes = notes;
    if (error && *error)
        return NULL;
    if (!template_plan_import(call->world, &import, &request, error))
        return NULL;
    request.type = &jobs_import;
    return submit_request(call, &request, error);
}

/* The object of one version, by NAME:VERSION. */
json_t *ops_version_object(OpsCall *call, const char *name, GError **error)
{
    const char *colon = strrchr(name, ':');
    g_autofree char *template = g_strndup(name, (gsize)(colon - name));
    json_t *args = json_pack("{s:s}", "template", template), *found = NULL, *version;
    OpsCall list = { .world = call->world, .caller = call->caller, .args = args };
    json_t *versions = ops_template_versions(&list, error);
    size_t i;

    json_array_foreach(versions, i, version) {
        if (g_strcmp0(json_string_value(json_object_get(version, "name")), name) == 0)
            found = json_incref(version);
    }
    json_decref(versions);
    json_decref(args);
    return found;
}

static json_t *set_state(OpsCall *call, const char *state, GError **error)
{
    const char *ref = args_text(call, "template", TRUE, error);

    if (!ref || !args_check(call, "template", error))
        return NULL;
    g_autofree char *name = template_set_state(call->world, ref, state, call->who, error);
    return name ? ops_version_object(call, name, error) : NULL;
}

json_t *ops_template_retire(OpsCall *call, GError **error)
{
    return set_state(call, "retired", error);
}

/* After a rename: show the thing under its new name. */
static json_t *show_renamed(OpsCall *call, const char *key, const char *new_name, OpsFunction show,
                            GError **error)
{
    json_t *args = json_pack("{s:s}", key, new_name);
    OpsCall again = { .world = call->world, .caller = call->caller, .args = args };
    json_t *out = show(&again, error);

    json_decref(args);
    return out;
}

json_t *ops_template_rename(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "template", TRUE, error);
    const char *new_name = name ? args_text(call, "new_name", TRUE, error) : NULL;

    if (!new_name || !args_check(call, "template new_name", error) ||
        !template_rename(call->world, name, new_name, call->who, error))
        return NULL;
    return show_renamed(call, "template", new_name, ops_template_show, error);
}

json_t *ops_template_delete(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    const char *ref = args_text(call, "template", TRUE, error);
    gboolean dry_run;

    if (!ref || !args_check(call, "template dry_run", error) ||
        !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    if (dry_run)
        return dry_run_template(call->world, ref, error);
    if (submit_is_repeat(call, error) || (error && *error) ||
        !pool_guard_template(call->world, ref, error) ||
        !template_plan_delete(call->world, ref, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_desktop_create(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    DesktopSpec spec = { 0 };
    json_t *names = NULL;
    gint64 count, cluster_size;
    gboolean has_subclusters;
    const json_t *change;

    if (!args_check(call,
                    "names prefix count template owner store cluster_size subclusters disk_size"
                    " data_disk_size hardware",
                    error) ||
        !hardware_take(call, &change, error) ||
        !args_disk_size(call, "disk_size", &spec.disk_size, error) ||
        !args_disk_size(call, "data_disk_size", &spec.data_size, error) ||
        !args_are_texts(call, "prefix owner store", error) ||
        !args_bool(call, "subclusters", &has_subclusters, error) ||
        !args_texts(call, "names", &names, error) ||
        !args_int(call, "count", 0, 1, DESKTOP_MAX_BATCH, &count, error) ||
        !args_int(call, "cluster_size", 0, 4096, 2 * (gint64)MIB, &cluster_size, error) ||
        !(spec.template = args_text(call, "template", TRUE, error)) ||
        submit_is_repeat(call, error) || (error && *error))
        return NULL;
    spec.prefix = args_text(call, "prefix", FALSE, NULL);
    if (!!names == (spec.prefix && count)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "give names, or a prefix and a count: one of the two");
        return NULL;
    }
    spec.names = names;
    spec.count = (guint)count;
    spec.owner = args_text(call, "owner", FALSE, NULL);
    spec.store = args_text(call, "store", FALSE, NULL);
    spec.cluster_size = (guint32)cluster_size;
    spec.has_subclusters = has_subclusters || !json_object_get(call->args, "subclusters");
    if (!spec.has_subclusters && !spec.cluster_size)
        spec.cluster_size = 64 * KIB;
    g_autofree char *hardware = change ? hardware_apply(NULL, change) : NULL;
    spec.hardware = hardware;
    if (!desktop_plan_create(call->world, &spec, &plan, error))
        return NULL;
    jobs_choose_create(call->world, &plan);
    return submit_plan(call, &plan, error);
}

static json_t *dry_run_delete(World *world, const LookupRows *desktops, const json_t *missing)
{
    return dry_run_desktops(world, desktops, missing, FALSE);
}

static json_t *dry_run_reset(World *world, const LookupRows *desktops, const json_t *missing)
{
    return dry_run_desktops(world, desktops, missing, TRUE);
}

static gboolean make_allowed_delete(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                    GError **error)
{
    return desktop_plan_delete(call->world, desktops, plan, error);
}

static gboolean make_delete(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                            GError **error)
{
    return pool_guard_plan(call, GUARD_DELETE, NULL, desktops, make_allowed_delete, plan, error);
}

json_t *ops_desktop_delete(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template dry_run", dry_run_delete, make_delete,
                              error);
}

static gboolean make_reset(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                           GError **error)
{
    json_t *keep = NULL;
    gboolean may_stop;
    gint64 to;

    if (!args_int(call, "to", 0, 1, G_MAXINT32, &to, error) ||
        !args_texts(call, "keep", &keep, error) || !args_bool(call, "stop", &may_stop, error))
        return FALSE;
    if (may_stop && keep) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "files are carried over from desktops that are off: not 'keep' with 'stop'");
        return FALSE;
    }
    if (may_stop)
        return run_reset_plan(call->world, desktops, to, plan, error) &&
               jobs_check_stores(call->world, desktops, error);
    return (keep ? reset_keep_plan(call->world, desktops, to, keep, plan, error)
                 : reimage_plan_reset(call->world, desktops, to, plan, error)) &&
           jobs_check_reset(call->world, plan, error);
}

json_t *ops_desktop_reset(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template to keep stop dry_run", dry_run_reset,
                              make_reset, error);
}

static gboolean make_allowed_undo(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                  GError **error)
{
    return args_bool(call, "stop", &plan->with_runs, error) &&
           reimage_plan_undo(call->world, desktops, plan, error) &&
           (!plan->with_runs || run_replace_amend(plan, &undo_running_job, error));
}

static gboolean make_undo(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                          GError **error)
{
    return pool_guard_plan(call, GUARD_UNDO, NULL, desktops, make_allowed_undo, plan, error);
}

json_t *ops_desktop_undo_reset(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template stop dry_run", dry_run_undo, make_undo,
                              error);
}

static gboolean make_move(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                          GError **error)
{
    const char *store = args_text(call, "store", TRUE, error);

    return store && jobs_plan_move(call->world, desktops, store, plan, error);
}

json_t *ops_desktop_move(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template store dry_run", dry_run_reset, make_move,
                       error);
}

json_t *ops_desktop_rename(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "desktop", TRUE, error);
    const char *new_name = name ? args_text(call, "new_name", TRUE, error) : NULL;

    if (!new_name || !args_check(call, "desktop new_name", error) ||
        !desktop_rename(call->world, name, new_name, call->who, error))
        return NULL;
    return show_renamed(call, "desktop", new_name, ops_desktop_show, error);
}

json_t *ops_trash_restore(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    json_t *ids = NULL;

    if (!args_check(call, "ids new_name", error) || !args_are_texts(call, "new_name", error) ||
        !args_texts(call, "ids", &ids, error) || submit_is_repeat(call, error) ||
        (error && *error) ||
        !trash_plan_restore(call->world, ids, args_text(call, "new_name", FALSE, NULL), &plan,
                            error) ||
        !pool_guard_trash(call->world, ids, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_trash_empty(OpsCall *call, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    json_t *ids = NULL;
    gboolean dry_run;

    if (!args_check(call, "ids dry_run", error) || !args_texts(call, "ids", &ids, error) ||
        !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    if (dry_run)
        return dry_run_trash(call->world, ids, error);
    if (submit_is_repeat(call, error) || (error && *error) ||
        !trash_plan_empty(call->world, ids, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

json_t *ops_trash_resume_expiry(OpsCall *call, GError **error)
{
    Changes *changes = changes_new();
    g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT, units_now_ms());

    changes_set_meta(changes, "clock", now);
    changes_event(changes, "trash.expiry", "info", NULL, call->who, "expiry goes on");
    if (!catalog_commit(call->world->catalog, changes, error))
        return NULL;
    g_atomic_int_set(&call->world->expiry_held, 0);
    return json_pack("{s:s,s:s,s:s}", "id", "expiry", "name", "expiry", "expiry", "on");
}

json_t *ops_job_cancel(OpsCall *call, GError **error)
{
    const char *id = args_text(call, "job", TRUE, error);

    if (!id || !args_check(call, "job", error) || !job_cancel(call->world->jobs, id, error))
        return NULL;
    Changes *changes = changes_new();
    changes_event(changes, "job.cancel", "info", id, call->who, "asked to end");
    catalog_commit(call->world->catalog, changes, NULL); /* the job's end does not wait for it */
    job_wait(call->world->jobs, id, 2000);
    return job_to_json(call->world->jobs, id, TRUE, error);
}
