/* check.c: may a caller do this with what the arguments name?  (caller.h) */
#include <string.h>

#include "broker/access/caller.h"
#include "broker/access/users.h"
#include "imaged/base/error.h"

/* "there is no desktop 'x'", as for one that really is not there. */
static gboolean hide(const char *object, const char *name, GError **error)
{
    g_autofree char *shown = text_for_message(name, 80);

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no %s '%s'", object, shown);
    return FALSE;
}

static gboolean deny(const Caller *caller, Permission permission, const char *object,
                     const char *name, GError **error)
{
    g_autofree char *shown = name ? text_for_message(name, 80) : NULL;
    const char *word = permission_name(permission);

    if (name)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "'%s' may not do this with the %s '%s'", caller->name, object, shown);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "'%s' may not do this", caller->name);
    imaged_error_hint(error, "it needs the permission %s%s", word,
                      caller->limit && !permission_has(&caller->limit->permissions, permission)
                          ? ", which the token is not good for"
                          : "");
    return FALSE;
}

/* Look at each row that from (a FROM and WHERE with the alias x, whose name is x.name or shown)
 * finds for value.  hides: one that he can't see is not there; else it is passed over. */
static gboolean check_rows(Db *db, const Caller *caller, Permission permission, const char *object,
                           const char *from, gboolean hides, const char *value, const char *shown,
                           GError **error)
{
    g_autofree char *may = access_sql(caller, permission, object, "x");
    g_autofree char *sees = access_visible_sql(caller, object, "x");

    if (!may)
        return TRUE;
    g_autofree char *sql = g_strdup_printf("SELECT %s AS name, %s AS is_seen FROM %s AND NOT"
                                           " coalesce(%s, 0) ORDER BY 2 %s LIMIT 1",
                                           shown ? "NULL" : "x.name", sees ? sees : "1", from, may,
                                           hides ? "ASC" : "DESC");
    Query *q = db_query_once(db, sql, "t", value);
    gboolean is_found = query_next(q), is_seen = is_found && query_int(q, "is_seen");
    g_autofree char *name = is_found ? g_strdup(shown ? shown : query_text(q, "name")) : NULL;
    if (!query_end(q, error))
        return FALSE;
    if (!is_found || (!is_seen && !hides))
        return TRUE;
    return is_seen ? deny(caller, permission, object, name, error) : hide(object, name, error);
}

gboolean access_check_id(Db *db, const Caller *caller, Permission permission, const char *object,
                         const char *id, const char *name, GError **error)
{
    g_autofree char *from = g_strdup_printf("\"%s\" x WHERE x.id = ?1", object);

    return check_rows(db, caller, permission, object, from, TRUE, id, name, error);
}

#define NAMED_DESKTOP "desktop x WHERE x.name = ?1 AND x.is_trashed = 0"
#define NAMED_TEMPLATE                                                                             \
    "template x WHERE x.is_trashed = 0 AND (x.name = ?1 OR (instr(?1, ':') > 0 AND x.name ="       \
    " substr(?1, 1, instr(?1, ':') - 1)))"
#define PREFIXED "desktop x WHERE substr(x.name, 1, length(?1)) = ?1 AND x.is_trashed = 0"
#define OF_TEMPLATE                                                                                \
    "desktop x JOIN version v ON v.id = x.version_id JOIN template t ON t.id = v.template_id"      \
    " WHERE x.is_trashed = 0 AND (t.name = ?1 OR t.name || ':' || v.version = ?1)"

static const char *text_of(const json_t *args, const char *key)
{
    return json_string_value(json_object_get(args, key));
}

static gboolean check_template(Db *db, const Caller *caller, Permission permission,
                               const json_t *args, const char *key, GError **error)
{
    const char *ref = text_of(args, key);

    return !ref ||
           check_rows(db, caller, permission, "template", NAMED_TEMPLATE, TRUE, ref, NULL, error);
}

/* What a prefix or a template selects is what the caller can see of it; of that he must be allowed
 * all. */
