/* hardware.c: a table of keys; see hardware.h. */
#include "broker/run/hardware.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define VIDEO_MIN (16 * MIB)
#define VIDEO_MAX (256 * MIB)  /* QXL's own limit */
#define VIDEO_SMALL (64 * MIB) /* what all adapters' frames may have, for each to get plenty */

typedef enum { KEY_NUMBER, KEY_TRUTH, KEY_CHOICE, KEY_RESOLUTION, KEY_NETWORKS, KEY_USB } KeyKind;

typedef struct {
    const char *name;
    KeyKind kind;
    gint64 min, max;
    const char *choices; /* "a|b" */
} Key;

static const Key keys[] = {
    { "cpus", KEY_NUMBER, 1, HARDWARE_MAX_CPUS, NULL },
    { "memory_bytes", KEY_NUMBER, (gint64)MIB, (gint64)(64 * TIB), NULL },
    { "firmware", KEY_CHOICE, 0, 0, "bios|uefi" },
    { "video", KEY_CHOICE, 0, 0, "qxl|virtio|vga" },
    { "profile", KEY_CHOICE, 0, 0, "linux|windows" },
    { "virtio", KEY_TRUTH, 0, 0, NULL },
    { "driver_iso", KEY_TRUTH, 0, 0, NULL },
    { "nvram", KEY_CHOICE, 0, 0, "fresh|keep" },
    { "tpm", KEY_TRUTH, 0, 0, NULL },
    { "heads", KEY_NUMBER, 1, 4, NULL },
    { "resolution", KEY_RESOLUTION, 0, 0, NULL },
    { "link", KEY_CHOICE, 0, 0, "auto|lan|wan" },
    { "cpu_limit", KEY_NUMBER, 1, 100, NULL },
    { "cpu_shares", KEY_NUMBER, 2, 262144, NULL },
    { "io_weight", KEY_NUMBER, 1, 10000, NULL },
    { "io_limit", KEY_NUMBER, 64 * (gint64)KIB, (gint64)TIB, NULL },
    { "iops_limit", KEY_NUMBER, 10, 10000000, NULL },
    { "networks", KEY_NETWORKS, 0, 0, NULL },
    { "clipboard", KEY_TRUTH, 0, 0, NULL },
    { "file_transfer", KEY_TRUTH, 0, 0, NULL },
    { "shared_folder", KEY_TRUTH, 0, 0, NULL },
    { "usb", KEY_USB, 0, 0, NULL },
    { "audio", KEY_CHOICE, 0, 0, "both|playback|none" },
};

static const Key *find_key(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (g_str_equal(keys[i].name, name))
            return &keys[i];
    }
    return NULL;
}

/* ---- Single values ---- */

static gboolean is_choice(const char *choices, const char *text)
{
    g_auto(GStrv) each = g_strsplit(choices, "|", -1);

    return g_strv_contains((const char *const *)each, text);
}

static gboolean parse_resolution(const char *text, guint *ret_width, guint *ret_height)
{
    char rest;

    return strlen(text) <= 11 && sscanf(text, "%5ux%5u%c", ret_width, ret_height, &rest) == 2 &&
           *ret_width >= 640 && *ret_width <= 7680 && *ret_height >= 480 && *ret_height <= 4320;
}

static gboolean are_networks(const json_t *value)
{
    size_t i;
    json_t *name;

    if (!json_is_array(value) || json_array_size(value) > HARDWARE_MAX_NETWORKS)
        return FALSE;
    json_array_foreach (value, i, name) {
        if (!json_is_string(name) || !name_check("network", json_string_value(name), NULL))
            return FALSE;
    }
    return TRUE;
}

static gboolean is_sound(const Key *key, const json_t *value)
{
    const char *text = json_string_value(value);
    gint64 number = json_integer_value(value);
    guint width, height;

    switch (key->kind) {
    case KEY_NUMBER:
        return json_is_integer(value) && number >= key->min && number <= key->max;
    case KEY_TRUTH:
        return json_is_boolean(value);
    case KEY_CHOICE:
        return text && is_choice(key->choices, text);
    case KEY_RESOLUTION:
        return text && parse_resolution(text, &width, &height);
    case KEY_USB:
        return text && channel_usb_is_sound(text);
    default:
        return are_networks(value);
    }
}

