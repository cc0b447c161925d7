/* hosts.c: the hosts that desktops run on. */
#include "broker/host/hosts.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/hosts.h"
#include "imaged/ops/view.h"

#define MAX_CA 65536 /* bytes */

#define HOST_COLUMNS                                                                               \
    "SELECT h.id, h.name, h.uri, h.display_address, h.proxy, h.accelerator, CASE h.accelerator"    \
    " WHEN 'auto' THEN h.found_accelerator ELSE h.accelerator END AS used_accelerator,"            \
    " (SELECT g.name FROM host_group g WHERE g.id = h.group_id) AS host_group, h.listen,"          \
    " h.tls_subject, h.driver_iso, h.is_maintenance AS maintenance__bool,"                      \
    " (SELECT count(*) FROM run r WHERE r.host_id = h.id) AS n_desktops,"                          \
    " h.created_at AS created_at__time, h.fenced_at AS fenced_at__time FROM host h WHERE "

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

    if (!args_check(call, "search limit after", error) ||
        !view_page_of(call, "hosts", &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_found(
        db_query(db, HOST_COLUMNS "h.name > coalesce(?1, '') ORDER BY h.name", "t", page.after),
        &page, error);
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

json_t *host_take_store_paths(OpsCall *call, GError **error)
{
    const json_t *asked = json_object_get(call->args, "store_paths");
    json_t *paths = json_object(), *path;
    gboolean ok = !asked || json_is_object(asked);
    const char *name;

    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'store_paths' is an object: names of stores, and paths");
    json_object_foreach ((json_t *)asked, name, path) {
        g_autofree char *id = ok ? store_set_find(call->world->stores, name, error) : NULL;
        const char *text = json_string_value(path);
        if (ok && id && (!text || *text != '/'))
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "the path of the store '%s' does not begin with '/'", name);
        ok = ok && id && text && *text == '/' && text_check("path", text, 4000, error);
        if (ok)
            json_object_set(paths, id, path);
    }
    if (!ok)
        g_clear_pointer(&paths, json_decref);
    return paths;
}

/* The row's text, with what is asked for over it; "same" where nothing is said and it is the same
 * machine. */
static gboolean take_paths(OpsCall *call, HostRow *row, GError **error)
{
    gboolean is_here = g_str_has_prefix(row->uri, "qemu:///") ||
                       g_str_has_prefix(row->uri, "test:///") ||
                       g_str_has_prefix(row->uri, "qemu+unix:///");
    json_auto_t *asked = host_take_store_paths(call, error);
    json_auto_t *paths = row->store_paths ? json_loads(row->store_paths, 0, NULL) : json_object();

    if (!asked)
        return FALSE;
    json_object_update(paths, asked);
    if (is_here)
        json_object_set_new(paths, "same", json_true());
    g_free(row->store_paths);
    row->store_paths = json_dumps(paths, JSON_COMPACT);
    return TRUE;
}

/* A text that was asked for, checked, or null, which takes it away. */
static gboolean take_text(OpsCall *call, const char *key, const char *what, gsize max, char **field,
                          GError **error)
{
    const json_t *value = json_object_get(call->args, key);
    const char *text = json_string_value(value);

    if (!value)
        return TRUE;
    if (text && !text_check(what, text, max, error))
        return FALSE;
    g_free(*field);
    *field = text && *text ? g_strdup(text) : NULL;
    return TRUE;
}

#define SETTINGS                                                                                   \
    "display_address proxy accelerator store_paths host_group listen tls_subject tls_ca driver_iso"

static gboolean take_ca(OpsCall *call, HostRow *row, GError **error)
{
    const json_t *value = json_object_get(call->args, "tls_ca");
    const char *text = json_string_value(value);

    if (!value)
        return TRUE;
    if (text && (strlen(text) > MAX_CA || !strstr(text, "-----BEGIN CERTIFICATE-----"))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'tls_ca' is a certificate as PEM, at most %d bytes", MAX_CA);
        return FALSE;
    }
    g_free(row->tls_ca);
    row->tls_ca = g_strdup(text);
    return TRUE;
}

static gboolean take_accelerator(OpsCall *call, HostRow *row, GError **error)
{
    static const char *const accelerators[] = { "auto", "kvm", "tcg", NULL };
    const char *text = args_text(call, "accelerator", FALSE, NULL);

    if (!text)
        return TRUE;
    if (!g_strv_contains(accelerators, text)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "an accelerator is auto, kvm or tcg, not '%.40s'", text);
        return FALSE;
    }
    g_free(row->accelerator);
    row->accelerator = g_strdup(text);
    g_clear_pointer(&row->found_accelerator, g_free); /* auto: it is tried again */
    return TRUE;
}

