/* daemon.c: all wiring, in one place, to be read from daemon_run() at the end upwards. */
#include "imaged/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/access/directory.h"
#include "broker/access/login.h"
#include "broker/access/roles.h"
#include "broker/alert/alerts.h"
#include "broker/host/hosts.h"
#include "broker/pool/pools.h"
#include "broker/run/figures.h"
#include "broker/run/runs.h"
#include "broker/session/sessions.h"
#include "broker/session/shadow.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/http/server.h"
#include "imaged/http/vnc_server.h"
#include "imaged/ops/exports.h"
#include "imaged/ops/housekeeping.h"
#include "imaged/ops/pool_keeper.h"
#include "imaged/ops/recover.h"

#define CATALOG_NAME "catalog.db"
#define COMPACT_MIN (16 * MIB)

typedef struct {
    World world;
    const Config *config;
    const HostDriver *driver;
    int state_fd, lock_fd;
    Server *server;
    VncServer *vnc_server;
    Housekeeping *housekeeping;
    PoolKeeper *pool_keeper;
    GMainLoop *loop;
} Daemon;

/* ---- the catalog's journal lies in the stores ---- */

static guint64 journal_seq(gpointer user, const char *store_id)
{
    g_autoptr(Store) store = store_set_peek(((Daemon *)user)->world.stores, store_id);

    return store ? journal_last_seq(store->journal) : 0;
}

static gboolean journal_write(gpointer user, const char *store_id, guint64 seq, const char *data,
                              gsize len, GError **error)
{
    g_autoptr(Store) store = store_set_get(((Daemon *)user)->world.stores, store_id, error);

    return store && journal_append(store->journal, seq, data, len, error);
}

static gboolean journal_is_unknown(gpointer user, const char *store_id)
{
    g_autoptr(Store) store = store_set_peek(((Daemon *)user)->world.stores, store_id);

    return store && journal_is_broken(store->journal);
}

static gboolean journal_is_long(gpointer user, const char *store_id)
{
    g_autoptr(Store) store = store_set_peek(((Daemon *)user)->world.stores, store_id);

    return store && journal_size(store->journal) >
                        MAX(COMPACT_MIN, 4 * journal_base_size(store->journal));
}

static gboolean journal_shorten(gpointer user, const char *store_id, guint64 seq, const char *data,
                                gsize len, GError **error)
{
    g_autoptr(Store) store = store_set_get(((Daemon *)user)->world.stores, store_id, error);

    return store && journal_compact(store->journal, seq, data, len, error);
}

static gboolean quit(gpointer user)
{
    g_main_loop_quit(((Daemon *)user)->loop);
    return G_SOURCE_REMOVE;
}

/* At once, and without undoing anything: what holds is decided by the next start, from the
 * journals. */
static void catalog_failed(gpointer user, const char *why)
{
    fprintf(stderr, "imaged: the catalog must be opened anew: %s\n"
                    "hint: start imaged again; it brings itself up to date\n", why);
    _exit(1);
}

/* ---- opening ---- */

/* The folder, with a lock that a second daemon runs into. */
static gboolean open_state(Daemon *d, GError **error)
{
    const char *dir = d->config->state_dir;
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    /* 0751: QEMU, which runs as another user, passes through to the layers */
    if (!durable_mkdir_path(dir, 0751, error))
        return FALSE;
    if ((d->state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        imaged_error_set_errno(error, errno, "cannot open the state folder '%s'", dir);
        return FALSE;
    }
    if ((d->lock_fd = durable_open_lock(d->state_fd, "lock", 0640, error)) < 0)
        return FALSE;
    if (fcntl(d->lock_fd, F_OFD_SETLK, &lock) == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                "another imaged is running on the state folder '%s'", dir);
    imaged_error_hint(error, "talk to it with: imagectl --state %s status", dir);
    return FALSE;
}

static gboolean note_file(const char *name, const StoreStat *stat, gpointer found, GError **error)
{
    *(gboolean *)found = TRUE;
    return TRUE;
}

/* Does the default store hold something, though there is no catalog?  Then whose is it? */
static gboolean look_for_lost_store(Daemon *d, char **ret_owner, char **ret_id,
                                    gboolean *ret_in_use, GError **error)
{
    g_autofree char *marker = g_build_filename(d->config->store, "imaged-store.json", NULL);
    StoreOpenOptions options = { 0 };

    *ret_in_use = FALSE;
    if (access(marker, F_OK) < 0)
        return TRUE;
    g_autoptr(Store) store = store_dir_open(d->config->store, &options, error);
    if (!store && g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT)) {
        g_clear_error(error); /* a damaged journal is a case for the rescue mode too */
        options.force = TRUE;
        store = store_dir_open(d->config->store, &options, error);
    }
    if (!store)
        return FALSE;
    *ret_owner = g_strdup(store->owner_id);
    *ret_id = g_strdup(store->id);
    *ret_in_use = journal_last_seq(store->journal) > 0;
    return store->ops->list(store, STORE_LAYERS, note_file, ret_in_use, error);
}

