/* list.c: see list.h.  JSON and CSV are printed as the pages come, so that a list of a million
 * events needs no memory; a table needs all of it for its widths. */
#include "imaged/cli/list.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/error.h"

#define PAGE 1000

typedef struct {
    const Cli *cli;
    const Column *columns;
    json_t *all; /* for a table */
    gsize n;
} Printer;

static void print_page(Printer *printer, const json_t *page)
{
    GString *csv = g_string_new(NULL);
    gsize i;
    json_t *item;

    json_array_foreach (page, i, item) {
        if (printer->cli->format == FORMAT_JSON) {
            fputs(printer->n ? ",\n " : "\n ", stdout);
            json_dumpf(item, stdout, JSON_COMPACT | OUTPUT_JSON);
        } else if (printer->cli->format == FORMAT_CSV) {
            output_csv_row(csv, item, printer->columns, COLUMN_SHOW);
        } else {
            json_array_append(printer->all, item);
        }
        printer->n++;
    }
    output_print(csv);
}

static void print_begin(Printer *printer)
{
    if (printer->cli->format == FORMAT_JSON) {
        putchar('[');
    } else if (printer->cli->format == FORMAT_CSV) {
        GString *csv = g_string_new(NULL);
        output_csv_header(csv, printer->columns, COLUMN_SHOW);
        output_print(csv);
    }
}

static void print_end(Printer *printer)
{
    if (printer->cli->format == FORMAT_JSON) {
        fputs(printer->n ? "\n]\n" : "]\n", stdout);
    } else if (printer->cli->format == FORMAT_TABLE && printer->n) {
        GString *text = g_string_new(NULL);
        output_table_text(text, printer->all, printer->columns, output_wants_colour(STDOUT_FILENO));
        output_print(text);
    }
}

static json_t *get_page(Cli *cli, const char *path, const char *after, gint64 limit, GError **error)
{
    g_autoptr(GString) page_path = g_string_new(path);
    g_autofree char *limit_text = g_strdup_printf("%" G_GINT64_FORMAT, limit);

    if (limit)
        client_query(page_path, "limit", limit_text);
    client_query(page_path, "after", after);
    json_auto_t *page = client_get(cli->client, page_path->str, error);
    if (page && !json_is_array(page)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "the daemon did not answer with a list");
        return NULL;
    }
    return g_steal_pointer(&page);
}

gboolean list_print(Cli *cli, const char *path, const char *key, gint64 limit,
                    const Column *columns, GError **error)
{
    json_auto_t *all = json_array();
    Printer printer = { cli, columns, all, 0 };
    g_autofree char *after = NULL;
    gboolean has_more = TRUE;

    while (has_more) {
        gint64 want = !key ? 0 : limit ? MIN(PAGE, limit - (gint64)printer.n) : PAGE;
        json_auto_t *page = get_page(cli, path, after, want, error);
        if (!page)
            return FALSE;
        if (!after)
            print_begin(&printer);
        print_page(&printer, page);

        /* The daemon may give less than was asked for, so only an empty page is the end. */
        gsize n = json_array_size(page);
        const char *last = key && n ? json_text(json_array_get(page, n - 1), key) : "";
        has_more = *last && g_strcmp0(last, after) != 0 && !(limit && (gint64)printer.n >= limit);
        g_free(after);
        after = g_strdup(last);
    }
    print_end(&printer);
    return TRUE;
}

void list_print_array(const Cli *cli, const json_t *array, const Column *columns)
{
    Printer printer = { cli, columns, json_array(), 0 };

    print_begin(&printer);
    print_page(&printer, array);
    print_end(&printer);
    json_decref(printer.all);
}

void list_print_object(const Cli *cli, const json_t *object, const Column *columns)
{
    GString *text;

    if (cli->format == FORMAT_JSON) {
        output_json(object);
        return;
    }
    text = g_string_new(NULL);
    if (cli->format == FORMAT_CSV) {
        output_csv_header(text, columns, 0);
        output_csv_row(text, object, columns, 0);
    } else {
        output_object_text(text, object, columns, output_wants_colour(STDOUT_FILENO));
    }
    output_print(text);
}

gboolean list_show(Cli *cli, const char *path, const Column *columns, GError **error)
{
    json_auto_t *object = client_get(cli->client, path, error);

    if (!object)
        return FALSE;
    list_print_object(cli, object, columns);
    return TRUE;
}
