/* networks.c: the networks that desktops are plugged into. */
#include "broker/host/networks.h"

#include "imaged/ops/args.h"
#include "imaged/ops/hosts.h"
#include "imaged/ops/view.h"

#define NETWORK_COLUMNS                                                                            \
    "SELECT n.id, n.name, n.kind, n.bridge, n.vlan, g.name AS host_group,"                         \
    " (SELECT count(*) FROM desktop d, json_each(d.hardware, '$.networks') e WHERE"                \
    "  e.value = n.name AND d.is_trashed = 0) AS n_desktops,"                                      \
    " (SELECT count(*) FROM version v, json_each(v.hardware, '$.networks') e WHERE"                \
    "  e.value = n.name AND v.is_trashed = 0) AS n_versions,"                                      \
    " n.created_at AS created_at__time FROM network n LEFT JOIN host_group g ON"                   \
    " g.id = n.group_id WHERE "

static json_t *network_object(World *world, const char *name, GError **error)
{
    g_auto(NetworkRow) row = { 0 };
    json_t *out = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (network_lookup(db, name, &row, error)) {
        Query *q = db_query(db, NETWORK_COLUMNS "n.id = ?1", "t", row.id);
        out = query_next(q) ? view_object(q) : NULL;
        if (!query_end(q, error))
            g_clear_pointer(&out, json_decref);
    }
    catalog_read_end(world->catalog, db);
    return out;
}

json_t *ops_network_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db, NETWORK_COLUMNS "n.name > coalesce(?1, '') ORDER BY n.name", "t", page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

json_t *ops_network_add(OpsCall *call, GError **error)
{
    g_auto(NetworkRow) row = { 0 };
    const char *name = args_text(call, "name", TRUE, error);
    const char *kind = name ? args_text(call, "kind", TRUE, error) : NULL;

    if (!kind || !args_check(call, "name kind bridge vlan host_group", error) ||
        !args_are_texts(call, "bridge host_group", error) ||
        !args_int(call, "vlan", 0, 1, 4094, &row.vlan, error) ||
        !host_group_id(call->world, args_text(call, "host_group", FALSE, NULL), &row.group_id,
                       error))
        return NULL;
    row.name = g_strdup(name);
    row.kind = g_strdup(kind);
    row.bridge = g_strdup(args_text(call, "bridge", FALSE, NULL));
    return network_add(call->world, &row, call->who, error)
               ? network_object(call->world, name, error)
               : NULL;
}

json_t *ops_network_remove(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "network", TRUE, error);
    json_t *network = name && args_check(call, "network", error)
                          ? network_object(call->world, name, error)
                          : NULL;

    if (network && !network_remove(call->world, name, call->who, error))
        g_clear_pointer(&network, json_decref);
    return network;
}
