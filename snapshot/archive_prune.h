/* archive_prune.h: which archive points of one desktop or template stay, and why: a pure function.
 *
 * No clock, no I/O, no catalog: the same arguments give the same verdicts.  Any thread.
 *
 * Each rule looks at all points by itself, and a point stays if at least one rule keeps it (as
 * restic does it; borg lets each rule count only what those before it left):
 *   last N     the N newest points;
 *   daily N    the newest point of each of the N newest calendar days that have points;
 *   weekly N   the same with ISO weeks (Monday first; the week of the year's first Thursday is 1);
 *   monthly N, yearly N   the same with calendar months and years.
 * Days without points count for nothing: a desktop that was off for a month loses nothing by it.
 * Days begin at midnight in the zone given, whether they last 23, 24 or 25 hours.
 *
 * What follows: a policy that keeps nothing is refused, and with any other the newest point stays.
 * Of points with equal times the one with the greater id counts as the newer.  A point from the
 * future (the clock was wrong when it was made) stays and is counted by no rule: else it would be
 * the newest for years, and crowd out all that are made meanwhile. */
#pragma once

#include <glib.h>

typedef struct {
    guint last, daily, weekly, monthly, yearly; /* 0: no such rule */
} PrunePolicy;

#define PRUNE_MAX 100000u /* of each number */

typedef struct {
    const char *id;
    gint64 created_ms; /* since 1970 */
} PrunePoint;

typedef struct {
    gboolean keep;
    char *why; /* "newest of 2026-11-20 (daily 3 of 7)", "no rule keeps it" */
} PruneVerdict;

/* How much later than now a point may seem to be made before it is one from the future. */
#define PRUNE_SLACK_MS (24 * 3600 * 1000)

/* One verdict for each point, in the order of points, which may be any.  INVALID if the policy
 * keeps nothing.  Caller frees with archive_prune_free(). */
PruneVerdict *archive_prune(const PrunePoint *points, guint n, const PrunePolicy *policy,
                            gint64 now_ms, GTimeZone *zone, GError **error);
void archive_prune_free(PruneVerdict *verdicts, guint n);

/* "last 3 daily 7 weekly 4 monthly 6": words and numbers in any order, each word once.  An empty
 * text is a policy that keeps nothing.  INVALID with a message that names the word, and a hint. */
gboolean prune_policy_parse(const char *text, PrunePolicy *ret_policy, GError **error);

/* The same text back, in the order above; "" if it keeps nothing.  Caller frees. */
char *prune_policy_format(const PrunePolicy *policy);

gboolean prune_policy_is_empty(const PrunePolicy *policy);

/* The words of text (caller frees with g_strfreev()). */
char **prune_words(const char *text);
