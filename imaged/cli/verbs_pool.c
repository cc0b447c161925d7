/* verbs_pool.c: imagectl pool ...: desktops that many users share, one at a time each. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/lease.h"
#include "imaged/cli/list.h"
#include "imaged/cli/verbs_channels.h"

static const Column pool_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "TYPE", "type", CELL_TEXT, 0 },
    { "TEMPLATE", "template", CELL_TEXT, 0 },
    { "PINNED", "version", CELL_COUNT, COLUMN_CSV },
    { "VERSION", "wanted_version", CELL_COUNT, 0 },
    { "SIZE", "size", CELL_COUNT, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "FREE", "n_free", CELL_COUNT, 0 },
    { "GIVEN", "n_given", CELL_COUNT, 0 },
    { "RETURNING", "n_returning", CELL_COUNT, COLUMN_CSV },
    { "BEING MADE", "n_making", CELL_COUNT, COLUMN_CSV },
    { "SPARES ON", "n_spares", CELL_COUNT, 0 },
    { "SPARES", "spares", CELL_COUNT, COLUMN_CSV },
    { "PER USER", "max_per_user", CELL_COUNT, COLUMN_CSV },
    { "DISCONNECT LIMIT (S)", "disconnect_limit_s", CELL_COUNT, COLUMN_CSV },
    { "STORE", "store", CELL_TEXT, COLUMN_CSV },
    { "HOURS", "hours", CELL_TEXT, COLUMN_CSV },
    { "TIME ZONE", "zone", CELL_TEXT, COLUMN_CSV },
    { "HOLIDAYS", "holidays", CELL_LIST, COLUMN_CSV },
    { "LEASE (S)", "lease_s", CELL_COUNT, COLUMN_CSV },
    { "UNTIL", "until", CELL_TIME, COLUMN_CSV },
    { "WARNED BEFORE (S)", "warn_s", CELL_COUNT, COLUMN_CSV },
    { "GRACE (S)", "grace_s", CELL_COUNT, COLUMN_CSV },
    { "AT THE END", "end_action", CELL_TEXT, COLUMN_CSV },
    { "ARCHIVE TARGET", "archive_target", CELL_TEXT, COLUMN_CSV },
    { "EXTENSIONS", "max_extensions", CELL_COUNT, COLUMN_CSV },
    { "EXTENSION (S)", "extension_s", CELL_COUNT, COLUMN_CSV },
    { "DELETING", "deleting", CELL_TRUTH, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "CREATED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static const Column grant_columns[] = {
    { "GRANTED TO", "name", CELL_TEXT, 0 },
    { "KIND", "kind", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column member_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "USER", "user", CELL_TEXT, 0 },
    { "RUN", "run", CELL_STATE, 0 },
    { "VERSION", "version", CELL_COUNT, 0 },
    { "GENERATION", "generation", CELL_COUNT, COLUMN_CSV },
    { "CLEAN SINCE", "clean_generation", CELL_COUNT, COLUMN_CSV },
    { "GIVEN", "given_at", CELL_TIME, 0 },
    { "UNTIL", "lease_until", CELL_TIME, 0 },
    { "WARNED", "warned_at", CELL_TIME, COLUMN_CSV },
    { "EXTENDED", "n_extensions", CELL_COUNT, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static GString *path_of(Cli *cli, const char *verb, GError **error)
{
    return client_path("/v1/pools", "pool", args_word(cli->args, 0), verb, error);
}

static void put_count(Cli *cli, json_t *body, const char *option, const char *key)
{
    if (args_has(cli->args, option))
        json_object_set_new(body, key, json_integer(args_number(cli->args, option, 0)));
}

static void put_list(Cli *cli, json_t *body, const char *option, const char *key)
{
    json_t *list = args_list(cli->args, option);

    if (list)
        json_object_set_new(body, key, list);
}

/* What create and set have in common. */
static gboolean put_terms(Cli *cli, json_t *body, GError **error)
{
    json_set_text(body, "template", args_text(cli->args, "template"));
    put_count(cli, body, "size", "size");
    put_count(cli, body, "spares", "spares");
    put_count(cli, body, "max-per-user", "max_per_user");
    lease_put_text(cli->args, body, "hours", "hours");
    lease_put_text(cli->args, body, "zone", "zone");
    put_list(cli, body, "holiday", "holidays");
    lease_put_text(cli->args, body, "until", "until");
    return lease_put_duration(cli->args, body, "disconnect-limit", "disconnect_limit_s", error) &&
           lease_put_duration(cli->args, body, "lease", "lease_s", error) &&
           lease_from_args(cli->args, body, error);
}

/* Send a change; in a table, only what done says of the pool. */
static gboolean change(Cli *cli, const char *method, const char *path, const json_t *body,
                       const char *done, GError **error)
{
    json_auto_t *pool = client_request(cli->client, CLIENT_CHANGE, method, path, body, error);

    if (!pool)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", json_text(pool, "name"), done);
    else
        list_print_object(cli, pool, pool_columns);
    return TRUE;
}

