/* roles.c: roles, and who has them where. */
#include "broker/access/roles.h"

#include "imaged/base/error.h"
#include "imaged/ops/access.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define ROLE_COLUMNS                                                                               \
    "SELECT r.id, r.name, r.permissions, r.is_own AS own__bool, r.is_built_in AS built_in__bool,"  \
    " (SELECT count(*) FROM role_grant g WHERE g.role_id = r.id) AS n_grants FROM role r WHERE "

static void expand(json_t *role)
{
    PermissionSet set =
        permission_read_set(json_string_value(json_object_get(role, "permissions")));
    json_t *list = json_array();
    const char *about = "";

    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++) {
        if (permission_has(&set, (Permission)i))
            json_array_append_new(list, json_string(permission_name((Permission)i)));
    }
    json_object_set_new(role, "permissions", list);
    for (guint i = 0; permission_roles[i].name; i++) {
        if (g_strcmp0(json_string_value(json_object_get(role, "id")), permission_roles[i].id) == 0)
            about = permission_roles[i].about;
    }
    json_object_set_new(role, "description", json_string(about));
}

static json_t *role_object(OpsCall *call, const char *id, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q = db_query(db, ROLE_COLUMNS "r.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    if (query_end(q, error) && out) {
        expand(out);
        json_object_set_new(
            out, "grants",
            view_array(db_query(db,
                                "SELECT g.id, coalesce(u.name, s.name, '?') AS name,"
                                " g.subject_kind AS kind, g.scope_kind AS scope,"
                                " coalesce(t.name, p.name, d.name) AS scope_name FROM role_grant g"
                                " LEFT JOIN user u ON u.id = g.subject_id LEFT JOIN user_group s ON"
                                " s.id = g.subject_id LEFT JOIN template t ON t.id = g.scope_id"
                                " LEFT JOIN pool p ON p.id = g.scope_id LEFT JOIN desktop d ON"
                                " d.id = g.scope_id WHERE g.role_id = ?1 ORDER BY g.created_at"
                                " LIMIT 10000",
                                "t", id),
                       NULL, G_MAXINT64, NULL));
    }
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_role_list(OpsCall *call, GError **error)
{
    ViewPage page;
    size_t i;
    json_t *role;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db, ROLE_COLUMNS "r.name > coalesce(?1, '') ORDER BY r.name", "t", page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach (out, i, role)
        expand(role);
    return out;
}

static gboolean arg_role(OpsCall *call, RoleRow *ret, GError **error)
{
    const char *name = args_text(call, "role", TRUE, error);

    if (!name)
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = role_lookup(db, name, ret, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

json_t *ops_role_show(OpsCall *call, GError **error)
{
    g_auto(RoleRow) row = { 0 };

    return args_check(call, "role", error) && arg_role(call, &row, error)
               ? role_object(call, row.id, error)
               : NULL;
}

json_t *ops_role_create(OpsCall *call, GError **error)
{
    g_auto(RoleRow) row = { 0 };
    PermissionSet set = { { 0 } };
    json_t *names = NULL, *name;
    size_t i;
    const char *text = args_text(call, "name", TRUE, error);

    if (!text || !args_check(call, "name permissions own", error) ||
        !args_texts(call, "permissions", &names, error) ||
        !args_bool(call, "own", &row.is_own, error))
        return NULL;
    json_array_foreach (names, i, name) {
        if (!permission_parse_set(json_string_value(name), &set, error))
            return NULL;
    }
    row.name = g_strdup(text);
    row.permissions = permission_set_text(&set);
    if (!*row.permissions) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a role has permissions");
        imaged_error_hint(error, "all permissions: imagectl role show admin");
        return NULL;
    }
    if (!roles_check_rank(call->caller, &set, error) ||
        !role_create(call->world->catalog, &row, call->who, error))
        return NULL;
    return role_object(call, row.id, error);
}

json_t *ops_role_delete(OpsCall *call, GError **error)
{
    g_auto(RoleRow) row = { 0 };

    if (!args_check(call, "role", error) || !arg_role(call, &row, error))
        return NULL;
    PermissionSet set = permission_read_set(row.permissions);
    json_t *out =
        roles_check_rank(call->caller, &set, error) ? role_object(call, row.id, error) : NULL;
    if (out && !role_delete(call->world->catalog, &row, call->who, error))
        g_clear_pointer(&out, json_decref);
    return out;
}

typedef gboolean (*Change)(Catalog *catalog, const RoleGrant *grant, const char *who,
                           GError **error);

/* "user" or "group" names who; a scope or none says where. */
static json_t *change_grant(OpsCall *call, Change change, GError **error)
{
    g_auto(RoleRow) role = { 0 };
    g_auto(UserRow) user = { 0 };
    g_auto(GroupRow) group = { 0 };
    g_autofree char *scope_id = NULL;
    g_autofree char *scope_name = NULL;
    RoleGrant grant = { .role = &role, .is_group = json_object_get(call->args, "group") != NULL };

    if (!args_check(call, "role user group template pool desktop", error) ||
        !arg_role(call, &role, error))
        return NULL;
    if (grant.is_group == (json_object_get(call->args, "user") != NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "name a user, or a group");
        return NULL;
    }
    PermissionSet set = permission_read_set(role.permissions);
    if (!roles_check_rank(call->caller, &set, error) ||
        !(grant.is_group ? access_arg_group(call, "group", &group, error)
                         : access_arg_user(call, "user", &user, error)) ||
        !access_arg_scope(call, &grant.kind, &scope_id, &scope_name, error))
        return NULL;
    grant.subject_id = grant.is_group ? group.id : user.id;
    grant.subject_name = grant.is_group ? group.name : user.name;
    grant.scope_id = scope_id;
    grant.scope_name = scope_name;
    return change(call->world->catalog, &grant, call->who, error)
               ? role_object(call, role.id, error)
               : NULL;
}

json_t *ops_role_grant(OpsCall *call, GError **error)
{
    return change_grant(call, role_grant, error);
}

json_t *ops_role_revoke(OpsCall *call, GError **error)
{
    return change_grant(call, role_revoke, error);
}
