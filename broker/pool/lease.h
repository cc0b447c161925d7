/* lease.h: for how long a user has a desktop: the terms of a pool or of an assignment, and what is
 * to be done when.  Pure: the time is given.  Any thread. */
#pragma once

#include "broker/pool/pools.h"
#include "broker/pool/weekly.h"

typedef enum {
    LEASE_LOG_OFF, /* its session ends, and it is shut down; its disk stays as it is */
    LEASE_REIMAGE, /* and it is laid fresh on its template */
    LEASE_SUSPEND, /* and its memory is kept */
    LEASE_ARCHIVE, /* it is archived first, and re-imaged then */
    LEASE_N_ACTIONS
} LeaseAction;
const char *lease_action_name(LeaseAction action);

/* As the JSON of a pool's settings or an assignment's lease says. */
typedef struct {
    gint64 duration_s; /* from when it is given on; 0: as long as the rest says */
    gint64 until_ms;   /* 0: without */
    Weekly *weekly;    /* or NULL: always open */
    gint64 warn_s;     /* before its end the user is told */
    gint64 grace_s;    /* after it he may still save his work */
    LeaseAction action;
    char *target; /* of LEASE_ARCHIVE: an archive target's name */
    gint64 max_extensions, extension_s;
} LeaseTerms;
void lease_terms_clear(LeaseTerms *terms);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LeaseTerms, lease_terms_clear)

/* The terms of an assignment that says none: nobody loses a disk of his own unasked. */
#define LEASE_OF_OWN "{\"end_action\": \"log-off\"}"

#define LEASE_WARN_S 600
#define LEASE_GRACE_S 300

/* INVALID says which member is wrong; members that are not of a lease are passed over. */
gboolean lease_terms_parse(const json_t *settings, LeaseTerms *ret, GError **error);
gboolean lease_terms_read(const char *settings, LeaseTerms *ret, GError **error);

/* When what is given at now_ms ends: 0: not by itself.  By the first of duration, date and the end
 * of the present hours. */
gint64 lease_terms_end(const LeaseTerms *terms, gint64 now_ms);
gint64 lease_end(const char *settings, gint64 now_ms); /* 0 also if they can't be read */

/* May somebody get a desktop of this pool now?  DENIED says when it is open. */
gboolean lease_check_open(const PoolRow *pool, gint64 now_ms, GError **error);

/* What is due, and when to look again (*ret_next, 0: never).  until_ms is the lease's end, warned
 * whether its user has been told. */
typedef enum { LEASE_WAIT, LEASE_WARN, LEASE_END } LeaseStep;
LeaseStep lease_step(const LeaseTerms *terms, gint64 until_ms, gboolean warned, gint64 now_ms,
                     gint64 *ret_next);

/* The end after one more extension, never beyond the terms' date.  DENIED: no more are left, or
 * the date is reached. */
gboolean lease_extend(const LeaseTerms *terms, gint64 until_ms, gint64 n_extensions,
                      gint64 *ret_until, GError **error);
