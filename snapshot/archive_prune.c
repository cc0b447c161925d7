/* archive_prune.c: see archive_prune.h.  Points are sorted newest first; each rule then walks down
 * and takes the first point of each period, until it has as many as it wants. */
#include "snapshot/archive_prune.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"

enum { LAST, DAILY, WEEKLY, MONTHLY, YEARLY, N_RULES };
static const char *const rule_names[N_RULES] = { "last", "daily", "weekly", "monthly", "yearly" };

static guint rule_count(const PrunePolicy *policy, guint rule)
{
    const guint counts[N_RULES] = { policy->last, policy->daily, policy->weekly, policy->monthly,
                                    policy->yearly };

    return counts[rule];
}

gboolean prune_policy_is_empty(const PrunePolicy *policy)
{
    return !(policy->last | policy->daily | policy->weekly | policy->monthly | policy->yearly);
}

/* ---- verdicts ---- */

static int newest_first(gconstpointer a, gconstpointer b, gpointer points)
{
    const PrunePoint *p = (const PrunePoint *)points + *(const guint *)a;
    const PrunePoint *q = (const PrunePoint *)points + *(const guint *)b;

    if (p->created_ms != q->created_ms)
        return p->created_ms > q->created_ms ? -1 : 1;
    return -strcmp(p->id, q->id);
}

/* The point's time on the zone's clocks; NULL if it is no year that a calendar has. */
static GDateTime *local_time(gint64 ms, GTimeZone *zone)
{
    gint64 seconds = ms / 1000 - (ms % 1000 < 0);
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(seconds);

    return utc ? g_date_time_to_timezone(utc, zone) : NULL;
}

/* The name of the period of rule that holds time: "2026-11-20", "week 2026-W47". */
static char *period_name(GDateTime *time, guint rule)
{
    static const char *const formats[N_RULES] = { "", "%Y-%m-%d", "week %G-W%V", "%Y-%m", "%Y" };

    return g_date_time_format(time, formats[rule]);
}

static void keep(PruneVerdict *verdict, char *why)
{
    char *both = verdict->why ? g_strconcat(verdict->why, "; ", why, NULL) : g_strdup(why);

    g_free(verdict->why);
    g_free(why);
    verdict->why = both;
    verdict->keep = TRUE;
}

/* times[i] is of the point order[i]; NULL if no rule counts it. */
static void apply_rule(guint rule, guint wanted, const guint *order, GDateTime *const *times,
                       guint n, PruneVerdict *verdicts)
{
    g_autofree char *period = NULL;
    guint taken = 0;

    for (guint i = 0; i < n && taken < wanted; i++) {
        if (!times[i])
            continue;
        if (rule == LAST) {
            taken++;
            keep(&verdicts[order[i]],
                 g_strdup_printf("among the newest (last %u of %u)", taken, wanted));
            continue;
        }
        char *name = period_name(times[i], rule);
        if (g_strcmp0(name, period) == 0) {
            g_free(name);
            continue;
        }
        g_free(period);
        period = name;
        taken++;
        keep(&verdicts[order[i]],
             g_strdup_printf("newest of %s (%s %u of %u)", name, rule_names[rule], taken, wanted));
    }
}

