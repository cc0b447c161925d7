/* verbs_store.c: imagectl store ... */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/store_check.h"

static const Column store_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "DEFAULT", "is_default", CELL_TRUTH, 0 },
    { "LAYERS", "n_layers", CELL_COUNT, 0 },
    { "TRASH", "n_trash", CELL_COUNT, 0 },
    { "TOTAL", "total_bytes", CELL_SIZE, 0 },
    { "FREE", "free_bytes", CELL_SIZE, 0 },
    { "FREE INODES", "free_inodes", CELL_COUNT, COLUMN_CSV },
    { "LOW SPACE", "low_space", CELL_TRUTH, 0 },
    { "LAYER FORMAT", "layer_format", CELL_TEXT, 0 },
    { "REFLINK", "features.reflink", CELL_TRUTH, COLUMN_CSV },
    { "LOCKS", "features.locks", CELL_TRUTH, COLUMN_CSV },
    { "O_DIRECT", "features.o_direct", CELL_TRUTH, COLUMN_CSV },
    { "LOCATION", "location", CELL_TEXT, 0 },
    COLUMN_END,
};

static gboolean store_list(Cli *cli, GError **error)
{
    return list_print(cli, "/v1/stores", NULL, 0, store_columns, error);
}

/* The name of the default store: where things go when no store is said. */
static char *default_store(Cli *cli, GError **error)
{
    json_auto_t *stores = client_get(cli->client, "/v1/stores", error);
    gsize i;
    json_t *store;

    if (!stores)
        return NULL;
    json_array_foreach (stores, i, store) {
        if (json_truth(store, "is_default"))
            return g_strdup(json_text(store, "name"));
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no default store");
    return NULL;
}

static gboolean store_show(Cli *cli, GError **error)
{
    const char *given = args_word(cli->args, 0);
    g_autofree char *name = given ? g_strdup(given) : default_store(cli, error);
    g_autoptr(GString) path = name ? client_path("/v1/stores", "store", name, NULL, error) : NULL;

    return path && list_show(cli, path->str, store_columns, error);
}

static gboolean store_add(Cli *cli, GError **error)
{
    const Args *args = cli->args;
    const char *location = args_word(args, 1);
    /* A relative path means the caller's folder, which the daemon does not know. */
    g_autofree char *absolute = g_canonicalize_filename(location, NULL);
    json_auto_t *body = json_pack("{s:s, s:s}", "name", args_word(args, 0), "location", absolute);

    json_set_text(body, "kind", args_text(args, "kind"));
    json_set_text(body, "layer_format", args_text(args, "layer-format"));
    if (args_has(args, "force"))
        json_object_set_new(body, "force", json_true());
    json_auto_t *store =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/stores", body, error);
    if (!store)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("added store %s\n", json_text(store, "name"));
    list_print_object(cli, store, store_columns);
    return TRUE;
}

static gboolean store_drain(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0), *to = args_text(cli->args, "to");
    g_autoptr(GString) path = client_path("/v1/stores", "store", name, "drain", error);
    json_auto_t *job = NULL;

    if (!path)
        return FALSE;
    if (!to) {
        args_usage_error(cli->args, error, "--to is missing: where to move what it holds?");
        return FALSE;
    }
    json_auto_t *body = json_pack("{s:s}", "to", to);
    if (!job_run(cli, "POST", path->str, body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    return batch_print(cli, job, "moved", "object", error);
}

static gboolean store_remove(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autoptr(GString) path = client_path("/v1/stores", "store", name, NULL, error);

    if (!path)
        return FALSE;
    g_autofree char *question = g_strdup_printf("forget store %s (its files stay):", name);
    ConfirmRequest request = { "DELETE", path->str, NULL, question, "object" };
    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    json_auto_t *store =
        client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error);
    if (!store)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("removed store %s; its files are where they were\n", name);
    else
        list_print_object(cli, store, store_columns);
    return TRUE;
}

static gboolean store_check(Cli *cli, GError **error)
{
    json_auto_t *body = json_object(), *result = NULL;

    json_set_text(body, "store", args_word(cli->args, 0));
    if (args_has(cli->args, "repair"))
        json_object_set_new(body, "repair", json_true());
    if (args_has(cli->args, "data"))
        json_object_set_new(body, "data", json_true());
    if (!job_run_result(cli, "/v1/stores/check", body, &result, error))
        return FALSE;
    if (result)
        store_check_print(cli, result);
    return TRUE;
}

static const Option add_options[] = {
    { "kind", OPTION_CHOICE, "dir", "what it is: a folder", NULL },
    { "layer-format", OPTION_CHOICE, "extended|compatible",
      "layers with subclusters (QEMU 5.2 and later), or without", NULL },
    { "force", OPTION_FLAG, NULL, "also on a share without working locks", NULL },
    OPTION_END,
};
static const Option drain_options[] = {
    { "to", OPTION_TEXT, "OTHER", "the store to move to", "store" },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option remove_options[] = { OPTION_YES, OPTION_DRY_RUN, OPTION_END };
static const Option check_options[] = {
    { "repair", OPTION_FLAG, NULL, "repair what is safe to repair", NULL },
    { "data", OPTION_FLAG, NULL, "also read frozen layers against their checksums", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

static const Command commands[] = {
    { "list", "", 0, 0, NULL, "List stores", NULL, "store list\n", NULL, store_list },
    { "show", "[NAME]", 0, 1, "store", "Show a store; without NAME the default one", NULL,
      "store show\nstore show fast -o json\n", NULL, store_show },
    { "add", "NAME LOCATION", 2, 2, "folder", "Add a store",
      "The daemon tries what the place can do (locks, rename, reflink, inodes) and refuses a "
      "share\n"
      "without working locks unless --force is given.",
      "store add fast /srv/fast\n", add_options, store_add },
    { "drain", "NAME --to OTHER", 1, 1, "store", "Move all that a store holds to another one",
      "It takes no new layers from then on.", "store drain old --to fast\n", drain_options,
      store_drain },
    { "remove", "NAME", 1, 1, "store", "Forget an empty store; its files stay", NULL,
      "store remove old\n", remove_options, store_remove },
    { "check", "[NAME]", 0, 1, "store",
      "Prove that every byte is accounted for; without NAME in all stores",
      "Exit code 0 only if all is well.",
      "store check\nstore check fast --data\nstore check --repair\n", check_options, store_check },
    { NULL },
};

const Noun noun_store = { "store", "where layers live", commands };
