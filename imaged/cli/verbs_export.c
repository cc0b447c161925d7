/* verbs_export.c: imagectl export ...  Key files are read here, with the caller's own rights, and
 * sent: the daemon opens no path that a user names. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"
#include "imaged/cli/user_file.h"

static const Column export_columns[] = {
    { "ID", "id", CELL_TEXT, 0 },
    { "NAME", "name", CELL_TEXT, 0 },
    { "REF", "ref", CELL_TEXT, COLUMN_CSV },
    { "KIND", "kind", CELL_TEXT, COLUMN_CSV },
    { "STATE", "state", CELL_STATE, 0 },
    { "WRITABLE", "read_write", CELL_TRUTH, 0 },
    { "TLS", "tls", CELL_TEXT, 0 },
    { "CLIENTS", "n_clients", CELL_COUNT, 0 },
    { "IDLE TIMEOUT (S)", "idle_timeout_s", CELL_COUNT, COLUMN_CSV },
    { "PID", "pid", CELL_COUNT, COLUMN_CSV },
    { "OWNER", "owner", CELL_TEXT, COLUMN_CSV },
    { "CREATED", "created_at", CELL_TIME, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "URI", "uri", CELL_TEXT, 0 },
    COLUMN_END,
};

/* The id of the one export with this name or ref (borrowed from list), or NULL. */
static const char *find_id(const json_t *list, const char *name)
{
    const char *found = NULL;
    guint n = 0;
    size_t i;
    json_t *export;

    json_array_foreach (list, i, export) {
        if (g_strcmp0(json_text(export, "name"), name) == 0 ||
            g_strcmp0(json_text(export, "ref"), name) == 0) {
            found = json_text(export, "id");
            n++;
        }
    }
    return n == 1 ? found : NULL;
}

/* Names of exports may hold '@' and ':'.  That of a data disk holds a '/', which no path of the API
 * can: it goes by its id. */
static GString *export_path(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0), *id = NULL;
    json_auto_t *list = NULL;

    if (strchr(name, '/')) {
        list = client_get(cli->client, "/v1/exports", error);
        if (!list)
            return NULL;
        id = find_id(list, name);
        if (!id) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                        "there is no export '%.100s', or more than one", name);
            return NULL;
        }
    }
    g_autofree char *escaped = g_uri_escape_string(id ? id : name, NULL, FALSE);
    GString *path = g_string_new("/v1/exports/");

    return g_string_append(path, escaped);
}

static gboolean put_file(json_t *object, const char *key, const char *path, GError **error)
{
    g_autofree char *text = user_file_read(path, error);

    if (!text)
        return FALSE;
    json_t *value = json_string(text);
    if (!value) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a text", path);
        return FALSE;
    }
    json_object_set_new(object, key, value);
    return TRUE;
}