/* What the key wants, for people; caller frees. */
static char *wanted(const Key *key)
{
    switch (key->kind) {
    case KEY_NUMBER:
        if (key->min >= 64 * (gint64)KIB) {
            g_autofree char *min = units_format_size((guint64)key->min);
            g_autofree char *max = units_format_size((guint64)key->max);
            return g_strdup_printf("from %s to %s", min, max);
        }
        return g_strdup_printf("a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, key->min,
                               key->max);
    case KEY_TRUTH:
        if (g_str_equal(key->name, "tpm"))
            return g_strdup("on or off: it cannot be made to keep anything, because libvirt has its"
                            " state in a folder of the host, apart from the disk");
        return g_strdup("true or false");
    case KEY_CHOICE:
        return g_strdelimit(g_strdup_printf("one of %s", key->choices), "|", ' ');
    case KEY_RESOLUTION:
        return g_strdup("WIDTHxHEIGHT, like 1920x1200");
    case KEY_USB:
        return g_strdup("all, none, or classes with commas between them, like storage,printer");
    default:
        return g_strdup_printf("names of at most %d networks", HARDWARE_MAX_NETWORKS);
    }
}

gboolean hardware_check(const json_t *change, GError **error)
{
    const char *name;
    json_t *value;

    if (!json_is_object(change) || !json_object_size(change)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'hardware' says nothing to set");
        return FALSE;
    }
    json_object_foreach ((json_t *)change, name, value) {
        const Key *key = find_key(name);
        if (!key) {
            g_autofree char *shown = text_for_message(name, 60);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "hardware has no '%s'", shown);
            return FALSE;
        }
        if (!json_is_null(value) && !is_sound(key, value)) {
            g_autofree char *want = wanted(key);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' must be %s", name, want);
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- Rows ---- */

static json_t *parse(const char *stored)
{
    json_t *object = stored ? json_loads(stored, 0, NULL) : NULL;

    if (json_is_object(object))
        return object;
    json_decref(object);
    return json_object();
}

char *hardware_apply(const char *stored, const json_t *change)
{
    json_auto_t *object = parse(stored);
    const char *name;
    json_t *value;

    json_object_foreach ((json_t *)change, name, value) {
        if (json_is_null(value))
            json_object_del(object, name);
        else
            json_object_set(object, name, value);
    }
    return json_object_size(object) ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
}

gboolean hardware_apply_version(VersionRow *version, const json_t *change, GError **error)
{
    struct {
        const char *name;
        gint64 *number;
        char **text;
    } columns[] = { { "cpus", &version->cpus, NULL },
                    { "memory_bytes", &version->memory_bytes, NULL },
                    { "firmware", NULL, &version->firmware },
                    { "video", NULL, &version->video } };
    json_auto_t *rest = json_copy((json_t *)change);

    for (guint i = 0; i < G_N_ELEMENTS(columns); i++) {
        const json_t *value = json_object_get(change, columns[i].name);
        if (value && columns[i].number && json_is_null(value)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a version has its %s",
                        columns[i].name);
            return FALSE;
        }
        if (value && columns[i].number) {
            *columns[i].number = json_integer_value(value);
        } else if (value) {
            g_free(*columns[i].text);
            *columns[i].text = g_strdup(json_string_value(value));
        }
        json_object_del(rest, columns[i].name);
    }
    g_autofree char *before = g_steal_pointer(&version->hardware);
    version->hardware = hardware_apply(before, rest);
    return TRUE;
}

json_t *hardware_merge(const char *const *texts, guint n)
{
    json_t *out = json_object(), *value;
    const char *name;

    for (guint i = 0; i < n; i++) {
        json_auto_t *object = parse(texts[i]);
        json_object_foreach (object, name, value) {
            const Key *key = find_key(name);
            if (key && is_sound(key, value))
                json_object_set(out, name, value);
        }
    }
    return out;
}

json_t *hardware_of(const VersionRow *version, const DesktopRow *desktop, const char *more)
{
    json_auto_t *columns = json_pack("{s:I,s:I,s:s*,s:s*}", "cpus", (json_int_t)version->cpus,
                                     "memory_bytes", (json_int_t)version->memory_bytes, "firmware",
                                     version->firmware, "video", version->video);
    g_autofree char *of_columns = json_dumps(columns, JSON_COMPACT);
    const char *texts[] = { of_columns, version->hardware, desktop ? desktop->hardware : NULL,
                            more };

    return hardware_merge(texts, G_N_ELEMENTS(texts));
}

/* What a key that is not set means, where that is one value whatever else is set. */
static json_t *meaning_of(const json_t *settings, const char *name)
{
    static const struct {
        const char *name, *meaning;
    } normal[] = { { "firmware", "\"bios\"" },
                   { "driver_iso", "false" },
                   { "tpm", "false" },
                   { "heads", "1" },
                   { "resolution", "\"1920x1200\"" },
                   { "link", "\"auto\"" },
                   { "networks", "[]" },
                   { "clipboard", "true" },
                   { "file_transfer", "true" },
                   { "shared_folder", "true" },
                   { "usb", "\"all\"" },
                   { "audio", "\"both\"" } };
    json_t *value = json_object_get(settings, name);

    for (guint i = 0; !value && i < G_N_ELEMENTS(normal); i++) {
        if (g_str_equal(normal[i].name, name))
            return json_loads(normal[i].meaning, JSON_DECODE_ANY, NULL);
    }
    return json_incref(value);
}

json_t *hardware_pending(const char *started, const json_t *now)
{
    json_t *out = json_array();
    json_auto_t *before = hardware_merge(&started, 1);

    for (guint i = 0; started && i < G_N_ELEMENTS(keys); i++) {
        json_auto_t *was = meaning_of(before, keys[i].name), *is = meaning_of(now, keys[i].name);
        if ((was || is) && !json_equal(was, is))
            json_array_append_new(out, json_string(keys[i].name));
    }
    return out;
}

/* ---- As a struct ---- */

void hardware_clear(Hardware *hardware)
{
    for (guint i = 0; hardware->networks[i]; i++)
        g_clear_pointer(&hardware->networks[i], g_free);
}

static const char *text_of(const json_t *m, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(m, key));

    return text ? text : fallback;
}

