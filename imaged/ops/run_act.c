/* run_act.c: what is done to desktops that run: stopped, restarted, paused, resumed. */
#include <string.h>

#include "broker/run/runs.h"
#include "broker/run/suspensions.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/run_start.h"
#include "imaged/ops/submit.h"

#define CALL_LIMIT_MS 30000
#define LOOK_MS 500     /* between two questions whether a guest is off by now */
#define MAX_AT_ONCE 256 /* guests that are waited for at the same time */
#define STOP_TIMEOUT_S 90
#define STOP_TIMEOUT_MAX_S 3600

/* ---- Planning ---- */

static gboolean plan_one(Db *db, const DesktopRow *desktop, BatchPlan *plan, GError **error)
{
    g_auto(RunRow) run = { 0 };

    if (!run_lookup_on(db, desktop->id, &run, error))
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "run", desktop->id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", desktop->id, "name", desktop->name,
                             "uuid", desktop->uuid, "host", run.host_id, "incarnation",
                             run.incarnation),
                   keys);
    return TRUE;
}

static gboolean plan_all(OpsCall *call, const JobType *type, const LookupRows *desktops,
                         BatchPlan *plan)
{
    Db *db = catalog_read_begin(call->world->catalog);

    batch_plan_init(plan, call->world, type);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (!plan_one(db, row, plan, &why))
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(call->world->catalog, db);
    return TRUE;
}

static gboolean plan_stop(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                          GError **error)
{
    gboolean is_forced;
    gint64 timeout;

    if (!args_bool(call, "force", &is_forced, error) ||
        !args_int(call, "timeout_s", STOP_TIMEOUT_S, 0, STOP_TIMEOUT_MAX_S, &timeout, error) ||
        !plan_all(call, &desktop_stop_job, desktops, plan))
        return FALSE;
    json_object_set_new(plan->plan, "force", json_boolean(is_forced));
    json_object_set_new(plan->plan, "timeout_s", json_integer(timeout));
    return TRUE;
}

json_t *ops_desktop_stop(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template force timeout_s", NULL, plan_stop,
                              error);
}

static gboolean plan_restart(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                             GError **error)
{
    return plan_all(call, &desktop_restart_job, desktops, plan);
}

static gboolean plan_pause(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                           GError **error)
{
    return plan_all(call, &desktop_pause_job, desktops, plan);
}

/* Desktops that are paused go on; those that are suspended are started, with their memory. */
static gboolean plan_resume(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                            GError **error)
{
    guint n_runs = 0, n_suspended = 0;
    Db *db = catalog_read_begin(call->world->catalog);

    for (guint i = 0; i < desktops->rows->len; i++) {
        g_auto(RunRow) run = { 0 };
        g_auto(SuspensionRow) suspended = { 0 };
        const char *id = row_id(desktops->rows->pdata[i]);
        if (run_lookup(db, id, &run, NULL))
            n_runs++;
        else if (suspension_lookup(db, id, &suspended, NULL))
            n_suspended++;
    }
    catalog_read_end(call->world->catalog, db);
    if (n_suspended && !n_runs)
        return run_start_plan_suspended(call, desktops, plan, error);
    return plan_all(call, &desktop_resume_job, desktops, plan);
}

#define SELECTION "names prefix template"

json_t *ops_desktop_restart(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, SELECTION, NULL, plan_restart, error);
}

json_t *ops_desktop_pause(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, SELECTION, NULL, plan_pause, error);
}

json_t *ops_desktop_resume(OpsCall *call, GError **error)
{
    return submit_counted(call, SELECTION, QUOTA_RUNNING, plan_resume, error);
}

/* ---- Asking its host ---- */

typedef enum { ACT_SHUT_DOWN, ACT_DESTROY, ACT_REBOOT, ACT_PAUSE, ACT_RESUME, ACT_FIND } Act;

typedef struct {
    char *uuid, *incarnation;
    Act act;
} Ask;

static void ask_clear(gpointer data)
{
    Ask *ask = data;

    g_free(ask->uuid);
    g_free(ask->incarnation);
}

/* On the host's thread: only the domain with this incarnation is ours to touch.  NOT_FOUND: none.
 */
static gboolean act(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    const Ask *ask = data;
    HostDomain *d = driver->find(link, ask->uuid, error);
    gboolean is_ours = d && g_strcmp0(d->incarnation, ask->incarnation) == 0, is_running;

    if (!d)
        return FALSE;
    is_running = d->state == DOMAIN_RUNNING;
    host_domain_free(d);
    if (!is_ours) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its host runs another incarnation of it, which is left alone");
        return FALSE;
    }
    switch (ask->act) {
    case ACT_SHUT_DOWN:
        return driver->shut_down(link, ask->uuid, error);
    case ACT_DESTROY:
        return driver->destroy(link, ask->uuid, error);
    case ACT_REBOOT:
        return driver->reboot(link, ask->uuid, error);
    case ACT_PAUSE:
        return driver->pause(link, ask->uuid, error);
    case ACT_RESUME:
        return is_running || driver->resume(link, ask->uuid, error);
    default:
        return TRUE;
    }
}

static gboolean ask(const BatchChunk *chunk, guint i, Act what, GError **error)
{
    Ask *a = g_atomic_rc_box_new0(Ask);

    *a = (Ask){ .uuid = g_strdup(batch_text(chunk, i, "uuid")),
                .incarnation = g_strdup(batch_text(chunk, i, "incarnation")),
                .act = what };
    gboolean ok = hosts_call(chunk->world->hosts, batch_text(chunk, i, "host"), act, a, ask_clear,
                             CALL_LIMIT_MS, error);
    g_atomic_rc_box_release_full(a, ask_clear);
    return ok;
}

