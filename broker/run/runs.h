/* runs.h: desktops that may be running: a row, a lease and a claim each (docs/design/broker.md).
 *
 * Only who knows that no domain is left gives them up: the host that said so.  A run shares the
 * desktop (claim s:desktop/ID), so that nobody changes its disk; jobs that change the run itself
 * hold x:run/ID.  Any thread. */
#pragma once

#include "broker/host/hosts.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

typedef struct Runs Runs;

/* Those that an error of their disk has paused: stuck.h. */
struct Stuck *runs_stuck(Runs *runs);

typedef struct {
    char *desktop_id, *host_id, *incarnation;
    gint64 generation;
    char *target_host_id; /* it is being moved there, and may run on either; or NULL */
    char *state;  /* starting, running, paused, stuck, stopping, migrating, unknown */
    char *reason; /* or NULL */
    char *hardware; /* as it was started with (hardware.h), JSON; NULL: not known */
    gint64 started_at;
    char *uuid, *name; /* of the desktop */
} RunRow;
void run_row_clear(RunRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunRow, run_row_clear)

/* NOT_FOUND: it does not run. */
gboolean run_lookup(Db *db, const char *desktop_id, RunRow *ret, GError **error);

/* The same for who wants something of it: UNSUPPORTED then, since what was named is there. */
gboolean run_lookup_on(Db *db, const char *desktop_id, RunRow *ret, GError **error);

/* The claims of all rows, before jobs go on; then hosts tell of their domains by runs_seen(). */
Runs *runs_new(World *world, GError **error);
void runs_free(Runs *runs);

/* The claim that goes with a row: taken when the row is written, given up when it is deleted.  Each
 * may be called twice. */
gboolean runs_hold(Runs *runs, const char *desktop_id, GError **error);
void runs_let_go(Runs *runs, const char *desktop_id);

/* Into one set of changes: the row with its lease; what became of it; both gone. */
void run_put(Changes *changes, const RunRow *row);
void run_set_state(Changes *changes, const RunRow *row, const char *state, const char *reason);
void run_delete(Changes *changes, const RunRow *row);

/* Of a desktop that is moved: it may be on either host; it is on this one alone (its own or the
 * target), as it was before in state. */
void run_set_target(Changes *changes, const RunRow *row, const char *target_host_id);
void run_set_host(Changes *changes, const RunRow *row, const char *host_id, const char *state);

/* A host's domains, on its worker's thread: rows follow what it says.  What is not ours is reported
 * and never touched. */
void runs_seen(gpointer world, const char *host_id, const GPtrArray *domains,
               const HostDriver *driver, gpointer link);
