/* verbs_snapshot.c: imagectl snapshot ... */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/base/units.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/select.h"

static const Column snapshot_columns[] = {
    { "DESKTOP", "desktop", CELL_TEXT, 0 },
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "TEMPLATE", "template", CELL_TEXT, 0 },
    { "VERSION", "version", CELL_COUNT, 0 },
    { "GENERATION", "generation", CELL_COUNT, COLUMN_CSV },
    { "LAYER", "layer", CELL_TEXT, COLUMN_CSV },
    { "DATA DISK", "data_disk_size", CELL_SIZE, COLUMN_CSV },
    { "ON DISK", "disk_bytes", CELL_SIZE, 0 },
    { "CURRENT", "is_current", CELL_TRUTH, 0 },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "DESCRIPTION", "description", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column extent_columns[] = {
    { "OFFSET", "offset", CELL_COUNT, 0 },
    { "LENGTH", "length", CELL_SIZE, 0 },
    { "DISK", "disk", CELL_TEXT, 0 },
    COLUMN_END,
};

/* /v1/desktops/DESKTOP/snapshots/tail. */
static GString *path_of(Cli *cli, const char *tail, GError **error)
{
    GString *path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "snapshots", error);

    if (path)
        g_string_append_printf(path, "/%s", tail);
    return path;
}

static GString *path_of_snapshot(Cli *cli, const char *action, GError **error)
{
    g_autoptr(GString) base =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "snapshots", error);

    return base ? client_path(base->str, "snapshot", args_word(cli->args, 1), action, error) : NULL;
}

/* The last word is the snapshot's name; desktops stand before it, or are chosen by an option. */
static json_t *desktops_and_name(const Args *args, GError **error)
{
    guint n_words = args->words->len;

    if (n_words == 1 && !args_has(args, "template") && !args_has(args, "all-of-prefix")) {
        args_usage_error(args, error, "it needs desktops and, after them, the snapshot's name");
        return NULL;
    }
    json_t *body = select_body(args, n_words - 1, error);
    if (body)
        json_set_text(body, "snapshot", args_word(args, n_words - 1));
    return body;
}

static gboolean snapshot_create(Cli *cli, GError **error)
{
    json_auto_t *body = desktops_and_name(cli->args, error);

    if (!body)
        return FALSE;
    json_set_text(body, "description", args_text(cli->args, "description"));
    g_autofree char *done =
        g_strdup_printf("took snapshot '%s' of", args_word(cli->args, cli->args->words->len - 1));
    return select_run(cli, "/v1/snapshots", body, done, error);
}

static gboolean snapshot_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/snapshots");

    client_query(path, "desktop", args_word(cli->args, 0));
    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "id", 0, snapshot_columns, error);
}

static gboolean snapshot_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of_snapshot(cli, NULL, error);

    return path && list_show(cli, path->str, snapshot_columns, error);
}

static gboolean snapshot_rename(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of_snapshot(cli, "rename", error);
    const char *new_name = args_word(cli->args, 2);
    json_auto_t *body = json_object();

    if (!new_name && !args_has(cli->args, "description")) {
        args_usage_error(cli->args, error, "give a new name, or --description");
        return FALSE;
    }
    json_set_text(body, "new_name", new_name);
    json_set_text(body, "description", args_text(cli->args, "description"));
    json_auto_t *snapshot =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error) : NULL;
    if (!snapshot)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("snapshot %s of %s is %s now\n", args_word(cli->args, 1), args_word(cli->args, 0),
               json_text(snapshot, "name"));
    else
        list_print_object(cli, snapshot, snapshot_columns);
    return TRUE;
}

static gboolean snapshot_revert(Cli *cli, GError **error)
{
    json_auto_t *body = desktops_and_name(cli->args, error);

    if (!body)
        return FALSE;
    json_set_text(body, "disk", args_text(cli->args, "disk"));
    if (args_has(cli->args, "stop"))
        json_object_set_new(body, "stop", json_true());
    return select_run_destructive(cli, "/v1/snapshots/revert", body, "revert", "reverted", error);
}

static gboolean snapshot_delete(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, "delete", error);
    json_auto_t *body = json_object();
    json_auto_t *job = NULL;
    json_t *names = json_array();

    for (guint i = 1; i < cli->args->words->len; i++)
        json_array_append_new(names, json_string(args_word(cli->args, i)));
    json_object_set_new(body, "snapshots", names);
    if (!path)
        return FALSE;
    ConfirmRequest request = { "POST", path->str, body, "delete", "snapshot" };
    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "POST", path->str, body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "deleted", "snapshot", error);
}

static void print_sum(const char *what, const json_t *found)
{
    g_autofree char *size = units_format_size((guint64)json_number(found, "n_bytes"));
    g_autofree char *count = output_count_text(json_number(found, "n_extents"), "extent");

    printf("%s%s differ, in %s\n", what, size, count);
}

