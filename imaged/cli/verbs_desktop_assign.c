/* verbs_desktop_assign.c: imagectl desktop assign, share, unassign, extend: whose desktops are. */
#include "imaged/cli/verbs_desktop.h"

#include <stdio.h>

#include "imaged/cli/confirm.h"
#include "imaged/cli/lease.h"
#include "imaged/cli/list.h"

#define LEASE                                                                                      \
    { "until", OPTION_TEXT, "DATE", "a lease: until 2027-01-31, or a moment", NULL },              \
        LEASE_OPTIONS("log-off")

const Option desktop_assign_options[] = {
    LEASE,
    OPTION_END,
};
const Option desktop_extend_options[] = {
    { "user", OPTION_TEXT, "USER", "whose lease, of several", NULL },
    OPTION_END,
};
const Option desktop_share_options[] = {
    { "may-take-over", OPTION_FLAG, NULL, "he may take the screen from another of them", NULL },
    LEASE,
    OPTION_END,
};

static const Column columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },      { "USER", "user", CELL_TEXT, 0 },
    { "OWNER", "owner", CELL_TRUTH, 0 },   { "TAKES OVER", "may_take_over", CELL_TRUTH, 0 },
    { "UNTIL", "until", CELL_TIME, 0 },    { "THEN", "end_action", CELL_TEXT, 0 },
    { "EXTENDED", "n_extensions", CELL_COUNT, COLUMN_CSV },
    { "EXTENSIONS", "max_extensions", CELL_COUNT, COLUMN_CSV },
    { "WARNED", "warned_at", CELL_TIME, COLUMN_CSV },
    { "SINCE", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV }, COLUMN_END,
};

static gboolean put_lease(Cli *cli, json_t *body, GError **error)
{
    json_set_text(body, "until", args_text(cli->args, "until"));
    return lease_from_args(cli->args, body, error);
}

static gboolean send(Cli *cli, const char *verb, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), verb, error);
    json_auto_t *body = json_object();

    if (!path)
        return FALSE;
    json_set_text(body, "user", args_word(cli->args, 1));
    if (!put_lease(cli, body, error))
        return FALSE;
    if (args_has(cli->args, "may-take-over"))
        json_object_set_new(body, "may_take_over", json_true());
    json_auto_t *list = client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error);
    if (!list)
        return FALSE;
    if (cli->format == FORMAT_TABLE && json_array_size(list) == 0)
        printf("%s is nobody's\n", args_word(cli->args, 0));
    else
        list_print_array(cli, list, columns);
    return TRUE;
}

gboolean desktop_assign(Cli *cli, GError **error)
{
    return send(cli, "assign", error);
}

gboolean desktop_share(Cli *cli, GError **error)
{
    return send(cli, "share", error);
}

gboolean desktop_unassign(Cli *cli, GError **error)
{
    return send(cli, "unassign", error);
}

gboolean desktop_assignments(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/assignments");

    client_query(path, "desktop", args_word(cli->args, 0));
    return list_print(cli, path->str, NULL, 0, columns, error);
}

gboolean desktop_extend(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "extend", error);
    json_auto_t *body = json_object();

    json_set_text(body, "user", args_text(cli->args, "user"));
    json_auto_t *lease =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error) : NULL;

    if (!lease)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s: until %s\n", json_text(lease, "name"), json_text(lease, "until"));
    else
        list_print_object(cli, lease, columns);
    return TRUE;
}
