/* users.c: see users.h. */
#include "broker/access/users.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

void user_row_clear(UserRow *row)
{
    g_free(row->id);
    g_free(row->name);
    g_free(row->full_name);
    g_free(row->email);
    g_free(row->directory_id);
    g_free(row->external_id);
    g_free(row->password_hash);
    *row = (UserRow){ 0 };
}

void group_row_clear(GroupRow *row)
{
    g_free(row->id);
    g_free(row->name);
    g_free(row->directory_id);
    g_free(row->external_id);
    *row = (GroupRow){ 0 };
}

static gboolean set_missing(const char *what, const char *name, GError **error)
{
    g_autofree char *shown = text_for_message(name, 80);

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no %s '%s'", what, shown);
    return FALSE;
}

gboolean user_lookup(Db *db, const char *name, UserRow *ret, GError **error)
{
    g_autofree char *key = user_name_key(name);
    Query *q = db_query(db, "SELECT * FROM user WHERE name_key = ?1 OR id = ?2", "tt", key, name);
    gboolean found = query_next(q);

    if (found)
        *ret = (UserRow){ .id = g_strdup(query_text(q, "id")),
                          .name = g_strdup(query_text(q, "name")),
                          .full_name = g_strdup(query_text(q, "full_name")),
                          .email = g_strdup(query_text(q, "email")),
                          .directory_id = g_strdup(query_text(q, "directory_id")),
                          .external_id = g_strdup(query_text(q, "external_id")),
                          .password_hash = g_strdup(query_text(q, "password_hash")),
                          .is_disabled = query_int(q, "is_disabled") != 0 };
    return query_end(q, error) && (found || set_missing("user", name, error));
}

gboolean group_lookup(Db *db, const char *name, GroupRow *ret, GError **error)
{
    g_autofree char *key = user_name_key(name);
    Query *q =
        db_query(db, "SELECT * FROM user_group WHERE name_key = ?1 OR id = ?2", "tt", key, name);
    gboolean found = query_next(q);

    if (found)
        *ret = (GroupRow){ .id = g_strdup(query_text(q, "id")),
                           .name = g_strdup(query_text(q, "name")),
                           .directory_id = g_strdup(query_text(q, "directory_id")),
                           .external_id = g_strdup(query_text(q, "external_id")) };
    return query_end(q, error) && (found || set_missing("group", name, error));
}

GPtrArray *group_ids_of_user(Db *db, const char *user_id)
{
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    Query *q = db_query(db, "SELECT group_id FROM group_member WHERE user_id = ?1", "t", user_id);

    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "group_id")));
    query_end(q, NULL);
    return ids;
}

/* The catalog says EXISTS in its own words. */
static gboolean commit_named(Catalog *catalog, Changes *changes, const char *what, const char *name,
                             GError **error)
{
    g_autoptr(GError) local = NULL;

    if (catalog_commit(catalog, changes, &local))
        return TRUE;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a %s '%s' already", what,
                    name);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean user_add(Catalog *catalog, UserRow *row, const char *who, GError **error)
{
    g_autofree char *key = NULL;
    gint64 now = units_now_ms();

    if (!user_check_name("user", row->name, error))
        return FALSE;
    key = user_name_key(row->name);
    row->id = g_strdup(id_new().s);
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO user (id, name, name_key, full_name, email, directory_id, external_id,"
                " password_hash, is_disabled, created_at, changed_at) VALUES (?1, ?2, ?3, ?4, ?5,"
                " ?6, ?7, ?8, ?9, ?10, ?10)",
                "ttttttttii", row->id, row->name, key, row->full_name ? row->full_name : "",
                row->email ? row->email : "", row->directory_id, row->external_id,
                row->password_hash, (gint64)row->is_disabled, now);
    changes_event(changes, "user.add", "info", row->name, who, "%s",
                  row->directory_id ? "of a directory" : "local");
    return commit_named(catalog, changes, "user", row->name, error);
}

/* Log-ins, not the tokens that somebody made on purpose. */
static void end_logins(Changes *changes, const char *user_id)
{
    changes_sql(changes, "DELETE FROM token WHERE user_id = ?1 AND is_login = 1", "t", user_id);
}

gboolean user_set(Catalog *catalog, const UserRow *row, const char *who, GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes,
                "UPDATE user SET full_name = ?2, email = ?3, is_disabled = ?4, changed_at = ?5"
                " WHERE id = ?1",
                "tttii", row->id, row->full_name, row->email, (gint64)row->is_disabled,
                units_now_ms());
    if (row->is_disabled)
        end_logins(changes, row->id);
    changes_event(changes, "user.set", "info", row->name, who, "%s",
                  row->is_disabled ? "disabled" : "enabled");
    return catalog_commit(catalog, changes, error);
}