static gboolean put_certs(json_t *body, const char *dir, GError **error)
{
    static const char *const files[][2] = { { "ca_cert", "ca-cert.pem" },
                                            { "server_cert", "server-cert.pem" },
                                            { "server_key", "server-key.pem" } };
    json_t *certs = json_object();

    json_object_set_new(body, "tls_certs", certs);
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(dir, files[i][1], NULL);
        if (!put_file(certs, files[i][0], path, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean put_idle_timeout(Cli *cli, json_t *body, GError **error)
{
    const char *text = args_text(cli->args, "idle-timeout");
    char *end = NULL;
    gint64 ms = text ? g_ascii_strtoll(text, &end, 10) * 1000 : 0;

    if (!text)
        return TRUE;
    /* A bare number means seconds. */
    if ((!g_ascii_isdigit(*text) || *end) && !units_parse_duration(text, &ms, error))
        return FALSE;
    if (ms < 1000) {
        args_usage_error(cli->args, error, "--idle-timeout is at least one second");
        return FALSE;
    }
    json_object_set_new(body, "idle_timeout_s", json_integer(ms / 1000));
    return TRUE;
}

static gboolean export_start(Cli *cli, GError **error)
{
    const char *psk = args_text(cli->args, "tls-psk"), *certs = args_text(cli->args, "tls-certs");
    json_auto_t *body = json_pack("{s:s}", "ref", args_word(cli->args, 0));

    if (args_has(cli->args, "tcp") != (psk || certs) || (psk && certs)) {
        args_usage_error(cli->args, error,
                         "--tcp goes with either --tls-psk or --tls-certs, and they with it");
        return FALSE;
    }
    if (!body) {
        args_usage_error(cli->args, error, "the name is not UTF-8");
        return FALSE;
    }
    if (args_has(cli->args, "read-write"))
        json_object_set_new(body, "read_write", json_true());
    json_set_text(body, "tcp", args_text(cli->args, "tcp"));
    if (!put_idle_timeout(cli, body, error) || (psk && !put_file(body, "tls_psk", psk, error)) ||
        (certs && !put_certs(body, certs, error)))
        return FALSE;
    json_auto_t *export =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/exports", body, error);
    if (!export)
        return FALSE;
    /* So that URI=$(imagectl export start ...) works. */
    if (cli->format == FORMAT_TABLE)
        puts(json_text(export, "uri"));
    else
        list_print_object(cli, export, export_columns);
    return TRUE;
}

static gboolean export_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/exports");

    client_query(path, "search", args_text(cli->args, "search"));
    return list_print(cli, path->str, "id", 0, export_columns, error);
}

static gboolean export_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path = export_path(cli, error);

    return path && list_show(cli, path->str, export_columns, error);
}

static gboolean export_stop(Cli *cli, GError **error)
{
    g_autoptr(GString) path = export_path(cli, error);
    json_auto_t *export =
        path ? client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error) : NULL;

    if (!export)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("stopped the export of %s\n", json_text(export, "name"));
    else
        list_print_object(cli, export, export_columns);
    return TRUE;
}

static const Option start_options[] = {
    { "read-write", OPTION_FLAG, NULL, "let clients write; of a desktop alone", NULL },
    { "tcp", OPTION_TEXT, "ADDR:PORT", "listen there, with TLS, instead of on a unix socket",
      NULL },
    { "tls-psk", OPTION_TEXT, "FILE", "pre-shared keys that clients may use (psktool)", "file" },
    { "tls-certs", OPTION_TEXT, "DIR",
      "folder of ca-cert.pem, server-cert.pem, server-key.pem; clients have certificates too",
      "folder" },
    { "idle-timeout", OPTION_TEXT, "TIME", "end it after so long without a client, like 90s or 15m",
      NULL },
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };

static const Command commands[] = {
    { "start", "(DESKTOP[@SNAPSHOT][/data] | TEMPLATE[:VERSION] | archive:POINT[/data])", 1, 1,
      "desktop",
      "Serve an image over NBD and print its URI",
      "Read-only unless --read-write is given.  Meanwhile the image counts as in use: verbs that\n"
      "would change it say so.  'qemu-img', 'nbdcopy' and 'template import' take the URI.  Over\n"
      "TCP clients must use TLS and prove who they are; 'psktool -u alice -p keys.psk' makes a "
      "key.",
      "export start lab-0007\n"
      "export start win11:3 --tcp 192.0.2.7:10809 --tls-psk keys.psk\n"
      "export start lab-0007 --read-write --idle-timeout 15m\n",
      start_options, export_start },
    { "list", "", 0, 0, NULL, "List exports", NULL, "export list\n", list_options, export_list },
    { "show", "EXPORT", 1, 1, "export", "Show an export, by its id or name", NULL,
      "export show lab-0007\n", NULL, export_show },
    { "stop", "EXPORT", 1, 1, "export", "End an export, by its id or name",
      "Clients that are connected are cut off.", "export stop lab-0007\n", NULL, export_stop },
    { NULL },
};

const Noun noun_export = { "export", "an image served over NBD", commands };
