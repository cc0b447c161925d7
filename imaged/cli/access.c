/* access.c: see access.h. */
#include "imaged/cli/access.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/confirm.h"

char *access_path(const char *prefix, const char *name, const char *suffix)
{
    g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);

    return g_strconcat(prefix, "/", escaped, suffix ? "/" : NULL, suffix, NULL);
}

gboolean access_put_quota(Cli *cli, json_t *body, GError **error)
{
    static const struct {
        const char *option, *key;
        gboolean is_size;
    } all[] = { { "max-desktops", "max_desktops", FALSE },
                { "max-running", "max_running", FALSE },
                { "max-disk", "max_disk_bytes", TRUE },
                { "max-snapshots", "max_snapshots", FALSE } };

    for (guint i = 0; i < G_N_ELEMENTS(all); i++) {
        const char *text = args_text(cli->args, all[i].option);
        guint64 n;
        if (!text)
            continue;
        if (g_str_equal(text, "none")) {
            json_set_text(body, all[i].key, text);
            continue;
        }
        if (all[i].is_size ? !units_parse_size(text, &n, NULL)
                           : !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT32, &n, NULL)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "--%s takes %s or none, not '%.40s'", all[i].option,
                        all[i].is_size ? "a size like 200G" : "a whole number", text);
            return FALSE;
        }
        json_object_set_new(body, all[i].key, json_integer((json_int_t)n));
    }
    return TRUE;
}

void access_put_scope(Cli *cli, json_t *body)
{
    json_set_text(body, "template", args_text(cli->args, "template"));
    json_set_text(body, "pool", args_text(cli->args, "pool"));
    json_set_text(body, "desktop", args_text(cli->args, "desktop"));
}

gboolean access_change(Cli *cli, const char *method, const char *path, const json_t *body,
                       const char *done, const Column *columns, GError **error)
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

gboolean access_delete(Cli *cli, const char *path, const char *question, const Column *columns,
                       GError **error)
{
    json_auto_t *there = client_get(cli->client, path, error);

    return there && confirm_question(cli, question, "yes", error) &&
           access_change(cli, "DELETE", path, NULL, "is deleted", columns, error);
}

gboolean access_list(Cli *cli, const char *path, const char *key, const Column *columns,
                     GError **error)
{
    g_autoptr(GString) whole = g_string_new(path);

    client_query(whole, "search", args_text(cli->args, "search"));
    return list_print(cli, whole->str, key, 0, columns, error);
}
