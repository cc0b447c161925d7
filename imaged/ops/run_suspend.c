/* run_suspend.c: desktops whose memory is saved: their disks rest, and they go on later.
 *
 * The host writes the file and lets the disks go; only then is their state noted, with which alone
 * the memory is good.  What the host has begun goes on without us: a run that is taken up again
 * waits for that, and touches nothing of it.  If it finds no domain any more, the host tells
 * whether the file is the whole memory of this very incarnation. */
#include <fcntl.h>
#include <string.h>

#include "broker/run/runs.h"
#include "broker/run/suspensions.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/run_domain.h"
#include "imaged/ops/submit.h"

#define SAVE_LIMIT_MS 900000
#define LOOK_MS 100
#define AGAIN_MS 120000 /* how long a host may be away that was at it */
#define MAX_AT_ONCE 16  /* memories that are written at the same time */

/* ---- Planning ---- */

static gboolean plan_one(OpsCall *call, Db *db, const DesktopRow *desktop, BatchPlan *plan,
                         GError **error)
{
    g_auto(RunRow) run = { 0 };
    g_auto(Hardware) hardware = { 0 };

    if (!run_lookup_on(db, desktop->id, &run, error) ||
        !run_hardware(db, desktop, &hardware, error))
        return FALSE;
    g_autoptr(Store) store = store_set_get(call->world->stores, desktop->store_id, error);
    if (!store || !world_check_space(call->world, store, hardware.memory_bytes, error))
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "run", desktop->id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "id", desktop->id, "name", desktop->name,
                             "uuid", desktop->uuid, "host", run.host_id, "incarnation",
                             run.incarnation, "generation", (json_int_t)run.generation),
                   keys);
    return TRUE;
}

static gboolean plan_suspend(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                             GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);

    batch_plan_init(plan, call->world, &desktop_suspend_job);
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (!plan_one(call, db, row, plan, &why))
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(call->world->catalog, db);
    return TRUE;
}

json_t *ops_desktop_suspend(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template", NULL, plan_suspend, error);
}

/* ---- Saving ---- */

typedef struct {
    char *uuid, *incarnation, *path; /* the path there */
    char *here;                      /* the same, as imaged sees it */
    gboolean is_lost;                /* it ended, and there is nothing to go on with */
    gint is_begun;                   /* atomic: the host may be at it */
} Save;

static void save_clear(gpointer data)
{
    Save *s = data;

    g_free(s->uuid);
    g_free(s->incarnation);
    g_free(s->path);
    g_free(s->here);
}

/* TRUE: its host has it, as this incarnation.  FALSE without an error: it is off. */
static gboolean is_there(const HostDriver *driver, gpointer link, const Save *s, GError **error)
{
    g_autoptr(GError) local = NULL;
    HostDomain *d = driver->find(link, s->uuid, &local);
    gboolean is_ours = d && g_strcmp0(d->incarnation, s->incarnation) == 0;

    if (d && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its host runs another incarnation of it, which is left alone");
    else if (!d && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&local));
    host_domain_free(d);
    return is_ours;
}

/* It is off: is its memory all in the file? */
static gboolean look_at_file(const HostDriver *driver, gpointer link, Save *s, GError **error)
{
    gboolean is_whole = FALSE;

    if (suspension_file_bytes(s->here) && driver->is_memory_of &&
        !driver->is_memory_of(link, s->path, s->incarnation, &is_whole, error))
        return FALSE;
    s->is_lost = !is_whole;
    return TRUE;
}

static gboolean wait_for_host(const HostDriver *driver, gpointer link, const Save *s,
                              GError **error)
{
    gint64 until_us = g_get_monotonic_time() + SAVE_LIMIT_MS * 1000;

    while (driver->is_at_work && driver->is_at_work(link, s->uuid)) {
        if (g_get_monotonic_time() > until_us) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "its host has been at work on it for %d s", SAVE_LIMIT_MS / 1000);
            return FALSE;
        }
        g_usleep(LOOK_MS * 1000);
    }
    return TRUE;
}

static gboolean save(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Save *s = data;
    GError *local = NULL, *why = NULL;

    if (!is_there(driver, link, s, &local) || !wait_for_host(driver, link, s, &local) ||
        !is_there(driver, link, s, &local)) {
        if (!local)
            return look_at_file(driver, link, s, error);
        g_propagate_error(error, local);
        return FALSE;
    }
    /* of a try that went wrong: the host removes only what it has made itself */
    if (!durable_unlink(AT_FDCWD, s->here, error))
        return FALSE;
    g_atomic_int_set(&s->is_begun, 1);
    if (driver->save(link, s->uuid, s->path, &why))
        return TRUE;
    if (is_there(driver, link, s, &local)) {
        durable_unlink(AT_FDCWD, s->here, NULL);
    } else if (!local) { /* it ended meanwhile */
        g_clear_error(&why);
        return look_at_file(driver, link, s, error);
    }
    g_clear_error(&local);
    g_propagate_error(error, why);
    return FALSE;
}

/* The desktop is off, with its memory in the file (if it is not lost): note it, with the state of
 * its disks. */
