/* run_migrate.c: desktops that run are moved to other hosts, and go on there.
 *
 *   row: on either host -> the hosts move it -> both are asked -> row: on the one where it is
 *
 * Until both hosts have said where it is, it counts as being on either, and nobody starts it
 * anywhere.  The source has to say that it is gone, or the target that it never came: what
 * libvirt's call answered decides nothing, so it is the same after a stop of the daemon. */
#include <string.h>

#include "broker/run/live.h"
#include "broker/run/move.h"
#include "broker/session/sessions.h"
#include "imaged/base/error.h"
#include "imaged/job/each.h"
#include "imaged/ops/args.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/live_freeze.h"
#include "imaged/ops/run_domain.h"
#include "imaged/ops/run_place.h"
#include "imaged/ops/submit.h"

#define MOVE_LIMIT_MS (6 * 3600 * 1000)
#define MOVES_AT_ONCE 4 /* of one job: they share the hosts' network */
#define LOOK_US 300000
#define N_LOOKS 4 /* that have to agree where libvirt may be about to do something still */

/* ---- Planning ---- */

static gboolean check_run(const RunRow *run, GError **error)
{
    if (g_str_equal(run->state, "running") || g_str_equal(run->state, "paused"))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it is %s", run->state);
    return FALSE;
}

static gboolean plan_one(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                         const char *only, BatchPlan *plan, GError **error)
{
    g_auto(RunRow) run = { 0 };
    g_auto(HostRow) from = { 0 };
    g_auto(HostRow) to = { 0 };
    const PlaceHost *place;

    if (!run_lookup_on(db, desktop->id, &run, error) || !check_run(&run, error) ||
        !host_lookup(db, run.host_id, &from, error))
        return FALSE;
    if (g_strcmp0(only, run.host_id) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "it is there already");
        return FALSE;
    }
    if (!(place = run_place(world, db, places, desktop, only, run.host_id, error)) ||
        !host_lookup(db, place->id, &to, error) || !move_check(&from, &to, error))
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 'x', "run", desktop->id);
    claims_add(keys, 's', "desktop", desktop->id);
    claims_add(keys, 's', "layers", desktop->id);
    claims_add(keys, 's', "host", to.id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", desktop->id, "name", desktop->name,
                             "incarnation", run.incarnation, "to", to.id, "host", to.name),
                   keys);
    return TRUE;
}

static gboolean plan_all(OpsCall *call, const LookupRows *desktops, const char *only,
                         BatchPlan *plan, GError **error)
{
    g_auto(RunPlaces) places = { 0 };
    Db *db = catalog_read_begin(call->world->catalog);

    batch_plan_init(plan, call->world, &desktop_migrate_job);
    gboolean ok = run_places_load(call->world, db, &places, error);
    for (guint i = 0; ok && i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (!plan_one(call->world, db, &places, row, only, plan, &why))
            batch_plan_reject(plan, row->name, why);
    }
    catalog_read_end(call->world->catalog, db);
    return ok;
}

static gboolean plan_migrate(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                             GError **error)
{
    const char *name = args_text(call, "to", FALSE, error);
    g_auto(HostRow) to = { 0 };
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = !name || host_lookup(db, name, &to, error);

    catalog_read_end(call->world->catalog, db);
    return ok && plan_all(call, desktops, to.id, plan, error);
}

json_t *ops_desktop_migrate(OpsCall *call, GError **error)
{
    if (!args_are_texts(call, "to", error))
        return NULL;
    return submit_on_desktops(call, "names prefix template to", NULL, plan_migrate, error);
}

