/* host_groups.c: hosts that are alike: what they have in common is said once. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/args.h"
#include "imaged/ops/hosts.h"
#include "imaged/ops/view.h"

#define GROUP_COLUMNS                                                                              \
    "SELECT g.id, g.name, g.cpu_model, g.machine, (SELECT count(*) FROM host h WHERE"              \
    " h.group_id = g.id) AS n_hosts, (SELECT count(*) FROM network n WHERE n.group_id = g.id) AS"  \
    " n_networks, g.created_at AS created_at__time FROM host_group g WHERE "

gboolean host_group_id(World *world, const char *name, char **ret_id, GError **error)
{
    *ret_id = NULL;
    if (!name)
        return TRUE;
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id FROM host_group WHERE name = ?1 OR id = ?1", "t", name);
    if (query_next(q))
        *ret_id = g_strdup(query_text(q, "id"));
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    if (ok && !*ret_id) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no host group '%s'",
                    shown);
        imaged_error_hint(error, "see them with: imagectl host-group list");
    }
    return ok && *ret_id;
}

static json_t *group_object(World *world, const char *name, GError **error)
{
    g_autofree char *id = NULL;
    json_t *out = NULL;

    if (!host_group_id(world, name, &id, error))
        return NULL;
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, GROUP_COLUMNS "g.id = ?1", "t", id);
    out = query_next(q) ? view_object(q) : NULL;
    if (!query_end(q, error))
        g_clear_pointer(&out, json_decref);
    catalog_read_end(world->catalog, db);
    return out;
}

json_t *ops_host_group_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db, GROUP_COLUMNS "g.name > coalesce(?1, '') ORDER BY g.name", "t", page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* A word of libvirt's: a CPU model, a machine type. */
static gboolean check_word(const char *what, const char *word, GError **error)
{
    gboolean ok = !word || (*word && strlen(word) <= 64);

    for (const char *c = word; ok && c && *c; c++)
        ok = g_ascii_isalnum(*c) || strchr("._-", *c);
    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a %s has letters, digits, '.', '_' and '-'", what);
    return ok;
}

static gboolean check_name(World *world, const char *name, GError **error)
{
    if (!name_check("host group", name, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db, "SELECT count(*) FROM host_group WHERE name = ?1", "t", name);
    catalog_read_end(world->catalog, db);
    if (n)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a host group '%s' already",
                    name);
    return n == 0;
}

json_t *ops_host_group_add(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "name", TRUE, error);
    Id id = id_new();

    if (!name || !args_check(call, "name cpu_model machine store_paths", error) ||
        !args_are_texts(call, "cpu_model machine", error))
        return NULL;
    const char *model = args_text(call, "cpu_model", FALSE, NULL);
    const char *machine = args_text(call, "machine", FALSE, NULL);
    if (!check_word("CPU model", model, error) || !check_word("machine type", machine, error) ||
        !check_name(call->world, name, error))
        return NULL;
    json_auto_t *paths = host_take_store_paths(call, error);
    if (!paths)
        return NULL;
    g_autofree char *text = json_dumps(paths, JSON_COMPACT);
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO host_group (id, name, cpu_model, machine, store_paths, created_at)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                "ttttti", id.s, name, model, machine, text, units_now_ms());
    changes_event(changes, "host.group-add", "info", name, call->who, "%s", "");
    if (!catalog_commit(call->world->catalog, changes, error))
        return NULL;
    return group_object(call->world, name, error);
}

json_t *ops_host_group_remove(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "group", TRUE, error);
    json_t *group =
        name && args_check(call, "group", error) ? group_object(call->world, name, error) : NULL;
    const char *id = json_string_value(json_object_get(group, "id"));

    if (!group)
        return NULL;
    gint64 n = json_integer_value(json_object_get(group, "n_hosts")) +
               json_integer_value(json_object_get(group, "n_networks"));
    if (n) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "hosts or networks are in the group");
        json_decref(group);
        return NULL;
    }
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM host_group WHERE id = ?1", "t", id);
    changes_event(changes, "host.group-remove", "info", name, call->who, "%s", "");
    if (!catalog_commit(call->world->catalog, changes, error))
        g_clear_pointer(&group, json_decref);
    return group;
}
