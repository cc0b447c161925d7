/* output.c: see output.h.  Widths are counted in the columns of a terminal, not in bytes, since
 * owners and descriptions are free text. */
#include "imaged/cli/output.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/units.h"

#define MAX_COLUMNS 40
#define GAP 2

static const json_t *lookup(const json_t *object, const char *key)
{
    const char *dot = strchr(key, '.');

    if (!dot)
        return json_object_get(object, key);
    g_autofree char *first = g_strndup(key, dot - key);
    return lookup(json_object_get(object, first), dot + 1);
}

static char *time_text(const char *rfc3339)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(rfc3339, NULL);
    g_autoptr(GDateTime) local = time ? g_date_time_to_local(time) : NULL;

    return local ? g_date_time_format(local, "%Y-%m-%d %H:%M:%S") : g_strdup(rfc3339);
}

static char *list_text(const json_t *array, const char *between)
{
    GString *out = g_string_new(NULL);
    gsize i;
    json_t *item;

    json_array_foreach (array, i, item) {
        if (json_is_string(item))
            g_string_append_printf(out, "%s%s", out->len ? between : "", json_string_value(item));
    }
    return g_string_free(out, FALSE);
}

static char *number_text(const json_t *value, CellKind kind, gboolean raw)
{
    if (kind == CELL_PERCENT && !raw)
        return g_strdup_printf("%.1f %%", 100 * json_number_value(value));
    if (json_is_integer(value)) {
        gint64 n = json_integer_value(value);
        if (kind != CELL_SIZE || raw)
            return g_strdup_printf("%" G_GINT64_FORMAT, n);
        g_autofree char *size = units_format_size((guint64)ABS(n)); /* a saving may be below 0 */
        return g_strconcat(n < 0 ? "-" : "", size, NULL);
    }
    char buffer[G_ASCII_DTOSTR_BUF_SIZE];
    double real = json_real_value(value);
    const char *format = raw ? "%.10g" : ABS(real) < 100 ? "%.3g" : "%.0f";
    return g_strdup(g_ascii_formatd(buffer, sizeof buffer, format, real));
}

char *output_cell_text(const json_t *object, const Column *column, gboolean raw)
{
    const json_t *value = lookup(object, column->key);

    if (json_is_string(value))
        return column->kind == CELL_TIME && !raw ? time_text(json_string_value(value))
                                                 : g_strdup(json_string_value(value));
    if (json_is_true(value) && column->kind == CELL_SECRET && !raw)
        return g_strdup("set");
    if (json_is_boolean(value))
        return g_strdup(raw ? (json_is_true(value) ? "true" : "false")
                            : (json_is_true(value) ? "yes" : "no"));
    if (json_is_number(value))
        return number_text(value, column->kind, raw);
    if (json_is_array(value))
        return list_text(value, raw ? " " : ", ");
    return g_strdup("");
}

/* ---- CSV ---- */

void output_csv_field(GString *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n") && !g_ascii_isspace(text[0])) {
        g_string_append(out, text);
        return;
    }
    g_string_append_c(out, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            g_string_append_c(out, '"');
        g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
}

void output_csv_header(GString *out, const Column *columns, guint hidden_flags)
{
    gboolean is_first = TRUE;

    for (const Column *c = columns; c->key; c++) {
        if (c->flags & hidden_flags)
            continue;
        if (!is_first)
            g_string_append_c(out, ',');
        g_autofree char *key = g_strdelimit(g_strdup(c->key), ".", '_');
        output_csv_field(out, key);
        is_first = FALSE;
    }
    g_string_append_c(out, '\n');
}

void output_csv_row(GString *out, const json_t *object, const Column *columns, guint hidden_flags)
{
    gboolean is_first = TRUE;

    for (const Column *c = columns; c->key; c++) {
        if (c->flags & hidden_flags)
            continue;
        if (!is_first)
            g_string_append_c(out, ',');
        g_autofree char *text = output_cell_text(object, c, TRUE);
        output_csv_field(out, text);
        is_first = FALSE;
    }
    g_string_append_c(out, '\n');
}

/* ---- Tables ---- */

/* Text from a request or a file must not move the cursor. */
static void make_printable(char **text)
{
    g_autofree char *valid = g_utf8_make_valid(*text, -1);
    GString *out = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        g_string_append_unichar(out, g_unichar_iscntrl(c) ? '?' : c);
    }
    g_free(*text);
    *text = g_string_free(out, FALSE);
}

static guint width_of(const char *text)
{
    guint width = 0;

    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        width += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return width;
}

static const char *colour_of(const char *state)
{
    static const char *const good[] = { "ok",    "online", "done", "published",
                                        "ready", "on",     "yes",  NULL };
    static const char *const bad[] = { "missing", "offline", "failed", "alarm",
                                       "rescue",  "error",   "held",   "stopped", NULL };
    static const char *const between[] = { "draft",   "draining", "queued",    "running",
                                           "warning", "retired",  "cancelled", "paused",
                                           "gate",    "kept",     NULL };

    return g_strv_contains(good, state)      ? "\033[32m"
           : g_strv_contains(bad, state)     ? "\033[31m"
           : g_strv_contains(between, state) ? "\033[33m"
                                             : NULL;
}

static gboolean is_right_aligned(CellKind kind)
{
    return kind == CELL_COUNT || kind == CELL_SIZE || kind == CELL_PERCENT;
}

