/* verbs_desktop_disks.c: imagectl desktop data-disk, and set --disk-size. */
#include "imaged/cli/verbs_desktop.h"

#include <string.h>

#include "imaged/cli/select.h"

const Option desktop_data_disk_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "size", OPTION_SIZE, "SIZE", "add, resize: bytes that the data disk has then", NULL },
    { "disk", OPTION_TEXT, "ENTRY", "add: the trash entry of a data disk that was detached", NULL },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};

gboolean desktop_set_disk_size(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);
    const Option *other = cli->args->command->options;

    if (!body)
        return FALSE;
    for (; other->name; other++) {
        if (args_has(cli->args, other->name) && strcmp(other->name, "disk-size") != 0 &&
            strcmp(other->name, "template") != 0 && strcmp(other->name, "all-of-prefix") != 0) {
            args_usage_error(cli->args, error, "--disk-size stands alone: set --%s by itself",
                             other->name);
            return FALSE;
        }
    }
    json_object_set_new(body, "size", json_integer(args_number(cli->args, "disk-size", 0)));
    return select_run(cli, "/v1/desktops/resize", body, "set", error);
}

static gboolean usage(Cli *cli, const char *message, GError **error)
{
    args_usage_error(cli->args, error, "%s", message);
    return FALSE;
}

/* The option would have no effect with this verb: say so. */
static gboolean refuse_option(Cli *cli, const char *what, const char *option, GError **error)
{
    if (!args_has(cli->args, option))
        return TRUE;
    args_usage_error(cli->args, error, "--%s is not for data-disk %s", option, what);
    return FALSE;
}

static gboolean run(Cli *cli, const char *what, json_t *body, const char *done, GError **error)
{
    g_autofree char *path = g_strconcat("/v1/desktops/data-disk/", what, NULL);

    if (!refuse_option(cli, what, "dry-run", error))
        return FALSE;
    if (args_has(cli->args, "size"))
        json_object_set_new(body, "size", json_integer(args_number(cli->args, "size", 0)));
    json_set_text(body, "disk", args_text(cli->args, "disk"));
    return select_run(cli, path, body, done, error);
}

gboolean desktop_data_disk(Cli *cli, GError **error)
{
    const char *what = args_word(cli->args, 0);
    gboolean has_size = args_has(cli->args, "size"), has_disk = args_has(cli->args, "disk");

    if (strcmp(what, "add") != 0 && strcmp(what, "resize") != 0 && strcmp(what, "detach") != 0)
        return usage(cli, "write: desktop data-disk add, resize or detach", error);
    json_auto_t *body = select_body_from(cli->args, 1, error);
    if (!body)
        return FALSE;
    if (strcmp(what, "add") == 0) {
        if (has_size == has_disk)
            return usage(cli, "give either --size, or --disk", error);
        return run(cli, what, body, "gave a data disk to", error);
    }
    if (!refuse_option(cli, what, "disk", error))
        return FALSE;
    if (strcmp(what, "resize") == 0)
        return has_size ? run(cli, what, body, "resized the data disk of", error)
                        : usage(cli, "--size is missing: how large?", error);
    if (!refuse_option(cli, what, "size", error))
        return FALSE;
    return select_run_destructive(cli, "/v1/desktops/data-disk/detach", body,
                                  "detach the data disk of", "detached the data disk of", error);
}
