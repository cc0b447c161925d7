/* networks.c: see networks.h. */
#include "broker/host/networks.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define MAX_INTERFACE 15 /* characters of an interface's name on Linux */

void network_row_clear(NetworkRow *row)
{
    char **texts[] = { &row->id, &row->name, &row->kind, &row->bridge, &row->group_id };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

gboolean network_lookup(Db *db, const char *name, NetworkRow *ret, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM network WHERE id = ?1 OR name = ?1", "t", name);
    gboolean found = query_next(q);

    if (found)
        *ret = (NetworkRow){ .id = g_strdup(query_text(q, "id")),
                             .name = g_strdup(query_text(q, "name")),
                             .kind = g_strdup(query_text(q, "kind")),
                             .bridge = g_strdup(query_text(q, "bridge")),
                             .vlan = query_int(q, "vlan"),
                             .group_id = g_strdup(query_text(q, "group_id")),
                             .created_at = query_int(q, "created_at") };
    if (!query_end(q, error)) {
        network_row_clear(ret);
        return FALSE;
    }
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no network '%s'", shown);
        imaged_error_hint(error, "see them with: imagectl network list");
    }
    return found;
}

char *network_source(const NetworkRow *network)
{
    if (g_str_equal(network->kind, "isolated"))
        return g_strdup_printf("imaged-%s", network->id);
    if (network->vlan)
        return g_strdup_printf("%s.%d", network->bridge, (int)network->vlan);
    return g_strdup(network->bridge);
}

char *network_xml(const NetworkRow *network)
{
    g_autofree char *name = network_source(network);

    /* the end of an id is what differs */
    return g_markup_printf_escaped("<network><name>%s</name><bridge name='im%s' stp='off'/>"
                                   "</network>",
                                   name, network->id + strlen(network->id) - 12);
}

gboolean network_is_on(const NetworkRow *network, const HostRow *host)
{
    return !network->group_id || g_strcmp0(network->group_id, host->group_id) == 0;
}

/* ---- Changes ---- */

static gboolean is_interface(const char *name)
{
    gboolean ok = *name && strlen(name) <= MAX_INTERFACE && *name != '.' && *name != '-';

    for (const char *c = name; ok && *c; c++)
        ok = g_ascii_isalnum(*c) || strchr("._-", *c);
    return ok;
}

static gboolean check_new(const NetworkRow *row, GError **error)
{
    gboolean is_isolated = g_str_equal(row->kind, "isolated");
    gboolean is_vlan = g_str_equal(row->kind, "vlan");
    g_autofree char *source = row->bridge ? network_source(row) : NULL;

    if (!name_check("network", row->name, error))
        return FALSE;
    if (!is_isolated && !is_vlan && !g_str_equal(row->kind, "bridge"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a network is of kind bridge, vlan or isolated, not '%.40s'", row->kind);
    else if (is_isolated && (row->bridge || row->vlan))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "an isolated network has neither a bridge nor a VLAN");
    else if (!is_isolated && !row->bridge)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "which bridge of the hosts?");
    else if (is_vlan != (row->vlan != 0))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a network of kind vlan has a VLAN's number, another has none");
    else if (source && !is_interface(source))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a bridge has a name of at most %d letters, digits, '.', '_' and '-'%s",
                    MAX_INTERFACE, is_vlan ? ", with '.' and the VLAN's number behind it" : "");
    else
        return TRUE;
    return FALSE;
}

gboolean network_add(World *world, NetworkRow *row, const char *who, GError **error)
{
    Id id = id_new();

    if (!check_new(row, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean has = lookup_int(db, "SELECT count(*) FROM network WHERE name = ?1", "t", row->name);
    catalog_read_end(world->catalog, db);
    if (has) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a network '%s' already",
                    row->name);
        return FALSE;
    }
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO network (id, name, kind, bridge, vlan, group_id, created_at) VALUES"
                " (?1, ?2, ?3, ?4, nullif(?5, 0), ?6, ?7)",
                "ttttiti", id.s, row->name, row->kind, row->bridge, row->vlan, row->group_id,
                units_now_ms());
    changes_event(changes, "network.add", "info", row->name, who, "%s", row->kind);
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    row->id = g_strdup(id.s);
    return TRUE;
}

/* How many desktops' or versions' hardware names it. */
static gint64 count_users(Db *db, const char *name)
{
    return lookup_int(
        db,
        "SELECT (SELECT count(*) FROM desktop d, json_each(d.hardware, '$.networks') n"
        " WHERE n.value = ?1 AND d.is_trashed = 0) + (SELECT count(*) FROM version v,"
        " json_each(v.hardware, '$.networks') n WHERE n.value = ?1 AND"
        " v.is_trashed = 0) + (SELECT count(*) FROM pool p, json_each(p.settings,"
        " '$.hardware.networks') n WHERE n.value = ?1)",
        "t", name);
}

gboolean network_remove(World *world, const char *name, const char *who, GError **error)
{
    g_auto(NetworkRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = network_lookup(db, name, &row, error);
    gint64 n = ok ? count_users(db, row.name) : 0;

    catalog_read_end(world->catalog, db);
    if (n) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "%" G_GINT64_FORMAT " desktop%s, pool%s or template version%s on the network"
                    " '%s'",
                    n, n == 1 ? "" : "s", n == 1 ? "" : "s", n == 1 ? " is" : "s are", row.name);
        imaged_error_hint(error, "take it away from them: imagectl desktop set NAME --unset"
                                 " networks");
    }
    if (!ok || n)
        return FALSE;
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM network WHERE id = ?1", "t", row.id);
    changes_event(changes, "network.remove", "info", row.name, who, "%s", row.kind);
    return catalog_commit(world->catalog, changes, error);
}
