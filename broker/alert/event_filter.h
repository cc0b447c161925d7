/* event_filter.h: which events somebody wants: from a severity upwards, and of which kinds.
 *
 * The same words in lists, streams and alerts.  As SQL it is EVENT_FILTER_SQL, whose two values are
 * the filter's texts.  Any thread. */
#pragma once

#include <glib.h>

typedef struct {
    char *severities; /* a JSON array of those wanted, or NULL: all */
    char *kinds;      /* a JSON array of globs, or NULL: all */
} EventFilter;

/* severity: info, warning or alarm, or NULL.  kinds: "store.*,host.down", or NULL.  INVALID. */
gboolean event_filter_init(EventFilter *ret, const char *severity, const char *kinds,
                           GError **error);
void event_filter_clear(EventFilter *filter);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EventFilter, event_filter_clear)

/* A condition on the table event: ?1 is severities, ?2 is kinds. */
#define EVENT_FILTER_SQL                                                                           \
    "(?1 IS NULL OR event.severity IN (SELECT value FROM json_each(?1)))"                          \
    " AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(?2) AS wanted"                            \
    " WHERE event.kind GLOB wanted.value))"

/* The columns of an event as the API shows it. */
#define EVENT_COLUMNS_SQL                                                                          \
    "CAST(event.id AS TEXT) AS id, event.kind AS name, event.time AS time__time, event.severity,"  \
    " event.object, event.who, event.address, event.message"
