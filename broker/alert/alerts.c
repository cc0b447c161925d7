/* alerts.c: see alerts.h.
 *
 * A change ends the alert's thread, writes the row, and starts another one, which goes on from the
 * row: so never two are at work for one alert.  Secrets are files of the state folder, never rows:
 * the catalog is copied into every store. */
#include "broker/alert/alerts.h"

#include <string.h>

#include "broker/alert/message.h"
#include "broker/alert/send.h"
#include "broker/alert/worker.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/secret_file.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define SECRETS "alert-secrets"
#define MAX_ALERTS 100 /* each has a thread */
#define TICK_MS 1000
#define BACKLOG_MAX 100000

struct Alerts {
    World *world;
    GThread *thread;     /* wakes the others when there are events */
    gint is_ended;       /* atomic */
    GMutex lock;         /* guards the table */
    GHashTable *workers; /* id -> AlertWorker */
};

/* ---- Rows ---- */

void alert_row_clear(AlertRow *row)
{
    char **texts[] = {
        &row->id, &row->name, &row->kind, &row->target, &row->severity, &row->kinds
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

static void read_row(Query *q, AlertRow *ret)
{
    *ret = (AlertRow){ .id = g_strdup(query_text(q, "id")),
                       .name = g_strdup(query_text(q, "name")),
                       .kind = g_strdup(query_text(q, "kind")),
                       .target = g_strdup(query_text(q, "target")),
                       .severity = g_strdup(query_text(q, "severity")),
                       .kinds = g_strdup(query_text(q, "kinds")),
                       .has_secret = query_int(q, "has_secret") != 0,
                       .is_on = query_int(q, "is_on") != 0,
                       .last_event = query_int(q, "last_event"),
                       .created_at = query_int(q, "created_at") };
}

gboolean alert_lookup(Db *db, const char *name, AlertRow *ret, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM alert WHERE id = ?1 OR name = ?1", "t", name);
    gboolean found = query_next(q);

    if (found)
        read_row(q, ret);
    if (!query_end(q, error)) {
        alert_row_clear(ret);
        return FALSE;
    }
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no alert '%s'", shown);
        imaged_error_hint(error, "see them with: imagectl alert list");
    }
    return found;
}

gint64 alert_backlog(Db *db, const AlertRow *row, gint64 position)
{
    g_auto(EventFilter) filter = { 0 };

    if (!event_filter_init(&filter, row->severity, row->kinds, NULL))
        return 0;
    return lookup_int(db, EVENT_COUNT_SQL, "ttiii", filter.severities, filter.kinds, position,
                      G_MAXINT64, (gint64)BACKLOG_MAX);
}

/* ---- Secrets ---- */

/* NULL without error: it has none. */
static gboolean read_secret(World *world, const AlertRow *row, char **ret, GError **error)
{
    *ret = row->has_secret ? secret_file_read(world->state_dir, SECRETS, row->id, error) : NULL;
    return *ret || !row->has_secret;
}

static gboolean is_used(const char *id, gpointer rows)
{
    const GPtrArray *list = rows;

    for (guint i = 0; i < list->len; i++) {
        const AlertRow *row = list->pdata[i];
        if (row->has_secret && g_str_equal(row->id, id))
            return TRUE;
    }
    return FALSE;
}

static gboolean check_secret(const char *secret, GError **error)
{
    if (!*secret || (strlen(secret) >= 8 && strlen(secret) <= SECRET_FILE_MAX))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a secret has 8 to %d bytes",
                SECRET_FILE_MAX);
    return FALSE;
}

/* ---- Threads ---- */

/* Events would come unsigned if the secret is lost: so it does not begin then, but fails. */
static void start_worker(Alerts *alerts, const AlertRow *row)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *secret = NULL;
    AlertRow copy = *row;

    if (!read_secret(alerts->world, row, &secret, &error)) {
        Changes *changes = changes_new();
        changes_event(changes, "alert.failing", "warning", row->name, NULL,
                      "its secret cannot be read, so it is off: %s", error->message);
        catalog_commit(alerts->world->catalog, changes, NULL);
        copy.is_on = FALSE;
    }
    g_mutex_lock(&alerts->lock);
    g_hash_table_insert(alerts->workers, g_strdup(row->id),
                        alert_worker_new(alerts->world, &copy, secret));
    g_mutex_unlock(&alerts->lock);
}

static void end_worker(Alerts *alerts, const char *id)
{
    gpointer key = NULL, worker = NULL;

    g_mutex_lock(&alerts->lock);
    g_hash_table_steal_extended(alerts->workers, id, &key, &worker);
    g_mutex_unlock(&alerts->lock);
    g_free(key);
    if (worker)
        alert_worker_end(worker);
}

