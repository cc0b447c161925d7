/* values.c: what a search compares with, by the field's type. */
#include <math.h>
#include <string.h>

#include "broker/search/lexer.h"
#include "broker/search/resolve.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"
#include "imaged/base/units.h"

#define DAY_MS 86400000ll

void search_value_clear(SearchValue *value)
{
    g_free(value->text);
    g_free(value->pieces);
    *value = (SearchValue){ 0 };
}

static gboolean not_a(const SearchWord *word, const char *what, const char *hint, GError **error)
{
    g_autofree char *shown = text_for_message(word->text, 40);

    search_error(error, word->column, "'%s' is not %s", shown, what);
    imaged_error_hint(error, "%s", hint);
    return FALSE;
}

/* A text with its backslashes taken away.  Where a wildcard stands, text gets the pattern's sign
 * and pieces a newline. */
static void take_text(const SearchWord *word, SearchValue *ret)
{
    g_autoptr(GString) text = g_string_new(NULL), pieces = g_string_new(NULL);
    guint n_wild = 0;

    for (const char *p = word->text; *p; p++) {
        if (*p == '*' || *p == '?') {
            g_string_append_c(text, *p == '*' ? PATTERN_ANY : PATTERN_ONE);
            g_string_append_c(pieces, '\n');
            n_wild++;
            continue;
        }
        if (*p == '\\' && p[1] && strchr("*?\\\"'", p[1]))
            p++;
        g_string_append_c(text, *p);
        g_string_append_c(pieces, *p);
    }
    ret->is_pattern = n_wild > 0;
    ret->is_prefix = n_wild == 1 && text->len > 1 && text->str[text->len - 1] == PATTERN_ANY;
    ret->text = g_strdup(text->str);
    ret->pieces = g_strdup(pieces->str);
}

void resolve_free(const SearchWord *word, SearchValue *ret)
{
    take_text(word, ret);
    g_autofree char *inner = ret->text;
    ret->text = g_strdup_printf("%c%s%c", PATTERN_ANY, inner, PATTERN_ANY);
    ret->is_pattern = TRUE;
    ret->is_prefix = FALSE;
}

static gboolean take_real(const SearchWord *word, SearchValue *ret, GError **error)
{
    const char *text = word->text;
    char *end = NULL;

    ret->real = g_ascii_strtod(text, &end);
    if (end == text || *end || strspn(text, "+-0123456789.") != strlen(text) ||
        !isfinite(ret->real))
        return not_a(word, "a number", "write it like 3 or 2.5", error);
    return TRUE;
}

static gboolean take_percent(const SearchWord *word, SearchValue *ret, GError **error)
{
    gsize n = strlen(word->text);
    g_autofree char *text = g_strndup(word->text, n && word->text[n - 1] == '%' ? n - 1 : n);
    const SearchWord number = { text, word->column, word->is_quoted };
    g_autoptr(GError) local = NULL;

    if (!take_real(&number, ret, &local))
        return not_a(word, "a percentage", "write it like 90 or 90%", error);
    ret->real /= 100;
    return TRUE;
}

static gboolean take_size(const SearchWord *word, SearchValue *ret, GError **error)
{
    guint64 bytes;

    if (!units_parse_size(word->text, &bytes, NULL))
        return not_a(word, "a size", "write it like 512M, 20G or 1.5T (powers of 1024)", error);
    ret->real = (double)bytes;
    return TRUE;
}

static gboolean take_age(const SearchWord *word, SearchValue *ret, GError **error)
{
    gint64 ms;

    if (!units_parse_duration(word->text, &ms, NULL))
        return not_a(word, "a duration", "write it like 90s, 15m, 12h, 7d or 2w", error);
    ret->real = (double)ms;
    return TRUE;
}

static gboolean take_truth(const SearchWord *word, SearchValue *ret, GError **error)
{
    static const char *const words[] = { "no", "yes", "false", "true", "0", "1", "off", "on" };

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_ascii_strcasecmp(word->text, words[i]) == 0) {
            ret->integer = i & 1;
            return TRUE;
        }
    }
    return not_a(word, "yes or no", "write yes or no", error);
}