/* One line for each disk. */
static void print_sums(const Args *args, const json_t *result)
{
    const json_t *data = json_object_get(result, "data_disk");
    const char *in = json_text(data, "in"), *b = args_word(args, 2);

    print_sum(json_is_object(data) ? "disk: " : "", result);
    if (g_str_equal(in, "both"))
        print_sum("data disk: ", data);
    else if (g_str_equal(in, "b") && !b)
        printf("data disk: the snapshot has none, the desktop has one now\n");
    else if (*in)
        printf("data disk: only '%s' has one\n", g_str_equal(in, "a") ? args_word(args, 1) : b);
}

/* Those of both disks, each with the name of its disk. */
static json_t *extents_of_both(const json_t *result)
{
    static const char *const names[] = { "system", "data" };
    const json_t *disks[] = { result, json_object_get(result, "data_disk") };
    json_t *out = json_array(), *extent;
    gsize k;

    for (guint i = 0; i < G_N_ELEMENTS(disks); i++) {
        json_array_foreach (json_object_get(disks[i], "extents"), k, extent) {
            json_t *row = json_copy(extent);
            json_object_set_new(row, "disk", json_string(names[i]));
            json_array_append_new(out, row);
        }
    }
    return out;
}

static gboolean snapshot_diff(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, "diff", error);
    json_auto_t *body = json_object(), *result = NULL;

    json_set_text(body, "a", args_word(cli->args, 1));
    json_set_text(body, "b", args_word(cli->args, 2));
    if (!path || !job_run_result(cli, path->str, body, &result, error))
        return FALSE;
    if (!result)
        return TRUE;
    if (cli->format == FORMAT_JSON) {
        output_json(result);
        return TRUE;
    }
    if (cli->format == FORMAT_TABLE)
        print_sums(cli->args, result);
    if (cli->format == FORMAT_CSV || args_has(cli->args, "extents")) {
        json_auto_t *rows = extents_of_both(result);
        list_print_array(cli, rows, extent_columns);
    }
    return TRUE;
}

static const Option create_options[] = {
    { "description", OPTION_TEXT, "TEXT", "what it is for", NULL },
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };
static const Option rename_options[] = {
    { "description", OPTION_TEXT, "TEXT", "another description", NULL },
    OPTION_END,
};
static const Option revert_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "disk", OPTION_CHOICE, "all|system|data", "which disk goes back (all)", NULL },
    { "stop", OPTION_FLAG, NULL, "those that run are switched off, and started again", NULL },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option delete_options[] = { OPTION_YES, OPTION_DRY_RUN, OPTION_NO_WAIT, OPTION_END };
static const Option diff_options[] = {
    { "extents", OPTION_FLAG, NULL, "list them too (the first 10,000)", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

static const Command commands[] = {
    { "create", "(DESKTOP... | --template T | --all-of-prefix P) NAME", 1, COMMAND_MANY, "desktop",
      "Keep the present state of desktops under a name",
      "A moment's work and next to no space, whatever the disk's size.  A desktop that runs is\n"
      "busy.",
      "snapshot create alice before-update --description 'the old office'\n"
      "snapshot create --all-of-prefix lab- monday\n",
      create_options, snapshot_create },
    { "list", "[DESKTOP]", 0, 1, "desktop", "List snapshots",
      "CURRENT is the one that the present disk was made on.",
      "snapshot list\nsnapshot list alice\n", list_options, snapshot_list },
    { "show", "DESKTOP NAME", 2, 2, "desktop", "Show one snapshot", NULL,
      "snapshot show alice before-update\n", NULL, snapshot_show },
    { "rename", "DESKTOP NAME [NEW-NAME]", 2, 3, "desktop",
      "Give a snapshot another name or description", NULL, "snapshot rename alice monday tuesday\n",
      rename_options, snapshot_rename },
    { "revert", "(DESKTOP... | --template T | --all-of-prefix P) NAME", 1, COMMAND_MANY, "desktop",
      "Go back to a snapshot",
      "The present disk goes to the trash, from where 'desktop undo-reset' brings it back.  All\n"
      "snapshots stay, so that one can go forward again as well.  A data disk goes back too,\n"
      "unless --disk says otherwise.",
      "snapshot revert alice before-update\nsnapshot revert alice before-update --disk system\n",
      revert_options, snapshot_revert },
    { "delete", "DESKTOP NAME...", 2, COMMAND_MANY, "desktop", "Delete snapshots",
      "The name goes to the trash; 'trash restore' brings it back.  Data that later states still\n"
      "need is merged into the layer above; --dry-run tells what that writes.",
      "snapshot delete alice monday --dry-run\nsnapshot delete alice monday tuesday --yes\n",
      delete_options, snapshot_delete },
    { "diff", "DESKTOP A [B]", 2, 3, "desktop",
      "Tell which bytes differ between two snapshots, or a snapshot and now",
      "Of the disk and, if there is one, of the data disk.",
      "snapshot diff alice monday\nsnapshot diff alice monday tuesday --extents\n", diff_options,
      snapshot_diff },
    { NULL },
};

const Noun noun_snapshot = { "snapshot", "a state of a desktop's disk, kept under a name",
                             commands };
