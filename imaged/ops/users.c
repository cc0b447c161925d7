/* users.c: users and groups. */
#include <string.h>

#include "broker/access/directory.h"
#include "broker/access/password.h"
#include "broker/alert/message.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/access.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define PAGE_ARGS "search limit after"

#define USER_COLUMNS                                                                               \
    "SELECT u.id, u.name, u.full_name, u.email, d.name AS directory, u.is_disabled AS"             \
    " disabled__bool, u.password_hash IS NOT NULL AS has_password__bool,"                          \
    " (SELECT group_concat(g.name, char(10)) FROM group_member m JOIN user_group g ON"             \
    "  g.id = m.group_id WHERE m.user_id = u.id) AS groups__lines," ACCESS_ROLE_LINES("u.id")      \
        ACCESS_QUOTA_COLUMNS(                                                                      \
            "u.id") " (SELECT count(*) FROM assignment a WHERE a.user_id = u.id)"                  \
                    " + (SELECT count(*) FROM pool_desktop p WHERE p.user_id = u.id) AS "          \
                    "n_desktops,"                                                                  \
                    " u.created_at AS created_at__time FROM user u LEFT JOIN directory d ON"       \
                    " d.id = u.directory_id WHERE "

#define GROUP_COLUMNS                                                                              \
    "SELECT g.id, g.name, d.name AS directory," ACCESS_ROLE_LINES("g.id")                          \
        ACCESS_QUOTA_COLUMNS("g.id") " (SELECT count(*) FROM group_member m WHERE"                 \
                                     "  m.group_id = g.id) AS n_members, g.created_at AS "         \
                                     "created_at__time FROM user_group g"                          \
                                     " LEFT JOIN directory d ON d.id = g.directory_id WHERE "