static gboolean pool_create(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "type", args_text(cli->args, "type"));
    json_set_text(body, "store", args_text(cli->args, "store"));
    return put_terms(cli, body, error) &&
           change(cli, "POST", "/v1/pools", body,
                  "is there, and makes its desktops; let users in with: imagectl pool grant",
                  error);
}

static gboolean pool_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/pools");

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "name", 0, pool_columns, error);
}

static gboolean pool_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);
    g_autoptr(GString) desktops = path ? path_of(cli, "desktops", error) : NULL;

    if (!desktops)
        return FALSE;
    if (args_has(cli->args, "desktops"))
        return list_print(cli, desktops->str, "name", 0, member_columns, error);
    json_auto_t *pool = client_get(cli->client, path->str, error);
    if (!pool)
        return FALSE;
    list_print_object(cli, pool, pool_columns);
    const json_t *grants = json_object_get(pool, "grants");
    if (cli->format == FORMAT_TABLE && json_array_size(grants)) {
        putchar('\n');
        list_print_array(cli, grants, grant_columns);
    }
    return TRUE;
}

static gboolean pool_set(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    g_autoptr(GString) path = path_of(cli, "set", error);

    if (!path || !put_terms(cli, body, error))
        return FALSE;
    if (json_object_size(body) == 0) {
        args_usage_error(cli->args, error, "say what is to be set");
        return FALSE;
    }
    return change(cli, "POST", path->str, body, "is set", error);
}

static gboolean pool_resize(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, "resize", error);
    const char *text = args_word(cli->args, 1);
    guint64 size;

    if (!path)
        return FALSE;
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT32, &size, NULL)) {
        args_usage_error(cli->args, error, "'%s' is no number of desktops", text);
        return FALSE;
    }
    json_auto_t *body = json_pack("{s:I}", "size", (json_int_t)size);
    return change(cli, "POST", path->str, body, "gets its new size", error);
}

static gboolean change_grants(Cli *cli, const char *verb, const char *done, GError **error)
{
    json_auto_t *body = json_object();
    g_autoptr(GString) path = path_of(cli, verb, error);

    put_list(cli, body, "user", "users");
    put_list(cli, body, "group", "groups");
    if (!path)
        return FALSE;
    if (json_object_size(body) == 0) {
        args_usage_error(cli->args, error, "name users (--user) or groups (--group)");
        return FALSE;
    }
    return change(cli, "POST", path->str, body, done, error);
}

static gboolean pool_grant(Cli *cli, GError **error)
{
    return change_grants(cli, "grant", "is granted", error);
}

static gboolean pool_revoke(Cli *cli, GError **error)
{
    return change_grants(cli, "revoke", "is not granted any more", error);
}

static gboolean pool_return(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    g_autoptr(GString) path = path_of(cli, "return", error);

    if (!path)
        return FALSE;
    if (cli->args->words->len > 1) {
        json_t *names = json_array();
        for (guint i = 1; i < cli->args->words->len; i++)
            json_array_append_new(names, json_string(args_word(cli->args, i)));
        json_object_set_new(body, "desktops", names);
    }
    put_list(cli, body, "user", "users");
    if (args_has(cli->args, "all"))
        json_object_set_new(body, "all", json_true());
    if (json_object_size(body) == 0) {
        args_usage_error(cli->args, error, "name desktops, or users (--user), or --all");
        return FALSE;
    }
    return confirm_question(cli,
                            "end their sessions and re-image them?  what is on their disks goes to"
                            " the trash",
                            "yes", error) &&
           change(cli, "POST", path->str, body, "has them back as soon as they are re-imaged",
                  error);
}

static gboolean pool_delete(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);

    if (!path || !confirm_question(cli, "delete the pool with all its desktops?", "yes", error))
        return FALSE;
    client_query(path, "force", args_has(cli->args, "force") ? "1" : NULL);
    return change(cli, "DELETE", path->str, NULL, "goes, as soon as its desktops are gone", error);
}

#define TERMS                                                                                      \
    { "size", OPTION_COUNT, "N", "how many desktops it has", NULL },                               \
        { "spares", OPTION_COUNT, "N", "how many free ones wait switched on, at least (0)",        \
          NULL },                                                                                  \
        { "max-per-user", OPTION_COUNT, "N", "desktops that one user may have of it (1)", NULL },  \
        { "disconnect-limit", OPTION_TEXT, "2h|never",                                             \
          "how long a session lives without a client (2h)", NULL },                                \
        { "lease", OPTION_TEXT, "8h|none", "how long a user has a desktop", NULL },                \
        { "until", OPTION_TEXT, "DATE|none", "until when: 2027-01-31, or a moment", NULL },        \
        { "hours", OPTION_TEXT, "HOURS|none",                                                      \
          "when it is open: 'mon-fri 08:00-17:00, sat 09:00-12:00'", NULL },                       \
        { "zone", OPTION_TEXT, "ZONE", "the hours' time zone, as Europe/Berlin (UTC)", NULL },     \
        { "holiday", OPTION_LIST, "DATE", "a day on which no hours begin; again for more", NULL }, \
        LEASE_OPTIONS("re-image")

