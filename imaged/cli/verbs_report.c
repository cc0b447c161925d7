/* verbs_report.c: imagectl report ...: what sharing saves, as tables, JSON, CSV or a page. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/units.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"
#include "imaged/cli/report_html.h"
#include "imaged/cli/verbs_advice.h"

/* What the guests see. */
static const Column data_columns[] = {
    { "TEMPLATE", "name", CELL_TEXT, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "TEMPLATE DATA", "template_bytes", CELL_SIZE, 0 },
    { "DIFFS", "diff_bytes", CELL_SIZE, 0 },
    { "STORED", "stored_bytes", CELL_SIZE, 0 },
    { "AS FULL COPIES", "full_copy_bytes", CELL_SIZE, 0 },
    { "SAVED", "saved_bytes", CELL_SIZE, 0 },
    { "SAVED %", "saved_ratio", CELL_PERCENT, 0 },
    COLUMN_END,
};

/* What the disks hold. */
static const Column disk_columns[] = {
    { "TEMPLATE", "name", CELL_TEXT, 0 },
    { "LIVE", "n_live", CELL_COUNT, 0 },
    { "TEMPLATE", "template_disk_bytes", CELL_SIZE, 0 },
    { "DIFFS", "diff_disk_bytes", CELL_SIZE, 0 },
    { "STORED", "stored_disk_bytes", CELL_SIZE, 0 },
    { "AS FULL COPIES", "full_copy_disk_bytes", CELL_SIZE, 0 },
    { "SAVED", "saved_disk_bytes", CELL_SIZE, 0 },
    { "SAVED %", "saved_disk_ratio", CELL_PERCENT, 0 },
    COLUMN_END,
};

static const Column csv_columns[] = {
    { "", "name", CELL_TEXT, 0 },
    { "", "id", CELL_TEXT, 0 },
    { "", "template", CELL_TEXT, 0 },
    { "", "version", CELL_COUNT, 0 },
    { "", "n_desktops", CELL_COUNT, 0 },
    { "", "n_live", CELL_COUNT, 0 },
    { "", "template_bytes", CELL_SIZE, 0 },
    { "", "diff_bytes", CELL_SIZE, 0 },
    { "", "stored_bytes", CELL_SIZE, 0 },
    { "", "full_copy_bytes", CELL_SIZE, 0 },
    { "", "saved_bytes", CELL_SIZE, 0 },
    { "", "saved_ratio", CELL_PERCENT, 0 },
    { "", "template_disk_bytes", CELL_SIZE, 0 },
    { "", "diff_disk_bytes", CELL_SIZE, 0 },
    { "", "stored_disk_bytes", CELL_SIZE, 0 },
    { "", "full_copy_disk_bytes", CELL_SIZE, 0 },
    { "", "saved_disk_bytes", CELL_SIZE, 0 },
    { "", "saved_disk_ratio", CELL_PERCENT, 0 },
    COLUMN_END,
};

static const Column largest_columns[] = {
    { "TEMPLATE", "template", CELL_TEXT, 0 }, { "DESKTOP", "name", CELL_TEXT, 0 },
    { "DIFF", "diff_bytes", CELL_SIZE, 0 },   { "ON DISK", "diff_disk_bytes", CELL_SIZE, 0 },
    { "LIVE", "live", CELL_TRUTH, 0 },        COLUMN_END,
};

static const Column other_columns[] = {
    { "ALSO IN THE STORES", "name", CELL_TEXT, 0 },
    { "FILES", "n_files", CELL_COUNT, 0 },
    { "DATA", "bytes", CELL_SIZE, 0 },
    { "ON DISK", "disk_bytes", CELL_SIZE, 0 },
    COLUMN_END,
};

static json_t *largest_of(const json_t *rows)
{
    json_t *all = json_array(), *row, *diff;
    gsize i, j;

    json_array_foreach (rows, i, row) {
        json_array_foreach (json_object_get(row, "largest"), j, diff) {
            json_t *copy = json_copy(diff);
            json_set_text(copy, "template", json_text(row, "name"));
            json_array_append_new(all, copy);
        }
    }
    return all;
}

static void print_tables(const json_t *report)
{
    const json_t *rows = json_object_get(report, "rows");
    json_auto_t *with_totals = json_copy((json_t *)rows), *totals = NULL,
                *largest = largest_of(rows);
    json_auto_t *other = output_account_rows(json_object_get(report, "other"), "name");
    gboolean colour = output_wants_colour(STDOUT_FILENO);
    GString *out = g_string_new(NULL);

    totals = json_copy(json_object_get(report, "totals"));
    json_set_text(totals, "name", "total");
    json_array_append(with_totals, totals);
    g_string_append(out, "Data of the guests:\n");
    output_table_text(out, with_totals, data_columns, colour);
    g_string_append(out, "\nSpace on disk:\n");
    output_table_text(out, with_totals, disk_columns, colour);
    if (json_array_size(largest)) {
        g_string_append(out, "\nLargest diffs:\n");
        output_table_text(out, largest, largest_columns, colour);
    }
    if (json_array_size(other)) {
        g_string_append_c(out, '\n');
        output_table_text(out, other, other_columns, colour);
    }
    if (json_is_integer(json_object_get(report, "store_disk_bytes"))) { /* null: not the whole */
        gint64 used = json_number(report, "store_disk_bytes");
        g_autofree char *text = units_format_size((guint64)MAX(used, 0));
        g_string_append_printf(out, "\nThe stores use %s (%" G_GINT64_FORMAT " bytes) in all.\n",
                               text, used);
    }
    output_print(out);
}

static gboolean report_savings(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/reports/savings");

    client_query(path, "template", args_text(cli->args, "template"));
    client_query(path, "largest", args_text(cli->args, "largest"));
    json_auto_t *report = client_get(cli->client, path->str, error);
    if (!report)
        return FALSE;
    switch (cli->format) {
    case FORMAT_JSON:
        output_json(report);
        break;
    case FORMAT_CSV:
        list_print_array(cli, json_object_get(report, "rows"), csv_columns);
        break;
    case FORMAT_HTML:
        output_print(report_html(report));
        break;
    default:
        print_tables(report);
    }
    return TRUE;
}

static const Option savings_options[] = {
    { "output", OPTION_CHOICE, "table|json|csv|html",
      "-o: html is one page that a manager can read", NULL },
    { "template", OPTION_TEXT, "T", "only this template (or T:VERSION)", "template" },
    { "largest", OPTION_COUNT, "N", "also the N largest diffs of each version", NULL },
    OPTION_END,
};

static const Command commands[] = {
    { "savings", "", 0, 0, NULL, "Show what sharing saves, per template version",
      "Full copies are what the same desktops would take, each as an image of its own.  CSV has "
      "one\n"
      "line per template version and no line of totals.",
      "report savings\nreport savings --template win11 --largest 10\nreport savings -o html > "
      "savings.html\n",
      savings_options, report_savings },
    { "advice", "", 0, 0, NULL, "Show what the diffs have in common, and what could be freed",
      "Reads what desktops at rest hold of their own, in blocks of 4 KiB.  Equal at the SAME\n"
      "OFFSET is what a common base can save; equal ANYWHERE is what deduplication in an archive\n"
      "saves.  ZEROS and what reads AS BELOW is freed by compact.  Digests find what may be\n"
      "equal; bytes are compared before anything is claimed.  Nothing is changed.",
      "report advice\nreport advice --template win11:3 --share 80%\n", report_advice_options,
      report_advice },
    { NULL },
};

const Noun noun_report = { "report", "figures about all of it", commands };
