/* hosts.c: see hosts.h. */
#include "broker/host/hosts.h"

#include <string.h>

#include "broker/host/probe.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

struct Hosts {
    World *world;
    const HostDriver *driver;
    HostWatcher watcher; /* of the workers */
    HostWatcher told;    /* who wants to know */
    GMutex lock;         /* guards the rest */
    GCond listening;
    gboolean is_listening, is_ending;
    GHashTable *workers; /* id -> HostWorker, one reference each */
};

/* ---- Rows ---- */

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

/* ---- Workers ---- */

static void end_worker(gpointer worker)
{
    host_worker_end(worker);
    host_worker_unref(worker);
}

static void add_worker(Hosts *hosts, const char *id, const char *uri)
{
    g_mutex_lock(&hosts->lock);
    g_hash_table_insert(hosts->workers, g_strdup(id),
                        host_worker_new(id, uri, hosts->driver, &hosts->watcher));
    g_mutex_unlock(&hosts->lock);
}

/* Its worker, with a reference, or NULL. */
static HostWorker *get_worker(Hosts *hosts, const char *id)
{
    g_mutex_lock(&hosts->lock);
    HostWorker *worker = g_hash_table_lookup(hosts->workers, id);
    if (worker)
        host_worker_ref(worker);
    g_mutex_unlock(&hosts->lock);
    return worker;
}

/* What the workers have to tell waits for hosts_listen().  FALSE: it is not wanted any more. */
static gboolean wait_listening(Hosts *hosts)
{
    g_mutex_lock(&hosts->lock);
    while (!hosts->is_listening && !hosts->is_ending)
        g_cond_wait(&hosts->listening, &hosts->lock);
    gboolean is_wanted = !hosts->is_ending;
    g_mutex_unlock(&hosts->lock);
    return is_wanted;
}

/* An event; the row may be gone already. */
static void note_state(gpointer user, const char *host_id, HostState state, const char *why)
{
    Hosts *hosts = user;
    World *world = hosts->world;
    const HostWatcher *watcher = &hosts->told;
    g_auto(HostRow) row = { 0 };
    g_auto(HostView) view = { 0 };

    if (!wait_listening(hosts))
        return;
    if (watcher->changed)
        watcher->changed(watcher->user, host_id, state, why);
    Db *db = catalog_read_begin(world->catalog);
    gboolean found = host_lookup(db, host_id, &row, NULL);

    catalog_read_end(world->catalog, db);
    if (!found)
        return;
    Changes *changes = changes_new();
    g_autofree char *shown = text_for_message(why ? why : row.uri, 300);
    changes_event(changes, state == HOST_UP ? "host.up" : "host.down",
                  state == HOST_UP ? "info" : "alarm", row.name, NULL, "%s", shown);
    catalog_commit(world->catalog, changes, NULL);
    if (state == HOST_UP && hosts_view(hosts, host_id, &view))
        probe_begin(world, &row, view.facts.has_kvm);
}

static void note_domains(gpointer user, const char *host_id, const GPtrArray *domains,
                         const HostDriver *driver, gpointer link)
{
    const HostWatcher *watcher = &((Hosts *)user)->told;

    if (wait_listening(user))
        watcher->seen(watcher->user, host_id, domains, driver, link);
}

static void note_client(gpointer user, const char *host_id, const ClientEvent *event)
{
    const HostWatcher *watcher = &((Hosts *)user)->told;

    if (wait_listening(user) && watcher->client)
        watcher->client(watcher->user, host_id, event);
}

Hosts *hosts_new(World *world, const HostDriver *driver, const HostWatcher *watcher, GError **error)
{
    Hosts *hosts = g_new0(Hosts, 1);

    hosts->world = world;
    hosts->driver = driver;
    hosts->told = *watcher;
    hosts->watcher = (HostWatcher){ note_domains, note_state, hosts, note_client };
    g_mutex_init(&hosts->lock);
    g_cond_init(&hosts->listening);
    hosts->workers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, end_worker);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id, uri FROM host", "");
    while (query_next(q))
        add_worker(hosts, query_text(q, "id"), query_text(q, "uri"));
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    if (!ok)
        g_clear_pointer(&hosts, hosts_free);
    return hosts;
}