static void append_cell(GString *out, const char *text, guint width, gboolean right,
                        gboolean is_last, const char *colour)
{
    guint own = width_of(text), pad = width > own ? width - own : 0;

    if (right)
        g_string_append_printf(out, "%*s", (int)pad, "");
    g_string_append_printf(out, "%s%s%s", colour ? colour : "", text, colour ? "\033[0m" : "");
    if (!right && !is_last)
        g_string_append_printf(out, "%*s", (int)pad, "");
    if (!is_last)
        g_string_append_printf(out, "%*s", GAP, "");
}

void output_table_text(GString *out, const json_t *array, const Column *columns, gboolean colour)
{
    const Column *shown[MAX_COLUMNS];
    guint width[MAX_COLUMNS], n = 0;
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
    gsize i;
    json_t *object;

    for (const Column *c = columns; c->key && n < MAX_COLUMNS; c++) {
        if (c->flags & (COLUMN_CSV | COLUMN_SHOW))
            continue;
        width[n] = width_of(c->title);
        shown[n++] = c;
    }
    json_array_foreach (array, i, object) {
        for (guint j = 0; j < n; j++) {
            char *text = output_cell_text(object, shown[j], FALSE);
            make_printable(&text);
            width[j] = MAX(width[j], width_of(text));
            g_ptr_array_add(cells, text);
        }
    }
    for (guint j = 0; j < n; j++)
        append_cell(out, shown[j]->title, width[j], is_right_aligned(shown[j]->kind), j + 1 == n,
                    colour ? "\033[1m" : NULL);
    g_string_append_c(out, '\n');
    for (guint k = 0; k < cells->len; k++) {
        guint j = k % n;
        const char *text = cells->pdata[k];
        append_cell(out, text, width[j], is_right_aligned(shown[j]->kind), j + 1 == n,
                    colour && shown[j]->kind == CELL_STATE ? colour_of(text) : NULL);
        if (j + 1 == n) {
            /* An empty last column leaves no blanks behind. */
            while (out->len && out->str[out->len - 1] == ' ')
                g_string_truncate(out, out->len - 1);
            g_string_append_c(out, '\n');
        }
    }
}

void output_object_text(GString *out, const json_t *object, const Column *columns, gboolean colour)
{
    guint width = 0;

    for (const Column *c = columns; c->key; c++)
        width = MAX(width, width_of(c->title));
    for (const Column *c = columns; c->key; c++) {
        char *text = output_cell_text(object, c, FALSE);
        make_printable(&text);
        if (*text) {
            append_cell(out, c->title, width, FALSE, FALSE, colour ? "\033[1m" : NULL);
            append_cell(out, text, 0, FALSE, TRUE,
                        colour && c->kind == CELL_STATE ? colour_of(text) : NULL);
            g_string_append_c(out, '\n');
        }
        g_free(text);
    }
}

char *output_count_text(gint64 n, const char *noun)
{
    /* "entry" is the one word of ours with another plural. */
    gsize len = strlen(noun);

    if (n == 1)
        return g_strdup_printf("1 %s", noun);
    if (len && noun[len - 1] == 'y')
        return g_strdup_printf("%" G_GINT64_FORMAT " %.*sies", n, (int)len - 1, noun);
    return g_strdup_printf("%" G_GINT64_FORMAT " %ss", n, noun);
}

json_t *output_account_rows(const json_t *rows, const char *key)
{
    /* A layer that a present disk stands on too counts as a desktop's. */
    static const char *const words[][2] = { { "snapshots", "only for snapshots" },
                                            { "data_disks", "data disks" } };
    json_t *out = json_array(), *row;
    gsize i;

    json_array_foreach (rows, i, row) {
        json_t *copy = json_copy(row);
        const char *kind = json_string_value(json_object_get(row, key));
        for (guint k = 0; k < G_N_ELEMENTS(words); k++) {
            if (g_strcmp0(kind, words[k][0]) == 0)
                json_object_set_new(copy, key, json_string(words[k][1]));
        }
        json_array_append_new(out, copy);
    }
    return out;
}

gboolean output_wants_colour(int fd)
{
    const char *no_color = g_getenv("NO_COLOR");

    return isatty(fd) && !(no_color && *no_color) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
}

void output_print(GString *text)
{
    fwrite(text->str, 1, text->len, stdout);
    g_string_free(text, TRUE);
}

static json_t *gathered;

void output_gather(void)
{
    gathered = json_array();
}

void output_gathered(void)
{
    json_auto_t *all = g_steal_pointer(&gathered);

    output_json(all);
}

void output_json(const json_t *json)
{
    gsize i;
    json_t *item;

    if (gathered && json_is_array(json)) {
        json_array_extend(gathered, (json_t *)json);
        return;
    }
    if (gathered) {
        json_array_append(gathered, (json_t *)json);
        return;
    }
    if (!json_is_array(json)) {
        json_dumpf(json, stdout, JSON_INDENT(2) | OUTPUT_JSON);
        putchar('\n');
        return;
    }
    putchar('[');
    json_array_foreach (json, i, item) {
        fputs(i ? ",\n " : "\n ", stdout);
        json_dumpf(item, stdout, JSON_COMPACT | OUTPUT_JSON);
    }
    fputs(json_array_size(json) ? "\n]\n" : "]\n", stdout);
}
