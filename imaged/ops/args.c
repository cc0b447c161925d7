/* args.c: see args.h. */
#include "imaged/ops/args.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MAX_TEXTS 20000

static gboolean invalid(GError **error, const char *key, const char *why)
{
    g_autofree char *shown = text_for_message(key, 40);

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' %s", shown, why);
    return FALSE;
}

gboolean args_check(const OpsCall *call, const char *allowed, GError **error)
{
    g_auto(GStrv) names = g_strsplit(allowed, " ", -1);
    const char *key;
    json_t *value;

    json_object_foreach(call->args, key, value) {
        if (g_strv_contains((const char *const *)names, key))
            continue;
        invalid(error, key, "is not known here");
        imaged_error_hint(error, "known: %s", allowed);
        return FALSE;
    }
    return TRUE;
}

const char *args_text(const OpsCall *call, const char *key, gboolean needed, GError **error)
{
    json_t *value = json_object_get(call->args, key);

    if (!value || json_is_null(value)) {
        if (needed)
            invalid(error, key, "is missing");
        return NULL;
    }
    if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
        return json_string_value(value);
    invalid(error, key, "must be a text");
    return NULL;
}

gboolean args_are_texts(const OpsCall *call, const char *keys, GError **error)
{
    g_auto(GStrv) names = g_strsplit(keys, " ", -1);
    GError *local = NULL;

    for (guint i = 0; names[i] && !local; i++)
        args_text(call, names[i], FALSE, &local);
    if (!local)
        return TRUE;
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean invalid_range(GError **error, const char *key, const char *min, const char *max)
{
    g_autofree char *why = g_strdup_printf("must be from %s to %s", min, max);

    return invalid(error, key, why);
}

gboolean args_int(const OpsCall *call, const char *key, gint64 fallback, gint64 min, gint64 max,
                  gint64 *ret, GError **error)
{
    json_t *value = json_object_get(call->args, key);
    char *end = NULL;

    *ret = fallback;
    if (!value || json_is_null(value))
        return TRUE;
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
    } else if (json_is_string(value) && *json_string_value(value)) {
        *ret = g_ascii_strtoll(json_string_value(value), &end, 10);
        if (*end)
            return invalid(error, key, "must be a number");
    } else {
        return invalid(error, key, "must be a number");
    }
    if (*ret >= min && *ret <= max)
        return TRUE;
    g_autofree char *low = g_strdup_printf("%" G_GINT64_FORMAT, min);
    g_autofree char *high = g_strdup_printf("%" G_GINT64_FORMAT, max);
    return invalid_range(error, key, low, high);
}

gboolean args_bool(const OpsCall *call, const char *key, gboolean *ret, GError **error)
{
    json_t *value = json_object_get(call->args, key);
    const char *text = json_string_value(value);

    *ret = FALSE;
    if (!value || json_is_null(value) || json_is_false(value) || g_strcmp0(text, "0") == 0 ||
        g_strcmp0(text, "false") == 0)
        return TRUE;
    *ret = TRUE;
    if (json_is_true(value) || g_strcmp0(text, "1") == 0 || g_strcmp0(text, "true") == 0)
        return TRUE;
    return invalid(error, key, "must be true or false");
}

gboolean args_texts(const OpsCall *call, const char *key, json_t **ret, GError **error)
{
    json_t *value = json_object_get(call->args, key), *element;
    size_t i;

    *ret = NULL;
    if (!value || json_is_null(value))
        return TRUE;
    if (!json_is_array(value) || json_array_size(value) > MAX_TEXTS)
        return invalid(error, key, "must be an array of at most 20000 texts");
    json_array_foreach(value, i, element) {
        if (!json_is_string(element))
            return invalid(error, key, "must be an array of texts");
    }
    *ret = value;
    return TRUE;
}

gboolean args_disk_size(const OpsCall *call, const char *key, guint64 *ret, GError **error)
{
    gint64 size;

    json_t *value = json_object_get(call->args, key);

    *ret = 0;
    if (!value || json_is_null(value))
        return TRUE;
    if (!args_int(call, key, 0, G_MININT64, G_MAXINT64, &size, error))
        return FALSE;
    if (size < (gint64)MIB || size > (gint64)(64 * TIB))
        return invalid_range(error, key, "1 MiB", "64 TiB");
    *ret = ((guint64)size + 4095) & ~4095ull;
    return TRUE;
}

gboolean args_disks(const OpsCall *call, Disks *ret, GError **error)
{
    return args_are_texts(call, "disk", error) &&
           disks_parse(args_text(call, "disk", FALSE, NULL), ret, error);
}
