/* hosts.c: the hosts that desktops run on. */
#include "broker/host/hosts.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define HOST_COLUMNS                                                                               \
    "SELECT h.id, h.name, h.uri, h.display_address, h.proxy, h.accelerator, h.is_maintenance AS"   \
    " maintenance__bool, (SELECT count(*) FROM run r WHERE r.host_id = h.id) AS n_desktops,"       \
    " h.created_at AS created_at__time FROM host h WHERE "

/* What its worker knows: never waits. */
static void add_view(World *world, json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "id"));
    g_auto(HostView) view = { 0 };

    if (!hosts_view(world->hosts, id, &view))
        return;
    g_autofree char *since = units_format_time(view.since);
    json_t *more = json_pack(
        "{s:s,s:s,s:s?,s:s?,s:s?,s:I,s:I,s:b,s:b,s:I,s:I,s:f}", "state",
        host_state_name(view.state), "since", since, "reason", view.why, "hostname",
        view.facts.hostname, "cpu_model", view.facts.cpu_model, "cpus",
        (json_int_t)view.facts.n_cpus, "memory_bytes", (json_int_t)view.facts.memory_bytes, "kvm",
        view.facts.has_kvm, "spice", view.facts.has_spice, "n_domains", (json_int_t)view.n_domains,
        "domains_memory_bytes", (json_int_t)view.domains_memory, "cpu_usage", view.cpu_usage);
    json_object_update(object, more);
    json_decref(more);
}

static json_t *host_object(World *world, const char *name, GError **error)
{
    g_auto(HostRow) row = { 0 };
    json_t *out = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (host_lookup(db, name, &row, error)) {
        Query *q = db_query(db, HOST_COLUMNS "h.id = ?1", "t", row.id);
        out = query_next(q) ? view_object(q) : NULL;
        if (!query_end(q, error))
            g_clear_pointer(&out, json_decref);
    }
    catalog_read_end(world->catalog, db);
    if (out)
        add_view(world, out);
    return out;
}

json_t *ops_host_list(OpsCall *call, GError **error)
{
    ViewPage page;
    size_t i;
    json_t *host;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db, HOST_COLUMNS "h.name > coalesce(?1, '') ORDER BY h.name", "t", page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach (out, i, host)
        add_view(call->world, host);
    return out;
}

json_t *ops_host_show(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "host", TRUE, error);

    if (!name || !args_check(call, "host", error))
        return NULL;
    return host_object(call->world, name, error);
}

/* Where the host sees our stores: {"id of a store": "/path"}; "same" where nothing is said and it
 * is the same machine. */
static char *store_paths(OpsCall *call, const char *uri, GError **error)
{
    const json_t *asked = json_object_get(call->args, "store_paths");
    gboolean is_here = g_str_has_prefix(uri, "qemu:///") || g_str_has_prefix(uri, "test:///") ||
                       g_str_has_prefix(uri, "qemu+unix:///");
    json_auto_t *paths = json_object();
    const char *name;
    json_t *path;

    if (asked && !json_is_object(asked)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'store_paths' is an object: names of stores, and paths");
        return NULL;
    }
    json_object_foreach ((json_t *)asked, name, path) {
        g_autofree char *id = store_set_find(call->world->stores, name, error);
        const char *text = json_string_value(path);
        if (!id)
            return NULL;
        if (!text || *text != '/' || !text_check("path", text, 4000, error)) {
            if (!error || !*error)
                g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                            "the path of the store '%s' does not begin with '/'", name);
            return NULL;
        }
        json_object_set(paths, id, path);
    }
    if (is_here)
        json_object_set_new(paths, "same", json_true());
    return json_dumps(paths, JSON_COMPACT);
}

json_t *ops_host_add(OpsCall *call, GError **error)
{
    static const char *const accelerators[] = { "auto", "kvm", "tcg", NULL };
    g_auto(HostRow) row = { 0 };
    const char *name = args_text(call, "name", TRUE, error);
    const char *uri = name ? args_text(call, "uri", TRUE, error) : NULL;

    if (!uri ||
        !args_check(call, "name uri display_address proxy accelerator store_paths", error) ||
        !args_are_texts(call, "display_address proxy accelerator", error) ||
        !host_check_uri(uri, error))
        return NULL;
    const char *accelerator = args_text(call, "accelerator", FALSE, NULL);
    const char *address = args_text(call, "display_address", FALSE, NULL);
    const char *proxy = args_text(call, "proxy", FALSE, NULL);
    if (accelerator && !g_strv_contains(accelerators, accelerator)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "an accelerator is auto, kvm or tcg, not '%.40s'", accelerator);
        return NULL;
    }
    if ((address && !text_check("display address", address, 253, error)) ||
        (proxy && !text_check("proxy", proxy, 500, error)) ||
        !(row.store_paths = store_paths(call, uri, error)))
        return NULL;
    row.name = g_strdup(name);
    row.uri = g_strdup(uri);
    row.display_address = g_strdup(address);
    row.proxy = g_strdup(proxy);
    row.accelerator = g_strdup(accelerator ? accelerator : "auto");
    if (!hosts_add(call->world->hosts, &row, call->who, error))
        return NULL;
    return host_object(call->world, name, error);
}

static const char *only_host(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "host", TRUE, error);

    return name && args_check(call, "host", error) ? name : NULL;
}

json_t *ops_host_remove(OpsCall *call, GError **error)
{
    const char *name = only_host(call, error);
    json_t *host = name ? host_object(call->world, name, error) : NULL;

    if (host && !hosts_remove(call->world->hosts, name, call->who, error))
        g_clear_pointer(&host, json_decref);
    return host;
}

json_t *ops_host_maintenance(OpsCall *call, GError **error)
{
    const char *name = only_host(call, error);

    if (!name || !hosts_set_maintenance(call->world->hosts, name, TRUE, call->who, error))
        return NULL;
    return host_object(call->world, name, error);
}

json_t *ops_host_activate(OpsCall *call, GError **error)
{
    const char *name = only_host(call, error);

    if (!name || !hosts_set_maintenance(call->world->hosts, name, FALSE, call->who, error))
        return NULL;
    return host_object(call->world, name, error);
}