static gpointer watch(gpointer data)
{
    Alerts *alerts = data;
    gint64 last = 0;

    while (!g_atomic_int_get(&alerts->is_ended)) {
        GHashTableIter iter;
        gpointer worker;
        gint64 now = catalog_wait_event(alerts->world->catalog, last, TICK_MS);
        if (now <= last)
            continue;
        last = now;
        g_mutex_lock(&alerts->lock);
        g_hash_table_iter_init(&iter, alerts->workers);
        while (g_hash_table_iter_next(&iter, NULL, &worker))
            alert_worker_wake(worker, FALSE);
        g_mutex_unlock(&alerts->lock);
    }
    return NULL;
}

static GPtrArray *all_rows(World *world, GError **error)
{
    GPtrArray *rows = g_ptr_array_new();
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT * FROM alert ORDER BY name", "");

    while (query_next(q)) {
        AlertRow *row = g_new0(AlertRow, 1);
        read_row(q, row);
        g_ptr_array_add(rows, row);
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    if (!ok)
        g_clear_pointer(&rows, g_ptr_array_unref);
    return rows;
}

Alerts *alerts_new(World *world, GError **error)
{
    GPtrArray *rows = all_rows(world, error);

    if (!rows)
        return NULL;
    Alerts *alerts = g_new0(Alerts, 1);
    alerts->world = world;
    g_mutex_init(&alerts->lock);
    alerts->workers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    secret_file_tidy(world->state_dir, SECRETS, is_used, rows);
    for (guint i = 0; i < rows->len; i++) {
        start_worker(alerts, rows->pdata[i]);
        alert_row_clear(rows->pdata[i]);
        g_free(rows->pdata[i]);
    }
    g_ptr_array_unref(rows);
    alerts->thread = g_thread_new("alerts", watch, alerts);
    return alerts;
}

void alerts_free(Alerts *alerts)
{
    if (!alerts)
        return;
    g_atomic_int_set(&alerts->is_ended, TRUE);
    catalog_wake(alerts->world->catalog);
    g_thread_join(alerts->thread);
    for (;;) {
        GHashTableIter iter;
        gpointer id, worker;
        g_hash_table_iter_init(&iter, alerts->workers);
        if (!g_hash_table_iter_next(&iter, &id, &worker))
            break;
        g_autofree char *copy = g_strdup(id);
        end_worker(alerts, copy);
    }
    g_hash_table_unref(alerts->workers);
    g_mutex_clear(&alerts->lock);
    g_free(alerts);
}

/* ---- Changes ---- */

static gboolean check(const AlertRow *row, const char *secret, GError **error)
{
    g_auto(EventFilter) filter = { 0 };
    gboolean is_mail = g_str_equal(row->kind, "mail");

    if (is_mail && secret && *secret) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "mail is not signed: no secret");
        return FALSE;
    }
    return name_check("alert", row->name, error) &&
           event_filter_init(&filter, row->severity, row->kinds, error) &&
           (!secret || check_secret(secret, error)) &&
           (is_mail ? alert_check_address(row->target, error) : send_check_url(row->target, error));
}

