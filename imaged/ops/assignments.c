/* assignments.c: desktops that are somebody's own. */
#include "broker/pool/change.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/pools.h"
#include "imaged/ops/view.h"

static json_t *assigned(OpsCall *call, const char *desktop, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_ids(db, call->caller, "desktop");
    json_t *out = view_array(
        db_query(
            db,
            "SELECT d.id, d.name, u.name AS user, a.is_owner AS owner__bool, a.may_take_over"
            " AS may_take_over__bool, a.lease_until AS until__time, a.created_at AS"
            " created_at__time FROM assignment a JOIN desktop d ON d.id = a.desktop_id LEFT"
            " JOIN user u ON u.id = a.user_id WHERE d.is_trashed = 0 AND (?1 IS NULL OR"
            " d.name = ?1) AND (?2 IS NULL OR d.id IN (SELECT value FROM json_each(?2))) ORDER BY"
            " d.name, u.name",
            "tt", desktop, visible),
        NULL, 100000, error);

    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_assignment_list(OpsCall *call, GError **error)
{
    if (!args_check(call, "desktop", error) || !args_are_texts(call, "desktop", error))
        return NULL;
    return assigned(call, args_text(call, "desktop", FALSE, NULL), error);
}

static json_t *assign(OpsCall *call, gboolean is_shared, GError **error)
{
    const char *desktop = args_text(call, "desktop", TRUE, error);
    const char *user = desktop ? args_text(call, "user", TRUE, error) : NULL;
    AssignSpec spec = { .is_shared = is_shared };

    if (!user ||
        !args_check(call, is_shared ? "desktop user may_take_over until" : "desktop user until",
                    error) ||
        !args_are_texts(call, "until", error) ||
        !args_bool(call, "may_take_over", &spec.may_take_over, error) ||
        !pools_parse_until(call, &spec.until_ms, error) ||
        !assignment_add(call->world, desktop, user, &spec, call->who, error))
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

json_t *ops_desktop_extend(OpsCall *call, GError **error)
{
    const char *desktop = args_text(call, "desktop", TRUE, error);
    gint64 until;

    if (!desktop || !args_check(call, "desktop", error) ||
        !lease_prolong(call->world, desktop, call->who, &until, error))
        return NULL;
    g_autofree char *text = units_format_time(until);
    return json_pack("{s:s,s:s,s:s}", "id", desktop, "name", desktop, "until", text);
}
