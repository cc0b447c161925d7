/* run_start.c: desktops are started: leased, and only then given to the host of their plan.
 *
 * What the plan names (host, incarnation) is put into the catalog before any host hears of it.  A
 * run that is taken up again asks the host first, by the incarnation. */
#include <string.h>

#include "broker/host/probe.h"
#include "broker/run/runs.h"
#include "broker/run/suspensions.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/hardware.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/run_domain.h"
#include "imaged/ops/submit.h"

#define CREATE_LIMIT_MS 60000
#define RESTORE_LIMIT_MS 900000
#define PROBE_LIMIT_MS 60000
#define LOOK_MS 100
#define MAX_AT_ONCE 64 /* hosts that are waited for at the same time */

/* ---- Starting ---- */

typedef struct {
    RunDomain domain;
    char *uuid, *incarnation;
    char *memory;            /* the path there of what it had in its memory, or NULL */
    char *saved_incarnation; /* whose memory it is */
    GError *why;             /* it must not be started; but it may be on already */
} Create;

static void create_clear(gpointer data)
{
    Create *c = data;

    run_domain_clear(&c->domain);
    g_free(c->uuid);
    g_free(c->incarnation);
    g_free(c->memory);
    g_free(c->saved_incarnation);
    g_clear_error(&c->why);
}

/* Whether the host has it is not known: the lease stays.  FALSE. */
static gboolean set_unknown(GError **error, const GError *why)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "%s",
                why ? why->message : "the host cannot be asked");
    return FALSE;
}

/* The host says that it did not start it (why, taken over): only if it has no such domain that is
 * the end of it. */
static gboolean check_failed(const HostDriver *driver, gpointer link, const Create *c, GError *why,
                             GError **error)
{
    g_autoptr(GError) said = why, local = NULL;
    HostDomain *there = driver->find(link, c->uuid, &local);
    gboolean is_ours = there && g_strcmp0(there->incarnation, c->incarnation) == 0;

    host_domain_free(there);
    if (is_ours)
        return TRUE;
    if (!there && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return set_unknown(error, said);
    g_propagate_error(error, g_steal_pointer(&said));
    return FALSE;
}

/* What the host has with its UUID.  While it gets its memory, which a call before may have begun,
 * it stands still: until then nobody knows whether that file is needed once more. */
static HostDomain *find_settled(const HostDriver *driver, gpointer link, const Create *c,
                                GError **error)
{
    gint64 until_us = g_get_monotonic_time() + RESTORE_LIMIT_MS / 2 * 1000;
    HostDomain *there = driver->find(link, c->uuid, error);

    while (c->memory && there && there->state == DOMAIN_PAUSED &&
           g_strcmp0(there->incarnation, c->incarnation) == 0 &&
           g_get_monotonic_time() < until_us) {
        g_usleep(LOOK_MS * 1000);
        host_domain_free(there);
        there = driver->find(link, c->uuid, error);
    }
    return there;
}

/* On the host's thread.  A domain that is there already is asked whose it is. */
static gboolean create(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    const Create *c = data;
    g_autoptr(GError) local = NULL;
    HostDomain *there = find_settled(driver, link, c, &local);
    gboolean is_ours = there && g_strcmp0(there->incarnation, c->incarnation) == 0;

    host_domain_free(there);
    if (is_ours)
        return TRUE;
    if (there) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the host has a domain with its UUID that nobody started from here");
        return FALSE;
    }
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return set_unknown(error, local);
    g_clear_error(&local);
    if (c->why) {
        g_propagate_error(error, g_error_copy(c->why));
        return FALSE;
    }
    for (guint i = 0; i < c->domain.networks->len; i++) {
        if (!driver->make_network(link, c->domain.networks->pdata[i], error))
            return FALSE;
    }
    gboolean ok = c->memory ? driver->restore(link, c->memory, c->saved_incarnation,
                                              c->incarnation, &local)
                            : driver->create(link, c->domain.xml, &local);
    return ok || check_failed(driver, link, c, g_steal_pointer(&local), error);
}

typedef struct {
    World *world;
    BatchChunk *chunk;
} Starting;

