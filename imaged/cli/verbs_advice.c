/* verbs_advice.c: what the advisor says and does: report advice, template stand-in, template
 * propose.
 */
#include "imaged/cli/verbs_advice.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/args.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"

/* Put --share, if it was given, into body. */
static gboolean put_share(Cli *cli, json_t *body, GError **error)
{
    const char *text = args_text(cli->args, "share");
    char *end;

    if (!text)
        return TRUE;
    long percent = strtol(text, &end, 10);
    if (end == text || percent < 1 || percent > 100 || (*end && !g_str_equal(end, "%"))) {
        args_usage_error(cli->args, error,
                         "--share wants a part in percent, 1%% to 100%%, not '%.40s'", text);
        return FALSE;
    }
    json_object_set_new(body, "share", json_integer(percent));
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
        g_autofree char *layer = size_of(action, "layer_bytes");
        g_string_append_printf(out,
                               "  a real next version: %s shares most with the others (%s at the "
                               "same offset)\n  and makes a version of %s; a roll-out of it to "
                               "%s frees %s when the trash\n  empties: their diffs go, with "
                               "all that is in them alone\n      %s\n",
                               json_text(action, "donor"), shared, layer, count, frees, command);
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

static gboolean show_advice(Cli *cli, const json_t *body, GError **error)
{
    json_auto_t *report = NULL;

    if (!job_run_result(cli, "/v1/reports/advice", body, &report, error))
        return FALSE;
    if (!report)
        return TRUE;
    if (cli->format == FORMAT_JSON)
        output_json(report);
    else if (cli->format == FORMAT_CSV)
        list_print_array(cli, json_object_get(report, "rows"), advice_columns);
    else
        print_advice(report);
    return TRUE;
}

gboolean report_advice(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    if (args_has(cli->args, "template"))
        json_set_text(body, "template", args_text(cli->args, "template"));
    return put_share(cli, body, error) && show_advice(cli, body, error);
}

const Option report_advice_options[] = {
    { "template", OPTION_TEXT, "T", "only this template (or T:VERSION)", "template" },
    { "share", OPTION_TEXT, "P", "of the desktops that must have a block for a stand-in base: 50%",
      NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

/* ---- template stand-in ---- */

static void print_stand_in(const json_t *result)
{
    const json_t *items = json_object_get(result, "items"), *item;
    gint64 before = 0, after = 0;
    gsize i;

    if (*json_text(result, "reason")) {
        printf("%s: nothing was made\n", json_text(result, "reason"));
        return;
    }
    json_array_foreach (items, i, item) {
        if (!json_truth(item, "ok"))
            continue;
        before += json_number(item, "before_bytes");
        after += json_number(item, "after_bytes");
    }
    g_autofree char *was = units_format_size((guint64)MAX(before, 0));
    g_autofree char *is = units_format_size((guint64)MAX(after, 0));
    printf("their disks took %s, and take %s; what they were is in the trash until it is emptied\n",
           was, is);
}

gboolean template_stand_in(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    json_auto_t *body = json_object(), *job = NULL;

    if (!put_share(cli, body, error))
        return FALSE;
    if (args_has(cli->args, "dry-run")) {
        json_set_text(body, "template", name);
        return show_advice(cli, body, error);
    }
    if (args_has(cli->args, "store"))
        json_set_text(body, "store", args_text(cli->args, "store"));
    g_autoptr(GString) path = client_path("/v1/templates", "template", name, "stand-in", error);
    if (!path || !job_run(cli, "POST", path->str, body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    gboolean ok = batch_print(cli, job, "rebased", "desktop", error);
    if (ok && cli->format == FORMAT_TABLE)
        print_stand_in(json_object_get(job, "result"));
    return ok;
}

const Option template_stand_in_options[] = {
    { "share", OPTION_TEXT, "P", "of the desktops that must have a block: 50%", NULL },
    { "store", OPTION_TEXT, "S", "for the desktops in this store (where the version was made)",
      "store" },
    { "dry-run", OPTION_FLAG, NULL, "only tell what it would free: report advice", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

/* ---- template propose ---- */

/* Lines to be copied: advice.t runs them. */
static void tell_what_follows(const char *name, const char *made, gboolean is_unsealed)
{
    const char *colon = strrchr(made, ':');

    printf("made %s, a draft%s; to look at it (boot the desktop NAME, delete it then) and to go"
           " on:\n"
           "  imagectl template edit %s --name NAME\n"
           "  imagectl template publish %s%s\n"
           "  imagectl rollout start --template %s --to %s --all --canary 1\n",
           made, is_unsealed ? ", not sealed" : "", made, made, is_unsealed ? " --unsealed" : "",
           name, colon ? colon + 1 : made);
    if (is_unsealed)
        printf("better than publishing it unsealed: 'template seal %s' makes a sealed version of"
               " it, which is published and rolled out in its place\n",
               made);
}

gboolean template_propose(Cli *cli, GError **error)
{
    const Args *args = cli->args;
    const char *name = args_word(args, 0);
    json_auto_t *body = json_object(), *version = NULL;

    if (!args_has(args, "donor")) {
        args_usage_error(args, error, "--donor is missing: which desktop is it to be made of?");
        return FALSE;
    }
    json_set_text(body, "donor", args_text(args, "donor"));
    if (args_has(args, "description"))
        json_set_text(body, "description", args_text(args, "description"));
    if (args_has(args, "root-password"))
        json_set_text(body, "root_password", args_text(args, "root-password"));
    json_object_set_new(body, "unsealed", json_boolean(args_has(args, "unsealed")));
    json_object_set_new(body, "flat", json_boolean(args_has(args, "flat")));
    g_autoptr(GString) path = client_path("/v1/templates", "template", name, "propose", error);
    if (!path || !job_run_result(cli, path->str, body, &version, error))
        return FALSE;
    if (!version)
        return TRUE;
    if (cli->format != FORMAT_TABLE) {
        output_json(version);
        return TRUE;
    }
    tell_what_follows(name, json_text(version, "name"), args_has(args, "unsealed"));
    return TRUE;
}

const Option template_propose_options[] = {
    { "donor", OPTION_TEXT, "DESKTOP", "whose disk it is made of", "desktop" },
    { "unsealed", OPTION_FLAG, NULL, "leave in what belongs to one machine", NULL },
    { "root-password", OPTION_CHOICE, "keep|lock", "when sealing: root's password (keep)", NULL },
    { "flat", OPTION_FLAG, NULL, "a version that stands on nothing", NULL },
    { "description", OPTION_TEXT, "TEXT", "what it is for", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