static json_t *user_object(OpsCall *call, const char *id, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q = db_query(db, USER_COLUMNS "u.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    query_end(q, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_user_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, PAGE_ARGS, error) || !view_page_of(call, "users", &page, error))
        return NULL;
    g_autofree char *visible = access_visible_sql(call->caller, "user", "u");
    g_autofree char *sql = g_strdup_printf("%su.name_key > coalesce(?1, '') AND %s ORDER BY"
                                           " u.name_key",
                                           USER_COLUMNS, visible ? visible : "1");
    g_autofree char *after = page.after ? user_name_key(page.after) : NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_found(db_query_once(db, sql, "t", after), &page, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_user_show(OpsCall *call, GError **error)
{
    g_auto(UserRow) row = { 0 };

    return args_check(call, "user", error) && access_arg_user(call, "user", &row, error)
               ? access_add_usage(call->world, row.id, user_object(call, row.id, error))
               : NULL;
}

static gboolean check_mail(const char *mail, GError **error)
{
    if (!alert_check_address(mail, error))
        return FALSE;
    if (strchr(mail, '@'))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no e-mail address", mail);
    imaged_error_hint(error, "NAME@DOMAIN");
    return FALSE;
}

/* full_name and email; NULL stays NULL. */
static gboolean take_texts(OpsCall *call, char **full_name, char **email, GError **error)
{
    if (!args_are_texts(call, "full_name email", error))
        return FALSE;
    const char *name = args_text(call, "full_name", FALSE, NULL);
    const char *mail = args_text(call, "email", FALSE, NULL);
    if ((name && !text_check("full name", name, 200, error)) ||
        (mail && *mail && !check_mail(mail, error)))
        return FALSE;
    if (name) {
        g_free(*full_name);
        *full_name = g_strdup(name);
    }
    if (mail) {
        g_free(*email);
        *email = g_strdup(mail);
    }
    return TRUE;
}

/* A directory's user, before he logs in: only his name is asked for. */
static json_t *import_user(OpsCall *call, const char *directory, const char *name,
                           const Quota *quota, GError **error)
{
    g_auto(UserRow) row = { 0 };

    if (json_object_get(call->args, "full_name") || json_object_get(call->args, "email") ||
        json_object_get(call->args, "password")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "what else is said of a directory's user is said there");
        return NULL;
    }
    return directory_import_user(call->world, directory, name, call->who, &row, error) &&
                   quota_set(call->world->catalog, row.id, FALSE, row.name, quota, call->who, error)
               ? user_object(call, row.id, error)
               : NULL;
}

json_t *ops_user_add(OpsCall *call, GError **error)
{
    g_auto(UserRow) row = { 0 };
    Quota quota;
    const char *name = args_text(call, "name", TRUE, error);

    if (!name ||
        !args_check(call, "name full_name email password directory " ACCESS_QUOTA_ARGS, error) ||
        !args_are_texts(call, "password directory", error) ||
        !take_texts(call, &row.full_name, &row.email, error) ||
        !access_quota_args(call, &quota, error))
        return NULL;
    const char *password = args_text(call, "password", FALSE, NULL);
    const char *directory = args_text(call, "directory", FALSE, NULL);
    if (directory)
        return import_user(call, directory, name, &quota, error);
    row.name = g_strdup(name);
    if ((password && !(row.password_hash = password_hash(password, error))) ||
        !user_add(call->world->catalog, &row, call->who, error) ||
        !quota_set(call->world->catalog, row.id, FALSE, row.name, &quota, call->who, error))
        return NULL;
    return user_object(call, row.id, error);
}

json_t *ops_user_set(OpsCall *call, GError **error)
{
    g_auto(UserRow) row = { 0 };
    Quota quota;

    if (!args_check(call, "user full_name email disabled " ACCESS_QUOTA_ARGS, error) ||
        !access_arg_user(call, "user", &row, error) || !access_may_change(call, row.id, error) ||
        !access_quota_args(call, &quota, error))
        return NULL;
    gboolean has_text =
        json_object_get(call->args, "full_name") || json_object_get(call->args, "email");
    gboolean has_disabled = json_object_get(call->args, "disabled") != NULL;
    if (row.directory_id && (has_text || has_disabled)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the names and state of '%s' are said by its directory", row.name);
        return NULL;
    }
    if (!take_texts(call, &row.full_name, &row.email, error) ||
        (has_disabled && !args_bool(call, "disabled", &row.is_disabled, error)))
        return NULL;
    if ((has_text || has_disabled) && !user_set(call->world->catalog, &row, call->who, error))
        return NULL;
    if (!quota_set(call->world->catalog, row.id, FALSE, row.name, &quota, call->who, error))
        return NULL;
    return user_object(call, row.id, error);
}

json_t *ops_user_delete(OpsCall *call, GError **error)
{
    g_auto(UserRow) row = { 0 };

    if (!args_check(call, "user", error) || !access_arg_user(call, "user", &row, error) ||
        !access_may_change(call, row.id, error))
        return NULL;
    json_t *out = user_object(call, row.id, error);
    if (out && !user_delete(call->world->catalog, &row, call->who, error))
        g_clear_pointer(&out, json_decref);
    return out;
}

/* One's own with the old one; another's with the permission. */
static gboolean may_set_password(OpsCall *call, const UserRow *row, const char *old, GError **error)
{
    gboolean is_self = call->caller && g_strcmp0(call->caller->user_id, row->id) == 0;

    if (is_self && call->caller->limit) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "this token is not good for that");
        return FALSE;
    }
    if (is_self && row->password_hash) {
        if (old && password_verify(row->password_hash, old))
            return TRUE;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "the old password is not right");
        return FALSE;
    }
    if (caller_may_everywhere(call->caller, PERMISSION_USER_CHANGE))
        return access_may_change(call, row->id, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "setting the password of '%s' needs the permission user.change", row->name);
    return FALSE;
}

json_t *ops_user_passwd(OpsCall *call, GError **error)
{
    g_auto(UserRow) row = { 0 };
    g_autofree char *hash = NULL;

    if (!args_check(call, "user password old_password", error) ||
        !args_are_texts(call, "password old_password", error) ||
        !access_arg_user(call, "user", &row, error))
        return NULL;
    const char *password = args_text(call, "password", FALSE, NULL);
    if (!may_set_password(call, &row, args_text(call, "old_password", FALSE, NULL), error))
        return NULL;
    if (row.directory_id) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the password of '%s' is kept by its directory", row.name);
        return NULL;
    }
    if ((password && !(hash = password_hash(password, error))) ||
        !user_set_password(call->world->catalog, &row, hash, call->who, error))
        return NULL;
    return user_object(call, row.id, error);
}

/* ---- Groups ---- */

