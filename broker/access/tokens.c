/* tokens.c: see tokens.h.  A token is 256 random bits, so its hash needs neither salt nor slowness,
 * and looking it up by that tells nothing by how long it takes. */
#include "broker/access/tokens.h"

#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define PREFIX "imgd_"
#define BYTES 32
#define USED_STEP_MS (3600 * 1000) /* how exactly it is noted when a token was used last */

static char *hash_of(const char *text)
{
    guint8 hash[32];
    char hex[sizeof hash * 2 + 1];

    crypto_generichash(hash, sizeof hash, (const guint8 *)text, strlen(text), NULL, 0);
    return g_strdup(sodium_bin2hex(hex, sizeof hex, hash, sizeof hash));
}

char *token_create(Catalog *catalog, const TokenSpec *spec, const char *who, char **ret_id,
                   GError **error)
{
    guint8 random[BYTES];
    char text[sizeof PREFIX + sodium_base64_ENCODED_LEN(BYTES, sodium_base64_VARIANT_URLSAFE)];
    Id id = id_new();
    g_autofree char *until = spec->expires_at ? units_format_time(spec->expires_at) : NULL;

    randombytes_buf(random, sizeof random);
    memcpy(text, PREFIX, strlen(PREFIX));
    sodium_bin2base64(text + strlen(PREFIX), sizeof text - strlen(PREFIX), random, sizeof random,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    g_autofree char *hash = hash_of(text);
    Changes *changes = changes_new();
    changes_sql(
        changes,
        "INSERT INTO token (id, name, user_id, hash, permissions, scope_kind, scope_id,"
        " is_login, expires_at, used_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
        " nullif(?9, 0), NULL, ?10)",
        "tttttttiii", id.s, spec->name, spec->user_id, hash, spec->permissions,
        scope_kind_name(spec->scope_kind), spec->scope_id, (gint64)spec->is_login, spec->expires_at,
        units_now_ms());
    changes_event(changes, spec->is_login ? "user.login" : "token.create", "info", spec->user_name,
                  who, "%s%s%s", spec->name, until ? ", until " : "", until ? until : "");
    if (!catalog_commit(catalog, changes, error))
        return NULL;
    *ret_id = g_strdup(id.s);
    return g_strdup(text);
}

static gboolean set_bad(GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "the token is not valid: it has expired, was revoked, or never was one");
    imaged_error_hint(error, "a new one: imagectl login NAME --url URL");
    return FALSE;
}

typedef struct {
    char *id, *user_id, *permissions, *scope_id;
    ScopeKind kind;
    gint64 used_at;
} Found;

static void found_clear(Found *found)
{
    g_free(found->id);
    g_free(found->user_id);
    g_free(found->permissions);
    g_free(found->scope_id);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Found, found_clear)

/* The row of the current result, if there is one. */
static gboolean take_row(Query *q, Found *ret, GError **error)
{
    gboolean found = FALSE;

    if (query_next(q) && scope_kind_parse(query_text(q, "scope_kind"), &ret->kind)) {
        found = TRUE;
        ret->id = g_strdup(query_text(q, "id"));
        ret->user_id = g_strdup(query_text(q, "user_id"));
        ret->permissions = g_strdup(query_text(q, "permissions"));
        ret->scope_id = g_strdup(query_text(q, "scope_id"));
        ret->used_at = query_int(q, "used_at");
    }
    return query_end(q, error) && (found || set_bad(error));
}

static gboolean find(Db *db, const char *text, Found *ret, GError **error)
{
    g_autofree char *hash = hash_of(text);

    return take_row(db_query(db,
                             "SELECT * FROM token WHERE hash = ?1 AND (expires_at IS NULL OR"
                             " expires_at > ?2)",
                             "ti", hash, units_now_ms()),
                    ret, error);
}

static Caller *caller_of(Db *db, const Found *found, const char *address, GError **error)
{
    Caller *caller = caller_new_user(db, found->user_id, address, error);

    if (caller)
        caller->token_id = g_strdup(found->id);
    if (caller && (found->permissions || found->kind != SCOPE_ALL))
        caller_limit(caller, found->permissions, found->kind, found->scope_id);
    return caller;
}

Caller *token_caller(Catalog *catalog, const char *text, const char *address, GError **error)
{
    g_auto(Found) found = { 0 };
    Db *db = catalog_read_begin(catalog);
    Caller *caller = find(db, text, &found, error) ? caller_of(db, &found, address, error) : NULL;

    catalog_read_end(catalog, db);
    if (!caller)
        return NULL;
    if (units_now_ms() - found.used_at > USED_STEP_MS) {
        Changes *changes = changes_new();
        changes_sql(changes, "UPDATE token SET used_at = ?2 WHERE id = ?1", "ti", found.id,
                    units_now_ms());
        catalog_commit(catalog, changes, NULL); /* a full disk keeps nobody out */
    }
    return caller;
}

Caller *token_caller_again(Db *db, const Caller *caller, GError **error)
{
    g_auto(Found) found = { 0 };

    if (!caller->user_id)
        return caller_new_admin(caller->name);
    if (!caller->token_id)
        return caller_new_user(db, caller->user_id, caller->address, error);
    return take_row(db_query(db,
                             "SELECT * FROM token WHERE id = ?1 AND (expires_at IS NULL OR"
                             " expires_at > ?2)",
                             "ti", caller->token_id, units_now_ms()),
                    &found, error)
               ? caller_of(db, &found, caller->address, error)
               : NULL;
}

char *token_id_of(Db *db, const char *text)
{
    g_auto(Found) found = { 0 };

    return find(db, text, &found, NULL) ? g_strdup(found.id) : NULL;
}

gboolean token_revoke(Catalog *catalog, const char *id, const char *who, GError **error)
{
    g_autofree char *name = NULL;
    g_autofree char *user = NULL;
    Db *db = catalog_read_begin(catalog);
    Query *q = db_query(db,
                        "SELECT t.name, u.name AS user FROM token t LEFT JOIN user u ON"
                        " u.id = t.user_id WHERE t.id = ?1",
                        "t", id);

    if (query_next(q)) {
        name = g_strdup(query_text(q, "name"));
        user = g_strdup(query_text(q, "user"));
    }
    query_end(q, NULL);
    catalog_read_end(catalog, db);
    if (!name) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no such token");
        return FALSE;
    }
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM token WHERE id = ?1", "t", id);
    changes_event(changes, "token.revoke", "info", user, who, "%s", name);
    return catalog_commit(catalog, changes, error);
}