static void note(BatchChunk *chunk, guint i, const char *path, gboolean is_lost)
{
    g_auto(DesktopRow) desktop = { 0 };
    GError **error = &chunk->errors[i];
    Db *db = catalog_read_begin(chunk->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL);
    g_autofree char *stamp = ok ? suspension_stamp(chunk->world, db, &desktop) : NULL;

    catalog_read_end(chunk->world->catalog, db);
    gint64 bytes = is_lost ? 0 : suspension_file_bytes(path);
    RunRow run = { .desktop_id = (char *)batch_text(chunk, i, "id"),
                   .incarnation = (char *)batch_text(chunk, i, "incarnation") };
    SuspensionRow row = { .desktop_id = desktop.id,
                          .incarnation = run.incarnation,
                          .generation = desktop.generation,
                          .layer_id = desktop.layer_id,
                          .data_layer_id = desktop.data_layer_id,
                          .disk_stamp = stamp,
                          .store_id = desktop.store_id,
                          .host_id = (char *)batch_text(chunk, i, "host"),
                          .bytes = bytes };
    if (!ok || !stamp || !bytes)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "it ended by itself: there is nothing to go on with");
    else if (suspension_file_flush(path, error))
        suspension_put(chunk->changes, &row);
    else
        g_prefix_error(error, "it is off, and its memory is lost: ");
    run_delete(chunk->changes, &run);
}

static char *path_for(BatchChunk *chunk, guint i, char **ret_there, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(HostRow) host = { 0 };
    Db *db = catalog_read_begin(chunk->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, error) &&
                  host_lookup(db, batch_text(chunk, i, "host"), &host, error);

    catalog_read_end(chunk->world->catalog, db);
    g_autofree char *path = ok ? suspension_path(chunk->world, &desktop, error) : NULL;
    *ret_there = path ? run_path_there(chunk->world, &host, desktop.store_id, path) : NULL;
    if (path && !*ret_there)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the host '%s' does not see the store", host.name);
    return *ret_there ? g_steal_pointer(&path) : NULL;
}

typedef struct {
    BatchChunk *chunk;
    gboolean is_lost[BATCH_CHUNK];
} Suspending;

/* A host that was at it, and cannot be asked just now, tells what came of it when it is back. */
static gboolean may_ask_again(const BatchChunk *chunk, Save *s, const GError *error,
                              gint64 until_us)
{
    return g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE) &&
           (g_atomic_int_get(&s->is_begun) || job_is_resumed(chunk->job)) &&
           g_get_monotonic_time() < until_us && job_check(chunk->job, NULL);
}

static void suspend_one(gpointer n, gpointer data)
{
    Suspending *suspending = data;
    BatchChunk *chunk = suspending->chunk;
    guint i = GPOINTER_TO_UINT(n) - 1;
    GError **error = &chunk->errors[i];
    Save *s = g_atomic_rc_box_new0(Save);

    s->here = path_for(chunk, i, &s->path, error);
    s->uuid = g_strdup(batch_text(chunk, i, "uuid"));
    s->incarnation = g_strdup(batch_text(chunk, i, "incarnation"));
    gint64 until_us = g_get_monotonic_time() + AGAIN_MS * 1000;
    while (s->here) {
        if (hosts_call_apart(chunk->world->hosts, batch_text(chunk, i, "host"), save, s, save_clear,
                             SAVE_LIMIT_MS, error)) {
            suspending->is_lost[i] = s->is_lost;
            break;
        }
        if (!may_ask_again(chunk, s, *error, until_us))
            break;
        g_clear_error(error);
        g_usleep(LOOK_MS * 10 * 1000);
    }
    g_atomic_rc_box_release_full(s, save_clear);
}

static gboolean prepare_suspend(BatchChunk *chunk, GError **error)
{
    g_autofree Suspending *s = g_new0(Suspending, 1);
    GThreadPool *pool = g_thread_pool_new(suspend_one, s, MAX_AT_ONCE, FALSE, NULL);

    s->chunk = chunk;
    for (guint i = 0; i < chunk->n; i++)
        g_thread_pool_push(pool, GUINT_TO_POINTER(i + 1), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    for (guint i = 0; i < chunk->n && job_is_stopping(chunk->job); i++) {
        if (g_error_matches(chunk->errors[i], IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE))
            return job_check(chunk->job, error); /* it is taken up again */
    }
    for (guint i = 0; i < chunk->n; i++) {
        char *there = NULL;
        g_autofree char *path =
            chunk->errors[i] ? NULL : path_for(chunk, i, &there, &chunk->errors[i]);
        g_free(there);
        if (path)
            note(chunk, i, path, s->is_lost[i]);
    }
    batch_event(chunk, "desktop.suspend", "suspended", "desktops");
    return TRUE;
}

/* Of those whose rows are gone, also where nothing is left to go on with. */
static void complete_suspend(BatchChunk *chunk)
{
    for (guint i = 0; i < chunk->n; i++) {
        g_auto(RunRow) run = { 0 };
        const char *id = batch_text(chunk, i, "id");
        Db *db = catalog_read_begin(chunk->world->catalog);
        gboolean is_on = run_lookup(db, id, &run, NULL);
        catalog_read_end(chunk->world->catalog, db);
        if (!is_on)
            runs_let_go(chunk->world->runs, id);
    }
}

static gboolean run_suspend(Job *job, gpointer world, GError **error)
{
    static const BatchType type = { prepare_suspend, NULL, complete_suspend };

    return batch_run(job, world, &type, error);
}

const JobType desktop_suspend_job = { "desktop.suspend", JOB_LONG, "desktops", run_suspend };
