/* identity.c: see identity.h.  Passwords come from files, never from the command line, which
 * everybody can see. */
#include "imaged/cli/identity.h"

#include <string.h>

#include "imaged/cli/cli.h"
#include "imaged/cli/hardware.h"
#include "imaged/cli/user_file.h"

static const char *const texts[][2] = {
    { "hostname", "hostname" }, { "user", "user" }, { "auto-login", "user" },
    { "domain", "domain" },     { "ou", "ou" },     { "join-user", "join_user" },
    { "account", "account" },
};

static const char *const secrets[][2] = {
    { "user-password-file", "user_password" },
    { "join-password-file", "join_password" },
    { "one-time-password-file", "one_time_password" },
};

static gboolean put_secrets(const Args *args, json_t *body, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(secrets); i++) {
        const char *path = args_text(args, secrets[i][0]);
        g_autofree char *text = path ? user_file_read(path, error) : NULL;
        if (!path)
            continue;
        if (!text)
            return FALSE;
        text[strcspn(text, "\r\n")] = '\0';
        json_object_set_new(body, secrets[i][1], json_string(text));
    }
    return TRUE;
}

static void put_unset(const Args *args, json_t *body)
{
    const char *keys = args_text(args, "unset");
    g_auto(GStrv) each = keys ? g_strsplit(keys, ",", -1) : NULL;

    for (guint i = 0; each && each[i]; i++) {
        if (!hardware_key(g_strstrip(each[i])))
            json_object_set_new(body, each[i], json_null());
    }
}

/* NULL with an error: nothing to set (but if something else is), a file that cannot be read. */
static json_t *identity_from_args(const Args *args, gboolean may_be_empty, GError **error)
{
    json_t *body = json_object();

    put_unset(args, body);
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        json_set_text(body, texts[i][1], args_text(args, texts[i][0]));
    if (args_has(args, "user") && args_has(args, "auto-login")) {
        args_usage_error(args, error, "give --user or --auto-login, not both");
        json_decref(body);
        return NULL;
    }
    if (args_has(args, "auto-login") || args_has(args, "user"))
        json_object_set_new(body, "auto_login", json_boolean(args_has(args, "auto-login")));
    if (args_has(args, "domain-user"))
        json_object_set_new(body, "domain_user", json_true());
    if (!put_secrets(args, body, error)) {
        json_decref(body);
        return NULL;
    }
    if (json_object_size(body) || may_be_empty)
        return body;
    args_usage_error(args, error, "nothing is to be set");
    json_decref(body);
    return NULL;
}

gboolean identity_put_settings(const Args *args, json_t *body, GError **error)
{
    json_t *hardware = hardware_from_args(args);
    json_t *identity = identity_from_args(args, hardware != NULL, error);

    if (hardware)
        json_object_set_new(body, "hardware", hardware);
    if (!identity)
        return FALSE;
    if (json_object_size(identity))
        json_object_set_new(body, "identity", identity);
    else
        json_decref(identity);
    return TRUE;
}

/* ---- Warnings ---- */

static guint count_same(const json_t *objects, const char *text)
{
    guint n = 0;
    gsize i, k;
    json_t *object, *other;

    json_array_foreach (objects, i, object) {
        json_array_foreach (json_object_get(object, "warnings"), k, other)
            n += g_strcmp0(json_string_value(other), text) == 0;
    }
    return n;
}

void identity_print_warnings(Cli *cli, const json_t *objects)
{
    g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);
    gsize i, k;
    json_t *object, *warning;

    json_array_foreach (objects, i, object) {
        json_array_foreach (json_object_get(object, "warnings"), k, warning) {
            const char *text = json_string_value(warning), *name = json_text(object, "name");
            if (!text || !g_hash_table_add(told, (gpointer)text))
                continue;
            guint n = count_same(objects, text);
            g_autofree char *said = cli_name_options(cli->args, text, FALSE);
            g_autofree char *line =
                n > 1 ? g_strdup_printf("warning: '%s' and %u more: %s", name, n - 1, said)
                      : g_strdup_printf("warning: '%s': %s", name, said);
            g_autofree char *what = cli_what(cli);
            cli_complain(what, line, NULL);
        }
    }
}
