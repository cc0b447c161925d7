/* hosts.c: see hosts.h. */
#include "broker/host/hosts.h"

#include "broker/host/probe.h"
#include "broker/host/same_machine.h"
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
    GHashTable *fenced;  /* ids of those that were declared off */
};

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
    if (state == HOST_UP && hosts_view(hosts, host_id, &view) && view.state == HOST_UP)
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

static gboolean is_up(gpointer user, const char *host_id)
{
    g_auto(HostView) view = { 0 };

    return hosts_view(user, host_id, &view) && view.state == HOST_UP;
}

static gboolean admit(gpointer user, const char *host_id, const HostFacts *facts, GError **error)
{
    Hosts *hosts = user;

    if (wait_listening(hosts))
        return same_machine_check(hosts->world->catalog, host_id, facts->machine_uuid, is_up, hosts,
                                  error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "imaged ends");
    return FALSE;
}

Hosts *hosts_new(World *world, const HostDriver *driver, const HostWatcher *watcher, GError **error)
{
    Hosts *hosts = g_new0(Hosts, 1);

    hosts->world = world;
    hosts->driver = driver;
    hosts->told = *watcher;
    hosts->watcher = (HostWatcher){ note_domains, note_state, hosts, note_client, admit };
    g_mutex_init(&hosts->lock);
    g_cond_init(&hosts->listening);
    hosts->workers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, end_worker);
    hosts->fenced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id, uri, fenced_at IS NOT NULL AS is_fenced FROM host", "");
    while (query_next(q)) {
        if (query_int(q, "is_fenced"))
            g_hash_table_add(hosts->fenced, g_strdup(query_text(q, "id")));
        add_worker(hosts, query_text(q, "id"), query_text(q, "uri"));
    }
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
    g_autoptr(GList) workers = g_hash_table_get_values(hosts->workers);
    g_mutex_unlock(&hosts->lock);
    /* All have ended before the table goes: what they tell makes others look into it. */
    for (GList *w = workers; w; w = w->next)
        host_worker_end(w->data);
    g_hash_table_unref(hosts->workers);
    g_hash_table_unref(hosts->fenced);
    g_cond_clear(&hosts->listening);
    g_mutex_clear(&hosts->lock);
    g_free(hosts);
}

/* ---- Calls ---- */

void hosts_set_fenced(Hosts *hosts, const char *host_id, gboolean is_fenced)
{
    g_mutex_lock(&hosts->lock);
    if (is_fenced)
        g_hash_table_add(hosts->fenced, g_strdup(host_id));
    else
        g_hash_table_remove(hosts->fenced, host_id);
    g_mutex_unlock(&hosts->lock);
}

gboolean hosts_is_fenced(Hosts *hosts, const char *host_id)
{
    g_mutex_lock(&hosts->lock);
    gboolean is = g_hash_table_contains(hosts->fenced, host_id);
    g_mutex_unlock(&hosts->lock);
    return is;
}

/* Its worker, if it may be asked. */
static HostWorker *to_ask(Hosts *hosts, const char *host_id, GError **error)
{
    HostWorker *worker = get_worker(hosts, host_id);

    if (worker && hosts_is_fenced(hosts, host_id)) {
        g_clear_pointer(&worker, host_worker_unref);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "its host was declared off");
    } else if (!worker) {
        /* not NOT_FOUND, which would say that the host has no such domain */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the host was removed");
    }
    return worker;
}

gboolean hosts_call(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                    GDestroyNotify clear, gint64 limit_ms, GError **error)
{
    g_autoptr(HostWorker) worker = to_ask(hosts, host_id, error);

    return worker && host_worker_call(worker, call, data, clear, limit_ms, error);
}

void hosts_post(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                GDestroyNotify clear)
{
    g_autoptr(HostWorker) worker = to_ask(hosts, host_id, NULL);

    if (worker)
        host_worker_post(worker, call, data, clear);
}

gboolean hosts_call_apart(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                          GDestroyNotify clear, gint64 limit_ms, GError **error)
{
    g_autoptr(HostWorker) worker = to_ask(hosts, host_id, error);

    return worker && host_worker_call_apart(worker, call, data, clear, limit_ms, error);
}

gboolean hosts_view(Hosts *hosts, const char *host_id, HostView *ret)
{
    g_autoptr(HostWorker) worker = get_worker(hosts, host_id);

    if (worker)
        host_worker_view(worker, ret);
    if (worker && hosts_is_fenced(hosts, host_id))
        ret->state = HOST_FENCED;
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
        imaged_error_hint(error,
                          "stop them, or move them away: imagectl host maintenance %s --evacuate;"
                          " if it is off for good: imagectl host fence %s",
                          row->name, row->name);
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
        g_hash_table_remove(hosts->fenced, row.id);
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
