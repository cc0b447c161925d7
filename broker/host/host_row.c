/* host_row.c: see host_row.h. */
#include "broker/host/host_row.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

void host_row_clear(HostRow *row)
{
    char **texts[] = { &row->id,         &row->name,        &row->uri,
                       &row->proxy,      &row->accelerator, &row->store_paths,
                       &row->listen,     &row->tls_subject, &row->tls_ca,
                       &row->group_id,   &row->group_name,  &row->cpu_model,
                       &row->machine,    &row->group_paths, &row->driver_iso,
                       &row->display_address, &row->found_accelerator };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

gboolean host_lookup(Db *db, const char *name, HostRow *ret, GError **error)
{
    Query *q = db_query(db,
                        "SELECT h.*, g.name AS group_name, g.cpu_model, g.machine,"
                        " g.store_paths AS group_paths FROM host h LEFT JOIN host_group g ON"
                        " g.id = h.group_id WHERE h.id = ?1 OR h.name = ?1",
                        "t", name);
    gboolean found = query_next(q);

    if (found)
        *ret = (HostRow){ .id = g_strdup(query_text(q, "id")),
                          .name = g_strdup(query_text(q, "name")),
                          .uri = g_strdup(query_text(q, "uri")),
                          .display_address = g_strdup(query_text(q, "display_address")),
                          .proxy = g_strdup(query_text(q, "proxy")),
                          .accelerator = g_strdup(query_text(q, "accelerator")),
                          .store_paths = g_strdup(query_text(q, "store_paths")),
                          .found_accelerator = g_strdup(query_text(q, "found_accelerator")),
                          .listen = g_strdup(query_text(q, "listen")),
                          .tls_subject = g_strdup(query_text(q, "tls_subject")),
                          .tls_ca = g_strdup(query_text(q, "tls_ca")),
                          .driver_iso = g_strdup(query_text(q, "driver_iso")),
                          .group_id = g_strdup(query_text(q, "group_id")),
                          .group_name = g_strdup(query_text(q, "group_name")),
                          .cpu_model = g_strdup(query_text(q, "cpu_model")),
                          .machine = g_strdup(query_text(q, "machine")),
                          .group_paths = g_strdup(query_text(q, "group_paths")),
                          .is_maintenance = query_int(q, "is_maintenance") != 0,
                          .created_at = query_int(q, "created_at") };
    if (!query_end(q, error)) {
        host_row_clear(ret);
        return FALSE;
    }
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no host '%s'", shown);
        imaged_error_hint(error, "see them with: imagectl host list");
    }
    return found;
}

gboolean host_check_uri(const char *uri, GError **error)
{
    static const char *const known[] = { "qemu:///",    "qemu+unix://", "qemu+ssh://",
                                         "qemu+tls://", "qemu+tcp://",  "test://",
                                         "test+" };
    gboolean ok = strlen(uri) <= 1024 && g_utf8_validate(uri, -1, NULL);

    for (const char *c = uri; ok && *c; c++)
        ok = !g_ascii_isspace(*c) && !g_ascii_iscntrl(*c);
    /* what libvirt would start on this machine for a client that asks for it */
    ok = ok && !strstr(uri, "command=") && !strstr(uri, "netcat=");
    for (guint i = 0; ok && i < G_N_ELEMENTS(known); i++) {
        if (g_str_has_prefix(uri, known[i]))
            return TRUE;
    }
    g_autofree char *shown = text_for_message(uri, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is no address of a host", shown);
    imaged_error_hint(error, "as libvirt writes it: qemu:///system, qemu+ssh://HOST/system,"
                             " qemu+tls://HOST/system");
    return FALSE;
}

gboolean host_is_kvm(const HostRow *host)
{
    return g_str_equal(host->accelerator, "kvm") ||
           (g_str_equal(host->accelerator, "auto") &&
            g_strcmp0(host->found_accelerator, "kvm") == 0);
}

const char *host_listen(const HostRow *host)
{
    const char *address = host->display_address;

    if (host->listen)
        return host->listen;
    if (!address || g_str_equal(address, "localhost") || g_str_has_prefix(address, "127."))
        return "127.0.0.1";
    return strchr(address, ':') ? "::" : "0.0.0.0";
}

char *host_store_path(const HostRow *host, const Store *store)
{
    json_auto_t *paths = json_loads(host->store_paths, 0, NULL);
    json_auto_t *shared = host->group_paths ? json_loads(host->group_paths, 0, NULL) : NULL;
    const char *path = json_string_value(json_object_get(paths, store->id));

    if (!path)
        path = json_string_value(json_object_get(shared, store->id));
    if (path)
        return g_strdup(path);
    /* the same machine, or a share that is mounted alike everywhere */
    return json_is_true(json_object_get(paths, "same")) ? g_strdup(store->location) : NULL;
}