gboolean user_set_password(Catalog *catalog, const UserRow *row, const char *password_hash,
                           const char *who, GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes, "UPDATE user SET password_hash = ?2, changed_at = ?3 WHERE id = ?1", "tti",
                row->id, password_hash, units_now_ms());
    end_logins(changes, row->id);
    changes_event(changes, "user.passwd", "info", row->name, who, "%s",
                  password_hash ? "a new password" : "no password any more");
    return catalog_commit(catalog, changes, error);
}

/* What else of the catalog names this user or group. */
static void forget_subject(Changes *changes, const char *id)
{
    changes_sql(changes, "DELETE FROM role_grant WHERE subject_id = ?1", "t", id);
    changes_sql(changes, "DELETE FROM pool_grant WHERE subject_id = ?1", "t", id);
    changes_sql(changes, "DELETE FROM quota WHERE subject_id = ?1", "t", id);
    changes_sql(changes, "DELETE FROM channel_policy WHERE subject_id = ?1", "t", id);
    changes_sql(changes, "DELETE FROM saved_search WHERE user_id = ?1", "t", id);
}

/* data: a user's row. */
static gboolean has_nothing(Db *db, gpointer data, GError **error)
{
    const UserRow *row = data;
    gint64 n_desktops =
        lookup_int(db,
                   "SELECT (SELECT count(*) FROM assignment WHERE user_id = ?1) + (SELECT count(*)"
                   " FROM pool_desktop WHERE user_id = ?1)",
                   "t", row->id);
    gint64 n_sessions = lookup_int(
        db, "SELECT count(*) FROM session WHERE user_id = ?1 AND ended_at IS NULL", "t", row->id);

    if (!n_desktops && !n_sessions)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the user '%s' has %s", row->name,
                n_desktops ? "desktops" : "a session");
    imaged_error_hint(error,
                      n_desktops ? "take them back first, or: imagectl user set %s --disabled yes"
                                 : "end it first: imagectl session list --search %s",
                      row->name);
    return FALSE;
}

gboolean user_delete(Catalog *catalog, const UserRow *row, const char *who, GError **error)
{
    Changes *changes = changes_new();

    /* in the writer, so that he is given nothing meanwhile */
    changes_require(changes, has_nothing, (gpointer)row, NULL);
    changes_sql(changes, "DELETE FROM group_member WHERE user_id = ?1", "t", row->id);
    changes_sql(changes, "DELETE FROM token WHERE user_id = ?1", "t", row->id);
    forget_subject(changes, row->id);
    changes_sql(changes, "DELETE FROM user WHERE id = ?1", "t", row->id);
    changes_event(changes, "user.delete", "info", row->name, who, "deleted");
    return catalog_commit(catalog, changes, error);
}

gboolean group_add(Catalog *catalog, GroupRow *row, const char *who, GError **error)
{
    g_autofree char *key = NULL;

    if (!user_check_name("group", row->name, error))
        return FALSE;
    key = user_name_key(row->name);
    row->id = g_strdup(id_new().s);
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO user_group (id, name, name_key, directory_id, external_id, created_at)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                "ttttti", row->id, row->name, key, row->directory_id, row->external_id,
                units_now_ms());
    changes_event(changes, "group.add", "info", row->name, who, "%s",
                  row->directory_id ? "of a directory" : "local");
    return commit_named(catalog, changes, "group", row->name, error);
}

gboolean group_delete(Catalog *catalog, const GroupRow *row, const char *who, GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes, "DELETE FROM group_member WHERE group_id = ?1", "t", row->id);
    forget_subject(changes, row->id);
    changes_sql(changes, "DELETE FROM user_group WHERE id = ?1", "t", row->id);
    changes_event(changes, "group.delete", "info", row->name, who, "deleted");
    return catalog_commit(catalog, changes, error);
}

gboolean group_set_member(Catalog *catalog, const GroupRow *group, const UserRow *user,
                          gboolean is_member, const char *who, GError **error)
{
    Changes *changes;

    if (group->directory_id) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "who is in '%s' is said by its directory", group->name);
        return FALSE;
    }
    changes = changes_new();
    if (is_member)
        changes_sql(changes,
                    "INSERT INTO group_member (group_id, user_id) SELECT ?1, id FROM user WHERE"
                    " id = ?2 ON CONFLICT DO NOTHING",
                    "tt", group->id, user->id);
    else
        changes_sql(changes, "DELETE FROM group_member WHERE group_id = ?1 AND user_id = ?2", "tt",
                    group->id, user->id);
    changes_event(changes, "group.member", "info", group->name, who, "%s is %s", user->name,
                  is_member ? "in it" : "not in it any more");
    return catalog_commit(catalog, changes, error);
}
