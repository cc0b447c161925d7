/* rollout.h: moving desktops to another version of their template, a few first, then the others.
 *
 * A roll-out is a row and a row for each desktop, which say where it is; a job of the tier "long"
 * asks rollout_rules.h what is next and does that.  The rows are changed in the transactions of the
 * facts, so that a stop anywhere leaves both or neither.  A desktop is claimed only while it is
 * being moved; while a roll-out is open no other one has its desktops, and the trash keeps their
 * former disks.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"
#include "snapshot/rollout_rules.h"

typedef struct {
    char *id, *name;
    char *template_id, *version_id; /* of the version that desktops are moved to */
    char *health;                   /* name of the command, "boot", "agent", or NULL */
    char *when_running;             /* "now", "idle", "next-stop"; NULL: they are busy */
    char *reason;                   /* why it stopped, or NULL */
    char *owner, *job_id;
    gint64 health_limit_ms; /* for one desktop */
    gint64 deadline_ms;     /* since 1970; 0: none */
    RolloutState state;
    gboolean is_backward, wants_pause;
    guint canary, batch, max_unavailable;
    gint64 created_at, started_at, finished_at; /* started: the present or last run; 0: not yet */
    const struct RolloutRuns *runs; /* set by rollout_run() */
} Rollout;

/* By name or id; NOT_FOUND. */
gboolean rollout_find(Db *db, const char *name, Rollout *ret, GError **error);
void rollout_clear(Rollout *rollout);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rollout, rollout_clear)

void rollout_count(Db *db, const char *rollout_id, RolloutCounts *ret);
void rollout_facts(const Rollout *rollout, const RolloutCounts *counts, gint64 now_ms,
                   RolloutFacts *ret);

/* Changes of its row alone: the new state, with the reason (or NULL) for it. */
void rollout_put_state(Changes *changes, const Rollout *rollout, RolloutState state,
                       const char *reason);

/* Can desktops of this store be moved to this version now?  UNAVAILABLE if the store is offline, or
 * the version lies in none that it could be copied from.  (Where it is to be copied still: yes.) */
gboolean rollout_can_reach(World *world, Db *db, const char *version_id, const char *store_id,
                           GError **error);

/* ---- desktops that run ---- */

/* A row as a chunk works with it. */
typedef struct {
    gint64 position, generation; /* generation after the move */
    char *desktop_id, *name, *version_id, *layer_id, *trash_id, *back_id, *former_layer_id;
    char *start_id, *start_host, *start_state; /* rollout_put_start() */
} RolloutItem;

typedef enum {
    ROLLOUT_TURN_OFF,   /* it is off (or busy, as its claim will tell) */
    ROLLOUT_TURN_RUNS,  /* it is to be stopped, and started again */
    ROLLOUT_TURN_LATER, /* its turn has not come */
} RolloutTurn;

/* What rollouts can't do by themselves: the broker's work.  Any thread. */
typedef struct RolloutRuns {
    /* *ret_why, with LATER: a word of why (static). */
    RolloutTurn (*turn)(Db *db, const Rollout *rollout, const RolloutItem *item,
                        const char **ret_why);
    /* Have it off, do this with its disk, and start it again, whatever came of that; all of it is
     * committed.  FALSE: it could not be switched off, or the daemon stops. */
    gboolean (*replace)(Job *job, World *world, const Rollout *rollout, const RolloutItem *item,
                        gboolean (*disk)(Job *job, World *world, const Rollout *rollout,
                                         const RolloutItem *item, GError **error),
                        GError **error);
    /* Those of which a stop of the daemon has left the start. */
    gboolean (*start_rest)(Job *job, World *world, const Rollout *rollout, GError **error);
    /* Is it healthy, by rollout->health?  *ret_is_off: it cannot be told, because it is off. */
    gboolean (*is_healthy)(World *world, const Rollout *rollout, const char *desktop_id,
                           const gint *cancel, gboolean *ret_is_off, GError **error);
} RolloutRuns;

/* Is this a way of looking at desktops that run ("boot", "agent"), no command's name? */
gboolean rollout_health_is_of_run(const char *health);

/* Of a row: as what (incarnation) and where it is to be started again; state "to do" or "done". */
void rollout_put_start(Changes *changes, const Rollout *rollout, gint64 position,
                       const char *start_id, const char *host_id, const char *state);

/* The rows that are to be started still (of RolloutItem); caller unrefs. */
GPtrArray *rollout_to_start(World *world, const Rollout *rollout);

/* ---- the job ---- */

/* Do what is next until it ends, waits, is paused or stops; for the run function of a job whose
 * plan has the roll-out's id as "rollout". */
gboolean rollout_run(Job *job, World *world, const RolloutRuns *runs, GError **error);

/* It can't go on for this reason: note that, unless the daemon stops. */
void rollout_fail(Job *job, World *world, const GError *why);

/* ---- what a run does, one chunk each; internal to rollout*.c ---- */

/* Move up to n waiting desktops, committing with changes (taken over). */
gboolean rollout_move(Job *job, World *world, const Rollout *rollout, guint n, Changes *changes,
                      GError **error);

/* Bring up to n moved desktops back to their former disks; likewise. */
gboolean rollout_return(Job *job, World *world, const Rollout *rollout, guint n, Changes *changes,
                        GError **error);

/* Look at the health of some that are unchecked, and commit what came out. */
gboolean rollout_check(Job *job, World *world, const Rollout *rollout, GError **error);