static gboolean take_group(OpsCall *call, HostRow *row, GError **error)
{
    g_autofree char *id = NULL;

    if (!json_object_get(call->args, "host_group"))
        return TRUE;
    if (!host_group_id(call->world, args_text(call, "host_group", FALSE, NULL), &id, error))
        return FALSE;
    g_free(row->group_id);
    row->group_id = g_steal_pointer(&id);
    return TRUE;
}

/* A name or an IP address: what clients find in their file must not be a surprise there. */
static gboolean check_address(const char *what, const char *text, GError **error)
{
    if (!text || !text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                    ".:_%-")])
        return TRUE;
    g_autofree char *shown = text_for_message(text, 60);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no %s", shown, what);
    imaged_error_hint(error, "a name or an IP address alone, as in: vs-a.example.org");
    return FALSE;
}

static gboolean check_proxy(const char *text, GError **error)
{
    static const char *const schemes[] = { "http", "https", NULL };
    g_autofree char *scheme = NULL, *host = NULL;

    if (!text ||
        (g_uri_split(text, G_URI_FLAGS_NONE, &scheme, NULL, &host, NULL, NULL, NULL, NULL, NULL) &&
         scheme && g_strv_contains(schemes, scheme) && host && *host))
        return TRUE;
    g_autofree char *shown = text_for_message(text, 60);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no proxy", shown);
    imaged_error_hint(error, "as in: http://proxy.example.org:3128");
    return FALSE;
}

/* What the call says of the host, over what the row says. */
static gboolean take_settings(OpsCall *call, HostRow *row, GError **error)
{
    if (!args_are_texts(call,
                        "display_address proxy accelerator host_group listen tls_subject tls_ca"
                        " driver_iso",
                        error) ||
        !take_accelerator(call, row, error) || !take_group(call, row, error) ||
        !take_text(call, "display_address", "display address", 253, &row->display_address, error) ||
        !take_text(call, "proxy", "proxy", 500, &row->proxy, error) ||
        !take_text(call, "listen", "address", 253, &row->listen, error) ||
        !take_text(call, "tls_subject", "subject", 500, &row->tls_subject, error) ||
        !take_ca(call, row, error) ||
        !take_text(call, "driver_iso", "path", 4000, &row->driver_iso, error) ||
        !take_paths(call, row, error))
        return FALSE;
    if (row->driver_iso && *row->driver_iso != '/') {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the path of the drivers' CD does not begin with '/'");
        return FALSE;
    }
    if (!check_address("display address", row->display_address, error) ||
        !check_address("address to listen on", row->listen, error) ||
        !check_proxy(row->proxy, error))
        return FALSE;
    if (row->tls_ca && !row->tls_subject) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "with a certificate goes the subject of the host's own");
        return FALSE;
    }
    return TRUE;
}

json_t *ops_host_add(OpsCall *call, GError **error)
{
    g_auto(HostRow) row = { 0 };
    const char *name = args_text(call, "name", TRUE, error);
    const char *uri = name ? args_text(call, "uri", TRUE, error) : NULL;

    if (!uri || !args_check(call, "name uri " SETTINGS, error) || !host_check_uri(uri, error))
        return NULL;
    row.name = g_strdup(name);
    row.uri = g_strdup(uri);
    row.accelerator = g_strdup("auto");
    if (!take_settings(call, &row, error) ||
        !hosts_add(call->world->hosts, &row, call->who, error))
        return NULL;
    return host_object(call->world, name, error);
}

json_t *ops_host_set(OpsCall *call, GError **error)
{
    g_auto(HostRow) row = { 0 };
    const char *name = args_text(call, "host", TRUE, error);

    if (!name || !args_check(call, "host " SETTINGS, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = host_lookup(db, name, &row, error);
    catalog_read_end(call->world->catalog, db);
    if (!ok || !take_settings(call, &row, error) ||
        !hosts_set(call->world->hosts, &row, call->who, error))
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
