/* units.c: see units.h. */
#include "imaged/base/units.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

gboolean units_parse_size(const char *text, guint64 *ret_bytes, GError **error)
{
    static const char letters[] = "KMGTPE";
    char *end = NULL;
    gdouble value = g_ascii_strtod(text, &end);
    guint64 unit = 1;

    /* strtod takes "0x10" and "1e3" too */
    if (!g_ascii_isdigit(*text) || strspn(text, "0123456789.") != (gsize)(end - text))
        goto invalid;
    while (*end == ' ')
        end++;
    const char *letter = *end ? strchr(letters, g_ascii_toupper(*end)) : NULL;
    if (letter) {
        unit = 1ull << (10 * (letter - letters + 1));
        end++;
        if (end[0] == 'i' && end[1] == 'B')
            end += 2;
        else if (end[0] == 'B')
            end++;
    } else if (*end == 'B') {
        end++;
    }
    value *= (gdouble)unit;
    if (*end || !isfinite(value) || value < 0 || value >= 9.2e18)
        goto invalid;
    *ret_bytes = (guint64)value;
    return TRUE;

invalid:;
    g_autofree char *shown = text_for_message(text, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a size", shown);
    imaged_error_hint(error, "write it like 512M, 10G or 1.5T (powers of 1024)");
    return FALSE;
}

char *units_format_size(guint64 bytes)
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    gdouble value = (gdouble)bytes;
    guint i = 0;

    while (value >= 1023.95 && i + 1 < G_N_ELEMENTS(names)) {
        value /= 1024;
        i++;
    }
    return i == 0 ? g_strdup_printf("%" G_GUINT64_FORMAT " B", bytes)
                  : g_strdup_printf("%.1f %s", value, names[i]);
}

gboolean units_parse_duration(const char *text, gint64 *ret_ms, GError **error)
{
    static const struct {
        char letter;
        gint64 ms;
    } units[] = {
        { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 }, { 'w', 604800000 },
    };
    char *end = NULL;
    guint64 n = g_ascii_strtoull(text, &end, 10);

    for (guint i = 0; end != text && g_ascii_isdigit(*text) && i < G_N_ELEMENTS(units); i++) {
        if (end[0] == units[i].letter && !end[1] && n <= 100000000) {
            *ret_ms = (gint64)n * units[i].ms;
            return TRUE;
        }
    }
    g_autofree char *shown = text_for_message(text, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a duration", shown);
    imaged_error_hint(error, "write it like 90s, 15m, 12h, 7d or 2w");
    return FALSE;
}

char *units_format_duration(gint64 ms)
{
    gint64 s = MAX(ms, 0) / 1000;

    if (s < 60)
        return g_strdup_printf("%ds", (int)s);
    if (s < 3600)
        return g_strdup_printf("%dm %ds", (int)(s / 60), (int)(s % 60));
    if (s < 86400)
        return g_strdup_printf("%dh %dm", (int)(s / 3600), (int)(s % 3600 / 60));
    return g_strdup_printf("%" G_GINT64_FORMAT "d %dh", s / 86400, (int)(s % 86400 / 3600));
}

gint64 units_now_ms(void)
{
    return g_get_real_time() / 1000;
}

gint64 units_boottime_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (gint64)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char *units_format_time(gint64 ms)
{
    time_t seconds = ms / 1000;
    struct tm parts;
    char text[40];

    if (!gmtime_r(&seconds, &parts) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
        return g_strdup("?");
    return g_strdup(text);
}
