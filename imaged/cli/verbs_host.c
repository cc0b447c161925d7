/* verbs_host.c: imagectl host ...: the libvirt hosts that desktops run on. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"

static const Column host_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "MAINTENANCE", "maintenance", CELL_TRUTH, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "DOMAINS", "n_domains", CELL_COUNT, COLUMN_CSV },
    { "CPUS", "cpus", CELL_COUNT, 0 },
    { "CPU USE", "cpu_usage", CELL_PERCENT, 0 },
    { "MEMORY", "memory_bytes", CELL_SIZE, 0 },
    { "GIVEN", "domains_memory_bytes", CELL_SIZE, 0 },
    { "KVM", "kvm", CELL_TRUTH, COLUMN_CSV },
    { "SPICE", "spice", CELL_TRUTH, COLUMN_CSV },
    { "URI", "uri", CELL_TEXT, 0 },
    { "HOST NAME", "hostname", CELL_TEXT, COLUMN_CSV },
    { "CPU MODEL", "cpu_model", CELL_TEXT, COLUMN_CSV },
    { "DISPLAY ADDRESS", "display_address", CELL_TEXT, COLUMN_CSV },
    { "PROXY", "proxy", CELL_TEXT, COLUMN_CSV },
    { "ACCELERATOR", "accelerator", CELL_TEXT, COLUMN_CSV },
    { "SINCE", "since", CELL_TIME, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

/* "PATH" is of the store called default, "STORE=PATH" of another. */
static gboolean put_store_path(Cli *cli, json_t *body, GError **error)
{
    const char *text = args_text(cli->args, "store-path");
    const char *equals = text ? strchr(text, '=') : NULL;
    g_autofree char *store = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup("default");
    const char *path = equals ? equals + 1 : text;

    if (!text)
        return TRUE;
    if (*path != '/') {
        args_usage_error(cli->args, error, "--store-path wants a path that begins with '/'");
        return FALSE;
    }
    json_object_set_new(body, "store_paths", json_pack("{s:s}", store, path));
    return TRUE;
}

static gboolean host_add(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "uri", args_word(cli->args, 1));
    json_set_text(body, "display_address", args_text(cli->args, "display-address"));
    json_set_text(body, "proxy", args_text(cli->args, "proxy"));
    json_set_text(body, "accelerator", args_text(cli->args, "accelerator"));
    if (!put_store_path(cli, body, error))
        return FALSE;
    json_auto_t *host =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/hosts", body, error);
    if (!host)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("added the host %s; see how it is: imagectl host show %s\n", json_text(host, "name"),
               json_text(host, "name"));
    else
        list_print_object(cli, host, host_columns);
    return TRUE;
}

static gboolean host_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/hosts");

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "name", 0, host_columns, error);
}

static GString *path_of(Cli *cli, const char *verb, GError **error)
{
    return client_path("/v1/hosts", "host", args_word(cli->args, 0), verb, error);
}

static gboolean host_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);

    return path && list_show(cli, path->str, host_columns, error);
}

/* done goes behind the host's name. */
static gboolean change(Cli *cli, const char *method, const char *verb, const char *done,
                       GError **error)
{
    g_autoptr(GString) path = path_of(cli, verb, error);
    json_auto_t *host =
        path ? client_request(cli->client, CLIENT_CHANGE, method, path->str, NULL, error) : NULL;

    if (!host)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", json_text(host, "name"), done);
    else
        list_print_object(cli, host, host_columns);
    return TRUE;
}

static gboolean host_maintenance(Cli *cli, GError **error)
{
    return change(cli, "POST", "maintenance", "gets no new desktops", error);
}

static gboolean host_activate(Cli *cli, GError **error)
{
    return change(cli, "POST", "activate", "gets desktops again", error);
}

static gboolean host_remove(Cli *cli, GError **error)
{
    return change(cli, "DELETE", NULL, "is forgotten; nothing was changed there", error);
}

static const Option add_options[] = {
    { "display-address", OPTION_TEXT, "ADDR", "where clients of its desktops connect to", NULL },
    { "proxy", OPTION_TEXT, "URL", "what these clients go through", NULL },
    { "accelerator", OPTION_CHOICE, "auto|kvm|tcg", "how its desktops run (auto)", NULL },
    { "store-path", OPTION_TEXT, "[STORE=]PATH", "where it sees a store (as imaged does)", NULL },
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };

static const Command commands[] = {
    { "add", "NAME URI", 2, 2, NULL, "Add a libvirt host",
      "URI is libvirt's: qemu:///system, qemu+ssh://root@HOST/system, qemu+tls://HOST/system.\n"
      "imaged connects in the background, and again whenever the connection is lost.",
      "host add vs-a qemu+ssh://root@vs-a/system --store-path /srv/imaged\n", add_options,
      host_add },
    { "list", "", 0, 0, NULL, "List hosts", NULL, "host list\n", list_options, host_list },
    { "show", "HOST", 1, 1, "host", "Show a host", NULL, "host show vs-a\n", NULL, host_show },
    { "maintenance", "HOST", 1, 1, "host", "Start no more desktops there", NULL,
      "host maintenance vs-a\n", NULL, host_maintenance },
    { "activate", "HOST", 1, 1, "host", "Start desktops there again", NULL,
      "host activate vs-a\n", NULL, host_activate },
    { "remove", "HOST", 1, 1, "host", "Forget a host", "Refused while desktops run there.",
      "host remove vs-a\n", NULL, host_remove },
    { NULL },
};

const Noun noun_host = { "host", "a libvirt host that desktops run on", commands };
