/* functions.c: a text of ASCII, as most are, is folded while it is compared. */
#include "broker/search/functions.h"

#include <string.h>

#include "broker/host/hosts.h"
#include "broker/run/figures.h"
#include "broker/search/resolve.h"

char *functions_fold(const char *text)
{
    return g_utf8_casefold(text, -1);
}

/* The classic walk with one point to come back to: the last PATTERN_ANY. */
static gboolean fits(const char *pattern, const char *text, gboolean is_folded)
{
    const char *star = NULL, *again = NULL;

    while (*text) {
        char c = is_folded ? *text : g_ascii_tolower(*text);
        if (*pattern == PATTERN_ANY) {
            star = ++pattern;
            again = text;
        } else if (*pattern == PATTERN_ONE) {
            pattern++;
            text = g_utf8_next_char(text);
        } else if (*pattern && *pattern == c) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = again = g_utf8_next_char(again);
        } else {
            return FALSE;
        }
    }
    while (*pattern == PATTERN_ANY)
        pattern++;
    return !*pattern;
}

/* \001literal\001, the most common: is the literal in text? */
static gboolean fits_inside(const char *literal, gsize n, const char *text)
{
    char first = literal[0];

    for (; *text; text++) {
        gsize i = 1;
        if (g_ascii_tolower(*text) != first)
            continue;
        while (i < n && g_ascii_tolower(text[i]) == literal[i])
            i++;
        if (i == n)
            return TRUE;
    }
    return FALSE;
}

gboolean functions_fits(const char *pattern, const char *text)
{
    gsize n = strlen(pattern);

    if (g_str_is_ascii(text)) {
        if (n > 2 && pattern[0] == PATTERN_ANY && pattern[n - 1] == PATTERN_ANY &&
            strcspn(pattern + 1, "\001\002") == n - 2)
            return fits_inside(pattern + 1, n - 2, text);
        return fits(pattern, text, FALSE);
    }
    /* a guest's files or a program's words may be anything */
    g_autofree char *valid = g_utf8_validate(text, -1, NULL) ? NULL : g_utf8_make_valid(text, -1);
    g_autofree char *folded = functions_fold(valid ? valid : text);
    return fits(pattern, folded, TRUE);
}

static void matches(sqlite3_context *context, int n, sqlite3_value **values)
{
    const char *pattern = (const char *)sqlite3_value_text(values[0]);

    for (int i = 1; pattern && i < n; i++) {
        const char *text = (const char *)sqlite3_value_text(values[i]);
        if (text && functions_fits(pattern, text)) {
            sqlite3_result_int(context, 1);
            return;
        }
    }
    sqlite3_result_int(context, 0);
}

static void has(sqlite3_context *context, int n, sqlite3_value **values)
{
    const char *pattern = (const char *)sqlite3_value_text(values[0]);
    const char *text = (const char *)sqlite3_value_text(values[1]);
    g_auto(GStrv) words = g_strsplit(text ? text : "", " ", -1);
    gboolean found = FALSE;

    (void)n;
    for (guint i = 0; pattern && words[i] && !found; i++)
        found = *words[i] && functions_fits(pattern, words[i]);
    sqlite3_result_int(context, found);
}

static gboolean usage_of(sqlite3_context *context, sqlite3_value *id, double *ret_cpu,
                         guint64 *ret_memory)
{
    World *world = sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(id);

    return text && world->figures && figures_usage(world->figures, text, ret_cpu, ret_memory);
}

static void live_cpu(sqlite3_context *context, int n, sqlite3_value **values)
{
    double cpu;
    guint64 memory;

    (void)n;
    if (usage_of(context, values[0], &cpu, &memory))
        sqlite3_result_double(context, cpu);
}

static void live_memory(sqlite3_context *context, int n, sqlite3_value **values)
{
    double cpu;
    guint64 memory;

    (void)n;
    if (usage_of(context, values[0], &cpu, &memory))
        sqlite3_result_int64(context, (gint64)memory);
}

static void live_addresses(sqlite3_context *context, int n, sqlite3_value **values)
{
    World *world = sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(values[0]);
    DesktopFigures f;

    (void)n;
    if (text && world->figures && figures_get(world->figures, text, &f) && *f.addresses)
        sqlite3_result_text(context, f.addresses, -1, SQLITE_TRANSIENT);
}

static gboolean view_of(sqlite3_context *context, sqlite3_value *id, HostView *ret)
{
    World *world = sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(id);

    return text && world->hosts && hosts_view(world->hosts, text, ret);
}

static void host_state(sqlite3_context *context, int n, sqlite3_value **values)
{
    g_auto(HostView) view = { 0 };

    (void)n;
    if (view_of(context, values[0], &view))
        sqlite3_result_text(context, host_state_name(view.state), -1, SQLITE_STATIC);
}

static void host_cpus(sqlite3_context *context, int n, sqlite3_value **values)
{
    g_auto(HostView) view = { 0 };

    (void)n;
    if (view_of(context, values[0], &view) && view.state == HOST_UP)
        sqlite3_result_int64(context, view.facts.n_cpus);
}

static void host_cpu(sqlite3_context *context, int n, sqlite3_value **values)
{
    g_auto(HostView) view = { 0 };

    (void)n;
    if (view_of(context, values[0], &view) && view.state == HOST_UP)
        sqlite3_result_double(context, view.cpu_usage);
}

static void host_memory(sqlite3_context *context, int n, sqlite3_value **values)
{
    g_auto(HostView) view = { 0 };

    (void)n;
    if (view_of(context, values[0], &view) && view.state == HOST_UP)
        sqlite3_result_int64(context, (gint64)view.facts.memory_bytes);
}

static void host_memory_given(sqlite3_context *context, int n, sqlite3_value **values)
{
    g_auto(HostView) view = { 0 };

    (void)n;
    if (view_of(context, values[0], &view) && view.state == HOST_UP)
        sqlite3_result_int64(context, (gint64)view.domains_memory);
}

void functions_define(Db *db, World *world)
{
    gpointer data = world;

    db_define(db, "search_matches", -1, TRUE, matches, NULL);
    db_define(db, "search_has", 2, TRUE, has, NULL);
    db_define(db, "live_cpu", 1, FALSE, live_cpu, data);
    db_define(db, "live_memory", 1, FALSE, live_memory, data);
    db_define(db, "live_addresses", 1, FALSE, live_addresses, data);
    db_define(db, "host_state", 1, FALSE, host_state, data);
    db_define(db, "host_cpus", 1, FALSE, host_cpus, data);
    db_define(db, "host_cpu", 1, FALSE, host_cpu, data);
    db_define(db, "host_memory", 1, FALSE, host_memory, data);
    db_define(db, "host_memory_given", 1, FALSE, host_memory_given, data);
}
