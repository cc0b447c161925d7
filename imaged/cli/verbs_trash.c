/* verbs_trash.c: imagectl trash ... */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

static const Column trash_columns[] = {
    { "ID", "id", CELL_TEXT, 0 },
    { "NAME", "name", CELL_TEXT, 0 },
    { "DESKTOP", "desktop", CELL_TEXT, 0 },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "REASON", "reason", CELL_TEXT, 0 },
    { "GENERATION", "generation", CELL_COUNT, 0 },
    { "STORE", "store", CELL_TEXT, 0 },
    { "LAYER", "layer", CELL_TEXT, COLUMN_CSV },
    { "ON DISK", "disk_bytes", CELL_SIZE, 0 },
    { "TRASHED", "trashed_at", CELL_TIME, 0 },
    { "EXPIRES", "expires_at", CELL_TIME, 0 },
    COLUMN_END,
};

static const Column expiry_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "EXPIRY", "expiry", CELL_STATE, 0 },
    COLUMN_END,
};

static json_t *body_of_ids(const Args *args)
{
    json_t *body = json_object();

    if (args->words->len) {
        json_t *ids = json_array();
        for (guint i = 0; i < args->words->len; i++)
            json_array_append_new(ids, json_string(args->words->pdata[i]));
        json_object_set_new(body, "ids", ids);
    }
    return body;
}

static gboolean trash_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/trash");

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "id", 0, trash_columns, error);
}

static gboolean trash_restore(Cli *cli, GError **error)
{
    json_auto_t *body = body_of_ids(cli->args);
    json_auto_t *job = NULL;

    if (args_has(cli->args, "as") && cli->args->words->len != 1) {
        args_usage_error(cli->args, error, "--as is for one entry alone");
        return FALSE;
    }
    json_set_text(body, "new_name", args_text(cli->args, "as"));
    if (!job_run(cli, "POST", "/v1/trash/restore", body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "restored", "entry", error);
}

static gboolean trash_empty(Cli *cli, GError **error)
{
    json_auto_t *body = body_of_ids(cli->args);
    json_auto_t *job = NULL;
    ConfirmRequest request = { "POST", "/v1/trash/empty", body, "delete for good", "entry" };

    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "POST", "/v1/trash/empty", body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "deleted", "entry", error);
}

static gboolean trash_resume_expiry(Cli *cli, GError **error)
{
    json_auto_t *answer =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/trash/resume-expiry", NULL, error);

    if (!answer)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("expiry is %s\n", json_text(answer, "expiry"));
    else
        list_print_object(cli, answer, expiry_columns);
    return TRUE;
}

static const Option list_options[] = { OPTION_SEARCH, OPTION_END };
static const Option restore_options[] = {
    { "as", OPTION_TEXT, "NAME", "with one ID: restore it under this name", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option empty_options[] = { OPTION_YES, OPTION_DRY_RUN, OPTION_NO_WAIT, OPTION_END };

static const Command commands[] = {
    { "list", "", 0, 0, NULL, "List what is in the trash, newest first", NULL,
      "trash list --search alice\n", list_options, trash_list },
    { "restore", "ID...", 1, COMMAND_MANY, "trash", "Bring entries back", NULL,
      "trash restore 5b1d9f0f3c5a4f1e9d2a7c6b8e0f1a2b --as alice-before\n", restore_options,
      trash_restore },
    { "empty", "[ID...]", 0, COMMAND_MANY, "trash",
      "Delete entries for good; without an ID all of them", NULL,
      "trash empty --dry-run\ntrash empty --yes\n", empty_options, trash_empty },
    { "resume-expiry", "", 0, 0, NULL, "Let entries expire again after the clock had jumped",
      "The daemon holds expiry when the clock makes a jump, lest it empties the trash for a wrong\n"
      "date.  Say this once the clock is right.",
      "trash resume-expiry\n", NULL, trash_resume_expiry },
    { NULL },
};

const Noun noun_trash = { "trash", "what was replaced or deleted and can be brought back",
                          commands };