/* The first moment of the day, days away, in local time. */
static gint64 day_start(gint64 ms, int days)
{
    g_autoptr(GDateTime) moment = g_date_time_new_from_unix_local(ms / 1000);
    g_autoptr(GDateTime) day =
        g_date_time_new_local(g_date_time_get_year(moment), g_date_time_get_month(moment),
                              g_date_time_get_day_of_month(moment), 0, 0, 0);
    g_autoptr(GDateTime) other = day ? g_date_time_add_days(day, days) : NULL;

    return other ? g_date_time_to_unix(other) * 1000 : ms;
}

/* "now", "today" ..., with nothing, "-2h" or "+1d" behind it. */
static gboolean take_relative(const char *text, gint64 now, SearchValue *ret)
{
    static const struct {
        const char *word;
        int days;
        gboolean is_day;
    } words[] = {
        { "now", 0, FALSE },
        { "today", 0, TRUE },
        { "yesterday", -1, TRUE },
        { "tomorrow", 1, TRUE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        gsize n = strlen(words[i].word);
        gint64 shift = 0;
        if (g_ascii_strncasecmp(text, words[i].word, n) != 0)
            continue;
        const char *rest = text + n;
        if (*rest &&
            ((*rest != '-' && *rest != '+') || !units_parse_duration(rest + 1, &shift, NULL)))
            return FALSE;
        shift = *rest == '-' ? -shift : shift;
        if (words[i].is_day && shift % DAY_MS == 0) { /* days have 23 to 25 hours */
            int days = words[i].days + (int)CLAMP(shift / DAY_MS, -1000000, 1000000);
            ret->integer = day_start(now, days);
            ret->until = day_start(now, days + 1);
            return TRUE;
        }
        ret->integer = (words[i].is_day ? day_start(now, words[i].days) : now) + shift;
        ret->until = ret->integer + 1000;
        return TRUE;
    }
    return FALSE;
}

/* 2026-11-22, 2026-11-22T10:30, 2026-11-22 10:30:15Z, 2026-11-22T10:30:15+01:00. */
static gboolean take_date(const char *text, SearchValue *ret)
{
    gsize n = strlen(text);
    gboolean is_day = n == 10, is_minute = n == 16;
    g_autofree char *full = is_day      ? g_strconcat(text, "T00:00:00", NULL)
                            : is_minute ? g_strconcat(text, ":00", NULL)
                                        : g_strdup(text);
    g_autoptr(GTimeZone) local = g_time_zone_new_local();

    if (n < 10 || n > 40 || strspn(text, "0123456789-") < 10)
        return FALSE;
    g_autoptr(GDateTime) moment = g_date_time_new_from_iso8601(full, local);
    if (!moment)
        return FALSE;
    ret->integer = g_date_time_to_unix(moment) * 1000;
    ret->until = is_day ? day_start(ret->integer, 1) : ret->integer + (is_minute ? 60000 : 1000);
    return TRUE;
}

static gboolean take_time(const SearchWord *word, gint64 now, SearchValue *ret, GError **error)
{
    if (take_relative(word->text, now, ret) || take_date(word->text, ret))
        return TRUE;
    return not_a(word, "a time",
                 "write it like now-2h, today, yesterday, today-7d, 2026-11-22 or 2026-11-22T10:30",
                 error);
}

gboolean resolve_value(const SearchField *field, const SearchWord *word, gint64 now,
                       SearchValue *ret, GError **error)
{
    *ret = (SearchValue){ 0 };
    switch (field->type) {
    case TYPE_NAME:
    case TYPE_TEXT:
    case TYPE_WORDS:
        take_text(word, ret);
        return TRUE;
    case TYPE_NUMBER:
        return take_real(word, ret, error);
    case TYPE_SIZE:
        return take_size(word, ret, error);
    case TYPE_PERCENT:
        return take_percent(word, ret, error);
    case TYPE_TIME:
        return take_time(word, now, ret, error);
    case TYPE_AGE:
        return take_age(word, ret, error);
    case TYPE_BOOL:
        return take_truth(word, ret, error);
    }
    return FALSE;
}
