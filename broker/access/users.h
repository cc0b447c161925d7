/* users.h: users and groups as rows of the catalog.
 *
 * A user is local (with a password, or without: then he comes by the unix socket or a token alone)
 * or a directory's (external_id, which outlives a change of his name).  Names are compared without
 * regard to case.  Any thread. */
#pragma once

#include "imaged/catalog/catalog.h"

/* What a name is compared by.  Caller frees. */
char *user_name_key(const char *name);

/* Letters and digits, then also . _ - @ +, at most 63; what is "user" or "group".  INVALID. */
gboolean user_check_name(const char *what, const char *name, GError **error);

typedef struct {
    char *id, *name, *full_name, *email;
    char *directory_id, *external_id; /* NULL: a local one */
    char *password_hash;              /* or NULL */
    gboolean is_disabled;
} UserRow;
void user_row_clear(UserRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(UserRow, user_row_clear)

typedef struct {
    char *id, *name;
    char *directory_id, *external_id; /* NULL: a local one */
} GroupRow;
void group_row_clear(GroupRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GroupRow, group_row_clear)

/* By name, in whatever case, or by id.  NOT_FOUND. */
gboolean user_lookup(Db *db, const char *name, UserRow *ret, GError **error);
gboolean group_lookup(Db *db, const char *name, GroupRow *ret, GError **error);

/* The ids (char *) of the groups that the user is a member of.  Free it with g_ptr_array_unref().
 */
GPtrArray *group_ids_of_user(Db *db, const char *user_id);

/* A new one; row has no id yet, and gets it.  INVALID, EXISTS. */
gboolean user_add(Catalog *catalog, UserRow *row, const char *who, GError **error);

/* Full name, e-mail and is_disabled become those of row.  A disabled user's log-ins are over. */
gboolean user_set(Catalog *catalog, const UserRow *row, const char *who, GError **error);

/* password_hash: of password_hash() (password.h), or NULL: none.  His log-ins are over. */
gboolean user_set_password(Catalog *catalog, const UserRow *row, const char *password_hash,
                           const char *who, GError **error);

/* With all that hangs on him.  BUSY while desktops are assigned to him or he has a session. */
gboolean user_delete(Catalog *catalog, const UserRow *row, const char *who, GError **error);

gboolean group_add(Catalog *catalog, GroupRow *row, const char *who, GError **error);
gboolean group_delete(Catalog *catalog, const GroupRow *row, const char *who, GError **error);

/* INVALID for a directory's group: who is in it is said there. */
gboolean group_set_member(Catalog *catalog, const GroupRow *group, const UserRow *user,
                          gboolean is_member, const char *who, GError **error);
