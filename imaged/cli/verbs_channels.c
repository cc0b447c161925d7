/* verbs_channels.c: what a pool's or a group's users may do through their clients; what machines a
 * pool's desktops are. */
#include "imaged/cli/verbs_channels.h"

#include "imaged/cli/hardware.h"
#include "imaged/cli/list.h"

static const Column channel_columns[] = {
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

static const Column machine_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "CPUS", "hardware.cpus", CELL_COUNT, COLUMN_SHOW },
    { "MEMORY", "hardware.memory_bytes", CELL_SIZE, COLUMN_SHOW },
    { "FIRMWARE", "hardware.firmware", CELL_TEXT, COLUMN_SHOW },
    { "VIDEO", "hardware.video", CELL_TEXT, COLUMN_SHOW },
    MACHINE_COLUMNS,
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

const Option pool_hardware_options[] = {
    MACHINE_OPTIONS,
    { "unset", OPTION_TEXT, "KEYS", "as the template's version says: cpus,networks", NULL },
    OPTION_END,
};

static gboolean check_unset(Cli *cli, GError **error)
{
    const char *unset = args_text(cli->args, "unset");
    g_auto(GStrv) each = unset ? g_strsplit(unset, ",", -1) : NULL;

    for (guint i = 0; each && each[i]; i++) {
        if (!hardware_key(g_strstrip(each[i]))) {
            args_usage_error(cli->args, error, "--unset: there is no setting '%s'", each[i]);
            return FALSE;
        }
    }
    return TRUE;
}

/* Show what stands at the path, or set there under key what the options say, and show that. */
static gboolean show_or_set(Cli *cli, const char *prefix, const char *what, const char *verb,
                            const char *key, const Column *columns, GError **error)
{
    g_autoptr(GString) path =
        check_unset(cli, error)
            ? client_path(prefix, what, args_word(cli->args, 0), verb, error)
            : NULL;
    json_t *change = path ? hardware_from_args(cli->args) : NULL;

    if (!path)
        return FALSE;
    json_auto_t *body = change ? json_pack("{s:o}", key, change) : NULL;
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
    return show_or_set(cli, "/v1/pools", "pool", "channels", "policy", channel_columns, error);
}

gboolean pool_hardware(Cli *cli, GError **error)
{
    return show_or_set(cli, "/v1/pools", "pool", "hardware", "hardware", machine_columns, error);
}

gboolean group_channels(Cli *cli, GError **error)
{
    return show_or_set(cli, "/v1/groups", "group", "channels", "policy", channel_columns, error);
}