static gboolean insert_store(Daemon *d, Catalog *catalog, const char *id, GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes,
                "INSERT INTO store (id, name, kind, location, state, is_default, seq, created_at)"
                " VALUES (?1, 'default', 'dir', ?2, 'active', 1, 0, ?3) ON CONFLICT DO NOTHING",
                "tti", id, d->config->store, units_now_ms());
    return catalog_commit(catalog, changes, error);
}

/* The very first start (or the first one after the catalog was lost): who are we? */
static gboolean begin_catalog(Daemon *d, GError **error)
{
    g_autofree char *owner = NULL;
    g_autofree char *store_id = NULL;
    gboolean in_use = FALSE;
    Id id = id_new();

    if (!look_for_lost_store(d, &owner, &store_id, &in_use, error))
        return FALSE;
    Changes *changes = changes_new();
    changes_set_meta(changes, "manager_id", owner ? owner : id.s);
    if (in_use)
        changes_set_meta(changes, "rescue", "1");
    if (!catalog_commit(d->world.catalog, changes, error))
        return FALSE;
    if (!store_id) {
        StoreOpenOptions options = { .create = TRUE, .owner_id = id.s,
                                     .layer_format = d->config->settings.layer_format,
                                     .group = d->config->settings.image_group };
        g_autoptr(Store) store = store_dir_open(d->config->store, &options, error);
        if (!store)
            return FALSE;
        store_id = g_strdup(store->id);
    }
    return insert_store(d, d->world.catalog, store_id, error);
}

static gboolean open_catalog(Daemon *d, GError **error)
{
    static const CatalogJournal journal = { journal_seq,     journal_write,   journal_is_unknown,
                                            journal_is_long, journal_shorten, catalog_failed };
    g_autofree char *path = g_build_filename(d->config->state_dir, CATALOG_NAME, NULL);
    g_autofree char *escaped = g_uri_escape_string(path, "/", FALSE);
    g_autofree char *uri = g_strconcat("file:", escaped, NULL);

    d->world.catalog = catalog_open(uri, error);
    if (!d->world.catalog) {
        if (g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT))
            imaged_error_hint(error, "move '%s' away and start again: imaged can make it anew from"
                                     " the store", path);
        return FALSE;
    }
    catalog_set_journal(d->world.catalog, &journal, d);
    d->world.manager_id = catalog_get_meta(d->world.catalog, "manager_id");
    g_autofree char *has_store = catalog_get_meta(d->world.catalog, "begun");
    if (!has_store) {
        if (!begin_catalog(d, error))
            return FALSE;
        Changes *changes = changes_new();
        changes_set_meta(changes, "begun", "1");
        if (!catalog_commit(d->world.catalog, changes, error))
            return FALSE;
        g_free(d->world.manager_id);
        d->world.manager_id = catalog_get_meta(d->world.catalog, "manager_id");
    }
    g_autofree char *rescue = catalog_get_meta(d->world.catalog, "rescue");
    g_autofree char *half = catalog_get_meta(d->world.catalog, "rebuild");
    if (rescue)
        d->world.rescue_reason = "the catalog was lost, but the store has layers";
    if (half)
        d->world.rescue_reason = "the catalog's rebuild was stopped and could not be done again";
    return TRUE;
}

static void open_store(Daemon *d, Query *row)
{
    const char *id = query_text(row, "id"), *location = query_text(row, "location");
    StoreOpenOptions options = { .owner_id = d->world.manager_id, .expect_id = id,
                                 .force = d->world.rescue_reason != NULL };
    g_autoptr(GError) error = NULL;
    Store *store = store_dir_open(location, &options, &error);

    if (!store)
        fprintf(stderr, "imaged: %s\n", error->message);
    store_set_add(d->world.stores, id, query_text(row, "name"), location,
                  query_int(row, "is_default") != 0,
                  g_str_equal(query_text(row, "state"), "draining"), store,
                  error ? error->message : NULL);
}

static gboolean open_stores(Daemon *d, GError **error)
{
    d->world.stores = store_set_new(d->world.manager_id);
    Db *db = catalog_read_begin(d->world.catalog);
    Query *q = db_query(db, "SELECT * FROM store ORDER BY created_at", "");
    while (query_next(q))
        open_store(d, q);
    gboolean ok = query_end(q, error);
    catalog_read_end(d->world.catalog, db);
    return ok;
}

