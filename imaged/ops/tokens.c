/* tokens.c: API tokens, log-in and log-out, and who one is. */
#include "broker/access/tokens.h"

#include "broker/access/login.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/access.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define LOGIN_MS (12 * 3600 * 1000ll)  /* how long a log-in is good for */
#define TOKEN_MS (90 * 86400 * 1000ll) /* and a token, if nothing else is said */
#define MAX_TOKEN_MS (3660 * 86400 * 1000ll)

#define TOKEN_COLUMNS                                                                              \
    "SELECT t.id, t.name, u.name AS user, t.is_login AS login__bool, t.permissions,"               \
    " t.scope_kind AS scope, coalesce((SELECT name FROM template WHERE id = t.scope_id),"          \
    " (SELECT name FROM pool WHERE id = t.scope_id), (SELECT name FROM desktop WHERE"              \
    " id = t.scope_id)) AS scope_name, t.expires_at AS expires_at__time,"                          \
    " t.used_at AS used_at__time, t.created_at AS created_at__time FROM token t LEFT JOIN user u"  \
    " ON u.id = t.user_id WHERE "

json_t *ops_token_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    g_autofree char *visible = access_visible_sql(call->caller, "token", "t");
    g_autofree char *sql = g_strdup_printf("%st.id > coalesce(?1, '') AND (t.expires_at IS NULL OR"
                                           " t.expires_at > ?2) AND %s ORDER BY t.id",
                                           TOKEN_COLUMNS, visible ? visible : "1");
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(db_query_once(db, sql, "ti", page.after, units_now_ms()), page.search,
                             page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

static json_t *token_object(OpsCall *call, const char *id, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q = db_query(db, TOKEN_COLUMNS "t.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    query_end(q, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* Make the token and show it with its text, this once. */
static json_t *make(OpsCall *call, const TokenSpec *spec, GError **error)
{
    g_autofree char *id = NULL;
    g_autofree char *text = token_create(call->world->catalog, spec, call->who, &id, error);
    json_t *out = text ? token_object(call, id, error) : NULL;

    if (out)
        json_object_set_new(out, "token", json_string(text));
    return out;
}

/* Whose token it is to be: one's own, or another's with the permission and the rank. */
static gboolean find_owner(OpsCall *call, UserRow *ret, GError **error)
{
    if (!json_object_get(call->args, "user")) {
        if (!call->caller || !call->caller->user_id) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "for which user?  root is no user of imaged");
            imaged_error_hint(error, "imagectl token create NAME --user USER");
            return FALSE;
        }
        Db *db = catalog_read_begin(call->world->catalog);
        gboolean ok = user_lookup(db, call->caller->user_id, ret, error);
        catalog_read_end(call->world->catalog, db);
        return ok;
    }
    if (!access_arg_user(call, "user", ret, error))
        return FALSE;
    if (g_strcmp0(call->caller->user_id, ret->id) == 0)
        return TRUE;
    if (!caller_may_everywhere(call->caller, PERMISSION_TOKEN_CHANGE)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "tokens of others need the permission token.change");
        return FALSE;
    }
    return access_may_change(call, ret->id, error);
}

/* A token is never good for more than the one it was asked for with. */
static gboolean check_limit(OpsCall *call, const PermissionSet *set, ScopeKind kind, GError **error)
{
    const Grant *limit = call->caller ? call->caller->limit : NULL;

    if (!limit)
        return TRUE;
    if (limit->kind == SCOPE_ALL && permission_has_all(&limit->permissions, set))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "the token that asks is not good for as much as the new one");
    return FALSE;
}

