/* event_filter.c: see event_filter.h. */
#include "broker/alert/event_filter.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define MAX_KINDS 64
#define MAX_TEXT 1000

static const char *const severities[] = { "info", "warning", "alarm" };

/* Its kinds are made of few characters, so the array needs no escapes. */
static char *severities_from(const char *least, GError **error)
{
    GString *out = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(severities); i++) {
        if (!out && !g_str_equal(severities[i], least))
            continue;
        if (!out)
            out = g_string_new("[");
        g_string_append_printf(out, "%s\"%s\"", out->len > 1 ? "," : "", severities[i]);
    }
    if (out) {
        g_string_append_c(out, ']');
        return g_string_free(out, FALSE);
    }
    g_autofree char *shown = text_for_message(least, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "a severity is info, warning or alarm, not '%s'", shown);
    return NULL;
}

static gboolean is_kind(const char *kind)
{
    for (const char *c = kind; *c; c++) {
        if (!g_ascii_islower(*c) && !strchr(".-*", *c))
            return FALSE;
    }
    return *kind != '\0';
}

static char *kinds_from(const char *text, GError **error)
{
    g_auto(GStrv) kinds = strlen(text) > MAX_TEXT ? NULL : g_strsplit(text, ",", MAX_KINDS + 1);
    GString *out = g_string_new("[");
    gboolean ok = kinds && kinds[0] && g_strv_length(kinds) <= MAX_KINDS;

    for (guint i = 0; ok && kinds[i]; i++) {
        ok = is_kind(kinds[i]);
        g_string_append_printf(out, "%s\"%s\"", i ? "," : "", kinds[i]);
    }
    g_string_append_c(out, ']');
    if (ok)
        return g_string_free(out, FALSE);
    g_string_free(out, TRUE);
    g_autofree char *shown = text_for_message(text, 60);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' are no kinds of events", shown);
    imaged_error_hint(error, "for example 'host.down' or 'store.*,desktop.stuck'; docs/events.md"
                             " has them all");
    return NULL;
}

gboolean event_filter_init(EventFilter *ret, const char *severity, const char *kinds,
                           GError **error)
{
    *ret = (EventFilter){ 0 };
    if (severity && !(ret->severities = severities_from(severity, error)))
        return FALSE;
    if (!kinds || (ret->kinds = kinds_from(kinds, error)))
        return TRUE;
    event_filter_clear(ret);
    return FALSE;
}

void event_filter_clear(EventFilter *filter)
{
    g_free(filter->severities);
    g_free(filter->kinds);
    *filter = (EventFilter){ 0 };
}