gboolean alerts_add(Alerts *alerts, AlertRow *row, const char *secret, const char *who,
                    GError **error)
{
    World *world = alerts->world;
    Id id = id_new();

    if (!check(row, secret, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db, "SELECT count(*) FROM alert", "");
    gint64 n_same = lookup_int(db, "SELECT count(*) FROM alert WHERE name = ?1", "t", row->name);
    catalog_read_end(world->catalog, db);
    if (n_same || n >= MAX_ALERTS) {
        g_set_error(error, IMAGED_ERROR, n_same ? IMAGED_ERROR_EXISTS : IMAGED_ERROR_INVALID,
                    n_same ? "there is an alert '%s' already"
                           : "'%s' would be one too many: there are 100 alerts",
                    row->name);
        return FALSE;
    }
    row->id = g_strdup(id.s);
    row->is_on = TRUE;
    row->has_secret = secret && *secret;
    row->created_at = units_now_ms();
    row->last_event = catalog_wait_event(world->catalog, G_MAXINT64, 0);
    if (row->has_secret && !secret_file_write(world->state_dir, SECRETS, row->id, secret, error))
        return FALSE;
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO alert (id, name, kind, target, severity, kinds, has_secret, is_on,"
                " last_event, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?9)",
                "ttttttiii", row->id, row->name, row->kind, row->target, row->severity, row->kinds,
                (gint64)row->has_secret, row->last_event, row->created_at);
    changes_event(changes, "alert.add", "info", row->name, who, "%s %s", row->kind, row->target);
    if (!catalog_commit(world->catalog, changes, error)) {
        secret_file_delete(world->state_dir, SECRETS, row->id);
        return FALSE;
    }
    start_worker(alerts, row);
    return TRUE;
}

/* The row as it stands, with the alert claimed. */
static gboolean claim(Alerts *alerts, const char *name, AlertRow *ret, json_t *keys, GError **error)
{
    Db *db = catalog_read_begin(alerts->world->catalog);
    gboolean ok = alert_lookup(db, name, ret, error);

    catalog_read_end(alerts->world->catalog, db);
    if (!ok)
        return FALSE;
    claims_add(keys, 'x', "alert", ret->id);
    return claims_take(alerts->world->claims, keys, "alert.change", error);
}

/* The one thread is ended, the row written, another started from it. */
static gboolean put(Alerts *alerts, const AlertRow *row, gboolean skips, const char *who,
                    GError **error)
{
    World *world = alerts->world;
    g_auto(AlertRow) now = { 0 };

    end_worker(alerts, row->id);
    Changes *changes = changes_new();
    changes_sql(changes,
                "UPDATE alert SET kind = ?2, target = ?3, severity = ?4, kinds = ?5, has_secret ="
                " ?6, is_on = ?7, last_event = CASE WHEN ?8 THEN (SELECT coalesce(max(id), 0) FROM"
                " event) ELSE last_event END WHERE id = ?1",
                "tttttiii", row->id, row->kind, row->target, row->severity, row->kinds,
                (gint64)row->has_secret, (gint64)row->is_on, (gint64)skips);
    changes_event(changes, "alert.change", "info", row->name, who, "%s %s%s", row->kind,
                  row->target, row->is_on ? "" : "; off");
    gboolean ok = catalog_commit(world->catalog, changes, error);
    Db *db = catalog_read_begin(world->catalog);
    gboolean found = alert_lookup(db, row->id, &now, NULL);
    catalog_read_end(world->catalog, db);
    if (found)
        start_worker(alerts, &now);
    return ok;
}

gboolean alerts_set(Alerts *alerts, AlertRow *row, const char *secret, gboolean skips,
                    const char *who, GError **error)
{
    json_auto_t *keys = json_array();
    g_auto(AlertRow) was = { 0 };

    if (!check(row, secret, error) || !claim(alerts, row->id, &was, keys, error))
        return FALSE;
    row->has_secret = secret ? *secret != '\0' : was.has_secret;
    gboolean ok =
        !secret || !*secret ||
        secret_file_write(alerts->world->state_dir, SECRETS, row->id, secret, error);
    ok = ok && put(alerts, row, skips, who, error);
    if (ok && !row->has_secret)
        secret_file_delete(alerts->world->state_dir, SECRETS, row->id);
    claims_release(alerts->world->claims, keys);
    return ok;
}

gboolean alerts_remove(Alerts *alerts, const char *name, const char *who, GError **error)
{
    World *world = alerts->world;
    json_auto_t *keys = json_array();
    g_auto(AlertRow) row = { 0 };

    if (!claim(alerts, name, &row, keys, error))
        return FALSE;
    end_worker(alerts, row.id);
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM alert WHERE id = ?1", "t", row.id);
    changes_event(changes, "alert.remove", "info", row.name, who, "%s %s", row.kind, row.target);
    gboolean ok = catalog_commit(world->catalog, changes, error);
    if (ok)
        secret_file_delete(world->state_dir, SECRETS, row.id);
    else
        start_worker(alerts, &row);
    claims_release(world->claims, keys);
    return ok;
}

gboolean alerts_test(Alerts *alerts, const char *name, GError **error)
{
    World *world = alerts->world;
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(alert_event_free);
    g_auto(AlertRow) row = { 0 };
    g_autofree char *secret = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = alert_lookup(db, name, &row, error);

    catalog_read_end(world->catalog, db);
    if (!ok || !read_secret(world, &row, &secret, error))
        return FALSE;
    AlertEvent *e = g_new0(AlertEvent, 1);
    *e = (AlertEvent){ .time = units_now_ms(),
                       .kind = g_strdup("alert.test"),
                       .severity = g_strdup("info"),
                       .object = g_strdup(row.name),
                       .who = g_strdup("imaged"),
                       .message = g_strdup("a test: nothing happened") };
    g_ptr_array_add(events, e);
    if (!alert_give(world, &row, secret, events, 0, &alerts->is_ended, error))
        return FALSE;
    g_mutex_lock(&alerts->lock);
    AlertWorker *worker = g_hash_table_lookup(alerts->workers, row.id);
    if (worker)
        alert_worker_wake(worker, TRUE);
    g_mutex_unlock(&alerts->lock);
    return TRUE;
}

gboolean alerts_view(Alerts *alerts, const char *id, AlertView *ret)
{
    g_mutex_lock(&alerts->lock);
    AlertWorker *worker = g_hash_table_lookup(alerts->workers, id);
    if (worker)
        alert_worker_view(worker, ret);
    g_mutex_unlock(&alerts->lock);
    return worker != NULL;
}

void alert_view_clear(AlertView *view)
{
    g_free(view->last_error);
    *view = (AlertView){ 0 };
}
