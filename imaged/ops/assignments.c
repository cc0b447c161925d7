/* assignments.c: desktops that are somebody's own. */
#include "broker/pool/change.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/lease_args.h"
#include "imaged/ops/view.h"

/* The terms' members become the assignment's own; without a lease there are none. */
static void spread_terms(json_t *one)
{
    g_auto(LeaseTerms) terms = { 0 };
    const char *text = json_string_value(json_object_get(one, "lease"));
    gboolean has = !json_is_null(json_object_get(one, "until")) &&
                   lease_terms_read(text ? text : LEASE_OF_OWN, &terms, NULL);

    json_object_del(one, "lease");
    json_object_set_new(one, "end_action",
                        has ? json_string(lease_action_name(terms.action)) : json_null());
    json_object_set_new(one, "max_extensions",
                        has ? json_integer(terms.max_extensions) : json_null());
}

static json_t *assigned(OpsCall *call, const char *desktop, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_ids(db, call->caller, "desktop");
    json_t *out = view_array(
        db_query(
            db,
            "SELECT d.id, d.name, u.name AS user, a.is_owner AS owner__bool, a.may_take_over"
            " AS may_take_over__bool, a.lease_until AS until__time, a.created_at AS"
            " created_at__time, a.warned_at AS warned_at__time, a.n_extensions, a.lease FROM"
            " assignment a JOIN desktop d ON d.id = a.desktop_id LEFT"
            " JOIN user u ON u.id = a.user_id WHERE d.is_trashed = 0 AND (?1 IS NULL OR"
            " d.name = ?1) AND (?2 IS NULL OR d.id IN (SELECT value FROM json_each(?2))) ORDER BY"
            " d.name, u.name",
            "tt", desktop, visible),
        NULL, 100000, error);
    size_t i;
    json_t *one;

    catalog_read_end(call->world->catalog, db);
    json_array_foreach (out, i, one)
        spread_terms(one);
    return out;
}

json_t *ops_assignment_list(OpsCall *call, GError **error)
{
    if (!args_check(call, "desktop", error) || !args_are_texts(call, "desktop", error))
        return NULL;
    return assigned(call, args_text(call, "desktop", FALSE, NULL), error);
}

/* What is to happen at the end of the lease, as JSON; caller frees. */
static char *take_terms(OpsCall *call, gboolean has_end, GError **error)
{
    json_auto_t *settings = json_loads(LEASE_OF_OWN, 0, NULL), *unsaid = json_copy(settings);
    g_auto(LeaseTerms) terms = { 0 };

    if (!lease_args_take(call, settings, &terms, error))
        return NULL;
    if (!has_end && !json_equal(settings, unsaid)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "what has no end needs no terms for it: say until when");
        return NULL;
    }
    char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    char *out = g_strdup(text);
    free(text);
    return out;
}

static json_t *assign(OpsCall *call, gboolean is_shared, GError **error)
{
    const char *desktop = args_text(call, "desktop", TRUE, error);
    const char *user = desktop ? args_text(call, "user", TRUE, error) : NULL;
    AssignSpec spec = { .is_shared = is_shared };

    if (!user ||
        !args_check(call,
                    is_shared ? "desktop user may_take_over until" LEASE_END_ARGS
                              : "desktop user until" LEASE_END_ARGS,
                    error) ||
        !args_are_texts(call, "until", error) ||
        !args_bool(call, "may_take_over", &spec.may_take_over, error) ||
        !lease_args_until(call, &spec.until_ms, error))
        return NULL;
    g_autofree char *terms = take_terms(call, spec.until_ms != 0, error);
    spec.lease = spec.until_ms ? terms : NULL;
    if (!terms || !assignment_add(call->world, desktop, user, &spec, call->who, error))
        return NULL;
    return assigned(call, desktop, error);
}

json_t *ops_desktop_assign(OpsCall *call, GError **error)
{
    return assign(call, FALSE, error);
}

json_t *ops_desktop_share(OpsCall *call, GError **error)
{
    return assign(call, TRUE, error);
}

json_t *ops_desktop_unassign(OpsCall *call, GError **error)
{
    const char *desktop = args_text(call, "desktop", TRUE, error);

    if (!desktop || !args_check(call, "desktop user", error) ||
        !args_are_texts(call, "user", error) ||
        !assignment_remove(call->world, desktop, args_text(call, "user", FALSE, NULL), call->who,
                           error))
        return NULL;
    return assigned(call, desktop, error);
}

/* Whose lease: his own, unless he may for everybody.  FALSE: DENIED. */
static gboolean whose(const OpsCall *call, const char **ret, GError **error)
{
    const char *user = args_text(call, "user", FALSE, NULL);
    gboolean for_all = caller_may_everywhere(call->caller, call->permission);

    *ret = user || for_all ? user : call->caller->name;
    if (!user || for_all || g_str_equal(user, call->caller->name))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "this lease is not yours");
    return FALSE;
}

json_t *ops_desktop_extend(OpsCall *call, GError **error)
{
    const char *desktop = args_text(call, "desktop", TRUE, error), *user;
    gint64 until;

    if (!desktop || !args_check(call, "desktop user", error) ||
        !args_are_texts(call, "user", error) || !whose(call, &user, error) ||
        !lease_prolong(call->world, desktop, user, call->who, &until, error))
        return NULL;
    g_autofree char *text = units_format_time(until);
    return json_pack("{s:s,s:s,s:s}", "id", desktop, "name", desktop, "until", text);
}
