/* inspection_check.c: what comes from the helper is as hostile as the guest that it read. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "templates/inspection.h"

#define TEXT_MAX 256u
#define APPLICATIONS_MAX 20000u
#define LIST_MAX 1000u
#define RANGES_MAX 20000u
#define RANGES_BYTES_MAX (256 * MIB) /* of all: each desktop's comparison may have to read them */

static gboolean refuse(GError **error, const char *what)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "the inspection's answer is not what may be said: %s", what);
    return FALSE;
}

/* jansson accepts valid UTF-8 alone; NULs and lengths are ours to check. */
static gboolean is_text(const json_t *text)
{
    const char *s = json_string_value(text);

    if (!s || json_string_length(text) > TEXT_MAX || strlen(s) != json_string_length(text))
        return FALSE;
    for (const char *p = s; *p; p = g_utf8_next_char(p)) {
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return FALSE;
    }
    return TRUE;
}

static gboolean is_bytes(const json_t *number)
{
    return json_is_integer(number) && json_integer_value(number) >= 0;
}

/* 't' a text, '?' a text or null, 'b' bytes, 'B' bytes or null */
typedef struct {
    const char *key;
    char kind;
} Member;

static gboolean fits(const json_t *value, char kind)
{
    switch (kind) {
    case 't':
        return is_text(value);
    case '?':
        return json_is_null(value) || is_text(value);
    case 'b':
        return is_bytes(value);
    default:
        return json_is_null(value) || is_bytes(value);
    }
}

/* A copy of the members that from must have, and nothing else; NULL if one is wrong. */
static json_t *copy_members(const json_t *from, const Member *members, guint n)
{
    json_t *out = json_object();

    for (guint i = 0; i < n; i++) {
        json_t *value = json_object_get(from, members[i].key);
        if (!value || !fits(value, members[i].kind)) {
            json_decref(out);
            return NULL;
        }
        json_object_set(out, members[i].key, value);
    }
    return out;
}

static gboolean take_objects(const json_t *from, const char *key, const Member *members, guint n,
                             json_t *out)
{
    const json_t *list = json_object_get(from, key);
    json_t *copy = json_array(), *item;
    size_t i;

    json_object_set_new(out, key, copy);
    if (!json_is_array(list) || json_array_size(list) > LIST_MAX)
        return FALSE;
    json_array_foreach (list, i, item) {
        json_t *one = copy_members(item, members, n);
        if (!one)
            return FALSE;
        json_array_append_new(copy, one);
    }
    return TRUE;
}

static gboolean take_texts(const json_t *from, const char *key, json_t *out)
{
    json_t *list = json_object_get(from, key), *item;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) > LIST_MAX)
        return FALSE;
    json_array_foreach (list, i, item) {
        if (!is_text(item))
            return FALSE;
    }
    json_object_set(out, key, list);
    return TRUE;
}

static gboolean check_applications(const json_t *list)
{
    json_t *item;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) > APPLICATIONS_MAX)
        return FALSE;
    json_array_foreach (list, i, item) {
        if (json_array_size(item) != 3 || !is_text(json_array_get(item, 0)) ||
            !is_text(json_array_get(item, 1)) || !is_text(json_array_get(item, 2)))
            return FALSE;
    }
    return TRUE;
}

static gboolean check_ranges(const json_t *list)
{
    guint64 left = RANGES_BYTES_MAX;
    json_t *item;
    size_t i;

    if (!list || json_is_null(list))
        return TRUE;
    if (!json_is_array(list) || json_array_size(list) > RANGES_MAX)
        return FALSE;
    json_array_foreach (list, i, item) {
        const char *kind = json_string_value(json_array_get(item, 0));
        const json_t *at = json_array_get(item, 1), *length = json_array_get(item, 2);
        if (!kind || strlen(kind) != 1 || !strchr("disg", *kind) || !is_bytes(at) ||
            !is_bytes(length) || json_integer_value(length) > G_MAXINT64 - json_integer_value(at) ||
            (guint64)json_integer_value(length) > left)
            return FALSE;
        left -= (guint64)json_integer_value(length);
    }
    return TRUE;
}

gboolean inspection_check(const json_t *from, json_t **result, json_t **applications,
                          json_t **ranges, GError **error)
{
    static const Member top[] = {
        { "type", 't' },           { "distribution", 't' },    { "product_name", 't' },
        { "version", 't' },        { "architecture", 't' },    { "hostname", 't' },
        { "package_format", 't' }, { "partition_table", 't' },
    };
    static const Member file_system[] = {
        { "device", 't' }, { "type", 't' }, { "label", 't' }, { "uuid", 't' },
        { "size", 'b' },   { "used", 'B' }, { "mount", '?' },
    };
    static const Member user[] = { { "name", 't' }, { "uid", 'B' }, { "home", 't' } };
    json_t *list = json_object_get(from, "applications"), *r = json_object_get(from, "ranges");
    json_t *out = copy_members(from, top, G_N_ELEMENTS(top));

    if (!out)
        return refuse(error, "its members");
    if (!take_objects(from, "file_systems", file_system, G_N_ELEMENTS(file_system), out) ||
        !take_objects(from, "users", user, G_N_ELEMENTS(user), out) ||
        !take_texts(from, "agents", out) || !take_texts(from, "boot", out)) {
        json_decref(out);
        return refuse(error, "its lists");
    }
    if (!check_applications(list) || !check_ranges(r)) {
        json_decref(out);
        return refuse(error, "its applications or ranges");
    }
    json_object_set_new(out, "applications_cut",
                        json_boolean(json_is_true(json_object_get(from, "applications_cut"))));
    *result = out;
    *applications = json_incref(list);
    *ranges = r ? json_incref(r) : json_null();
    return TRUE;
}
