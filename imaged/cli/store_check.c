/* store_check.c: see store_check.h. */
#include "imaged/cli/store_check.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/units.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"

static const Column row_columns[] = {
    { "WHAT", "kind", CELL_TEXT, 0 },
    { "FILES", "n_files", CELL_COUNT, 0 },
    { "ON DISK", "bytes", CELL_SIZE, 0 },
    COLUMN_END,
};

static const Column csv_columns[] = {
    { "STORE", "store", CELL_TEXT, 0 },
    { "WHAT", "kind", CELL_TEXT, 0 },
    { "FILES", "n_files", CELL_COUNT, 0 },
    { "ON DISK", "bytes", CELL_SIZE, 0 },
    COLUMN_END,
};

/* "error: corrupt: desk-7: refcount table points outside of the file (layer 12ab...) affects: ..."
 */
static char *finding_line(const json_t *finding)
{
    const char *name = json_text(finding, "name"), *layer = json_text(finding, "layer");
    Column affects = { "", "affects", CELL_LIST, 0 };
    g_autofree char *affected = output_cell_text(finding, &affects, FALSE);
    GString *line = g_string_new(NULL);

    g_string_append_printf(line, "%s: %s: ", json_text(finding, "severity"),
                           json_text(finding, "kind"));
    if (*name)
        g_string_append_printf(line, "%s: ", name);
    g_string_append(line, json_text(finding, "message"));
    if (*layer)
        g_string_append_printf(line, " (layer %s)", layer);
    if (*affected)
        g_string_append_printf(line, "; affects %s", affected);
    if (json_truth(finding, "repaired"))
        g_string_append(line, "; repaired");
    /* A finding may quote what stands in a file. */
    g_strdelimit(line->str, "\r\n\t\033", ' ');
    return g_string_free(line, FALSE);
}

static void print_findings(FILE *to, const json_t *store)
{
    gsize i;
    json_t *finding;

    json_array_foreach (json_object_get(store, "findings"), i, finding) {
        g_autofree char *line = finding_line(finding);
        fprintf(to, "%s\n", line);
    }
}

static void print_store(const json_t *store)
{
    gint64 used = json_number(store, "used_bytes"),
           accounted = json_number(store, "accounted_bytes");
    g_autofree char *used_text = units_format_size((guint64)MAX(used, 0));
    g_autofree char *accounted_text = units_format_size((guint64)MAX(accounted, 0));
    json_auto_t *rows = output_account_rows(json_object_get(store, "rows"), "kind");
    GString *text = g_string_new(NULL);

    printf("store %s: %s, %" G_GINT64_FORMAT " layers checked", json_text(store, "name"),
           json_truth(store, "ok") ? "all is well" : "NOT well",
           json_number(store, "n_layers_checked"));
    if (json_number(store, "n_live"))
        printf(", %" G_GINT64_FORMAT " live and left unchecked", json_number(store, "n_live"));
    putchar('\n');
    print_findings(stdout, store);
    output_table_text(text, rows, row_columns, output_wants_colour(STDOUT_FILENO));
    output_print(text);
    if (used == accounted)
        printf("accounted for %s (%" G_GINT64_FORMAT " bytes): all that the store uses\n",
               accounted_text, accounted);
    else
        printf("accounted for %s (%" G_GINT64_FORMAT " bytes) of %s (%" G_GINT64_FORMAT
               " bytes): %" G_GINT64_FORMAT " bytes differ\n",
               accounted_text, accounted, used_text, used, used - accounted);
}

static void print_csv(const Cli *cli, const json_t *stores)
{
    json_auto_t *rows = json_array();
    gsize i, j;
    json_t *store, *row;

    json_array_foreach (stores, i, store) {
        json_array_foreach (json_object_get(store, "rows"), j, row) {
            json_t *copy = json_copy(row);
            json_set_text(copy, "store", json_text(store, "name"));
            json_array_append_new(rows, copy);
        }
        /* The table has no place for them. */
        print_findings(stderr, store);
    }
    list_print_array(cli, rows, csv_columns);
}

void store_check_print(Cli *cli, const json_t *result)
{
    const json_t *stores = json_object_get(result, "stores"), *store;
    gsize i;

    if (!json_truth(result, "ok"))
        cli->exit_code = CLI_FAILED;
    if (cli->format == FORMAT_JSON) {
        output_json(result ? result : json_null());
        return;
    }
    if (cli->format == FORMAT_CSV) {
        print_csv(cli, stores);
        return;
    }
    json_array_foreach (stores, i, store) {
        if (i)
            putchar('\n');
        print_store(store);
    }
    if (cli->exit_code) {
        fflush(stdout);
        cli_complain("store check", "not all is well", NULL);
    }
}