/* Bring the catalog up to date from each store, before anything else may change. */
static gboolean recover(Daemon *d, GError **error)
{
    g_autoptr(GPtrArray) ids = store_set_ids(d->world.stores);
    g_autofree char *half = catalog_get_meta(d->world.catalog, "rebuild");
    g_autoptr(GError) local = NULL;

    if (half) { /* a rebuild was stopped: it is done again, or its admin has to look */
        json_t *report = recover_rebuild(&d->world, NULL, &local);
        if (!report)
            fprintf(stderr, "imaged: cannot rebuild the catalog: %s\n", local->message);
        json_decref(report);
    }
    for (guint i = 0; !d->world.rescue_reason && i < ids->len; i++) {
        g_autoptr(Store) store = store_set_peek(d->world.stores, ids->pdata[i]);
        if (store && !recover_store(&d->world, ids->pdata[i], error)) {
            imaged_error_hint(error, "if the journal is damaged: move '" CATALOG_NAME
                                     "' away, start imaged, then imagectl catalog rebuild");
            return FALSE;
        }
    }
    return TRUE;
}

static void seen(gpointer world, const char *host_id, const GPtrArray *domains,
                 const HostDriver *driver, gpointer link)
{
    runs_seen(world, host_id, domains, driver, link);
    sessions_seen(world, host_id, driver, link);
}

static gboolean start_jobs(Daemon *d, GError **error)
{
    g_autofree char *epoch = catalog_get_meta(d->world.catalog, "epoch");
    g_autofree char *next = g_strdup_printf("%" G_GINT64_FORMAT,
                                            (epoch ? g_ascii_strtoll(epoch, NULL, 10) : 0) + 1);
    Changes *changes = changes_new();

    changes_set_meta(changes, "epoch", next);
    changes_event(changes, "imaged.start", d->world.rescue_reason ? "alarm" : "info", NULL, NULL,
                  "version " IMAGED_VERSION "%s%s", d->world.rescue_reason ? "; rescue mode: " : "",
                  d->world.rescue_reason ? d->world.rescue_reason : "");
    if (!catalog_commit(d->world.catalog, changes, error) ||
        !roles_prepare(d->world.catalog, error))
        return FALSE;
    d->world.guest = guest_new(d->config->state_dir, &d->config->settings.guest);
    d->world.jobs = job_queue_new(d->world.catalog, d->world.claims, ops_job_types, &d->world,
                                  d->config->interactive_workers, d->config->bulk_workers);
    /* Exports take their claims again before any job goes on.  In rescue mode there are none, but a
     * rebuild ends that without a start. */
    d->world.exports = exports_new(&d->world, d->config->socket_group, error);
    if (!d->world.exports)
        return FALSE;
    /* Likewise the hosts: jobs that go on ask them.  What hosts tell has to wait for the claims of
     * these jobs. */
    const HostWatcher watcher = { seen, sessions_host, &d->world, sessions_client };
    d->world.directories =
        directories_new(&d->world, d->config->settings.directory_interval_ms);
    d->world.figures = figures_new();
    d->world.pools = pools_new(&d->world);
    if (!(d->world.runs = runs_new(&d->world, error)) ||
        !(d->world.sessions = sessions_new(&d->world, error)) ||
        !(d->world.hosts = hosts_new(&d->world, d->driver, &watcher, error)) ||
        (!d->world.rescue_reason && !job_queue_resume(d->world.jobs, error)))
        return FALSE;
    if (!d->world.rescue_reason)
        exports_restore(d->world.exports);
    g_autofree char *socket_dir = g_path_get_dirname(d->config->socket);
    g_autofree char *shadow_dir = g_build_filename(socket_dir, "shadow", NULL);
    d->world.relays = relays_new(&d->world, shadow_dir);
    d->world.shadows = shadows_new(d->world.relays);
    hosts_listen(d->world.hosts);
    sessions_start(d->world.sessions);
    return TRUE;
}

/* Tell systemd; without it there is nobody to tell. */
static void notify(const char *state)
{
    const char *path = g_getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    auto_fd fd = path ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

    if (fd < 0 || strlen(path) >= sizeof address.sun_path)
        return;
    strcpy(address.sun_path, path);
    if (*path == '@')
        address.sun_path[0] = '\0';
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
        g_debug("cannot notify systemd");
}

static gboolean feed_watchdog(gpointer unused)
{
    notify("WATCHDOG=1");
    return G_SOURCE_CONTINUE;
}

static gboolean tidy(gpointer data)
{
    server_tidy(((Daemon *)data)->server);
    return G_SOURCE_CONTINUE;
}