void hosts_listen(Hosts *hosts)
{
    g_mutex_lock(&hosts->lock);
    hosts->is_listening = TRUE;
    g_cond_broadcast(&hosts->listening);
    g_mutex_unlock(&hosts->lock);
}

void hosts_free(Hosts *hosts)
{
    if (!hosts)
        return;
    g_mutex_lock(&hosts->lock);
    hosts->is_ending = TRUE;
    g_cond_broadcast(&hosts->listening);
    g_mutex_unlock(&hosts->lock);
    g_hash_table_unref(hosts->workers);
    g_cond_clear(&hosts->listening);
    g_mutex_clear(&hosts->lock);
    g_free(hosts);
}

static gboolean set_removed(GError **error)
{
    /* not NOT_FOUND, which would say that the host has no such domain */
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the host was removed");
    return FALSE;
}

gboolean hosts_call(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                    GDestroyNotify clear, gint64 limit_ms, GError **error)
{
    g_autoptr(HostWorker) worker = get_worker(hosts, host_id);

    return worker ? host_worker_call(worker, call, data, clear, limit_ms, error)
                  : set_removed(error);
}

void hosts_post(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                GDestroyNotify clear)
{
    g_autoptr(HostWorker) worker = get_worker(hosts, host_id);

    if (worker)
        host_worker_post(worker, call, data, clear);
}

gboolean hosts_call_apart(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                          GDestroyNotify clear, gint64 limit_ms, GError **error)
{
    g_autoptr(HostWorker) worker = get_worker(hosts, host_id);

    return worker ? host_worker_call_apart(worker, call, data, clear, limit_ms, error)
                  : set_removed(error);
}

gboolean hosts_view(Hosts *hosts, const char *host_id, HostView *ret)
{
    g_autoptr(HostWorker) worker = get_worker(hosts, host_id);

    if (worker)
        host_worker_view(worker, ret);
    return worker != NULL;
}

/* ---- Changes ---- */

static gboolean check_new(World *world, const HostRow *row, GError **error)
{
    if (!name_check("host", row->name, error) || !host_check_uri(row->uri, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean has_name = lookup_int(db, "SELECT count(*) FROM host WHERE name = ?1", "t", row->name);
    gboolean has_uri = lookup_int(db, "SELECT count(*) FROM host WHERE uri = ?1", "t", row->uri);
    catalog_read_end(world->catalog, db);
    if (has_name)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a host '%s' already",
                    row->name);
    else if (has_uri)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a host at '%s' already",
                    row->uri);
    return !has_name && !has_uri;
}

gboolean hosts_add(Hosts *hosts, HostRow *row, const char *who, GError **error)
{
    Id id = id_new();
    Changes *changes;

    if (!check_new(hosts->world, row, error))
        return FALSE;
    changes = changes_new();
    changes_sql(changes,
                "INSERT INTO host (id, name, uri, display_address, proxy, accelerator, store_paths,"
                " is_maintenance, created_at, group_id, listen, tls_subject, tls_ca, driver_iso)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10, ?11, ?12, ?13)",
                "tttttttittttt", id.s, row->name, row->uri, row->display_address, row->proxy,
                row->accelerator, row->store_paths, units_now_ms(), row->group_id, row->listen,
                row->tls_subject, row->tls_ca, row->driver_iso);
    changes_event(changes, "host.add", "info", row->name, who, "%s", row->uri);
    if (!catalog_commit(hosts->world->catalog, changes, error))
        return FALSE;
    row->id = g_strdup(id.s);
    add_worker(hosts, row->id, row->uri);
    return TRUE;
}

/* The row, with the host claimed: nothing is started there, or removed, meanwhile. */
static gboolean claim(Hosts *hosts, const char *name, HostRow *ret, json_t *keys, const char *what,
                      GError **error)
{
    Db *db = catalog_read_begin(hosts->world->catalog);
    gboolean ok = host_lookup(db, name, ret, error);

    catalog_read_end(hosts->world->catalog, db);
    if (!ok)
        return FALSE;
    claims_add(keys, 'x', "host", ret->id);
    return claims_take(hosts->world->claims, keys, what, error);
}

