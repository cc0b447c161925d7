/* roles.c: see roles.h. */
#include "broker/access/roles.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

gboolean roles_prepare(Catalog *catalog, GError **error)
{
    Changes *changes = changes_new();

    for (guint i = 0; permission_roles[i].name; i++) {
        const BuiltInRole *r = &permission_roles[i];
        changes_sql(changes,
                    "INSERT INTO role (id, name, permissions, is_own, is_built_in, created_at)"
                    " VALUES (?1, ?2, ?3, ?4, 1, 0) ON CONFLICT (id) DO UPDATE SET"
                    " permissions = ?3, is_own = ?4 WHERE permissions <> ?3"
                    " ON CONFLICT (name) DO NOTHING", /* somebody's own of that name stays */
                    "ttti", r->id, r->name, r->permissions, (gint64)r->is_own);
    }
    return catalog_commit(catalog, changes, error);
}

void role_row_clear(RoleRow *row)
{
    g_free(row->id);
    g_free(row->name);
    g_free(row->permissions);
    *row = (RoleRow){ 0 };
}

gboolean role_lookup(Db *db, const char *name, RoleRow *ret, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM role WHERE name = ?1 OR id = ?1", "t", name);
    gboolean found = query_next(q);

    if (found)
        *ret = (RoleRow){ .id = g_strdup(query_text(q, "id")),
                          .name = g_strdup(query_text(q, "name")),
                          .permissions = g_strdup(query_text(q, "permissions")),
                          .is_own = query_int(q, "is_own") != 0,
                          .is_built_in = query_int(q, "is_built_in") != 0 };
    if (!query_end(q, error))
        return FALSE;
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no role '%s'", shown);
        imaged_error_hint(error, "see: imagectl role list");
    }
    return found;
}

gboolean role_create(Catalog *catalog, RoleRow *row, const char *who, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!name_check("role", row->name, error))
        return FALSE;
    row->id = g_strdup(id_new().s);
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO role (id, name, permissions, is_own, is_built_in, created_at)"
                " VALUES (?1, ?2, ?3, ?4, 0, ?5)",
                "tttii", row->id, row->name, row->permissions, (gint64)row->is_own, units_now_ms());
    changes_event(changes, "role.create", "info", row->name, who, "%s%s", row->permissions,
                  row->is_own ? ", for one's own" : "");
    if (catalog_commit(catalog, changes, &local))
        return TRUE;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a role '%s' already",
                    row->name);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean role_delete(Catalog *catalog, const RoleRow *row, const char *who, GError **error)
{
    Changes *changes;

    if (row->is_built_in) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the role '%s' is built in and stays", row->name);
        return FALSE;
    }
    changes = changes_new();
    changes_sql(changes, "DELETE FROM role_grant WHERE role_id = ?1", "t", row->id);
    changes_sql(changes, "DELETE FROM role WHERE id = ?1", "t", row->id);
    changes_event(changes, "role.delete", "info", row->name, who, "deleted");
    return catalog_commit(catalog, changes, error);
}

/* "helpdesk pool lab".  Caller frees. */
static char *said(const RoleGrant *g)
{
    return g_strdup_printf("%s %s%s%s", g->role->name,
                           g->kind == SCOPE_ALL ? "everywhere" : scope_kind_name(g->kind),
                           g->scope_name ? " " : "", g->scope_name ? g->scope_name : "");
}

/* The id is made of what is granted: twice is once. */
static Id grant_id(const RoleGrant *g)
{
    g_autofree char *scope = g_strconcat(scope_kind_name(g->kind), g->scope_id, NULL);

    return id_derive(g->role->id, g->subject_id, scope);
}

gboolean role_grant(Catalog *catalog, const RoleGrant *g, const char *who, GError **error)
{
    Changes *changes = changes_new();
    Id id = grant_id(g);

    changes_sql(changes,
                "INSERT INTO role_grant (id, role_id, subject_kind, subject_id, scope_kind,"
                " scope_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO"
                " NOTHING",
                "tttttti", id.s, g->role->id, g->is_group ? "group" : "user", g->subject_id,
                scope_kind_name(g->kind), g->scope_id, units_now_ms());
    g_autofree char *what = said(g);
    changes_event(changes, "role.grant", "info", g->subject_name, who, "%s", what);
    return catalog_commit(catalog, changes, error);
}

gboolean role_revoke(Catalog *catalog, const RoleGrant *g, const char *who, GError **error)
{
    Id id = grant_id(g);
    Db *db = catalog_read_begin(catalog);
    gboolean found = lookup_int(db, "SELECT count(*) FROM role_grant WHERE id = ?1", "t", id.s) > 0;

    catalog_read_end(catalog, db);
    if (!found) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "the role '%s' is not granted to '%s' in this scope", g->role->name,
                    g->subject_name);
        imaged_error_hint(error, "see: imagectl role show %s", g->role->name);
        return FALSE;
    }
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM role_grant WHERE id = ?1", "t", id.s);
    g_autofree char *what = said(g);
    changes_event(changes, "role.revoke", "info", g->subject_name, who, "%s", what);
    return catalog_commit(catalog, changes, error);
}

gboolean roles_check_rank(const Caller *caller, const PermissionSet *set, GError **error)
{
    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++) {
        if (!permission_has(set, (Permission)i) || caller_may_everywhere(caller, (Permission)i))
            continue;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "'%s' may not do this: he has not everywhere the permission %s himself",
                    caller ? caller->name : "nobody", permission_name((Permission)i));
        return FALSE;
    }
    return TRUE;
}

gboolean roles_of_subject(Db *db, const char *subject_id, PermissionSet *ret, GError **error)
{
    Query *q = db_query(db,
                        "SELECT r.permissions FROM role_grant g JOIN role r ON r.id = g.role_id"
                        " WHERE r.is_own = 0 AND (g.subject_id = ?1 OR g.subject_id IN (SELECT"
                        " group_id FROM group_member WHERE user_id = ?1))",
                        "t", subject_id);

    while (query_next(q)) {
        PermissionSet one = permission_read_set(query_text(q, "permissions"));
        ret->bits[0] |= one.bits[0];
        ret->bits[1] |= one.bits[1];
    }
    return query_end(q, error);
}