static guint64 number_of(const json_t *m, const char *key, guint64 fallback)
{
    const json_t *value = json_object_get(m, key);

    return value ? (guint64)json_integer_value(value) : fallback;
}

static gboolean truth_of(const json_t *m, const char *key, gboolean fallback)
{
    const json_t *value = json_object_get(m, key);

    return value ? json_is_true(value) : fallback;
}

static guint choice_of(const json_t *m, const char *key)
{
    const char *text = json_string_value(json_object_get(m, key));
    g_auto(GStrv) each = g_strsplit(find_key(key)->choices, "|", -1);

    for (guint i = 0; text && each[i]; i++) {
        if (g_str_equal(each[i], text))
            return i;
    }
    return 0;
}

void hardware_read(const json_t *m, const char *os_type, Hardware *ret)
{
    const json_t *networks = json_object_get(m, "networks");
    size_t i;
    json_t *name;

    *ret = (Hardware){ .n_cpus = (guint)number_of(m, "cpus", 2),
                       .memory_bytes = number_of(m, "memory_bytes", 2 * GIB),
                       .is_uefi = g_str_equal(text_of(m, "firmware", "bios"), "uefi"),
                       .has_driver_iso = truth_of(m, "driver_iso", FALSE),
                       .has_tpm = truth_of(m, "tpm", FALSE),
                       .n_heads = (guint)number_of(m, "heads", 1),
                       .link = choice_of(m, "link"),
                       .cpu_limit = (guint)number_of(m, "cpu_limit", 0),
                       .cpu_shares = (guint)number_of(m, "cpu_shares", 0),
                       .io_weight = (guint)number_of(m, "io_weight", 0),
                       .io_limit = number_of(m, "io_limit", 0),
                       .iops_limit = number_of(m, "iops_limit", 0),
                       .channels = { .may_copy = truth_of(m, "clipboard", TRUE),
                                     .may_transfer = truth_of(m, "file_transfer", TRUE),
                                     .may_share = truth_of(m, "shared_folder", TRUE),
                                     .audio = choice_of(m, "audio") } };
    ret->keeps_nvram = ret->is_uefi && g_str_equal(text_of(m, "nvram", "fresh"), "keep");
    ret->is_windows = g_str_equal(text_of(m, "profile", os_type ? os_type : "linux"), "windows");
    ret->has_virtio = truth_of(m, "virtio", !ret->is_windows);
    if (!parse_resolution(text_of(m, "resolution", ""), &ret->width, &ret->height)) {
        ret->width = 1920;
        ret->height = 1200;
    }
    g_strlcpy(ret->video, text_of(m, "video", ""), sizeof ret->video);
    g_strlcpy(ret->channels.usb, text_of(m, "usb", "all"), sizeof ret->channels.usb);
    json_array_foreach (networks, i, name)
        ret->networks[i] = g_strdup(json_string_value(name));
}

/* ---- Video memory ---- */

VideoMemory hardware_video(const Hardware *h)
{
    guint n_adapters = h->is_windows ? h->n_heads : 1;
    guint64 wanted = (guint64)h->width * h->height * 4 * (h->n_heads / n_adapters);
    VideoMemory v = { n_adapters, VIDEO_MIN, 0, 0 };

    while (v.frame < wanted && v.frame < VIDEO_MAX)
        v.frame *= 2;
    gboolean is_small = v.frame * n_adapters <= VIDEO_SMALL;
    v.ram = (is_small ? 4 : 2) * v.frame;
    v.vram = is_small ? 2 * v.frame : MIN(v.frame, 2 * VIDEO_SMALL);
    return v;
}

guint64 hardware_video_bytes(const Hardware *hardware)
{
    VideoMemory v = hardware_video(hardware);

    return v.n_adapters * (v.ram + v.vram);
}
