/* roles.c: see roles.h. */
#include "broker/access/roles.h"

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