static json_t *group_object(OpsCall *call, const char *id, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q = db_query(db, GROUP_COLUMNS "g.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    if (query_end(q, error) && out) {
        json_t *members = json_array();
        q = db_query(db,
                     "SELECT u.name FROM group_member m JOIN user u ON u.id = m.user_id WHERE"
                     " m.group_id = ?1 ORDER BY u.name_key LIMIT 10000",
                     "t", id);
        while (query_next(q))
            json_array_append_new(members, json_string(query_text(q, "name")));
        query_end(q, NULL);
        json_object_set_new(out, "members", members);
    }
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_group_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, PAGE_ARGS, error) || !view_page_of(call, "groups", &page, error))
        return NULL;
    g_autofree char *visible = access_visible_sql(call->caller, "group", "g");
    g_autofree char *sql = g_strdup_printf("%sg.name_key > coalesce(?1, '') AND %s ORDER BY"
                                           " g.name_key",
                                           GROUP_COLUMNS, visible ? visible : "1");
    g_autofree char *after = page.after ? user_name_key(page.after) : NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_found(db_query_once(db, sql, "t", after), &page, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_group_show(OpsCall *call, GError **error)
{
    g_auto(GroupRow) row = { 0 };

    return args_check(call, "group", error) && access_arg_group(call, "group", &row, error)
               ? access_add_usage(call->world, row.id, group_object(call, row.id, error))
               : NULL;
}

json_t *ops_group_add(OpsCall *call, GError **error)
{
    g_auto(GroupRow) row = { 0 };
    Quota quota;
    const char *name = args_text(call, "name", TRUE, error);

    if (!name || !args_check(call, "name directory " ACCESS_QUOTA_ARGS, error) ||
        !args_are_texts(call, "directory", error) || !access_quota_args(call, &quota, error))
        return NULL;
    const char *directory = args_text(call, "directory", FALSE, NULL);
    row.name = directory ? NULL : g_strdup(name);
    if (!(directory ? directory_import_group(call->world, directory, name, call->who, &row, error)
                    : group_add(call->world->catalog, &row, call->who, error)) ||
        !quota_set(call->world->catalog, row.id, TRUE, row.name, &quota, call->who, error))
        return NULL;
    return group_object(call, row.id, error);
}

json_t *ops_group_set(OpsCall *call, GError **error)
{
    g_auto(GroupRow) row = { 0 };
    Quota quota;

    if (!args_check(call, "group " ACCESS_QUOTA_ARGS, error) ||
        !access_quota_args(call, &quota, error) || !access_arg_group(call, "group", &row, error) ||
        !quota_set(call->world->catalog, row.id, TRUE, row.name, &quota, call->who, error))
        return NULL;
    return group_object(call, row.id, error);
}

json_t *ops_group_delete(OpsCall *call, GError **error)
{
    g_auto(GroupRow) row = { 0 };

    if (!args_check(call, "group", error) || !access_arg_group(call, "group", &row, error) ||
        !access_may_change(call, row.id, error))
        return NULL;
    json_t *out = group_object(call, row.id, error);
    if (out && !group_delete(call->world->catalog, &row, call->who, error))
        g_clear_pointer(&out, json_decref);
    return out;
}

static json_t *set_members(OpsCall *call, gboolean is_member, GError **error)
{
    g_auto(GroupRow) group = { 0 };
    json_t *users = NULL, *name;
    size_t i;

    if (!args_check(call, "group users", error) || !args_texts(call, "users", &users, error) ||
        !access_arg_group(call, "group", &group, error) ||
        !access_may_change(call, group.id, error))
        return NULL;
    if (json_array_size(users) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no user is named");
        return NULL;
    }
    json_array_foreach (users, i, name) {
        g_auto(UserRow) user = { 0 };
        Db *db = catalog_read_begin(call->world->catalog);
        gboolean found = user_lookup(db, json_string_value(name), &user, error);
        catalog_read_end(call->world->catalog, db);
        if (!found ||
            !group_set_member(call->world->catalog, &group, &user, is_member, call->who, error))
            return NULL;
    }
    return group_object(call, group.id, error);
}

json_t *ops_group_add_members(OpsCall *call, GError **error)
{
    return set_members(call, TRUE, error);
}

json_t *ops_group_remove_members(OpsCall *call, GError **error)
{
    return set_members(call, FALSE, error);
}