PruneVerdict *archive_prune(const PrunePoint *points, guint n, const PrunePolicy *policy,
                            gint64 now_ms, GTimeZone *zone, GError **error)
{
    if (prune_policy_is_empty(policy)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "no rule says which points stay: all would be deleted");
        imaged_error_hint(error, "say for example 'last 3 daily 7'");
        return NULL;
    }
    PruneVerdict *verdicts = g_new0(PruneVerdict, n + 1);
    g_autofree guint *order = g_new(guint, n + 1);
    g_autoptr(GPtrArray) times = g_ptr_array_new_full(n + 1, NULL);

    for (guint i = 0; i < n; i++)
        order[i] = i;
    g_qsort_with_data(order, (gint)n, sizeof *order, newest_first, (gpointer)points);
    for (guint i = 0; i < n; i++) {
        gint64 ms = points[order[i]].created_ms;
        gboolean is_future = now_ms < G_MAXINT64 - PRUNE_SLACK_MS && ms > now_ms + PRUNE_SLACK_MS;
        GDateTime *time = is_future ? NULL : local_time(ms, zone);
        g_ptr_array_add(times, time);
        if (!time)
            keep(&verdicts[order[i]],
                 g_strdup(is_future ? "made in the future, by a wrong clock: no rule counts it"
                                    : "made at no time that a calendar has: no rule counts it"));
    }
    for (guint rule = 0; rule < N_RULES; rule++)
        apply_rule(rule, rule_count(policy, rule), order, (GDateTime *const *)times->pdata, n,
                   verdicts);
    for (guint i = 0; i < n; i++) {
        if (times->pdata[i])
            g_date_time_unref(times->pdata[i]);
        if (!verdicts[i].keep)
            verdicts[i].why = g_strdup("no rule keeps it");
    }
    return verdicts;
}

void archive_prune_free(PruneVerdict *verdicts, guint n)
{
    for (guint i = 0; verdicts && i < n; i++)
        g_free(verdicts[i].why);
    g_free(verdicts);
}

/* ---- text ---- */

char **prune_words(const char *text)
{
    char **words = g_strsplit_set(text, " \t", -1);
    guint n = 0;

    for (guint i = 0; words[i]; i++) {
        if (*words[i])
            words[n++] = words[i];
        else
            g_free(words[i]);
    }
    words[n] = NULL;
    return words;
}

static gboolean parse_count(const char *rule, const char *number, guint *ret, GError **error)
{
    guint64 value = 0;

    if (number && g_ascii_string_to_unsigned(number, 10, 0, PRUNE_MAX, &value, NULL)) {
        *ret = (guint)value;
        return TRUE;
    }
    if (number) {
        g_autofree char *shown = text_for_message(number, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no number of points",
                    shown);
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no number follows '%s'", rule);
    }
    imaged_error_hint(error, "write it like '%s 7', with 0 to %u", rule, PRUNE_MAX);
    return FALSE;
}

static void set_unknown_rule(const char *word, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    g_autofree char *shown = text_for_message(word, 40);

    for (guint i = 0; i < N_RULES; i++)
        g_ptr_array_add(known, (gpointer)rule_names[i]);
    const char *nearest = nearest_word(word, known);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no rule of what to keep",
                shown);
    if (nearest)
        imaged_error_hint(error, "did you mean '%s'?", nearest);
    else
        imaged_error_hint(error, "the rules are last, daily, weekly, monthly and yearly, each with "
                                 "a number behind it");
}

gboolean prune_policy_parse(const char *text, PrunePolicy *ret_policy, GError **error)
{
    g_auto(GStrv) words = prune_words(text);
    guint counts[N_RULES] = { 0 };
    gboolean seen[N_RULES] = { FALSE };

    for (guint i = 0; words[i]; i += 2) {
        guint rule = 0;
        while (rule < N_RULES && g_ascii_strcasecmp(words[i], rule_names[rule]))
            rule++;
        if (rule == N_RULES) {
            set_unknown_rule(words[i], error);
            return FALSE;
        }
        if (seen[rule]) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' stands there twice",
                        rule_names[rule]);
            return FALSE;
        }
        seen[rule] = TRUE;
        if (!parse_count(rule_names[rule], words[i + 1], &counts[rule], error))
            return FALSE;
    }
    *ret_policy = (PrunePolicy){ counts[LAST], counts[DAILY], counts[WEEKLY], counts[MONTHLY],
                                 counts[YEARLY] };
    return TRUE;
}

char *prune_policy_format(const PrunePolicy *policy)
{
    g_autoptr(GString) out = g_string_new(NULL);

    for (guint i = 0; i < N_RULES; i++) {
        guint count = rule_count(policy, i);
        if (count)
            g_string_append_printf(out, "%s%s %u", out->len ? " " : "", rule_names[i], count);
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}
