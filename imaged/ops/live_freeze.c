/* live_freeze.c: see live_freeze.h.
 *
 *   overlays durable -> facts: AHEAD -> the host switches QEMU -> files read-only -> facts: FROZEN
 *                           \-> the host says that QEMU stayed -> facts: as before -> files go */
#include "imaged/ops/live_freeze.h"

#include "broker/run/live.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/run_domain.h"

typedef struct {
    Job *job;
    World *world;
    const LiveFreeze *asked;
    RunRow run;
    HostRow host;
    FreezeAhead f;
    char *old_paths[DISK_N], *new_paths[DISK_N];
    gboolean is_quiet;
    gboolean is_doubtful; /* a snapshot was asked for, and nobody knows how that ended */
} Live;

static void live_clear(Live *l)
{
    run_row_clear(&l->run);
    host_row_clear(&l->host);
    freeze_ahead_clear(&l->f);
    for (guint k = 0; k < DISK_N; k++) {
        g_free(l->old_paths[k]);
        g_free(l->new_paths[k]);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Live, live_clear)

gboolean live_load_run(World *world, const char *desktop_id, const char *incarnation,
                       RunRow *ret_run, HostRow *ret_host, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        run_lookup(db, desktop_id, ret_run, NULL) && g_str_equal(ret_run->incarnation, incarnation);

    if (!ok) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it was switched off meanwhile");
        imaged_error_hint(error, "ask for it again");
    }
    ok = ok && host_lookup(db, ret_run->host_id, ret_host, error);
    catalog_read_end(world->catalog, db);
    return ok;
}

/* The same layer's path, but for its slot. */
static char *path_beside(const char *path, const char *slot)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return g_build_filename(folder, slot, NULL);
}

static gboolean load(Live *l, GError **error)
{
    const LiveFreeze *a = l->asked;
    Db *db = catalog_read_begin(l->world->catalog);
    gboolean ok =
        freeze_ahead_load(l->world, db, a->desktop_id, a->new_id, a->new_data_id, &l->f, error);

    catalog_read_end(l->world->catalog, db);
    for (guint k = 0; ok && k < DISK_N; k++) {
        const AheadDisk *d = &l->f.disks[k];
        if (!d->store)
            continue;
        l->old_paths[k] = run_layer_path(l->world, &l->host, &d->below, error);
        ok = l->old_paths[k] != NULL;
        l->new_paths[k] = ok ? path_beside(l->old_paths[k], d->new_id) : NULL;
    }
    return ok;
}

/* For each of the host's disks: the file that it is to be switched to, or NULL.  FALSE: one of ours
 * is not among them. */
static gboolean find_switches(const Live *l, const GPtrArray *disks, const char **ret_to,
                              guint *ret_n, GError **error)
{
    *ret_n = 0;
    for (guint k = 0; k < DISK_N; k++) {
        gboolean is_found = l->old_paths[k] == NULL;
        for (guint i = 0; !is_found && i < disks->len; i++) {
            const DomainDisk *disk = disks->pdata[i];
            gboolean is_old = g_strcmp0(disk->path, l->old_paths[k]) == 0;
            is_found = is_old || g_strcmp0(disk->path, l->new_paths[k]) == 0;
            if (is_old) {
                ret_to[i] = l->new_paths[k];
                ++*ret_n;
            }
        }
        if (!is_found) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                        "its host runs it on another file than the catalog knows");
            return FALSE;
        }
    }
    return TRUE;
}

typedef enum { SWITCH_DONE, SWITCH_STAYED, SWITCH_NOT_KNOWN } Switched;

/* Until the host says which it is. */
static Switched switch_over(Live *l, GError **error)
{
    g_autoptr(GError) refused = NULL;

    for (;;) {
        g_autoptr(GError) local = NULL;
        g_autoptr(GPtrArray) disks = live_ask(l->world, l->job, &l->run, &local);
        guint n;
        if (!disks) {
            if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) ||
                g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY))
                return SWITCH_DONE; /* nobody writes: both read the same */
            g_propagate_error(error, g_steal_pointer(&local));
            return SWITCH_NOT_KNOWN;
        }
        g_autofree const char **to = g_new0(const char *, disks->len);
        if (!find_switches(l, disks, to, &n, error))
            return SWITCH_STAYED;
        if (n == 0)
            return SWITCH_DONE;
        if (refused) {
            g_propagate_error(error, g_steal_pointer(&refused));
            return SWITCH_STAYED;
        }
        if (!live_snapshot(l->world, &l->run, disks, to, &l->is_quiet, &refused) &&
            g_error_matches(refused, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) {
            g_clear_error(&refused); /* it may be at it still: asked for again, it waits for that */
            l->is_doubtful = TRUE;
        }
    }
}

static gboolean go_ahead(Live *l, GError **error)
{
    gint64 now = units_now_ms();
    Changes *changes = changes_new();

    if (!freeze_ahead_write(&l->f, now, error)) {
        changes_free(changes);
        return FALSE;
    }
    freeze_ahead_put(&l->f, changes, now);
    if (job_commit(l->job, changes, job_step(l->job) + 1, error))
        return TRUE;
    freeze_ahead_discard(&l->f);
    return FALSE;
}

static void go_back(Live *l)
{
    Changes *changes = changes_new();

    freeze_ahead_put_back(&l->f, changes, units_now_ms());
    if (job_commit(l->job, changes, job_step(l->job) + 1, NULL))
        freeze_ahead_discard(&l->f);
}

gboolean live_freeze(Job *job, World *world, const LiveFreeze *asked, GError **error)
{
    g_auto(Live) l = { .job = job, .world = world, .asked = asked };

    if (!live_load_run(world, asked->desktop_id, asked->incarnation, &l.run, &l.host, error) ||
        !load(&l, error))
        return FALSE;
    if (l.f.is_frozen)
        return TRUE;
    if (!l.f.is_ahead) {
        g_autoptr(GPtrArray) disks = live_disks(world, &l.run, error); /* does it answer at all? */
        if (!disks || !go_ahead(&l, error))
            return FALSE;
    } else {
        l.is_doubtful = TRUE; /* before a stop of the daemon */
    }
    Switched switched = switch_over(&l, error);
    if (l.is_doubtful && switched != SWITCH_NOT_KNOWN)
        live_thaw(world, &l.run);
    if (switched == SWITCH_STAYED)
        go_back(&l);
    if (switched != SWITCH_DONE || !freeze_ahead_close(&l.f, error))
        return FALSE;
    Changes *changes = changes_new();
    freeze_ahead_put_frozen(&l.f, changes);
    if (asked->add)
        asked->add(changes, &l.f, l.is_quiet, asked->user);
    return job_commit(job, changes, job_step(job) + 1, error);
}
