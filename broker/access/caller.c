/* caller.c: see caller.h. */
#include "broker/access/caller.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "broker/access/users.h"
#include "imaged/base/error.h"

static const char *const scope_names[] = { "all", "template", "pool", "desktop" };

const char *scope_kind_name(ScopeKind kind)
{
    return scope_names[kind];
}

gboolean scope_kind_parse(const char *text, ScopeKind *ret)
{
    for (guint i = 0; i < G_N_ELEMENTS(scope_names); i++) {
        if (g_strcmp0(text, scope_names[i]) == 0) {
            *ret = (ScopeKind)i;
            return TRUE;
        }
    }
    return FALSE;
}

static Caller *new_caller(const char *user_id, const char *name, const char *address)
{
    Caller *caller = g_new0(Caller, 1);

    caller->user_id = g_strdup(user_id);
    caller->name = g_strdup(name);
    caller->address = g_strdup(address);
    caller->who = address ? g_strdup_printf("%s from %s", name, address) : g_strdup(name);
    caller->grants = g_array_new(FALSE, TRUE, sizeof(Grant));
    return caller;
}

void caller_free(Caller *caller)
{
    if (!caller)
        return;
    g_array_unref(caller->grants);
    g_free(caller->limit);
    g_free(caller->user_id);
    g_free(caller->token_id);
    g_free(caller->name);
    g_free(caller->address);
    g_free(caller->who);
    g_free(caller);
}

/* A scope that is no id any more, of a row that somebody changed, is no scope. */
static gboolean make_grant(PermissionSet permissions, gboolean is_own, const char *kind,
                           const char *scope_id, Grant *ret)
{
    *ret = (Grant){ .permissions = permissions, .is_own = is_own };
    if (!scope_kind_parse(kind, &ret->kind))
        return FALSE;
    if (ret->kind == SCOPE_ALL)
        return TRUE;
    if (!id_is_valid(scope_id))
        return FALSE;
    g_strlcpy(ret->scope_id, scope_id, sizeof ret->scope_id);
    return TRUE;
}

static void add_grant(Caller *caller, const char *permissions, gboolean is_own, const char *kind,
                      const char *scope_id)
{
    Grant grant;

    if (!make_grant(permission_read_set(permissions), is_own, kind, scope_id, &grant))
        return;
    g_array_append_val(caller->grants, grant);
    const PermissionSet all = permission_read_set("*");
    caller->is_admin |=
        grant.kind == SCOPE_ALL && !is_own && permission_has_all(&grant.permissions, &all);
}

Caller *caller_new_admin(const char *name)
{
    Caller *caller = new_caller(NULL, name, NULL);

    add_grant(caller, "*", FALSE, "all", NULL);
    return caller;
}

static gboolean read_grants(Db *db, Caller *caller, GError **error)
{
    Query *q = db_query(db,
                        "SELECT r.permissions, r.is_own, g.scope_kind, g.scope_id FROM role_grant g"
                        " JOIN role r ON r.id = g.role_id WHERE g.subject_id = ?1 OR g.subject_id"
                        " IN (SELECT group_id FROM group_member WHERE user_id = ?1)",
                        "t", caller->user_id);

    for (guint i = 0; permission_roles[i].name; i++) {
        if (g_str_equal(permission_roles[i].name, "user"))
            add_grant(caller, permission_roles[i].permissions, TRUE, "all", NULL);
    }
    while (query_next(q))
        add_grant(caller, query_text(q, "permissions"), query_int(q, "is_own") != 0,
                  query_text(q, "scope_kind"), query_text(q, "scope_id"));
    return query_end(q, error);
}

Caller *caller_new_user(Db *db, const char *user_id, const char *address, GError **error)
{
    Query *q = db_query(db, "SELECT name, is_disabled FROM user WHERE id = ?1", "t", user_id);
    g_autoptr(Caller) caller = NULL;
    gboolean is_disabled = TRUE;

    if (query_next(q)) {
        is_disabled = query_int(q, "is_disabled") != 0;
        caller = new_caller(user_id, query_text(q, "name"), address);
    }
    if (!query_end(q, error))
        return NULL;
    if (!caller || is_disabled) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "the user '%s' %s",
                    caller ? caller->name : user_id, caller ? "is disabled" : "is gone");
        return NULL;
    }
    return read_grants(db, caller, error) ? g_steal_pointer(&caller) : NULL;
}

Caller *caller_new_local(Db *db, uid_t uid, GError **error)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];
    g_autofree char *id = NULL;

    getpwuid_r(uid, &entry, buffer, sizeof buffer, &found);
    g_autofree char *name = found ? g_strdup(found->pw_name) : g_strdup_printf("uid %u", uid);
    if (uid == 0 || uid == geteuid())
        return caller_new_admin(name);
    g_autofree char *key = found ? user_name_key(name) : NULL;
    Query *q = db_query(db, "SELECT id FROM user WHERE name_key = ?1 AND directory_id IS NULL", "t",
                        key ? key : "");
    if (query_next(q))
        id = g_strdup(query_text(q, "id"));
    if (!query_end(q, error))
        return NULL;
    if (!id) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "'%s' is no user of imaged", name);
        imaged_error_hint(error,
                          "an admin (root is one) lets him in with: imagectl user add %s; and"
                          " makes him an admin with: imagectl role grant admin %s",
                          found ? name : "NAME", found ? name : "NAME");
        return NULL;
    }
    return caller_new_user(db, id, NULL, error);
}

void caller_limit(Caller *caller, const char *permissions, ScopeKind kind, const char *scope_id)
{
    caller->limit = g_new0(Grant, 1);
    if (!make_grant(permission_read_set(permissions ? permissions : "*"), FALSE,
                    scope_kind_name(kind), scope_id, caller->limit))
        *caller->limit = (Grant){ .kind = SCOPE_ALL }; /* of nothing */
    caller->is_admin = FALSE;
}

gboolean caller_may_everywhere(const Caller *caller, Permission permission)
{
    gboolean found = FALSE;

    for (guint i = 0; caller && i < caller->grants->len && !found; i++) {
        const Grant *grant = &g_array_index(caller->grants, Grant, i);
        found = grant->kind == SCOPE_ALL && !grant->is_own &&
                permission_has(&grant->permissions, permission);
    }
    return found && (!caller->limit || (caller->limit->kind == SCOPE_ALL &&
                                        permission_has(&caller->limit->permissions, permission)));
}

gboolean caller_may_somewhere(const Caller *caller, Permission permission)
{
    gboolean found = FALSE;

    for (guint i = 0; caller && i < caller->grants->len && !found; i++)
        found = permission_has(&g_array_index(caller->grants, Grant, i).permissions, permission);
    return found && (!caller->limit || permission_has(&caller->limit->permissions, permission));
}
