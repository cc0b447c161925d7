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

/* The same, found by the kinds that there are (some dozens), however far apart those that are
 * wanted lie: of each kind and severity the ?5 next ones of index event_kind, and of these the next
 * ?5. ?3 and ?4: behind which event, and before which one; order: ASC or DESC. */
#define EVENT_FIND_SQL(columns, order)                                                             \
    EVENT_WANTED_SQL "SELECT " columns " FROM wanted CROSS JOIN event ON event.id IN"              \
                     " (SELECT x.id FROM event x WHERE " EVENT_OF_KIND_SQL " ORDER BY x.id " order \
                     " LIMIT ?5)"                                                                  \
                     " ORDER BY event.id " order " LIMIT ?5"

/* How many, as n; no more than ?5. */
#define EVENT_COUNT_SQL                                                                            \
    EVENT_WANTED_SQL "SELECT min(?5, coalesce(sum((SELECT count(*) FROM (SELECT 1 FROM event x"    \
                     " WHERE " EVENT_OF_KIND_SQL " LIMIT ?5))), 0)) AS n FROM wanted"

#define EVENT_WANTED_SQL                                                                           \
    "WITH RECURSIVE known(kind) AS (SELECT min(kind) FROM event UNION ALL SELECT (SELECT"          \
    " min(next.kind) FROM event next WHERE next.kind > known.kind) FROM known"                     \
    " WHERE known.kind IS NOT NULL), wanted(kind, severity) AS MATERIALIZED"                       \
    " (SELECT known.kind, s.value FROM known,"                                                     \
    " json_each(coalesce(?1, '[\"info\",\"warning\",\"alarm\"]')) s"                               \
    " WHERE known.kind IS NOT NULL AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(?2) g"       \
    " WHERE known.kind GLOB g.value))) "
#define EVENT_OF_KIND_SQL                                                                          \
    "x.kind = wanted.kind AND x.severity = wanted.severity AND x.id > ?3 AND x.id < ?4"

/* The columns of an event as the API shows it. */
#define EVENT_COLUMNS_SQL                                                                          \
    "CAST(event.id AS TEXT) AS id, event.kind AS name, event.time AS time__time, event.severity,"  \
    " event.object, event.who, event.address, event.message"
