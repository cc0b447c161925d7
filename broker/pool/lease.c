/* lease.c: see lease.h. */
#include "broker/pool/lease.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MAX_S (gint64)(10 * 366 * 86400)

static const char *const action_names[LEASE_N_ACTIONS] = { "log-off", "re-image", "suspend",
                                                           "archive" };

const char *lease_action_name(LeaseAction action)
{
    return action_names[action];
}

void lease_terms_clear(LeaseTerms *terms)
{
    g_clear_pointer(&terms->weekly, weekly_free);
    g_clear_pointer(&terms->target, g_free);
}

static gboolean number(const json_t *settings, const char *key, gint64 otherwise, gint64 max,
                       gint64 *ret, GError **error)
{
    const json_t *value = json_object_get(settings, key);

    *ret = otherwise;
    if (!value || json_is_null(value))
        return TRUE;
    *ret = json_integer_value(value);
    if (json_is_integer(value) && *ret >= 0 && *ret <= max)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' must be a number from 0 to %" G_GINT64_FORMAT, key, max);
    return FALSE;
}

static gboolean read_action(const json_t *settings, LeaseTerms *ret, GError **error)
{
    const json_t *value = json_object_get(settings, "end_action");
    const char *text = json_string_value(value);

    ret->action = LEASE_REIMAGE;
    if (!value || json_is_null(value))
        return TRUE;
    for (guint i = 0; text && i < LEASE_N_ACTIONS; i++) {
        if (g_str_equal(text, action_names[i])) {
            ret->action = i;
            return TRUE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'end_action' is log-off, re-image, suspend or archive");
    return FALSE;
}

static gboolean read_weekly(const json_t *settings, LeaseTerms *ret, GError **error)
{
    const char *hours = json_string_value(json_object_get(settings, "hours"));
    const char *zone = json_string_value(json_object_get(settings, "zone"));

    if (!hours)
        return TRUE;
    ret->weekly = weekly_parse(hours, zone, json_object_get(settings, "holidays"), error);
    return ret->weekly != NULL;
}

gboolean lease_terms_parse(const json_t *settings, LeaseTerms *ret, GError **error)
{
    *ret = (LeaseTerms){ 0 };
    if (number(settings, "lease_s", 0, MAX_S, &ret->duration_s, error) &&
        number(settings, "until_ms", 0, G_MAXINT64 / 4, &ret->until_ms, error) &&
        number(settings, "warn_s", LEASE_WARN_S, MAX_S, &ret->warn_s, error) &&
        number(settings, "grace_s", LEASE_GRACE_S, MAX_S, &ret->grace_s, error) &&
        number(settings, "max_extensions", 0, 1000, &ret->max_extensions, error) &&
        number(settings, "extension_s", 3600, MAX_S, &ret->extension_s, error) &&
        read_action(settings, ret, error) && read_weekly(settings, ret, error)) {
        ret->target = g_strdup(json_string_value(json_object_get(settings, "archive_target")));
        return TRUE;
    }
    lease_terms_clear(ret);
    return FALSE;
}

gboolean lease_terms_read(const char *settings, LeaseTerms *ret, GError **error)
{
    json_auto_t *json = json_loads(settings ? settings : "{}", 0, NULL);

    *ret = (LeaseTerms){ 0 };
    if (json_is_object(json))
        return lease_terms_parse(json, ret, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the terms cannot be read");
    return FALSE;
}

/* The smaller one that is there. */
static gint64 sooner(gint64 a, gint64 b)
{
    return !a || (b && b < a) ? b : a;
}

gint64 lease_terms_end(const LeaseTerms *terms, gint64 now_ms)
{
    gint64 end = terms->duration_s ? now_ms + terms->duration_s * 1000 : 0, closes = 0;

    end = sooner(end, terms->until_ms);
    if (terms->weekly && weekly_is_open(terms->weekly, now_ms, &closes))
        end = sooner(end, closes);
    return end;
}

gint64 lease_end(const char *settings, gint64 now_ms)
{
    g_auto(LeaseTerms) terms = { 0 };

    return lease_terms_read(settings, &terms, NULL) ? lease_terms_end(&terms, now_ms) : 0;
}

gboolean lease_check_open(const PoolRow *pool, gint64 now_ms, GError **error)
{
    g_auto(LeaseTerms) terms = { 0 };
    gint64 opens = 0;

    if (!lease_terms_read(pool->settings, &terms, error)) {
        g_prefix_error(error, "the pool '%s': ", pool->name);
        return FALSE;
    }
    if (terms.until_ms && terms.until_ms <= now_ms) {
        g_autofree char *when = units_format_time(terms.until_ms);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "the pool '%s' ended at %s",
                    pool->name, when);
        return FALSE;
    }
    if (!terms.weekly || weekly_is_open(terms.weekly, now_ms, &opens))
        return TRUE;
    g_autofree char *when = opens ? units_format_time(opens) : g_strdup("nobody knows when");
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "the pool '%s' is closed at this hour; it opens at %s", pool->name, when);
    return FALSE;
}

LeaseStep lease_step(const LeaseTerms *terms, gint64 until_ms, gboolean warned, gint64 now_ms,
                     gint64 *ret_next)
{
    gint64 warn_at = until_ms - terms->warn_s * 1000, end_at = until_ms + terms->grace_s * 1000;

    *ret_next = 0;
    if (!until_ms)
        return LEASE_WAIT;
    if (now_ms >= end_at)
        return LEASE_END;
    *ret_next = warned || now_ms >= warn_at ? end_at : warn_at;
    return !warned && now_ms >= warn_at ? LEASE_WARN : LEASE_WAIT;
}

gboolean lease_extend(const LeaseTerms *terms, gint64 until_ms, gint64 n_extensions,
                      gint64 *ret_until, GError **error)
{
    gint64 longer = until_ms + terms->extension_s * 1000;

    if (terms->until_ms)
        longer = MIN(longer, terms->until_ms);
    if (n_extensions >= terms->max_extensions)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "the lease was extended %d times, which is all that its terms allow",
                    (int)n_extensions);
    else if (longer <= until_ms)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "the lease cannot go beyond the date of its terms");
    else
        *ret_until = longer;
    return n_extensions < terms->max_extensions && longer > until_ms;
}