/* SIGHUP: certificates are renewed while we run. */
static gboolean reload(gpointer data)
{
    Daemon *d = data;
    g_autoptr(GError) why = NULL;
    gboolean is_changed;
    Changes *changes = changes_new();

    if (!server_reload_tls(d->server, &is_changed, &why) ||
        (d->vnc_server && !vnc_server_reload(d->vnc_server, &why)))
        changes_event(changes, "imaged.reload", "warning", NULL, NULL,
                      "the certificate stays as it was: %s", why->message);
    else
        changes_event(changes, "imaged.reload", "info", NULL, NULL, "%s",
                      is_changed ? "there is a new certificate" : "nothing has changed");
    catalog_commit(d->world.catalog, changes, NULL);
    return G_SOURCE_CONTINUE;
}

static void serve(Daemon *d)
{
    /* Before anybody is told that we are there: who hears it may stop us at once. */
    g_unix_signal_add(SIGTERM, quit, d);
    g_unix_signal_add(SIGINT, quit, d);
    g_unix_signal_add(SIGHUP, reload, d);
    notify("READY=1");
    if (d->world.rescue_reason)
        printf("ready, in rescue mode: %s; see: imagectl catalog rebuild\n",
               d->world.rescue_reason);
    else
        puts("ready");
    fflush(stdout);
    g_timeout_add_seconds(5, feed_watchdog, NULL);
    g_timeout_add_seconds(60, tidy, d);
    g_main_loop_run(d->loop);
    notify("STOPPING=1");
}

/* In the opposite order of the start; whatever is not there yet is passed over. */
static void shut_down(Daemon *d)
{
    pool_keeper_stop(d->pool_keeper);
    if (d->housekeeping)
        housekeeping_stop(d->housekeeping);
    if (d->world.jobs)
        job_queue_stop(d->world.jobs);
    if (d->server)
        server_stop(d->server);
    vnc_server_stop(d->vnc_server);
    if (d->world.sessions)
        sessions_stop(d->world.sessions);
    shadows_free(d->world.shadows);
    relays_free(d->world.relays);
    alerts_free(d->world.alerts);
    directories_free(d->world.directories);
    hosts_free(d->world.hosts);
    sessions_free(d->world.sessions);
    runs_free(d->world.runs);
    pools_free(d->world.pools);
    figures_free(d->world.figures);
    exports_free(d->world.exports);
    if (d->world.jobs)
        job_queue_free(d->world.jobs);
    guest_free(d->world.guest);
    catalog_close(d->world.catalog);
    store_set_free(d->world.stores);
    claims_free(d->world.claims);
    logins_free(d->world.logins);
    g_free(d->world.manager_id);
    durable_close(&d->lock_fd);
    durable_close(&d->state_fd);
    g_clear_pointer(&d->loop, g_main_loop_unref);
}

/* Batches hold thousands of locked images open. */
static void raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void daemon_prepare(void)
{
    mallopt(M_ARENA_MAX, 4); /* threads come and go; an arena for each would keep what they freed */
    /* Or the first big buffer that is freed makes malloc keep all later ones of its size. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    umask(0007);
    raise_open_files();
}

static gboolean start_vnc(Daemon *d, GError **error)
{
    const Config *c = d->config;
    const VncServerOptions options = { c->listen_vnc, c->vnc_address, c->tls_cert, c->tls_key };

    return !c->listen_vnc ||
           (d->vnc_server = vnc_server_start(&d->world, &options, error)) != NULL;
}

gboolean daemon_run(const Config *config, const HostDriver *driver, GError **error)
{
    Daemon d = { .config = config, .driver = driver, .state_fd = -1, .lock_fd = -1 };

    signal(SIGPIPE, SIG_IGN);
    d.loop = g_main_loop_new(NULL, FALSE);
    d.world.settings = config->settings;
    d.world.state_dir = config->state_dir;
    d.world.started_at = units_now_ms();
    d.world.claims = claims_new();
    d.world.logins = logins_new();
    gboolean ok = open_state(&d, error) && open_catalog(&d, error) && open_stores(&d, error) &&
                  recover(&d, error) && start_jobs(&d, error) &&
                  (d.world.alerts = alerts_new(&d.world, error)) &&
                  start_vnc(&d, error) &&
                  (d.server =
                       server_start(&d.world, config->socket, config->socket_group, error)) &&
                  (!config->listen || server_listen_tls(d.server, config->listen, config->tls_cert,
                                                        config->tls_key, error));
    if (ok) {
        d.housekeeping = housekeeping_start(&d.world);
        if (!d.world.rescue_reason)
            d.pool_keeper = pool_keeper_start(&d.world);
        serve(&d);
    }
    shut_down(&d);
    return ok;
}
