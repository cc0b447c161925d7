/* run_suspend.c: desktops whose memory is saved: their disks rest, and they go on later.
 *
 * The host writes the file and lets the disks go; only then is their state noted, with which alone
 * the memory is good.  A run that is taken up again finds no domain: then the file tells what came
 * of it, because the host removes one that it did not finish. */
#include <string.h>
#include <unistd.h>

#include "broker/run/runs.h"
#include "broker/run/suspensions.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/run_domain.h"
#include "imaged/ops/submit.h"

#define SAVE_LIMIT_MS 900000
#define MAX_AT_ONCE 16 /* memories that are written at the same time */

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
    gboolean is_gone;                /* there was no domain any more */
} Save;

static void save_clear(gpointer data)
{
    Save *s = data;

    g_free(s->uuid);
    g_free(s->incarnation);
    g_free(s->path);
    g_free(s->here);
}

static gboolean save(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Save *s = data;
    g_autoptr(GError) local = NULL;
    HostDomain *d = driver->find(link, s->uuid, &local);
    gboolean is_ours = d && g_strcmp0(d->incarnation, s->incarnation) == 0;

    if (!d && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        s->is_gone = TRUE;
        return TRUE;
    }
    if (!d) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    host_domain_free(d);
    if (!is_ours) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its host runs another incarnation of it, which is left alone");
        return FALSE;
    }
    unlink(s->here); /* of a try before, that went wrong */
    return driver->save(link, s->uuid, s->path, error);
}

/* The desktop is off, with its memory in the file: note it, with the state of its disks. */
static void note(BatchChunk *chunk, guint i, const char *path)
{
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(chunk->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL);
    g_autofree char *stamp = ok ? suspension_stamp(chunk->world, db, &desktop) : NULL;

    catalog_read_end(chunk->world->catalog, db);
    gint64 bytes = suspension_file_bytes(path, TRUE);
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
    if (ok && stamp && bytes)
        suspension_put(chunk->changes, &row);
    else
        g_set_error(&chunk->errors[i], IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "it ended by itself: there is nothing to go on with");
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

static void suspend_one(gpointer n, gpointer data)
{
    BatchChunk *chunk = data;
    guint i = GPOINTER_TO_UINT(n) - 1;
    GError **error = &chunk->errors[i];
    Save *s = g_atomic_rc_box_new0(Save);

    s->here = path_for(chunk, i, &s->path, error);
    s->uuid = g_strdup(batch_text(chunk, i, "uuid"));
    s->incarnation = g_strdup(batch_text(chunk, i, "incarnation"));
    if (s->here)
        hosts_call_apart(chunk->world->hosts, batch_text(chunk, i, "host"), save, s, save_clear,
                         SAVE_LIMIT_MS, error);
    g_atomic_rc_box_release_full(s, save_clear);
}

static gboolean prepare_suspend(BatchChunk *chunk, GError **error)
{
    GThreadPool *pool = g_thread_pool_new(suspend_one, chunk, MAX_AT_ONCE, FALSE, NULL);

    (void)error;
    for (guint i = 0; i < chunk->n; i++)
        g_thread_pool_push(pool, GUINT_TO_POINTER(i + 1), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    for (guint i = 0; i < chunk->n; i++) {
        char *there = NULL;
        g_autofree char *path = chunk->errors[i] ? NULL : path_for(chunk, i, &there, NULL);
        g_free(there);
        if (path)
            note(chunk, i, path);
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
