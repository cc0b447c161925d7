/* verbs_host.c: imagectl host ...: the libvirt hosts that desktops run on. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/select.h"
#include "imaged/cli/user_file.h"
#include "imaged/cli/verbs_host.h"

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
    { "SPICE", "spice", CELL_TRUTH, COLUMN_CSV },
    { "URI", "uri", CELL_TEXT, 0 },
    { "HOST NAME", "hostname", CELL_TEXT, COLUMN_CSV },
    { "CPU MODEL", "cpu_model", CELL_TEXT, COLUMN_CSV },
    { "DISPLAY ADDRESS", "display_address", CELL_TEXT, COLUMN_CSV },
    { "PROXY", "proxy", CELL_TEXT, COLUMN_CSV },
    { "ACCELERATOR", "accelerator", CELL_TEXT, COLUMN_CSV },
    { "USED ACCELERATOR", "used_accelerator", CELL_TEXT, COLUMN_CSV },
    { "KVM DEVICE", "kvm", CELL_TRUTH, COLUMN_CSV },
    { "HOST GROUP", "host_group", CELL_TEXT, COLUMN_CSV },
    { "LISTEN", "listen", CELL_TEXT, COLUMN_CSV },
    { "TLS SUBJECT", "tls_subject", CELL_TEXT, COLUMN_CSV },
    { "DRIVER ISO", "driver_iso", CELL_TEXT, COLUMN_CSV },
    { "SINCE", "since", CELL_TIME, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "ADDED", "created_at", CELL_TIME, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

gboolean host_put_store_path(Cli *cli, json_t *body, GError **error)
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

/* What add and set have in common.  An empty text takes a setting away. */
static gboolean put_settings(Cli *cli, json_t *body, GError **error)
{
    static const char *const texts[][2] = {
        { "display-address", "display_address" },
        { "proxy", "proxy" },
        { "accelerator", "accelerator" },
        { "listen", "listen" },
        { "tls-subject", "tls_subject" },
        { "driver-iso", "driver_iso" },
        { "host-group", "host_group" },
    };
    const char *ca = args_text(cli->args, "tls-ca");

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char *text = args_text(cli->args, texts[i][0]);
        if (text)
            json_object_set_new(body, texts[i][1], *text ? json_string(text) : json_null());
    }
    g_autofree char *pem = ca && *ca ? user_file_read(ca, error) : NULL;
    if (ca && *ca && !pem)
        return FALSE;
    if (ca)
        json_object_set_new(body, "tls_ca", pem ? json_string(pem) : json_null());
    return host_put_store_path(cli, body, error);
}

static gboolean host_add(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "uri", args_word(cli->args, 1));
    if (!put_settings(cli, body, error))
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
static gboolean change(Cli *cli, const char *method, const char *verb, json_t *body,
                       const char *done, GError **error)
{
    g_autoptr(GString) path = path_of(cli, verb, error);
    json_auto_t *host =
        path ? client_request(cli->client, CLIENT_CHANGE, method, path->str, body, error) : NULL;

    if (!host)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", json_text(host, "name"), done);
    else
        list_print_object(cli, host, host_columns);
    return TRUE;
}

