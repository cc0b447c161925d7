/* verbs_report.c: imagectl report ...: what sharing saves, as tables, JSON, CSV or a page. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/units.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"
#include "imaged/cli/report_html.h"
#include "imaged/cli/share.h"

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

/* ---- advice ---- */

static const Column advice_columns[] = {
    { "TEMPLATE", "name", CELL_TEXT, 0 },
    { "STORE", "store", CELL_TEXT, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "LEFT OUT", "n_left_out", CELL_COUNT, 0 },
    { "DIFFS", "data_bytes", CELL_SIZE, 0 },
    { "ZEROS", "zero_bytes", CELL_SIZE, 0 },
    { "AS BELOW", "below_bytes", CELL_SIZE, 0 },
    { "HIDDEN", "hidden_bytes", CELL_SIZE, 0 },
    { "OWN", "own_bytes", CELL_SIZE, 0 },
    { "SAME OFFSET", "same_offset_bytes", CELL_SIZE, 0 },
    { "SAVES", "same_offset_saves_bytes", CELL_SIZE, 0 },
    { "ANYWHERE", "anywhere_bytes", CELL_SIZE, 0 },
    { "SAVES", "anywhere_saves_bytes", CELL_SIZE, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static char *size_of(const json_t *object, const char *key)
{
    return units_format_size((guint64)MAX(json_number(object, key), 0));
}

/* What one action would free, in a sentence, and the command. */
static void add_action(GString *out, const json_t *action, gboolean is_upper_bound)
{
    const char *kind = json_text(action, "action"), *command = json_text(action, "command");
    g_autofree char *frees = size_of(action, "frees_bytes");
    g_autofree char *count = output_count_text(json_number(action, "n_desktops"), "desktop");
    const char *most = is_upper_bound ? "at most " : "";

    if (g_str_equal(kind, "compact")) {
        if (json_number(action, "frees_bytes") <= 0)
            g_string_append(out, "  compact: nothing to free\n");
        else
            g_string_append_printf(out, "  compact %s: frees %s%s\n      %s\n", count, most, frees,
                                   command);
    } else if (g_str_equal(kind, "stand-in")) {
        if (!*command) {
            g_string_append_printf(out, "  stand-in base: %s\n", json_text(action, "reason"));
            return;
        }
        g_autofree char *diffs = size_of(action, "diffs_bytes");
        g_autofree char *layer = size_of(action, "layer_bytes");
        g_autofree char *added = size_of(action, "added_bytes");
        g_autofree char *compact = size_of(action, "compact_bytes");
        g_string_append_printf(out,
                               "  stand-in base under %s: frees %s (%s in the diffs and %s by "
                               "compacting them, less a layer of %s and %s said anew)\n      %s\n",
                               count, frees, diffs, compact, layer, added, command);
    } else if (*command) {
        g_autofree char *shared = size_of(action, "shared_bytes");
        g_string_append_printf(out,
                               "  a real next version: %s shares most with the others (%s at the "
                               "same offset)\n      %s\n",
                               json_text(action, "donor"), shared, command);
    }
}

static void print_advice(const json_t *report)
{
    const json_t *rows = json_object_get(report, "rows"), *row, *item;
    GString *out = g_string_new(NULL);
    gsize i, j;

    output_table_text(out, rows, advice_columns, output_wants_colour(STDOUT_FILENO));
    json_array_foreach (rows, i, row) {
        g_string_append_printf(out, "\n%s in store %s:\n", json_text(row, "name"),
                               json_text(row, "store"));
        json_array_foreach (json_object_get(row, "actions"), j, item)
            add_action(out, item, json_truth(row, "is_upper_bound"));
        if (json_number(row, "n_with_snapshots") > 0)
            g_string_append_printf(out, "  (%" G_GINT64_FORMAT " with snapshots: not reckoned)\n",
                                   json_number(row, "n_with_snapshots"));
        json_array_foreach (json_object_get(row, "left_out"), j, item)
            g_string_append_printf(out, "  left out: %s: %s\n", json_text(item, "name"),
                                   json_text(item, "reason"));
    }
    if (json_array_size(rows) == 0)
        g_string_append(out, "There is no desktop to compare.\n");
    output_print(out);
}

static gboolean report_advice(Cli *cli, GError **error)
{
    json_auto_t *body = json_object(), *job = NULL;

    if (args_has(cli->args, "template"))
        json_set_text(body, "template", args_text(cli->args, "template"));
    if (!verbs_put_share(cli, body, error) ||
        !job_run(cli, "POST", "/v1/reports/advice", body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    const json_t *report = json_object_get(job, "result");
    if (!job_check(job, error))
        return FALSE;
    if (cli->format == FORMAT_JSON)
        output_json(report);
    else if (cli->format == FORMAT_CSV)
        list_print_array(cli, json_object_get(report, "rows"), advice_columns);
    else
        print_advice(report);
    return TRUE;
}

static const Option advice_options[] = {
    { "template", OPTION_TEXT, "T", "only this template (or T:VERSION)", "template" },
    { "share", OPTION_TEXT, "P", "of the desktops that must have a block for a stand-in base: 50%",
      NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

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
      "Reads what desktops at rest hold of their own, in blocks of 4 KiB.  Equal at the SAME "
      "OFFSET\n"
      "is what a common base can save; equal ANYWHERE is what deduplication in an archive saves.\n"
      "ZEROS and what reads AS BELOW is freed by compact.  Digests find what may be equal; bytes "
      "are\n"
      "compared before anything is claimed.  Nothing is changed.",
      "report advice\nreport advice --template win11:3 --share 80%\n", advice_options,
      report_advice },
    { NULL },
};

const Noun noun_report = { "report", "figures about all of it", commands };