/* All that run there. */
json_t *ops_host_evacuate(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "host", TRUE, error);
    g_auto(BatchPlan) plan = { 0 };
    g_auto(LookupRows) rows = { 0 };
    g_auto(HostRow) host = { 0 };

    if (!name || !args_check(call, "host", error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = host_lookup(db, name, &host, error) &&
                  lookup_rows(db, ROW_DESKTOP, &rows, error,
                              "SELECT d.* FROM desktop d JOIN run r ON r.desktop_id = d.id WHERE"
                              " r.host_id = ?1 ORDER BY d.name",
                              "t", host.id);
    catalog_read_end(call->world->catalog, db);
    if (!ok || !plan_all(call, &rows, NULL, &plan, error))
        return NULL;
    return submit_plan(call, &plan, error);
}

/* ---- Moving ---- */

typedef struct {
    Job *job;
    World *world;
    RunRow run;
    HostRow from, to;
    gboolean stands; /* where it is, once that is known */
} Migrate;

static void migrate_clear(Migrate *m)
{
    run_row_clear(&m->run);
    host_row_clear(&m->from);
    host_row_clear(&m->to);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Migrate, migrate_clear)

static void free_chain(gpointer chain)
{
    g_strfreev(chain);
}

static gboolean add_chain(Migrate *m, Db *db, const char *layer_id, GHashTable *chains,
                          GError **error)
{
    g_autoptr(GPtrArray) here = NULL, there = NULL;

    if (!layer_id)
        return TRUE;
    if (!(here = run_chain_paths(m->world, db, &m->from, layer_id, error)) ||
        !(there = run_chain_paths(m->world, db, &m->to, layer_id, error)))
        return FALSE;
    g_hash_table_insert(chains, g_strdup(here->pdata[0]), g_strdupv((char **)there->pdata));
    return TRUE;
}

static void add_folder(Migrate *m, const char *store_id, GPtrArray *folders)
{
    g_autoptr(Store) store = store_set_peek(m->world->stores, store_id);
    char *here = store ? host_store_path(&m->from, store) : NULL;
    char *there = here ? host_store_path(&m->to, store) : NULL;

    if (there) {
        g_ptr_array_add(folders, here);
        g_ptr_array_add(folders, there);
    } else {
        g_free(here);
    }
}

static gboolean start_move(Migrate *m, GError **error)
{
    g_autoptr(GHashTable) chains =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_chain);
    g_autoptr(GPtrArray) folders = g_ptr_array_new_with_free_func(g_free);
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(m->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, m->run.desktop_id, &desktop, error) &&
                  add_chain(m, db, desktop.layer_id, chains, error) &&
                  add_chain(m, db, desktop.data_layer_id, chains, error);

    catalog_read_end(m->world->catalog, db);
    if (!ok)
        return FALSE;
    add_folder(m, desktop.store_id, folders);
    Move move = { &m->from, &m->to, chains, folders };
    return move_run(m->world, &m->run, &move, MOVE_LIMIT_MS, error);
}

/* What a host says of it. */
typedef enum { HAS_NONE, HAS_RUNNING, HAS_STANDING, HAS_NOT_SAID } Has;

static Has ask(Migrate *m, const char *host_id)
{
    g_autoptr(GError) error = NULL;
    HostDomain *d = live_find(m->world, host_id, &m->run, &error);
    Has has = d ? (d->state == DOMAIN_RUNNING ? HAS_RUNNING : HAS_STANDING)
              : error->code == IMAGED_ERROR_NOT_FOUND ? HAS_NONE
              : error->code == IMAGED_ERROR_BUSY      ? HAS_NONE /* another incarnation's */
                                                      : HAS_NOT_SAID;

    if (has == HAS_NOT_SAID)
        job_message(m->job, "%s: both hosts must tell where it is: %s", m->run.name,
                    error->message);
    host_domain_free(d);
    return has;
}

typedef enum { IS_MOVED, IS_STILL_THERE, IS_GONE, IS_UNKNOWN } Where;

/* Neither has moved for some looks, and libvirt is at nothing: what one side left over goes. */
static void clean_up(Migrate *m, Has source, Has target)
{
    if (target == HAS_RUNNING) /* it goes on there; the source only was not told to forget it */
        live_destroy(m->world, m->from.id, &m->run, NULL);
    else if (source == HAS_RUNNING)
        live_destroy(m->world, m->to.id, &m->run, NULL);
    else if (source == HAS_STANDING && target == HAS_STANDING) /* it never ran there */
        live_destroy(m->world, m->to.id, &m->run, NULL);
}

/* Until both hosts agree.  IS_UNKNOWN: the daemon stops. */
static Where settle(Migrate *m)
{
    guint n_quiet = 0;

    for (;; g_usleep(LOOK_US)) {
        gboolean is_moving = FALSE;
        if (job_is_stopping(m->job))
            return IS_UNKNOWN;
        if (!job_check(m->job, NULL))
            live_move_stop(m->world, &m->run, NULL); /* cancelled */
        Has source = ask(m, m->from.id);
        Has target = source == HAS_NOT_SAID ? HAS_NOT_SAID : ask(m, m->to.id);
        if (target == HAS_NOT_SAID)
            continue;
        m->stands = (source == HAS_NONE ? target : source) == HAS_STANDING;
        if (source == HAS_NONE)
            return target == HAS_NONE ? IS_GONE : IS_MOVED;
        if (!live_is_moving(m->world, &m->run, &is_moving, NULL) || is_moving) {
            n_quiet = 0;
            continue;
        }
        if (++n_quiet < N_LOOKS)
            continue;
        if (target == HAS_NONE)
            return IS_STILL_THERE;
        clean_up(m, source, target);
        n_quiet = 0;
    }
}

