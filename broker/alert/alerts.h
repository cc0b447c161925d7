/* alerts.h: who is told of which events, by webhook or by mail.
 *
 * Each alert has a thread of its own, so that a receiver that hangs delays nobody else.  Events are
 * given in order and at least once: the last one that was taken stands in the catalog, and what is
 * newer is given again after a stop.  Any thread may call these functions. */
#pragma once

#include "broker/alert/event_filter.h"
#include "imaged/job/world.h"

typedef struct Alerts Alerts;

typedef struct {
    char *id, *name;
    char *kind;     /* webhook | mail */
    char *target;   /* the URL, or the address */
    char *severity; /* the least that is told */
    char *kinds;    /* as event_filter_init() takes them, or NULL: all */
    gboolean has_secret, is_on;
    gint64 last_event; /* that was taken */
    gint64 created_at;
} AlertRow;
void alert_row_clear(AlertRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AlertRow, alert_row_clear)

/* NOT_FOUND; name may be an id. */
gboolean alert_lookup(Db *db, const char *name, AlertRow *ret, GError **error);

/* Begins to tell. */
Alerts *alerts_new(World *world, GError **error);
void alerts_free(Alerts *alerts);

/* A new one, told of what happens from now on; row has no id yet, and gets it.  secret signs what
 * is posted, or is NULL.  EXISTS, INVALID. */
gboolean alerts_add(Alerts *alerts, AlertRow *row, const char *secret, const char *who,
                    GError **error);

/* row (by its id) as it is now to be; secret: NULL leaves what is there, "" takes it away.
 * skips: what waits is not told any more.  BUSY, EXISTS, INVALID. */
gboolean alerts_set(Alerts *alerts, AlertRow *row, const char *secret, gboolean skips,
                    const char *who, GError **error);
gboolean alerts_remove(Alerts *alerts, const char *name, const char *who, GError **error);

/* Tell of an event that there was not, now.  Why that did not work. */
gboolean alerts_test(Alerts *alerts, const char *name, GError **error);

/* How it is. */
typedef struct {
    const char *state; /* off, idle, sending, failing (static) */
    char *last_error;  /* of the last try, or NULL */
    gint64 next_try;   /* ms of the epoch, or 0 */
    gint64 last_sent;  /* likewise: when something was last taken */
    gint64 n_sent;     /* events since imaged started */
    gint64 position;   /* the last event that needs no telling any more */
} AlertView;
void alert_view_clear(AlertView *view);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AlertView, alert_view_clear)

/* FALSE: there is none. */
gboolean alerts_view(Alerts *alerts, const char *id, AlertView *ret);

/* Events that it is still to be told of; counted up to a limit. */
gint64 alert_backlog(Db *db, const AlertRow *row, gint64 position);