static gboolean check_desktops(Db *db, const Caller *caller, Permission permission,
                               const json_t *args, GError **error)
{
    const char *desktop = text_of(args, "desktop"), *prefix = text_of(args, "prefix");
    const char *template = text_of(args, "template");
    json_t *names = json_object_get(args, "names"), *name;
    size_t i;

    const json_t *all = json_object_get(args, "all");

    if (all && !json_is_false(all) && !json_is_null(all) &&
        !caller_may_everywhere(caller, permission))
        return deny(caller, permission, NULL, NULL, error);
    if (desktop &&
        !check_rows(db, caller, permission, "desktop", NAMED_DESKTOP, TRUE, desktop, NULL, error))
        return FALSE;
    if (!caller_may_everywhere(caller, permission)) {
        json_array_foreach (names, i, name) {
            if (json_is_string(name) &&
                !check_rows(db, caller, permission, "desktop", NAMED_DESKTOP, TRUE,
                            json_string_value(name), NULL, error))
                return FALSE;
        }
    }
    if (prefix &&
        !check_rows(db, caller, permission, "desktop", PREFIXED, FALSE, prefix, NULL, error))
        return FALSE;
    if (template &&
        !check_rows(db, caller, permission, "desktop", OF_TEMPLATE, FALSE, template, NULL, error))
        return FALSE;
    return check_template(db, caller, PERMISSION_TEMPLATE_SEE, args, "to", error);
}

/* "desk-1@before", "golden:3", "desk-1/data": names of desktops and templates are one kind; an
 * archive's point belongs to no scope. */
static gboolean check_ref(Db *db, const Caller *caller, Permission permission, const json_t *args,
                          GError **error)
{
    const char *ref = text_of(args, "ref");
    g_autofree char *name = ref ? g_strndup(ref, strcspn(ref, ":@/")) : NULL;

    if (!ref || caller_may_everywhere(caller, permission))
        return TRUE;
    if (g_str_has_prefix(ref, "archive:"))
        return deny(caller, permission, "archive point", ref, error);
    return check_rows(db, caller, permission, "desktop", NAMED_DESKTOP, TRUE, name, NULL, error) &&
           check_rows(db, caller, permission, "template", NAMED_TEMPLATE, TRUE, name, NULL, error);
}

static gboolean check_user(Db *db, const Caller *caller, Permission permission, const char *name,
                           GError **error)
{
    g_autofree char *key = user_name_key(name);

    return check_rows(db, caller, permission, "user", "user x WHERE x.name_key = ?1", TRUE, key,
                      name, error);
}

static gboolean check_objects(Db *db, const Caller *caller, Permission permission, AccessOn on,
                              const json_t *args, GError **error)
{
    switch (on) {
    case ACCESS_ON_DESKTOPS:
        return check_desktops(db, caller, permission, args, error);
    case ACCESS_ON_TEMPLATE:
        return check_template(db, caller, permission, args, "template", error) &&
               check_template(db, caller, permission, args, "from", error) &&
               check_template(db, caller, permission, args, "to", error);
    case ACCESS_ON_POOL:
        return !text_of(args, "pool") ||
               check_rows(db, caller, permission, "pool", "pool x WHERE x.name = ?1", TRUE,
                          text_of(args, "pool"), NULL, error);
    case ACCESS_ON_SESSION:
        return !text_of(args, "session") ||
               check_rows(db, caller, permission, "session", "session x WHERE x.id = ?1", TRUE,
                          text_of(args, "session"), text_of(args, "session"), error);
    case ACCESS_ON_REF:
        return check_ref(db, caller, permission, args, error);
    case ACCESS_ON_JOB:
        return !text_of(args, "job") ||
               check_rows(db, caller, permission, "job", "job x WHERE x.id = ?1", TRUE,
                          text_of(args, "job"), text_of(args, "job"), error);
    case ACCESS_ON_USER:
        return !text_of(args, "user") ||
               check_user(db, caller, permission, text_of(args, "user"), error);
    default:
        return TRUE;
    }
}

gboolean access_check(Db *db, const Caller *caller, Permission permission, AccessOn on,
                      const json_t *args, GError **error)
{
    gboolean is_his = on == ACCESS_ON_JOB || on == ACCESS_ON_USER;

    if (permission == PERMISSION_NONE || (caller && caller->is_admin))
        return TRUE;
    if (!caller) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "nobody has logged in");
        return FALSE;
    }
    if (permission == PERMISSION_ANYONE)
        return TRUE;
    if (permission == PERMISSION_UNSET ||
        (on == ACCESS_ON_ALL ? !caller_may_everywhere(caller, permission)
                             : !caller_may_somewhere(caller, permission) && !is_his))
        return deny(caller, permission, NULL, NULL, error);
    return caller_may_everywhere(caller, permission) ||
           check_objects(db, caller, permission, on, args, error);
}
