/* live_refresh.c: see live_refresh.h.
 *
 *   an empty overlay on the present chain -> QEMU copies what the active layer holds, and writes to
 *   both -> the guest is stopped for a moment -> QEMU goes on with the copy alone -> facts -> the
 * guest goes on
 *
 * QEMU's way of writing to both at once (libvirt's SYNCHRONOUS_WRITES) is not used: QEMU 7.2 lost
 * sectors that were the first in their part of the copy (tried: in one of ten merges;
 * tests/functional/live.t sees it).
 *
 * While the guest stands still both files read the same, so the catalog is right whether it names
 * the one or the other, and if the domain is lost just then.  Nothing is written to the copy alone
 * before the catalog names it. */
#include "imaged/ops/live_refresh.h"

#include "broker/run/live.h"
#include "imaged/base/error.h"
#include "imaged/ops/live_freeze.h"
#include "imaged/ops/run_domain.h"
#include "snapshot/fresh_overlay.h"

#define LOOK_US 100000

typedef struct {
    Job *job;
    World *world;
    const LiveRefresh *asked;
    RunRow run;
    HostRow host;
    FreshOverlay f;
    GPtrArray *chain; /* of the copy, as the host sees it */
    char *old_path;
    char *dev;
    gboolean has_paused; /* in this run of the job */
} Refresh;

static void refresh_clear(Refresh *r)
{
    run_row_clear(&r->run);
    host_row_clear(&r->host);
    fresh_overlay_clear(&r->f);
    g_clear_pointer(&r->chain, g_ptr_array_unref);
    g_free(r->old_path);
    g_free(r->dev);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Refresh, refresh_clear)

static const char *new_path(const Refresh *r)
{
    return r->chain->pdata[0];
}

static gboolean load(Refresh *r, GError **error)
{
    const LiveRefresh *a = r->asked;
    Db *db = catalog_read_begin(r->world->catalog);
    gboolean ok =
        fresh_overlay_load(r->world, db, a->desktop_id, a->new_id, a->is_data, &r->f, error);

    if (ok && r->f.is_there && !r->f.is_done)
        ok = (r->chain = run_chain_paths(r->world, db, &r->host, r->f.active.id, error)) != NULL;
    catalog_read_end(r->world->catalog, db);
    if (r->chain) {
        r->old_path = g_strdup(r->chain->pdata[0]);
        g_autofree char *folder = g_path_get_dirname(r->old_path);
        g_free(r->chain->pdata[0]);
        r->chain->pdata[0] = g_build_filename(folder, a->new_id, NULL);
    }
    return ok;
}

/* What the host says of the disk. */
typedef enum { AT_OLD, AT_COPYING, AT_READY, AT_NEW, AT_END, AT_OTHER, AT_NOT_KNOWN } At;

static At look(Refresh *r, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GPtrArray) disks = live_ask(r->world, r->job, &r->run, &local);

    if (!disks && (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) ||
                   g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY)))
        return AT_END;
    if (!disks) {
        g_propagate_error(error, g_steal_pointer(&local));
        return AT_NOT_KNOWN;
    }
    for (guint i = 0; i < disks->len; i++) {
        const DomainDisk *disk = disks->pdata[i];
        gboolean is_old = g_strcmp0(disk->path, r->old_path) == 0;
        if (!is_old && g_strcmp0(disk->path, new_path(r)) != 0)
            continue;
        g_free(r->dev);
        r->dev = g_strdup(disk->dev);
        if (!is_old)
            return AT_NEW;
        if (!disk->copy_path)
            return AT_OLD;
        if (g_strcmp0(disk->copy_path, new_path(r)) != 0)
            break; /* somebody else's */
        return disk->is_ready ? AT_READY : AT_COPYING;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                "its host runs it on other files than the catalog knows");
    return AT_OTHER;
}

/* The guest goes on, unless its user wants it to stand still.  Until the host has heard it. */
static gboolean go_on(Refresh *r, GError **error)
{
    while (r->has_paused || g_str_equal(r->run.state, "running")) {
        g_autoptr(GError) local = NULL;
        if (live_resume(r->world, &r->run, &local) ||
            !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE))
            return TRUE; /* the host said something: it has ended, or was resumed already */
        if (job_is_stopping(r->job)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        job_message(r->job, "%s: it stands still, and its host does not answer", r->run.name);
        g_usleep(LOOK_US);
    }
    return TRUE;
}