/* Its memory, where the plan says that it goes on with it.  FALSE: its disks are not any more as
 * they were then. */
static gboolean find_memory(Starting *s, guint i, const DesktopRow *desktop, Create *c,
                            GError **error)
{
    g_auto(SuspensionRow) memory = { 0 };
    g_auto(HostRow) host = { 0 };

    if (!json_is_true(json_object_get(batch_item(s->chunk, i), "memory")))
        return TRUE;
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = host_lookup(db, batch_text(s->chunk, i, "host"), &host, error) &&
                  suspension_lookup(db, desktop->id, &memory, error);
    gboolean is_valid = ok && suspension_is_valid(s->world, db, desktop, &memory);
    catalog_read_end(s->world->catalog, db);
    if (ok && !is_valid)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its disk was changed meanwhile: what it had in its memory is of no use");
    if (!is_valid)
        return FALSE;
    g_autofree char *path = suspension_path(s->world, desktop, error);
    c->memory = path ? run_path_there(s->world, &host, desktop->store_id, path) : NULL;
    c->saved_incarnation = g_strdup(memory.incarnation);
    return c->memory != NULL;
}

static void give_to_host(Starting *s, guint i, const DesktopRow *desktop, GError **error)
{
    const char *host = batch_text(s->chunk, i, "host");
    Create *c = g_atomic_rc_box_new0(Create);

    c->uuid = g_strdup(desktop->uuid);
    c->incarnation = g_strdup(batch_text(s->chunk, i, "incarnation"));
    probe_wait(s->world, host, PROBE_LIMIT_MS);
    /* A run that was begun before is asked for on its host, whatever there is against starting it.
     */
    if (!find_memory(s, i, desktop, c, &c->why) ||
        !run_domain_make(s->world, desktop->id, host, c->incarnation, &c->domain, &c->why))
        g_debug("'%s' is not to be started", desktop->name);
    gboolean ok = c->memory ? hosts_call_apart(s->world->hosts, host, create, c, create_clear,
                                               RESTORE_LIMIT_MS, error)
                            : hosts_call(s->world->hosts, host, create, c, create_clear,
                                         CREATE_LIMIT_MS, error);
    if (!ok && c->memory)
        imaged_error_hint(error, "start it without: imagectl desktop start %s --fresh",
                          desktop->name);
    g_atomic_rc_box_release_full(c, create_clear);
}

/* In a thread of the pool: item n - 1. */
static void start_one(gpointer n, gpointer data)
{
    Starting *s = data;
    guint i = GPOINTER_TO_UINT(n) - 1;
    GError **error = &s->chunk->errors[i];
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, batch_text(s->chunk, i, "id"), &desktop, error);

    catalog_read_end(s->world->catalog, db);
    if (ok)
        give_to_host(s, i, &desktop, error);
}

/* The hardware that item i is started with: the saved one, or what counts now.  Caller frees. */
static char *hardware_for(BatchChunk *chunk, guint i, Db *db, const DesktopRow *desktop)
{
    g_auto(SuspensionRow) memory = { 0 };

    if (json_is_true(json_object_get(batch_item(chunk, i), "memory")))
        return suspension_lookup(db, desktop->id, &memory, NULL) ? g_strdup(memory.hardware) : NULL;
    json_auto_t *now = hardware_shown(db, desktop->version_id, desktop);
    return json_dumps(now, JSON_COMPACT | JSON_SORT_KEYS);
}

