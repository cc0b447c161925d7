/* weekly.h: hours of the week in which something is open, in a time zone, but for holidays.
 *
 *   "mon-fri 08:00-17:00, sat 09:00-12:00, fri 22:00-02:00"
 *
 * A span that ends at or before its start ends on the next day; "00:00-24:00" is all day.  On a
 * holiday no span begins.  Where clocks are put forward, an hour that there is not is passed over;
 * where they are put back, an hour that there is twice counts both times.  Pure: the time is given.
 * Any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Weekly Weekly;

/* text as above; zone an IANA name ("Europe/Berlin"), NULL: UTC; holidays an array of dates
 * ("2026-12-25") or NULL.  INVALID. */
Weekly *weekly_parse(const char *text, const char *zone, const json_t *holidays, GError **error);
void weekly_free(Weekly *weekly);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Weekly, weekly_free)

/* Is it open at now_ms?  *ret_until is when that changes (0: not within the next year). */
gboolean weekly_is_open(const Weekly *weekly, gint64 now_ms, gint64 *ret_until);