static const char *state_now(const Migrate *m)
{
    return m->stands ? "paused" : "running";
}

static gboolean commit(Migrate *m, Changes *changes, GError **error)
{
    return job_commit(m->job, changes, job_step(m->job) + 1, error);
}

static gboolean end_moved(Migrate *m, GError **error)
{
    Changes *changes = changes_new();

    run_set_host(changes, &m->run, m->to.id, state_now(m));
    session_set_host(changes, m->run.desktop_id, m->run.incarnation, m->to.id);
    changes_event(changes, "desktop.migrate", "info", m->run.name, job_owner(m->job),
                  "moved from %s to %s", m->from.name, m->to.name);
    if (!commit(m, changes, error))
        return FALSE;
    sessions_moved(m->world->sessions, m->run.uuid, m->to.id);
    live_end_password(m->world, m->to.id, &m->run, NULL);
    return TRUE;
}

static gboolean end_gone(Migrate *m, GError **error)
{
    Changes *changes = changes_new();

    run_delete(changes, &m->run);
    changes_event(changes, "desktop.off", "info", m->run.name, NULL,
                  "it ended while it was being moved");
    if (!commit(m, changes, error))
        return FALSE;
    runs_let_go(m->world->runs, m->run.desktop_id);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "it ended while it was being moved");
    return FALSE;
}

static gboolean end_still_there(Migrate *m, const GError *why, GError **error)
{
    Changes *changes = changes_new();

    /* A move that broke off may have left it standing. */
    if (m->stands && !g_str_equal(m->run.state, "paused"))
        m->stands = !live_resume(m->world, &m->run, NULL);
    run_set_host(changes, &m->run, m->from.id, state_now(m));
    if (!commit(m, changes, error))
        return FALSE;
    if (!why && !job_check(m->job, error))
        return FALSE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "it stays on %s: %s", m->from.name,
                why ? why->message : "the move was broken off");
    return FALSE;
}

static gboolean load(Migrate *m, const json_t *item, GError **error)
{
    Db *db;

    if (!live_load_run(m->world, json_string_value(json_object_get(item, "id")),
                       json_string_value(json_object_get(item, "incarnation")), &m->run, &m->from,
                       error))
        return FALSE;
    db = catalog_read_begin(m->world->catalog);
    gboolean ok = host_lookup(db, json_string_value(json_object_get(item, "to")), &m->to, error);
    catalog_read_end(m->world->catalog, db);
    return ok;
}

static gboolean migrate_one(Job *job, World *world, json_t *item, GError **error)
{
    g_auto(Migrate) m = { .job = job, .world = world };
    g_autoptr(GError) why = NULL;

    if (!load(&m, item, error))
        return FALSE;
    if (g_str_equal(m.run.host_id, m.to.id))
        return TRUE; /* before a stop */
    gboolean was_begun = m.run.target_host_id != NULL;
    Where where = was_begun ? settle(&m) : IS_STILL_THERE;
    if (where == IS_STILL_THERE && !(was_begun && !job_check(job, NULL))) {
        Changes *changes = changes_new();
        run_set_target(changes, &m.run, m.to.id);
        if (!commit(&m, changes, error))
            return FALSE;
        if (run_make_networks(world, m.run.desktop_id, m.to.id, &why))
            start_move(&m, &why);
        where = settle(&m);
    }
    switch (where) {
    case IS_MOVED:
        return end_moved(&m, error);
    case IS_GONE:
        return end_gone(&m, error);
    case IS_STILL_THERE:
        return end_still_there(&m, why, error);
    default:
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it is not known where it is");
        return FALSE;
    }
}

static gboolean run_migrate(Job *job, gpointer world, GError **error)
{
    return job_each_at_once(job, world, migrate_one, MOVES_AT_ONCE, error);
}

const JobType desktop_migrate_job = { "desktop.migrate", JOB_LONG, "desktops", run_migrate };
