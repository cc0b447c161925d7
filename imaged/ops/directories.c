/* directories.c: directories of users: LDAP servers and Active Directories. */
#include "broker/access/directory.h"

#include <string.h>

#include "broker/access/ldap_text.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define MAX_SERVERS 16
#define MAX_PEM 100000

#define DIRECTORY_COLUMNS                                                                          \
    "SELECT d.id, d.name, d.kind, d.settings, (SELECT count(*) FROM user u WHERE"                  \
    " u.directory_id = d.id) AS n_users, (SELECT count(*) FROM user_group g WHERE"                 \
    " g.directory_id = d.id) AS n_groups, d.created_at AS created_at__time FROM directory d "      \
    "WHERE "

/* What may be shown of the settings. */
static void expand(json_t *directory)
{
    static const char *const shown[] = { "base",         "bind_dn",        "user_filter",
                                         "group_filter", "user_attribute", NULL };
    json_auto_t *settings =
        json_loads(json_string_value(json_object_get(directory, "settings")), 0, NULL);

    json_object_del(directory, "settings");
    json_t *servers = json_object_get(settings, "servers");
    json_object_set_new(directory, "servers", servers ? json_incref(servers) : json_array());
    for (guint i = 0; shown[i]; i++) {
        json_t *value = json_object_get(settings, shown[i]);
        json_object_set_new(directory, shown[i], value ? json_incref(value) : json_null());
    }
    json_object_set_new(directory, "has_password",
                        json_boolean(json_is_true(json_object_get(settings, "has_password"))));
    json_object_set_new(directory, "has_ca", json_boolean(json_object_get(settings, "ca_pem")));
}

json_t *ops_directory_list(OpsCall *call, GError **error)
{
    ViewPage page;
    size_t i;
    json_t *directory;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out =
        view_array(db_query(db, DIRECTORY_COLUMNS "d.name > coalesce(?1, '') ORDER BY d.name", "t",
                            page.after),
                   NULL, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach (out, i, directory)
        expand(directory);
    return out;
}

static json_t *directory_object(OpsCall *call, const char *name, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    Query *q = db_query(db, DIRECTORY_COLUMNS "d.name = ?1 OR d.id = ?1", "t", name);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    query_end(q, error);
    catalog_read_end(call->world->catalog, db);
    if (out)
        expand(out);
    else if (error && !*error)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no such directory");
    return out;
}

static gboolean check_servers(const json_t *servers, GError **error)
{
    size_t i;
    json_t *server;

    if (json_array_size(servers) == 0 || json_array_size(servers) > MAX_SERVERS) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a directory has 1 to %d servers",
                    MAX_SERVERS);
        return FALSE;
    }
    json_array_foreach ((json_t *)servers, i, server) {
        const char *text = json_string_value(server);
        const char *rest = g_str_has_prefix(text, "ldaps://")  ? text + 8
                           : g_str_has_prefix(text, "ldap://") ? text + 7
                                                               : "";
        if (!*rest || strlen(rest) > 260 ||
            strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") !=
                strlen(rest)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "'%.60s' is no server of a directory", text);
            imaged_error_hint(error, "ldaps://HOST, or ldap://HOST (with StartTLS always)");
            return FALSE;
        }
    }
    return TRUE;
}

/* The arguments that are settings, checked; of a new directory some must be there.  INVALID. */
static json_t *take_settings(OpsCall *call, gboolean is_new, GError **error)
{
    static const char *const texts[] = { "base",        "bind_dn",      "bind_password",
                                         "user_filter", "group_filter", "user_attribute" };
    json_auto_t *settings = json_object();
    json_t *servers = NULL;

    if (!args_texts(call, "servers", &servers, error) ||
        ((is_new || servers) && !check_servers(servers, error)) ||
        !args_are_texts(call,
                        "base bind_dn bind_password user_filter group_filter user_attribute"
                        " ca_pem",
                        error) ||
        (is_new && !args_text(call, "base", TRUE, error)))
        return NULL;
    if (servers)
        json_object_set(settings, "servers", servers);
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char *text = args_text(call, texts[i], FALSE, NULL);
        if (!text)
            continue;
        if (!text_check(texts[i], text, 1000, error))
            return NULL;
        if (g_str_has_suffix(texts[i], "_filter") && !ldap_text_is_filter(text)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "'%s' is no filter: (objectClass=person), say", texts[i]);
            return NULL;
        }
        if (g_str_equal(texts[i], "base") && !ldap_text_is_name(text)) {
            g_autofree char *shown = text_for_message(text, 80);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "'%s' is no entry of a directory: dc=example,dc=org, say", shown);
            return NULL;
        }
        json_object_set_new(settings, texts[i], json_string(text));
    }
    const char *attribute = args_text(call, "user_attribute", FALSE, NULL);
    if (attribute && (!*attribute || strspn(attribute, "abcdefghijklmnopqrstuvwxyz"
                                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
                                         strlen(attribute))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'user_attribute' is no attribute's name");
        return NULL;
    }
    const char *pem = args_text(call, "ca_pem", FALSE, NULL);
    if (pem && (strlen(pem) > MAX_PEM || !strstr(pem, "-----BEGIN CERTIFICATE-----"))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'ca_pem' has no certificate");
        return NULL;
    }
    if (pem)
        json_object_set_new(settings, "ca_pem", json_string(pem));
    return g_steal_pointer(&settings);
}

#define SETTINGS                                                                                   \
    " servers base ca_pem bind_dn bind_password user_filter group_filter user_attribute"

json_t *ops_directory_set(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "directory", TRUE, error);

    if (!name || !args_check(call, "directory" SETTINGS, error))
        return NULL;
    json_auto_t *settings = take_settings(call, FALSE, error);
    if (!settings)
        return NULL;
    if (json_object_size(settings) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "say what to set");
        return NULL;
    }
    if (!directory_set(call->world, name, settings, call->who, error))
        return NULL;
    return directory_object(call, name, error);
}

json_t *ops_directory_add(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "name", TRUE, error);
    const char *kind = name ? args_text(call, "kind", TRUE, error) : NULL;

    if (!kind || !args_check(call, "name kind" SETTINGS, error))
        return NULL;
    if (!g_str_equal(kind, "ad") && !g_str_equal(kind, "ldap")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a directory's kind is ad or ldap");
        return NULL;
    }
    json_auto_t *settings = take_settings(call, TRUE, error);
    if (!settings || !directory_add(call->world, name, kind, settings, call->who, error))
        return NULL;
    return directory_object(call, name, error);
}

json_t *ops_directory_remove(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "directory", TRUE, error);

    if (!name || !args_check(call, "directory", error))
        return NULL;
    json_t *out = directory_object(call, name, error);
    if (out && !directory_remove(call->world, name, call->who, error))
        g_clear_pointer(&out, json_decref);
    return out;
}

json_t *ops_directory_test(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "directory", TRUE, error);

    if (!name || !args_check(call, "directory user", error) || !args_are_texts(call, "user", error))
        return NULL;
    return directory_test(call->world, name, args_text(call, "user", FALSE, NULL), error);
}

json_t *ops_directory_refresh(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "directory", TRUE, error);

    if (!name || !args_check(call, "directory", error) ||
        !directory_refresh(call->world, name, error))
        return NULL;
    return directory_object(call, name, error);
}
