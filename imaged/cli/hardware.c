/* hardware.c: see hardware.h. */
#include "imaged/cli/hardware.h"

static const struct {
    const char *option, *key;
    OptionKind kind; /* OPTION_FLAG: on|off */
} keys[] = {
    { "cpus", "cpus", OPTION_COUNT },
    { "memory", "memory_bytes", OPTION_SIZE },
    { "heads", "heads", OPTION_COUNT },
    { "resolution", "resolution", OPTION_TEXT },
    { "video", "video", OPTION_TEXT },
    { "firmware", "firmware", OPTION_TEXT },
    { "profile", "profile", OPTION_TEXT },
    { "virtio", "virtio", OPTION_FLAG },
    { "driver-iso", "driver_iso", OPTION_FLAG },
    { "nvram", "nvram", OPTION_TEXT },
    { "tpm", "tpm", OPTION_FLAG },
    { "link", "link", OPTION_TEXT },
    { "cpu-limit", "cpu_limit", OPTION_COUNT },
    { "cpu-shares", "cpu_shares", OPTION_COUNT },
    { "io-limit", "io_limit", OPTION_SIZE },
    { "iops-limit", "iops_limit", OPTION_COUNT },
    { "io-weight", "io_weight", OPTION_COUNT },
    { "network", "networks", OPTION_LIST },
    { "clipboard", "clipboard", OPTION_FLAG },
    { "file-transfer", "file_transfer", OPTION_FLAG },
    { "shared-folder", "shared_folder", OPTION_FLAG },
    { "usb", "usb", OPTION_TEXT },
    { "audio", "audio", OPTION_TEXT },
};

const char *hardware_key(const char *word)
{
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (g_str_equal(keys[i].key, word) || g_str_equal(keys[i].option, word))
            return keys[i].key;
    }
    return NULL;
}

static json_t *value_of(const Args *args, const char *option, OptionKind kind)
{
    if (!args_has(args, option))
        return NULL;
    switch (kind) {
    case OPTION_FLAG:
        if (g_str_equal(args_text(args, option), "on"))
            return json_true();
        if (g_str_equal(args_text(args, option), "off"))
            return json_false();
        return json_string(args_text(args, option)); /* the daemon says why not */
    case OPTION_COUNT:
    case OPTION_SIZE:
        return json_integer(args_number(args, option, 0));
    case OPTION_LIST:
        return args_list(args, option);
    default:
        return json_string(args_text(args, option));
    }
}

json_t *hardware_from_args(const Args *args)
{
    const char *unset = args_text(args, "unset");
    g_auto(GStrv) each = unset ? g_strsplit(unset, ",", -1) : NULL;
    json_t *body = json_object();

    for (guint i = 0; each && each[i]; i++) {
        const char *key = hardware_key(g_strstrip(each[i]));
        if (key)
            json_object_set_new(body, key, json_null());
    }
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        json_t *value = value_of(args, keys[i].option, keys[i].kind);
        if (value)
            json_object_set_new(body, keys[i].key, value);
    }
    if (json_object_size(body))
        return body;
    json_decref(body);
    return NULL;
}