/* ---- Stopping ---- */

/* Until the host says that there is none.  FALSE with error, or without if it still runs. */
static gboolean wait_for_end(const BatchChunk *chunk, guint i, gint64 limit_ms, GError **error)
{
    gint64 end_us = g_get_monotonic_time() + limit_ms * 1000;

    for (;;) {
        g_autoptr(GError) local = NULL;
        if (!ask(chunk, i, ACT_FIND, &local)) {
            if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
                return TRUE;
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!job_check(chunk->job, error) || g_get_monotonic_time() >= end_us)
            return FALSE;
        g_usleep(LOOK_MS * 1000);
    }
}

static gboolean power_off(const BatchChunk *chunk, guint i, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!ask(chunk, i, ACT_DESTROY, &local) &&
        !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (wait_for_end(chunk, i, CALL_LIMIT_MS, error))
        return TRUE;
    if (error && !*error)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it does not end");
    return FALSE;
}

static void stop_one(gpointer n, gpointer data)
{
    BatchChunk *chunk = data;
    guint i = GPOINTER_TO_UINT(n) - 1;
    GError **error = &chunk->errors[i];
    gint64 timeout = json_integer_value(json_object_get(chunk->plan, "timeout_s"));
    g_autoptr(GError) local = NULL;

    if (json_is_true(json_object_get(chunk->plan, "force"))) {
        power_off(chunk, i, error);
        return;
    }
    if (!ask(chunk, i, ACT_SHUT_DOWN, &local)) {
        if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
            g_propagate_error(error, g_steal_pointer(&local));
        return; /* none: it ended by itself */
    }
    if (wait_for_end(chunk, i, timeout * 1000, error) || *error)
        return;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it did not shut down within %d s",
                (int)timeout);
    imaged_error_hint(error,
                      "switch it off, with the loss of what is not saved: imagectl desktop"
                      " stop %s --force",
                      batch_text(chunk, i, "name"));
}

static void in_parallel(BatchChunk *chunk, GFunc function)
{
    GThreadPool *pool = g_thread_pool_new(function, chunk, MAX_AT_ONCE, FALSE, NULL);

    for (guint i = 0; i < chunk->n; i++)
        g_thread_pool_push(pool, GUINT_TO_POINTER(i + 1), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

static gboolean prepare_stop(BatchChunk *chunk, GError **error)
{
    in_parallel(chunk, stop_one);
    if (!job_check(chunk->job, error))
        return FALSE;
    for (guint i = 0; i < chunk->n; i++) {
        RunRow row = { .desktop_id = (char *)batch_text(chunk, i, "id"),
                       .incarnation = (char *)batch_text(chunk, i, "incarnation") };
        if (!chunk->errors[i])
            run_delete(chunk->changes, &row);
    }
    batch_event(chunk, "desktop.stop", "stopped", "desktops");
    return TRUE;
}

static void complete_stop(BatchChunk *chunk)
{
    for (guint i = 0; i < chunk->n; i++) {
        if (!chunk->errors[i])
            runs_let_go(chunk->world->runs, batch_text(chunk, i, "id"));
    }
}

static gboolean run_stop(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_stop, NULL, complete_stop };

    return batch_run(job, world, &type, error);
}

const JobType desktop_stop_job = { "desktop.stop", JOB_LONG, "desktops", run_stop };

/* ---- Restarting, pausing, resuming ---- */

typedef struct {
    const JobType *type;
    Act act;
    const char *state; /* of those that did, or NULL if it does not change */
    const char *done;
} Verb;

static const Verb verbs[] = {
    { &desktop_restart_job, ACT_REBOOT, NULL, "restarted" },
    { &desktop_pause_job, ACT_PAUSE, "paused", "paused" },
    { &desktop_resume_job, ACT_RESUME, "running", "resumed" },
};

static const Verb *verb_of(const BatchChunk *chunk)
{
    guint i = 0;

    while (!g_str_equal(verbs[i].type->kind, job_type_kind(chunk->job)))
        i++;
    return &verbs[i];
}

static void act_one(gpointer n, gpointer data)
{
    BatchChunk *chunk = data;
    guint i = GPOINTER_TO_UINT(n) - 1;

    ask(chunk, i, verb_of(chunk)->act, &chunk->errors[i]);
}

static gboolean prepare_act(BatchChunk *chunk, GError **error)
{
    const Verb *verb = verb_of(chunk);

    in_parallel(chunk, act_one);
    for (guint i = 0; verb->state && i < chunk->n; i++) {
        RunRow row = { .desktop_id = (char *)batch_text(chunk, i, "id"),
                       .incarnation = (char *)batch_text(chunk, i, "incarnation") };
        if (!chunk->errors[i])
            run_set_state(chunk->changes, &row, verb->state, NULL);
    }
    batch_event(chunk, job_type_kind(chunk->job), verb->done, "desktops");
    return TRUE;
}

static gboolean run_act(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_act, NULL, NULL };

    return batch_run(job, world, &type, error);
}

const JobType desktop_restart_job = { "desktop.restart", JOB_INTERACTIVE, "desktops", run_act };
const JobType desktop_pause_job = { "desktop.pause", JOB_INTERACTIVE, "desktops", run_act };
const JobType desktop_resume_job = { "desktop.resume", JOB_INTERACTIVE, "desktops", run_act };
