/* roles.h: roles and their grants as rows of the catalog.  Any thread. */
#pragma once

#include "broker/access/caller.h"
#include "imaged/catalog/catalog.h"

/* At every start: the built-in roles are as this program knows them. */
gboolean roles_prepare(Catalog *catalog, GError **error);

typedef struct {
    char *id, *name, *permissions;
    gboolean is_own, is_built_in;
} RoleRow;
void role_row_clear(RoleRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RoleRow, role_row_clear)

/* NOT_FOUND; name may be an id. */
gboolean role_lookup(Db *db, const char *name, RoleRow *ret, GError **error);

/* A new one; row has no id yet, and gets it.  INVALID, EXISTS. */
gboolean role_create(Catalog *catalog, RoleRow *row, const char *who, GError **error);

/* With its grants.  INVALID: a built-in one. */
gboolean role_delete(Catalog *catalog, const RoleRow *row, const char *who, GError **error);

typedef struct {
    const RoleRow *role;
    gboolean is_group; /* the subject */
    const char *subject_id, *subject_name;
    ScopeKind kind;
    const char *scope_id, *scope_name; /* NULL with SCOPE_ALL */
} RoleGrant;

/* What is granted already stays as it is.  Revoking what is not granted is NOT_FOUND. */
gboolean role_grant(Catalog *catalog, const RoleGrant *grant, const char *who, GError **error);
gboolean role_revoke(Catalog *catalog, const RoleGrant *grant, const char *who, GError **error);

/* May the caller give all these permissions away, or do something to a user or group that has them?
 * Only who has them himself, everywhere.  DENIED. */
gboolean roles_check_rank(const Caller *caller, const PermissionSet *set, GError **error);

/* The permissions that a user or group has anywhere, beyond what is his own. */
gboolean roles_of_subject(Db *db, const char *subject_id, PermissionSet *ret, GError **error);
