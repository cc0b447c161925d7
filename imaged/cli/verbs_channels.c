/* verbs_channels.c: what a pool's or a group's users may do through their clients. */
#include "imaged/cli/verbs_channels.h"

#include "imaged/cli/hardware.h"
#include "imaged/cli/list.h"

static const Column columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "CLIPBOARD", "policy.clipboard", CELL_TRUTH, 0 },
    { "FILE TRANSFER", "policy.file_transfer", CELL_TRUTH, 0 },
    { "SHARED FOLDER", "policy.shared_folder", CELL_TRUTH, 0 },
    { "USB", "policy.usb", CELL_TEXT, 0 },
    { "AUDIO", "policy.audio", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

const Option channels_options[] = {
    { "clipboard", OPTION_CHOICE, "on|off", "may it be shared with the client?", NULL },
    { "file-transfer", OPTION_CHOICE, "on|off", "may files be dropped?", NULL },
    { "shared-folder", OPTION_CHOICE, "on|off", "may a folder be shared?", NULL },
    { "usb", OPTION_TEXT, "all|none|CLASSES", "what may be passed on: storage,printer", NULL },
    { "audio", OPTION_CHOICE, "both|playback|none", "sound", NULL },
    { "unset", OPTION_TEXT, "KEYS", "say nothing of these any more: clipboard,usb", NULL },
    OPTION_END,
};

static gboolean channels(Cli *cli, const char *prefix, const char *what, GError **error)
{
    g_autoptr(GString) path = client_path(prefix, what, args_word(cli->args, 0), "channels", error);
    json_t *policy = path ? hardware_from_args(cli->args) : NULL;

    if (!path)
        return FALSE;
    json_auto_t *body = policy ? json_pack("{s:o}", "policy", policy) : NULL;
    json_auto_t *shown =
        body ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error)
             : client_get(cli->client, path->str, error);
    if (!shown)
        return FALSE;
    list_print_object(cli, shown, columns);
    return TRUE;
}

gboolean pool_channels(Cli *cli, GError **error)
{
    return channels(cli, "/v1/pools", "pool", error);
}

gboolean group_channels(Cli *cli, GError **error)
{
    return channels(cli, "/v1/groups", "group", error);
}
