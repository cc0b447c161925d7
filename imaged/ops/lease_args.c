/* lease_args.c: see lease_args.h. */
#include "imaged/ops/lease_args.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"

/* Copy these arguments into the settings, null takes one away. */
static void put_settings(const OpsCall *call, json_t *settings)
{
    static const char *const keys[] = { "hours",      "zone",           "holidays",
                                        "lease_s",    "warn_s",         "grace_s",
                                        "end_action", "archive_target", "max_extensions",
                                        "extension_s" };

    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        json_t *value = json_object_get(call->args, keys[i]);
        if (json_is_null(value))
            json_object_del(settings, keys[i]);
        else if (value)
            json_object_set(settings, keys[i], value);
    }
}

gboolean lease_args_until(OpsCall *call, gint64 *ret, GError **error)
{
    const char *text = args_text(call, "until", FALSE, NULL);

    *ret = 0;
    if (!text)
        return TRUE;
    /* a date alone: the end of that day, in UTC */
    g_autofree char *moment =
        strlen(text) == 10 ? g_strconcat(text, "T23:59:59Z", NULL) : g_strdup(text);
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(moment, utc);
    if (!time) {
        g_autofree char *shown = text_for_message(text, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no time", shown);
        imaged_error_hint(error, "a date, 2027-01-31, or a moment, 2027-01-31T17:00:00+01:00");
        return FALSE;
    }
    *ret = g_date_time_to_unix(time) * 1000;
    if (*ret > units_now_ms())
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is over", text);
    return FALSE;
}

/* It is archived at the end: where to? */
static gboolean check_target(World *world, const LeaseTerms *terms, GError **error)
{
    if (terms->action != LEASE_ARCHIVE)
        return TRUE;
    Db *db = catalog_read_begin(world->catalog);
    gint64 known =
        lookup_int(db, "SELECT count(*) FROM archive_target WHERE name = ?1", "t", terms->target);
    catalog_read_end(world->catalog, db);
    if (!known)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "to archive at the end, name an archive target that there is");
    return known != 0;
}

gboolean lease_args_take(OpsCall *call, json_t *settings, LeaseTerms *ret, GError **error)
{
    if (!args_are_texts(call, "hours zone end_action archive_target", error))
        return FALSE;
    put_settings(call, settings);
    return lease_terms_parse(settings, ret, error) && check_target(call->world, ret, error);
}
