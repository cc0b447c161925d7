/* lease.c: see lease.h. */
#include "imaged/cli/lease.h"

#include "imaged/base/units.h"
#include "imaged/cli/cli.h"

gboolean lease_put_duration(const Args *args, json_t *body, const char *option, const char *key,
                            GError **error)
{
    const char *text = args_text(args, option);
    gint64 ms;

    if (!text)
        return TRUE;
    if (g_str_equal(text, "never") || g_str_equal(text, "none")) {
        json_object_set_new(body, key, json_null());
        return TRUE;
    }
    if (!units_parse_duration(text, &ms, error))
        return FALSE;
    json_object_set_new(body, key, json_integer(ms / 1000));
    return TRUE;
}

void lease_put_text(const Args *args, json_t *body, const char *option, const char *key)
{
    const char *text = args_text(args, option);

    if (text && g_str_equal(text, "none"))
        json_object_set_new(body, key, json_null());
    else
        json_set_text(body, key, text);
}

gboolean lease_from_args(const Args *args, json_t *body, GError **error)
{
    json_set_text(body, "end_action", args_text(args, "end-action"));
    lease_put_text(args, body, "archive-target", "archive_target");
    if (args_has(args, "max-extensions"))
        json_object_set_new(body, "max_extensions",
                            json_integer(args_number(args, "max-extensions", 0)));
    return lease_put_duration(args, body, "warn", "warn_s", error) &&
           lease_put_duration(args, body, "grace", "grace_s", error) &&
           lease_put_duration(args, body, "extension", "extension_s", error);
}