/* The rows, with the leases, before any host hears of it. */
static gboolean put_rows(BatchChunk *chunk, GError **error)
{
    World *world = chunk->world;
    Changes *changes = changes_new();

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(DesktopRow) desktop = { 0 };
        g_auto(RunRow) there = { 0 };
        const char *id = batch_text(chunk, i, "id");
        Db *db = catalog_read_begin(world->catalog);
        gboolean ok = lookup_desktop_by_id(db, id, &desktop, &chunk->errors[i]);
        gboolean has = ok && run_lookup(db, id, &there, NULL);
        g_autofree char *hardware = ok ? hardware_for(chunk, i, db, &desktop) : NULL;
        catalog_read_end(world->catalog, db);
        /* It was planned before another start had ended: that one's run is left alone. */
        if (has && !g_str_equal(there.incarnation, batch_text(chunk, i, "incarnation")))
            g_set_error(&chunk->errors[i], IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                        "it is on already (%s)", there.state);
        if (chunk->errors[i] || !ok || !runs_hold(world->runs, id, &chunk->errors[i]) || has)
            continue;
        RunRow row = { .desktop_id = (char *)id,
                       .host_id = (char *)batch_text(chunk, i, "host"),
                       .incarnation = (char *)batch_text(chunk, i, "incarnation"),
                       .generation = desktop.generation,
                       .hardware = hardware,
                       .state = "starting" };
        run_put(changes, &row);
    }
    return job_commit(chunk->job, changes, job_step(chunk->job), error);
}

/* What came of it.  Whether a host that does not answer has started it is not known: the row stays,
 * and the host tells when it is back. */
static void note(BatchChunk *chunk, guint i)
{
    const GError *error = chunk->errors[i];
    RunRow row = { .desktop_id = (char *)batch_text(chunk, i, "id"),
                   .incarnation = (char *)batch_text(chunk, i, "incarnation") };

    if (!error) {
        run_set_state(chunk->changes, &row, "running", NULL);
        suspension_delete(chunk->changes, row.desktop_id); /* used, or not wanted */
    } else if (g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) {
        run_set_state(chunk->changes, &row, "unknown", error->message);
    } else {
        run_delete(chunk->changes, &row);
    }
}

static gboolean prepare_start(BatchChunk *chunk, GError **error)
{
    Starting s = { chunk->world, chunk };

    if (!put_rows(chunk, error))
        return FALSE;
    GThreadPool *pool = g_thread_pool_new(start_one, &s, MAX_AT_ONCE, FALSE, NULL);
    for (guint i = 0; i < chunk->n; i++) {
        if (!chunk->errors[i])
            g_thread_pool_push(pool, GUINT_TO_POINTER(i + 1), NULL);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    for (guint i = 0; i < chunk->n; i++)
        note(chunk, i);
    batch_event(chunk, "desktop.start", "started", "desktops");
    return TRUE;
}

/* Nobody's run is left; the row may be another start's. */
static gboolean is_off(World *world, const char *desktop_id)
{
    g_auto(RunRow) run = { 0 };
    g_autoptr(GError) error = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_on = run_lookup(db, desktop_id, &run, &error);

    catalog_read_end(world->catalog, db);
    return !is_on && g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

/* What it had in its memory is in use, or of no use. */
static void drop_memory(BatchChunk *chunk, guint i)
{
    g_auto(DesktopRow) desktop = { 0 };
    Db *db = catalog_read_begin(chunk->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, batch_text(chunk, i, "id"), &desktop, NULL);

    catalog_read_end(chunk->world->catalog, db);
    if (ok)
        suspension_remove_file(chunk->world, desktop.store_id, desktop.id, desktop.generation);
}

static void complete_start(BatchChunk *chunk)
{
    for (guint i = 0; i < chunk->n; i++) {
        if (!chunk->errors[i])
            drop_memory(chunk, i);
        else if (is_off(chunk->world, batch_text(chunk, i, "id")))
            runs_let_go(chunk->world->runs, batch_text(chunk, i, "id"));
    }
}

static const BatchType start_type = { prepare_start, NULL, complete_start };

static gboolean run_start(Job *job, gpointer world, GError **error)
{
    return batch_run(job, world, &start_type, error);
}

gboolean run_start_one(Job *job, World *world, json_t *item, GError **error)
{
    json_auto_t *items = json_pack("[O]", item);
    g_autoptr(BatchChunk) chunk = batch_chunk_new(job, world, job_plan(job), items, changes_new());

    if (!prepare_start(chunk, error) || !batch_chunk_commit(chunk, &start_type, error))
        return FALSE;
    if (!chunk->errors[0])
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&chunk->errors[0]));
    return FALSE;
}

const JobType desktop_start_job = { "desktop.start", JOB_INTERACTIVE, "desktops", run_start };
