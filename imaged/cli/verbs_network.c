/* verbs_network.c: imagectl network ... and host-group ... */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"
#include "imaged/cli/verbs_host.h"

static const Column network_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "KIND", "kind", CELL_TEXT, 0 },
    { "BRIDGE", "bridge", CELL_TEXT, 0 },
    { "VLAN", "vlan", CELL_COUNT, 0 },
    { "HOST GROUP", "host_group", CELL_TEXT, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "VERSIONS", "n_versions", CELL_COUNT, 0 },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static const Column group_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "CPU MODEL", "cpu_model", CELL_TEXT, 0 },
    { "MACHINE", "machine", CELL_TEXT, 0 },
    { "HOSTS", "n_hosts", CELL_COUNT, 0 },
    { "NETWORKS", "n_networks", CELL_COUNT, 0 },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

/* Send it, and say done behind the object's name. */
static gboolean change(Cli *cli, const char *method, const char *path, json_t *body,
                       const Column *columns, const char *done, GError **error)
{
    json_auto_t *object = client_request(cli->client, CLIENT_CHANGE, method, path, body, error);

    if (!object)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", json_text(object, "name"), done);
    else
        list_print_object(cli, object, columns);
    return TRUE;
}

static gboolean list(Cli *cli, const char *base, const Column *columns, GError **error)
{
    g_autoptr(GString) path = g_string_new(base);

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "name", 0, columns, error);
}

/* ---- network ---- */

static gboolean network_add(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    gboolean is_isolated = args_has(cli->args, "isolated"), has_vlan = args_has(cli->args, "vlan");

    if (is_isolated == args_has(cli->args, "bridge") || (is_isolated && has_vlan)) {
        args_usage_error(cli->args, error, "give either --bridge, or --isolated");
        return FALSE;
    }
    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "kind", is_isolated ? "isolated" : has_vlan ? "vlan" : "bridge");
    json_set_text(body, "bridge", args_text(cli->args, "bridge"));
    json_set_text(body, "host_group", args_text(cli->args, "host-group"));
    if (has_vlan)
        json_object_set_new(body, "vlan", json_integer(args_number(cli->args, "vlan", 0)));
    return change(cli, "POST", "/v1/networks", body, network_columns, "is known", error);
}

static gboolean network_list(Cli *cli, GError **error)
{
    return list(cli, "/v1/networks", network_columns, error);
}

static gboolean network_remove(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/networks", "network", args_word(cli->args, 0), NULL, error);

    return path && change(cli, "DELETE", path->str, NULL, network_columns, "is forgotten", error);
}

/* ---- host-group ---- */

static gboolean group_add(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "cpu_model", args_text(cli->args, "cpu-model"));
    json_set_text(body, "machine", args_text(cli->args, "machine"));
    if (!host_put_store_path(cli, body, error))
        return FALSE;
    return change(cli, "POST", "/v1/host-groups", body, group_columns,
                  "is known; put hosts into it: imagectl host set HOST --host-group GROUP", error);
}

static gboolean group_list(Cli *cli, GError **error)
{
    return list(cli, "/v1/host-groups", group_columns, error);
}

static gboolean group_remove(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/host-groups", "host group", args_word(cli->args, 0), NULL, error);

    return path && change(cli, "DELETE", path->str, NULL, group_columns, "is forgotten", error);
}

/* ---- The tables ---- */

static const Option network_options[] = {
    { "bridge", OPTION_TEXT, "BRIDGE", "of the hosts, which is there already", NULL },
    { "vlan", OPTION_COUNT, "N", "the bridge is BRIDGE.N on the hosts", NULL },
    { "isolated", OPTION_FLAG, NULL, "desktops of one host, and nothing else", NULL },
    { "host-group", OPTION_TEXT, "GROUP", "on these hosts alone (on all)", "host-group" },
    OPTION_END,
};
static const Option group_options[] = {
    { "cpu-model", OPTION_TEXT, "MODEL", "that all of them have, as libvirt names it", NULL },
    { "machine", OPTION_TEXT, "TYPE", "machine type of all their desktops: pc-q35-7.2", NULL },
    { "store-path", OPTION_TEXT, "[STORE=]PATH", "where they see a store", NULL },
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };

static const Command network_commands[] = {
    { "add", "NAME (--bridge BRIDGE [--vlan N] | --isolated)", 1, 1, NULL, "Add a network",
      "What desktops are plugged into by --network, under the same name on all hosts.  A bridge, "
      "or\n"
      "for a VLAN the bridge BRIDGE.N, is there on the hosts already; an isolated network is made\n"
      "there when it is needed.  Packets with somebody else's MAC or IP address are dropped.",
      "network add office --bridge br0\nnetwork add lab --bridge br0 --vlan 12\n"
      "network add exam --isolated\n",
      network_options, network_add },
    { "list", "", 0, 0, NULL, "List networks", NULL, "network list\n", list_options, network_list },
    { "remove", "NETWORK", 1, 1, "network", "Forget a network",
      "Refused while the hardware of a desktop or a template version names it.",
      "network remove lab\n", NULL, network_remove },
    { NULL },
};

static const Command group_commands[] = {
    { "add", "NAME OPTION...", 1, 1, NULL, "Add a group of hosts that are alike",
      "A common CPU model and a pinned machine type let desktops move between its hosts and "
      "resume\n"
      "on another one.",
      "host-group add rack1 --cpu-model Skylake-Server --machine pc-q35-7.2\n", group_options,
      group_add },
    { "list", "", 0, 0, NULL, "List host groups", NULL, "host-group list\n", list_options,
      group_list },
    { "remove", "GROUP", 1, 1, "host-group", "Forget a host group",
      "Refused while hosts or networks are in it.", "host-group remove rack1\n", NULL,
      group_remove },
    { NULL },
};

const Noun noun_network = { "network", "a network that desktops are plugged into",
                            network_commands };
const Noun noun_host_group = { "host-group", "hosts that are alike", group_commands };