json_t *ops_token_create(OpsCall *call, GError **error)
{
    g_auto(UserRow) user = { 0 };
    g_autofree char *scope_id = NULL;
    g_autofree char *scope_name = NULL;
    g_autofree char *permissions = NULL;
    PermissionSet set = { { 0 } };
    json_t *names = NULL, *element;
    gint64 expires;
    size_t i;
    TokenSpec spec = { .name = args_text(call, "name", TRUE, error) };

    if (!spec.name ||
        !args_check(call, "name user permissions template pool desktop expires_s", error) ||
        !text_check("name", spec.name, 100, error) ||
        !args_texts(call, "permissions", &names, error) ||
        !args_int(call, "expires_s", TOKEN_MS / 1000, 1, MAX_TOKEN_MS / 1000, &expires, error) ||
        !find_owner(call, &user, error) ||
        !access_arg_scope(call, &spec.scope_kind, &scope_id, &scope_name, error))
        return NULL;
    json_array_foreach (names, i, element) {
        if (!permission_parse_set(json_string_value(element), &set, error))
            return NULL;
    }
    if (names)
        permissions = permission_set_text(&set);
    else
        set = permission_read_set("*");
    if (!check_limit(call, &set, spec.scope_kind, error))
        return NULL;
    spec.user_id = user.id;
    spec.user_name = user.name;
    spec.permissions = permissions;
    spec.scope_id = scope_id;
    spec.expires_at = units_now_ms() + expires * 1000;
    return make(call, &spec, error);
}

json_t *ops_token_revoke(OpsCall *call, GError **error)
{
    const char *id = args_text(call, "token", TRUE, error);

    if (!id || !args_check(call, "token", error))
        return NULL;
    if (call->caller && call->caller->limit) { /* it is not to shut out who made it */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "a token that is good for less than its user revokes none");
        return NULL;
    }
    g_autofree char *visible = access_visible_sql(call->caller, "token", "t");
    g_autofree char *sql =
        g_strdup_printf("%st.id = ?1 AND %s", TOKEN_COLUMNS, visible ? visible : "1");
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q = db_query_once(db, sql, "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;
    query_end(q, NULL);
    catalog_read_end(call->world->catalog, db);
    if (!out)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no such token");
    else if (!token_revoke(call->world->catalog, id, call->who, error))
        g_clear_pointer(&out, json_decref);
    return out;
}

json_t *ops_login(OpsCall *call, GError **error)
{
    g_auto(UserRow) user = { 0 };
    const char *name = args_text(call, "name", TRUE, error);
    const char *password = name ? args_text(call, "password", TRUE, error) : NULL;

    const char *address = call->caller ? call->caller->address : call->who;
    if (!password || !args_check(call, "name password", error) ||
        !login_check(call->world, name, password, address, &user, error))
        return NULL;
    g_autofree char *who =
        address ? g_strdup_printf("%s from %s", user.name, address) : g_strdup(user.name);
    const TokenSpec spec = { .name = "log-in",
                             .user_id = user.id,
                             .user_name = user.name,
                             .is_login = TRUE,
                             .expires_at = units_now_ms() + LOGIN_MS };
    OpsCall as = *call;
    as.who = who;
    return make(&as, &spec, error);
}

json_t *ops_logout(OpsCall *call, GError **error)
{
    const char *text = args_text(call, "token", TRUE, error);

    if (!text || !args_check(call, "token", error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *id = token_id_of(db, text);
    catalog_read_end(call->world->catalog, db);
    json_t *out = id ? token_object(call, id, error) : NULL;
    if (!id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no such token");
    else if (out && !token_revoke(call->world->catalog, id, call->who, error))
        g_clear_pointer(&out, json_decref);
    return out;
}

json_t *ops_whoami(OpsCall *call, GError **error)
{
    const Caller *c = call->caller;
    PermissionSet set = { { 0 } };

    if (!args_check(call, "", error))
        return NULL;
    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++) {
        if (caller_may_somewhere(c, (Permission)i))
            permission_add(&set, (Permission)i);
    }
    g_autofree char *text = permission_set_text(&set);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    json_t *list = json_array();
    for (guint i = 0; words[i] && *words[i]; i++)
        json_array_append_new(list, json_string(words[i]));
    return json_pack("{s:s?,s:s,s:s?,s:b,s:o}", "id", c->user_id, "name", c->name, "address",
                     c->address, "admin", c->is_admin, "permissions", list);
}