static const Option create_options[] = {
    { "template", OPTION_TEXT, "T[:N]", "of which they are made: T follows its newest version",
      "template" },
    { "type", OPTION_CHOICE, "automatic|manual|time-based", "when a desktop comes back (automatic)",
      NULL },
    { "store", OPTION_TEXT, "STORE", "where their disks are", "store" },
    TERMS,
    OPTION_END,
};
static const Option set_options[] = {
    { "template", OPTION_TEXT, "T[:N]", "follow its newest version, or pin one", "template" },
    TERMS,
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };
static const Option show_options[] = {
    { "desktops", OPTION_FLAG, NULL, "its desktops, one a line", NULL },
    OPTION_END,
};
static const Option grant_options[] = {
    { "user", OPTION_LIST, "USER", "a user; again for more", NULL },
    { "group", OPTION_LIST, "GROUP", "a group; again for more", NULL },
    OPTION_END,
};
static const Option return_options[] = {
    { "user", OPTION_LIST, "USER", "those that this user has; again for more", NULL },
    { "all", OPTION_FLAG, NULL, "all that are given", NULL },
    OPTION_YES,
    OPTION_END,
};
static const Option delete_options[] = {
    { "force", OPTION_FLAG, NULL, "also those that users have; their sessions end", NULL },
    OPTION_YES,
    OPTION_END,
};

static const Command commands[] = {
    { "create", "NAME --template T --size N", 1, 1, NULL, "Make a pool of desktops",
      "Its desktops (NAME-001 ...) are made in the background.  A user who connects gets one that\n"
      "nobody else was ever let in to since it was laid fresh on its template.\n"
      "automatic: it comes back when his session ends; manual: when an admin returns it;\n"
      "time-based: when its lease is over.  With --template T the pool follows the newest version\n"
      "that is published: free desktops are re-imaged to it.",
      "pool create lab --template office --size 50 --spares 5\n"
      "pool create exam --template office:3 --size 30 --type time-based --lease 2h\n"
      "pool create desk --template office --size 40 --type time-based \\\n"
      "    --hours 'mon-fri 08:00-17:00' --zone Europe/Berlin --end-action log-off\n",
      create_options, pool_create },
    { "list", "", 0, 0, NULL, "List pools", NULL, "pool list\n", list_options, pool_list },
    { "show", "POOL", 1, 1, "pool", "Show a pool, or its desktops", NULL,
      "pool show lab\npool show lab --desktops\n", show_options, pool_show },
    { "set", "POOL", 1, 1, "pool", "Change what a pool is like", NULL,
      "pool set lab --spares 10 --disconnect-limit never\npool set lab --template office:4\n",
      set_options, pool_set },
    { "channels", "POOL", 1, 1, "pool", "Show or set what its users may do through their clients",
      "Of desktop, pool and groups the strictest counts; it holds from a desktop's next start on.",
      "pool channels lab\npool channels lab --clipboard off --usb none\n", channels_options,
      pool_channels },
    { "hardware", "POOL", 1, 1, "pool", "Show or set what machines its desktops are",
      "It goes before what their template's version says, from a desktop's next start on.",
      "pool hardware lab\npool hardware lab --cpus 4 --memory 8G --network office\n"
      "pool hardware lab --unset cpus\n",
      pool_hardware_options, pool_hardware },
    { "resize", "POOL N", 2, 2, "pool", "Give a pool more desktops, or fewer",
      "Free desktops are deleted; nobody loses the one that he has.", "pool resize lab 60\n", NULL,
      pool_resize },
    { "grant", "POOL (--user U | --group G)...", 1, 1, "pool", "Let users have its desktops", NULL,
      "pool grant lab --group students --user alice\n", grant_options, pool_grant },
    { "revoke", "POOL (--user U | --group G)...", 1, 1, "pool", "Let them no more", NULL,
      "pool revoke lab --user alice\n", grant_options, pool_revoke },
    { "return", "POOL (DESKTOP... | --user U | --all)", 1, COMMAND_MANY, "pool",
      "Take desktops back from their users",
      "Their sessions end, and they are re-imaged before anybody else gets them.",
      "pool return lab lab-007\npool return lab --user alice --yes\n", return_options,
      pool_return },
    { "delete", "POOL", 1, 1, "pool", "Delete a pool and its desktops",
      "Refused while users have some of them, unless --force is given.", "pool delete lab\n",
      delete_options, pool_delete },
    { NULL },
};

const Noun noun_pool = { "pool", "desktops that users get when they connect", commands };
