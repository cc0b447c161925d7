/* rollout_rules.h: what a roll-out does next, and when it stops: pure functions over counts.
 *
 * No clock, no I/O, no memory between calls: after a restart the same counts give the same answer.
 *
 *   PLANNED -> CANARY -> GATE -> ROLLING -> GATE -> ROLLING ... -> DONE
 *                 \        \        \                               \
 *                  +--------+--------+--> PAUSED | STOPPED           +--> ROLLING_BACK
 *   PAUSED, STOPPED -> CANARY | GATE | ROLLING     resumed           (rollback, also from DONE,
 *   PAUSED, STOPPED -> CANCELLED                   ended as it is     CANCELLED, PAUSED, STOPPED)
 *   ROLLING_BACK    -> ROLLED_BACK | PAUSED | STOPPED
 *   GATE, ROLLING ... -> WAITING    only deferred ones are left: no job until one's turn has come
 *   WAITING -> CANARY | GATE | ROLLING | STOPPED | PAUSED | ROLLING_BACK | CANCELLED
 *
 * Any thread. */
#pragma once

#include <glib.h>

typedef enum {
    ROLLOUT_PLANNED,      /* nothing was moved yet */
    ROLLOUT_CANARY,       /* the first few are moved */
    ROLLOUT_GATE,         /* the health of what was moved is looked at */
    ROLLOUT_ROLLING,      /* the others are moved, batch by batch */
    ROLLOUT_WAITING,      /* for desktops that run: until they stop, or their users have left */
    ROLLOUT_PAUSED,       /* by a person */
    ROLLOUT_STOPPED,      /* at a bad sign */
    ROLLOUT_ROLLING_BACK, /* the former disks are brought back */
    ROLLOUT_ROLLED_BACK,
    ROLLOUT_DONE,
    ROLLOUT_CANCELLED, /* ended by a person, as it was */
    ROLLOUT_N_STATES
} RolloutState;

const char *rollout_state_name(RolloutState state);
gboolean rollout_state_parse(const char *name, RolloutState *ret_state);

/* May a roll-out go from one state to another? */
gboolean rollout_may_move(RolloutState from, RolloutState to);

gboolean rollout_is_active(RolloutState state); /* its job is at work, or is to be */
gboolean rollout_is_open(RolloutState state);   /* its desktops and their former disks are held */

/* How many desktops are where. */
typedef struct {
    guint waiting;     /* not tried yet */
    guint deferred;    /* they run, and their turn has not come */
    guint moved;       /* on the new version, whatever their health */
    guint unchecked;   /* of moved: health still to be looked at */
    guint unhealthy;   /* of moved: not healthy, or it could not be started again */
    guint unavailable; /* in use, or on a store that is offline */
    guint failed;      /* could not be moved for another reason */
    guint skipped;     /* left out with a word: they need no move, or a person said so */
    guint returned;    /* on their former disks again */
    guint held;        /* could not be brought back just now: the trash keeps their former disks */
    guint kept;        /* can not be brought back, or a person gave that up */
} RolloutCounts;

typedef struct {
    RolloutState state;
    gboolean is_backward; /* a rollback was asked for */
    gboolean wants_pause;
    gboolean has_health; /* health is looked at */
    guint canary, batch; /* sizes; canary 0: none */
    guint max_unavailable;
    gint64 deadline_ms, now_ms; /* since 1970; deadline 0: none */
    RolloutCounts n;
} RolloutFacts;

typedef enum {
    ROLLOUT_ACT_END,    /* nothing more: the new state is where it stays */
    ROLLOUT_ACT_MOVE,   /* move n waiting desktops */
    ROLLOUT_ACT_CHECK,  /* look at the health of all that are unchecked */
    ROLLOUT_ACT_RETURN, /* bring n moved desktops back */
} RolloutAct;

typedef enum {
    ROLLOUT_WHY_NOTHING,
    ROLLOUT_WHY_PAUSE,
    ROLLOUT_WHY_FAILED,
    ROLLOUT_WHY_UNHEALTHY,
    ROLLOUT_WHY_UNAVAILABLE,
    ROLLOUT_WHY_DEADLINE,
    ROLLOUT_WHY_HELD,
} RolloutWhy;

typedef struct {
    RolloutState state; /* the one it is in from now on */
    RolloutAct act;
    guint n;
    RolloutWhy why;
} RolloutVerdict;

/* What next?  For a roll-out that is PLANNED or active. */
RolloutVerdict rollout_decide(const RolloutFacts *facts);

/* The state in which one that was paused or stopped goes on. */
RolloutState rollout_resume_state(const RolloutFacts *facts);

/* What holds if the user does not say: of n desktops, n_canary first; n_unavailable are left. */
guint rollout_default_canary(guint n);
guint rollout_default_unavailable(guint n);

#define ROLLOUT_CHUNK 1024u /* desktops moved at once, and the default batch */