static gboolean begin(Refresh *r, GError **error)
{
    return fresh_overlay_write(&r->f, error) &&
           live_copy(r->world, &r->run, r->dev, (const char *const *)r->chain->pdata, error);
}

static gboolean commit(Refresh *r, GError **error)
{
    g_autofree char *slot = g_strdup(r->f.active.slot);
    Changes *changes = changes_new();

    if (!fresh_overlay_put(&r->f, r->world, changes, r->asked->trash_id, error)) {
        changes_free(changes);
        return FALSE;
    }
    if (!job_commit(r->job, changes, job_step(r->job) + 1, error))
        return FALSE;
    fresh_overlay_move_old(&r->f, slot);
    return TRUE;
}

/* Does it stand still now?  Its row may be a moment behind. */
static gboolean stands_still(Refresh *r, GError **error)
{
    HostDomain *d = live_find(r->world, r->run.host_id, &r->run, error);
    gboolean is_still = d && d->state != DOMAIN_RUNNING;

    host_domain_free(d);
    return is_still;
}

/* With the guest at rest: the copy takes over. */
static gboolean take_over(Refresh *r, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!stands_still(r, &local)) {
        r->has_paused = TRUE;
        if (local || !live_pause(r->world, &r->run, &local) || !stands_still(r, &local)) {
            if (local)
                g_propagate_error(error, g_steal_pointer(&local));
            else
                g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "it does not stand still");
            return FALSE;
        }
    }
    return live_copy_end(r->world, &r->run, r->dev, TRUE, error);
}

static void show_copy(Refresh *r)
{
    LiveCopy copy;

    if (live_copy_look(r->world, &r->run, r->dev, &copy, NULL) && copy.total)
        job_progress(r->job, copy.done, copy.total);
    g_usleep(LOOK_US);
}

/* What to do where the host is; what it answers to that is not trusted: it is looked at again. why:
 * set once it is to be given up. */
static void do_next(Refresh *r, At at, gboolean *is_begun, GError **why)
{
    g_autoptr(GError) local = NULL;

    if (!*why && !job_is_stopping(r->job))
        job_check(r->job, why);
    if (at == AT_OLD)
        *is_begun = begin(r, &local) || local->code != IMAGED_ERROR_UNAVAILABLE;
    else if (*why)
        live_copy_end(r->world, &r->run, r->dev, FALSE, NULL);
    else if (at == AT_COPYING)
        show_copy(r);
    else
        take_over(r, &local);
    /* one that does not answer may be at it still */
    if (local && local->code != IMAGED_ERROR_UNAVAILABLE && !*why)
        *why = g_steal_pointer(&local);
}

/* Until the host is at the one or the other. */
static gboolean exchange(Refresh *r, GError **error)
{
    g_autoptr(GError) why = NULL;
    gboolean is_begun = FALSE;

    for (;;) {
        At at = look(r, error);
        if (at == AT_NEW)
            return commit(r, error) && go_on(r, error);
        if (at == AT_NOT_KNOWN)
            return FALSE;
        if (at == AT_OTHER) {
            go_on(r, NULL);
            return FALSE;
        }
        if (at == AT_END || (at == AT_OLD && (is_begun || why))) {
            fresh_overlay_discard(&r->f);
            if (at == AT_END)
                return TRUE;
            if (why)
                g_propagate_error(error, g_steal_pointer(&why));
            else
                g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                            "the host gave up copying the disk");
            go_on(r, NULL);
            return FALSE;
        }
        do_next(r, at, &is_begun, &why);
    }
}

gboolean live_refresh(Job *job, World *world, const LiveRefresh *asked, GError **error)
{
    g_auto(Refresh) r = { .job = job, .world = world, .asked = asked };

    if (!live_load_run(world, asked->desktop_id, asked->incarnation, &r.run, &r.host, NULL))
        return TRUE; /* it was switched off: there is nobody to bring anywhere */
    if (!load(&r, error))
        return FALSE;
    if (!r.f.is_there)
        return TRUE;
    return r.f.is_done ? go_on(&r, error) : exchange(&r, error);
}