static const Option maintenance_options[] = {
    { "evacuate", OPTION_FLAG, NULL, "move the desktops that run there to other hosts", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};

static gboolean host_maintenance(Cli *cli, GError **error)
{
    if (!change(cli, "POST", "maintenance", NULL, "gets no new desktops", error))
        return FALSE;
    if (!args_has(cli->args, "evacuate"))
        return TRUE;
    g_autoptr(GString) path = path_of(cli, "evacuate", error);
    json_auto_t *body = json_object();
    return path && select_run(cli, path->str, body, "moved", error);
}

static gboolean host_activate(Cli *cli, GError **error)
{
    return change(cli, "POST", "activate", NULL, "gets desktops again", error);
}

/* What the admin says yes to. */
static char *fence_question(const json_t *host)
{
    gint64 n = json_integer_value(json_object_get(host, "n_desktops"));
    const char *name = json_text(host, "name");

    return g_strdup_printf(
        "That '%s' does not answer is no proof that it is off. %" G_GINT64_FORMAT
        " desktop%s there count%s as off from now on, and may be started elsewhere. If one still"
        " runs there, two write to one disk, and what is on it is lost. Is '%s' without power, or"
        " cut off from the store, for certain?",
        name, n, n == 1 ? "" : "s", n == 1 ? "s" : "", name);
}

/* Those that are off now, are started where there is room. */
static gboolean start_again(Cli *cli, const json_t *job, GError **error)
{
    json_t *items = json_object_get(json_object_get(job, "result"), "items"), *item;
    json_auto_t *body = json_pack("{s:[]}", "names");
    size_t i;

    json_array_foreach (items, i, item) {
        if (json_is_true(json_object_get(item, "is_off")))
            json_array_append(json_object_get(body, "names"), json_object_get(item, "name"));
    }
    return json_array_size(json_object_get(body, "names")) == 0 ||
           select_run(cli, "/v1/desktops/start", body, "started", error);
}

static gboolean host_fence(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);
    g_autoptr(GString) verb = path_of(cli, "fence", error);
    json_auto_t *host = path ? client_get(cli->client, path->str, error) : NULL;
    json_auto_t *body = json_object(), *job = NULL;

    if (!host)
        return FALSE;
    if (args_has(cli->args, "restart") && args_has(cli->args, "no-wait")) {
        args_usage_error(cli->args, error, "--restart waits for the fence: leave out --no-wait");
        return FALSE;
    }
    /* One that answers is refused, and needs no answer. */
    gboolean may_be_off = !g_str_equal(json_text(host, "state"), "up");
    g_autofree char *question = fence_question(host);
    if ((may_be_off && !confirm_question(cli, question, "yes", error)) ||
        !job_run(cli, "POST", verb->str, body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    if (args_has(cli->args, "restart"))
        return job_check(job, error) && start_again(cli, job, error);
    return batch_print(cli, job, "declared off", "desktop", error);
}

static gboolean host_remove(Cli *cli, GError **error)
{
    return change(cli, "DELETE", NULL, NULL, "is forgotten; nothing was changed there", error);
}

static gboolean host_set(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();

    if (!put_settings(cli, body, error))
        return FALSE;
    if (!json_object_size(body)) {
        args_usage_error(cli->args, error, "nothing is to be set");
        return FALSE;
    }
    return change(cli, "POST", "set", body, "is set; it holds for what starts from now on", error);
}

static const Option add_options[] = {
    { "display-address", OPTION_TEXT, "ADDR", "where clients of its desktops connect to", NULL },
    { "proxy", OPTION_TEXT, "URL", "what these clients go through", NULL },
    { "accelerator", OPTION_CHOICE, "auto|kvm|tcg", "how its desktops run (auto)", NULL },
    { "store-path", OPTION_TEXT, "[STORE=]PATH", "where it sees a store (as imaged does)", NULL },
    { "host-group", OPTION_TEXT, "GROUP", "of hosts that are alike", "host-group" },
    { "listen", OPTION_TEXT, "ADDR", "its own address for displays (all, if clients come)", NULL },
    { "tls-subject", OPTION_TEXT, "SUBJECT", "of its certificate: clients have to use TLS", NULL },
    { "tls-ca", OPTION_TEXT, "FILE", "who signed that certificate (PEM)", "file" },
    { "driver-iso", OPTION_TEXT, "PATH", "where a CD of drivers lies there", NULL },
    OPTION_END,
};
static const Option fence_options[] = {
    { "restart", OPTION_FLAG, NULL, "start its desktops on other hosts", NULL },
    { "yes", OPTION_FLAG, NULL, "do not ask: it is off for certain", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option list_options[] = { OPTION_SEARCH, OPTION_END };

static const Command commands[] = {
    { "add", "NAME URI", 2, 2, NULL, "Add a libvirt host",
      "URI is libvirt's: qemu:///system, qemu+ssh://root@HOST/system, qemu+tls://HOST/system.\n"
      "imaged connects in the background, and again whenever the connection is lost.",
      "host add vs-a qemu+ssh://root@vs-a/system --store-path /srv/imaged\n", add_options,
      host_add },
    { "set", "HOST OPTION...", 1, 1, "host", "Change what is known of a host",
      "It holds for desktops that start from now on.  An empty text takes a setting away.\n"
      "--accelerator auto tries again whether KVM works there.",
      "host set vs-a --display-address vs-a.example.org --host-group rack1\n"
      "host set vs-a --accelerator auto\n",
      add_options, host_set },
    { "list", "", 0, 0, NULL, "List hosts", NULL, "host list\n", list_options, host_list },
    { "show", "HOST", 1, 1, "host", "Show a host", NULL, "host show vs-a\n", NULL, host_show },
    { "maintenance", "HOST [--evacuate]", 1, 1, "host", "Start no more desktops there",
      "With --evacuate those that run there are moved to other hosts.",
      "host maintenance vs-a\nhost maintenance vs-a --evacuate\n", maintenance_options,
      host_maintenance },
    { "activate", "HOST", 1, 1, "host", "Start desktops there again", NULL,
      "host activate vs-a\n", NULL, host_activate },
    { "fence", "HOST [--restart]", 1, 1, "host", "Declare a host off that does not answer",
      "A host that does not answer may still run its desktops, so they are started nowhere else\n"
      "until it answers again, or you say that it is off: without power, or cut off from the\n"
      "store.  Nobody checks that; if it is not so, two write to one disk, which is lost.\n"
      "If it comes back, what ran there then is ended before anything else.",
      "host fence vs-a\nhost fence vs-a --restart\n", fence_options, host_fence },
    { "remove", "HOST", 1, 1, "host", "Forget a host", "Refused while desktops run there.",
      "host remove vs-a\n", NULL, host_remove },
    { NULL },
};

const Noun noun_host = { "host", "a libvirt host that desktops run on", commands };