static gboolean check_empty(Hosts *hosts, const HostRow *row, GError **error)
{
    Db *db = catalog_read_begin(hosts->world->catalog);
    gint64 n = lookup_int(db, "SELECT count(*) FROM run WHERE ?1 IN (host_id, target_host_id)", "t",
                          row->id);

    catalog_read_end(hosts->world->catalog, db);
    if (n) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "%" G_GINT64_FORMAT " desktop%s on the host '%s'", n,
                    n == 1 ? " runs" : "s run", row->name);
        imaged_error_hint(error, "stop them, or move them away: imagectl host maintenance %s",
                          row->name);
    }
    return n == 0;
}

gboolean hosts_remove(Hosts *hosts, const char *name, const char *who, GError **error)
{
    g_auto(HostRow) row = { 0 };
    json_auto_t *keys = json_array();

    if (!claim(hosts, name, &row, keys, "host.remove", error))
        return FALSE;
    gboolean ok = check_empty(hosts, &row, error);
    if (ok) {
        Changes *changes = changes_new();
        changes_sql(changes, "DELETE FROM host WHERE id = ?1", "t", row.id);
        changes_event(changes, "host.remove", "info", row.name, who, "%s", row.uri);
        ok = catalog_commit(hosts->world->catalog, changes, error);
    }
    if (ok) {
        g_mutex_lock(&hosts->lock);
        gpointer id = NULL, worker = NULL;
        g_hash_table_steal_extended(hosts->workers, row.id, &id, &worker);
        g_mutex_unlock(&hosts->lock);
        g_free(id);
        if (worker)
            end_worker(worker);
    }
    claims_release(hosts->world->claims, keys);
    return ok;
}

gboolean hosts_set(Hosts *hosts, const HostRow *row, const char *who, GError **error)
{
    g_auto(HostRow) now = { 0 };
    g_auto(HostView) view = { 0 };
    Changes *changes = changes_new();

    changes_sql(changes,
                "UPDATE host SET display_address = ?2, proxy = ?3, accelerator = ?4,"
                " store_paths = ?5, group_id = ?6, listen = ?7, tls_subject = ?8, tls_ca = ?9,"
                " driver_iso = ?10, found_accelerator = ?11 WHERE id = ?1",
                "ttttttttttt", row->id, row->display_address, row->proxy, row->accelerator,
                row->store_paths, row->group_id, row->listen, row->tls_subject, row->tls_ca,
                row->driver_iso, row->found_accelerator);
    changes_event(changes, "host.set", "info", row->name, who, "%s", "");
    if (!catalog_commit(hosts->world->catalog, changes, error))
        return FALSE;
    Db *db = catalog_read_begin(hosts->world->catalog);
    gboolean ok = host_lookup(db, row->id, &now, error);
    catalog_read_end(hosts->world->catalog, db);
    if (ok && hosts_view(hosts, row->id, &view) && view.state == HOST_UP)
        probe_begin(hosts->world, &now, view.facts.has_kvm);
    return ok;
}

gboolean hosts_set_maintenance(Hosts *hosts, const char *name, gboolean is_maintenance,
                               const char *who, GError **error)
{
    g_auto(HostRow) row = { 0 };
    json_auto_t *keys = json_array();

    if (!claim(hosts, name, &row, keys, "host.maintenance", error))
        return FALSE;
    Changes *changes = changes_new();
    changes_sql(changes, "UPDATE host SET is_maintenance = ?2 WHERE id = ?1", "ti", row.id,
                (gint64)is_maintenance);
    changes_event(changes, is_maintenance ? "host.maintenance" : "host.activate", "info", row.name,
                  who, "%s", "");
    gboolean ok = catalog_commit(hosts->world->catalog, changes, error);
    claims_release(hosts->world->claims, keys);
    return ok;
}
