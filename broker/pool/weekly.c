/* weekly.c: the spans of the days around a moment are turned into moments, each by its own day's
 * offset from UTC, and looked through. */
#include "broker/pool/weekly.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define DAY_S 86400
#define MAX_SPANS 64
#define MAX_HOLIDAYS 1000
#define DAYS_AHEAD 367

typedef struct {
    guint day;           /* 0: Monday */
    gint start_s, end_s; /* of the day; end_s > start_s, perhaps on the next one */
} Span;

struct Weekly {
    GArray *spans; /* of Span */
    GTimeZone *zone;
    GHashTable *holidays; /* days since 1970, as pointers */
};

static const char *const days[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

/* ---- Reading ---- */

static gboolean invalid(GError **error, const char *what, const char *text)
{
    g_autofree char *shown = text_for_message(text, 60);

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s: '%s'", what, shown);
    imaged_error_hint(error, "as in: mon-fri 08:00-17:00, sat 09:00-12:00");
    return FALSE;
}

static gint find_day(const char *text, gsize len)
{
    for (gint i = 0; len == 3 && i < 7; i++) {
        if (g_ascii_strncasecmp(text, days[i], 3) == 0)
            return i;
    }
    return -1;
}

/* "08:00" at *text, which is moved behind it; -1 if it is none. */
static gint read_time(const char **text)
{
    const char *t = *text;

    for (guint i = 0; i < 5; i++) {
        if (i == 2 ? t[i] != ':' : !g_ascii_isdigit(t[i]))
            return -1;
    }
    gint hours = (t[0] - '0') * 10 + t[1] - '0', minutes = (t[3] - '0') * 10 + t[4] - '0';
    *text = t + 5;
    return hours > 24 || minutes > 59 || (hours == 24 && minutes) ? -1
                                                                  : hours * 3600 + minutes * 60;
}

/* "mon-fri 08:00-17:00" or "daily 08:00-17:00" */
static gboolean read_span(Weekly *w, const char *text, GError **error)
{
    gsize len = strcspn(text, " ");
    const char *dash = memchr(text, '-', len), *times = text + len;
    gint first = find_day(text, dash ? (gsize)(dash - text) : len);
    gint last = dash ? find_day(dash + 1, len - (gsize)(dash + 1 - text)) : first;

    if (len == 5 && g_ascii_strncasecmp(text, "daily", 5) == 0)
        first = 0, last = 6;
    if (first < 0 || last < 0)
        return invalid(error, "these are no days of the week", text);
    while (*times == ' ')
        times++;
    gint start = read_time(&times), end = start >= 0 && *times++ == '-' ? read_time(&times) : -1;
    if (start < 0 || end < 0 || *times || start == 24 * 3600)
        return invalid(error, "these are no hours", text);
    if (end <= start)
        end += DAY_S;
    for (gint day = first;; day = (day + 1) % 7) {
        Span span = { (guint)day, start, end };
        g_array_append_val(w->spans, span);
        if (day == last)
            break;
    }
    if (w->spans->len <= MAX_SPANS)
        return TRUE;
    return invalid(error, "these are too many hours", text);
}

static gboolean read_spans(Weekly *w, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", MAX_SPANS + 1);

    if (!parts[0])
        return invalid(error, "there are no hours", text);
    for (guint i = 0; parts[i]; i++) {
        if (!read_span(w, g_strstrip(parts[i]), error))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_holidays(Weekly *w, const json_t *holidays, GError **error)
{
    size_t i;
    json_t *value;

    if (holidays && (!json_is_array(holidays) || json_array_size(holidays) > MAX_HOLIDAYS)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "holidays are an array of at most %d dates", MAX_HOLIDAYS);
        return FALSE;
    }
    json_array_foreach (holidays, i, value) {
        const char *text = json_string_value(value);
        g_autofree char *moment =
            text && strlen(text) == 10 ? g_strconcat(text, "T00:00:00Z", NULL) : NULL;
        g_autoptr(GDateTime) date = moment ? g_date_time_new_from_iso8601(moment, NULL) : NULL;
        if (!date || text[4] != '-') {
            g_autofree char *shown = text_for_message(text ? text : "(no text)", 40);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no date", shown);
            imaged_error_hint(error, "as in: 2026-12-25");
            return FALSE;
        }
        g_hash_table_add(w->holidays, GINT_TO_POINTER((gint)(g_date_time_to_unix(date) / DAY_S)));
    }
    return TRUE;
}

Weekly *weekly_parse(const char *text, const char *zone, const json_t *holidays, GError **error)
{
    g_autoptr(Weekly) w = g_new0(Weekly, 1);

    w->spans = g_array_new(FALSE, FALSE, sizeof(Span));
    w->holidays = g_hash_table_new(NULL, NULL);
    /* a name alone: GLib would take a path, too */
    gboolean is_name = !zone || (g_ascii_isalpha(*zone) && !strstr(zone, ".."));
    w->zone = is_name ? g_time_zone_new_identifier(zone ? zone : "UTC") : NULL;
    if (!w->zone) {
        g_autofree char *shown = text_for_message(zone, 60);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no time zone '%s'", shown);
        imaged_error_hint(error, "an IANA name, as in: Europe/Berlin");
        return NULL;
    }
    if (!read_spans(w, text, error) || !read_holidays(w, holidays, error))
        return NULL;
    return g_steal_pointer(&w);
}

void weekly_free(Weekly *w)
{
    if (!w)
        return;
    g_array_unref(w->spans);
    g_hash_table_unref(w->holidays);
    g_clear_pointer(&w->zone, g_time_zone_unref);
    g_free(w);
}

/* ---- Moments ---- */

static gint64 offset_at(const Weekly *w, gint64 utc_s)
{
    return g_time_zone_get_offset(w->zone,
                                  g_time_zone_find_interval(w->zone, G_TIME_TYPE_UNIVERSAL, utc_s));
}

/* The moment at which clocks there show local_s: the first one or the last one of several; if there
 * is none, the moment at which they jump over it. */
static gint64 moment(const Weekly *w, gint64 local_s, gboolean wants_last)
{
    gint64 before = offset_at(w, local_s - DAY_S - DAY_S / 2);
    gint64 after = offset_at(w, local_s + DAY_S + DAY_S / 2);
    gint64 a = local_s - before, b = local_s - after;
    gboolean a_is = offset_at(w, a) == before, b_is = offset_at(w, b) == after;

    if (a_is && b_is)
        return wants_last ? MAX(a, b) : MIN(a, b);
    if (a_is || b_is)
        return a_is ? a : b;
    gint64 low = MIN(a, b), high = MAX(a, b);
    while (high - low > 1) { /* low is before the jump, high is not */
        gint64 middle = low + (high - low) / 2;
        if (offset_at(w, middle) == before)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* Of the spans that begin on this day (since 1970, there): the one that holds now_s until the
 * latest, into *ret_end; the next one that begins after it, into *ret_next (0: none). */
static void look_at(const Weekly *w, gint64 day, gint64 now_s, gint64 *ret_end, gint64 *ret_next)
{
    if (g_hash_table_contains(w->holidays, GINT_TO_POINTER((gint)day)))
        return;
    for (guint i = 0; i < w->spans->len; i++) {
        const Span *span = &g_array_index(w->spans, Span, i);
        if (span->day != (guint)((day + 3) % 7)) /* 1970 began on a Thursday */
            continue;
        gint64 start = moment(w, day * DAY_S + span->start_s, FALSE);
        gint64 end = moment(w, day * DAY_S + span->end_s, TRUE);
        if (end <= start) /* all of it was jumped over */
            continue;
        if (start <= now_s && end > now_s)
            *ret_end = MAX(*ret_end, end);
        else if (start > now_s && (!*ret_next || start < *ret_next))
            *ret_next = start;
    }
}

gboolean weekly_is_open(const Weekly *w, gint64 now_ms, gint64 *ret_until)
{
    gint64 now_s = now_ms / 1000, end = 0, next = 0;
    gint64 today = (now_s + offset_at(w, now_s)) / DAY_S;

    for (gint64 day = today - 2; day <= today + DAYS_AHEAD; day++) {
        if (end && day > (end + offset_at(w, end)) / DAY_S)
            break;
        if (next && !end && day > today + 1)
            break;
        gint64 at = end ? end : now_s, further = 0;
        look_at(w, day, at, &further, &next);
        if (further) { /* it goes on where the one before ends: look at the same day again */
            end = further;
            day--;
        }
    }
    /* what goes on without an end, as "daily 00:00-24:00", never changes */
    gboolean is_endless = end > now_s + (gint64)(DAYS_AHEAD - 2) * DAY_S;
    if (ret_until)
        *ret_until = (end ? (is_endless ? 0 : end) : next) * 1000;
    return end != 0;
}
