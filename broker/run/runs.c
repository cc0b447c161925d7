/* runs.c: see runs.h. */
#include "broker/run/runs.h"

#include <string.h>

#include "broker/run/fence.h"
#include "broker/run/figures.h"
#include "broker/run/stuck.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

struct Runs {
    World *world;
    Stuck *stuck;
    GMutex lock;          /* guards the tables */
    GHashTable *held;     /* id of a desktop -> its claims */
    GHashTable *reported; /* what was told of already: "HOST/UUID/INCARNATION" */
};

/* ---- Rows ---- */

void run_row_clear(RunRow *row)
{
    char **texts[] = { &row->desktop_id, &row->host_id,        &row->incarnation,
                       &row->state,      &row->reason,         &row->uuid,
                       &row->name,       &row->target_host_id, &row->hardware };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

#define RUN_COLUMNS "SELECT r.*, d.uuid, d.name FROM run r JOIN desktop d ON d.id = r.desktop_id "

static void read_row(Query *q, RunRow *ret)
{
    *ret = (RunRow){ .desktop_id = g_strdup(query_text(q, "desktop_id")),
                     .host_id = g_strdup(query_text(q, "host_id")),
                     .incarnation = g_strdup(query_text(q, "incarnation")),
                     .target_host_id = g_strdup(query_text(q, "target_host_id")),
                     .generation = query_int(q, "generation"),
                     .state = g_strdup(query_text(q, "state")),
                     .reason = g_strdup(query_text(q, "reason")),
                     .hardware = g_strdup(query_text(q, "hardware")),
                     .started_at = query_int(q, "started_at"),
                     .uuid = g_strdup(query_text(q, "uuid")),
                     .name = g_strdup(query_text(q, "name")) };
}

gboolean run_lookup(Db *db, const char *desktop_id, RunRow *ret, GError **error)
{
    Query *q = db_query(db, RUN_COLUMNS "WHERE r.desktop_id = ?1", "t", desktop_id);
    gboolean found = query_next(q);

    if (found)
        read_row(q, ret);
    if (!query_end(q, error))
        return FALSE;
    if (!found)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it does not run");
    return found;
}

gboolean run_lookup_on(Db *db, const char *desktop_id, RunRow *ret, GError **error)
{
    GError *local = NULL;

    if (run_lookup(db, desktop_id, ret, &local))
        return TRUE;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        local->code = IMAGED_ERROR_UNSUPPORTED;
    g_propagate_error(error, local);
    return FALSE;
}

void run_put(Changes *changes, const RunRow *row)
{
    gint64 now = units_now_ms();

    changes_sql(changes,
                "INSERT INTO run (desktop_id, host_id, incarnation, generation, state, reason,"
                " started_at, changed_at, hardware) VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?6, ?7)",
                "tttitit", row->desktop_id, row->host_id, row->incarnation, row->generation,
                row->state, now, row->hardware);
    changes_sql(changes,
                "INSERT INTO lease (desktop_id, generation, holder, host, incarnation, created_at)"
                " VALUES (?1, ?2, 'run', ?3, ?4, ?5)",
                "titti", row->desktop_id, row->generation, row->host_id, row->incarnation, now);
}

void run_set_state(Changes *changes, const RunRow *row, const char *state, const char *reason)
{
    changes_sql(changes,
                "UPDATE run SET state = ?3, reason = ?4, changed_at = ?5 WHERE desktop_id = ?1 AND"
                " incarnation = ?2",
                "tttti", row->desktop_id, row->incarnation, state, reason, units_now_ms());
}

void run_delete(Changes *changes, const RunRow *row)
{
    changes_sql(changes, "DELETE FROM run WHERE desktop_id = ?1 AND incarnation = ?2", "tt",
                row->desktop_id, row->incarnation);
    changes_sql(changes,
                "DELETE FROM lease WHERE desktop_id = ?1 AND incarnation = ?2 AND holder = 'run'",
                "tt", row->desktop_id, row->incarnation);
}

void run_set_target(Changes *changes, const RunRow *row, const char *target_host_id)
{
    changes_sql(changes,
                "UPDATE run SET state = 'migrating', target_host_id = ?3, changed_at = ?4 WHERE"
                " desktop_id = ?1 AND incarnation = ?2",
                "ttti", row->desktop_id, row->incarnation, target_host_id, units_now_ms());
}

void run_set_host(Changes *changes, const RunRow *row, const char *host_id, const char *state)
{
    changes_sql(changes,
                "UPDATE run SET state = ?4, host_id = ?3, target_host_id = NULL, changed_at = ?5"
                " WHERE desktop_id = ?1 AND incarnation = ?2",
                "tttti", row->desktop_id, row->incarnation, host_id, state, units_now_ms());
    changes_sql(changes,
                "UPDATE lease SET host = ?3 WHERE desktop_id = ?1 AND incarnation = ?2 AND holder ="
                " 'run'",
                "ttt", row->desktop_id, row->incarnation, host_id);
}

/* ---- Claims ---- */

static void drop_claims(gpointer keys)
{
    json_decref(keys);
}

gboolean runs_hold(Runs *runs, const char *desktop_id, GError **error)
{
    gboolean ok = TRUE;

    g_mutex_lock(&runs->lock);
    if (!g_hash_table_contains(runs->held, desktop_id)) {
        json_t *keys = json_array();
        claims_add(keys, 's', "desktop", desktop_id);
        ok = claims_take(runs->world->claims, keys, CLAIMS_RUN, error);
        if (ok)
            g_hash_table_insert(runs->held, g_strdup(desktop_id), keys);
        else
            json_decref(keys);
    }
    g_mutex_unlock(&runs->lock);
    return ok;
}

void runs_let_go(Runs *runs, const char *desktop_id)
{
    g_mutex_lock(&runs->lock);
    json_t *keys = g_hash_table_lookup(runs->held, desktop_id);
    if (keys)
        claims_release(runs->world->claims, keys);
    g_hash_table_remove(runs->held, desktop_id);
    g_mutex_unlock(&runs->lock);
}

Runs *runs_new(World *world, GError **error)
{
    Runs *runs = g_new0(Runs, 1);
    gboolean ok = TRUE;

    runs->world = world;
    runs->stuck = stuck_new(world);
    g_mutex_init(&runs->lock);
    runs->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, drop_claims);
    runs->reported = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT desktop_id FROM run", "");
    while (ok && query_next(q))
        ok = runs_hold(runs, query_text(q, "desktop_id"), error);
    ok = query_end(q, ok ? error : NULL) && ok;
    catalog_read_end(world->catalog, db);
    if (!ok)
        g_clear_pointer(&runs, runs_free);
    return runs;
}

void runs_free(Runs *runs)
{
    if (!runs)
        return;
    g_hash_table_unref(runs->held);
    g_hash_table_unref(runs->reported);
    stuck_free(runs->stuck);
    g_mutex_clear(&runs->lock);
    g_free(runs);
}

Stuck *runs_stuck(Runs *runs)
{
    return runs->stuck;
}

/* ---- What hosts tell ---- */

/* Once for each: TRUE if it was not told of yet. */
static gboolean is_news(Runs *runs, const char *host_id, const HostDomain *d)
{
    char *key = g_strdup_printf("%s/%s/%s", host_id, d->uuid, d->incarnation ? d->incarnation : "");

    g_mutex_lock(&runs->lock);
    gboolean is = g_hash_table_add(runs->reported, key);
    g_mutex_unlock(&runs->lock);
    return is;
}

static void say(World *world, const char *kind, const char *object, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
static void say(World *world, const char *kind, const char *object, const char *format, ...)
{
    Changes *changes = changes_new();
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    changes_event(changes, kind, "alarm", object, NULL, "%s", text);
    catalog_commit(world->catalog, changes, NULL);
}

/* The state of a row whose domain is like this. */
static const char *state_of(const HostDomain *d)
{
    switch (d->state) {
    case DOMAIN_RUNNING:
        return "running";
    case DOMAIN_PAUSED:
        return "paused";
    case DOMAIN_STUCK:
        return "stuck";
    default:
        return "stopping";
    }
}

/* Does the row say what the host says?  Who was paused by a person while he was stuck stays so: the
 * host keeps its first reason, but nobody resumes him by himself. */
static gboolean agrees(const RunRow *row, const HostDomain *d)
{
    return g_str_equal(row->state, state_of(d)) ||
           (d->state == DOMAIN_STUCK && g_str_equal(row->state, "paused"));
}

static void follow(World *world, const RunRow *row, const HostDomain *d, const HostDriver *driver,
                   gpointer link)
{
    const char *state = state_of(d);

    if (g_strcmp0(row->incarnation, d->incarnation) != 0) {
        if (is_news(world->runs, row->host_id, d))
            say(world, "desktop.stranger", row->name,
                "its host runs it as incarnation %.40s, which is not the one that was started:"
                " it is left alone",
                d->incarnation ? d->incarnation : "(none)");
        return;
    }
    if (agrees(row, d))
        return;
    Changes *changes = changes_new();
    if (d->state == DOMAIN_STUCK)
        stuck_begin(row, driver, link, changes);
    else
        run_set_state(changes, row, state, NULL);
    catalog_commit(world->catalog, changes, NULL);
}

/* What the host says of the domain now: what it listed is from before the run was claimed, so from
 * before what a job did to it.  Only its "no" ends the run. */
static void look_again(World *world, const RunRow *row, const HostDriver *driver, gpointer link)
{
    g_autoptr(GError) error = NULL;
    HostDomain *d = driver->find(link, row->uuid, &error);

    if (d) {
        follow(world, row, d, driver, link);
        host_domain_free(d);
        return;
    }
    if (!g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return;
    Changes *changes = changes_new();
    run_delete(changes, row);
    changes_event(changes, "desktop.off", "info", row->name, NULL, "it was switched off or ended");
    if (catalog_commit(world->catalog, changes, NULL))
        runs_let_go(world->runs, row->desktop_id);
}

static GPtrArray *rows_of(World *world, const char *host_id)
{
    GPtrArray *out = g_ptr_array_new();
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, RUN_COLUMNS "WHERE ?1 IN (r.host_id, r.target_host_id)", "t", host_id);

    while (query_next(q)) {
        RunRow *row = g_new0(RunRow, 1);
        read_row(q, row);
        g_ptr_array_add(out, row);
    }
    gboolean ok = query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (!ok)
        g_clear_pointer(&out, g_ptr_array_unref);
    return out;
}

/* With the run claimed, if no job is at work on it, and read again: what was seen may be old. */
static void settle(World *world, const RunRow *seen, const HostDriver *driver, gpointer link)
{
    json_t *keys = json_array();
    g_auto(RunRow) row = { 0 };

    claims_add(keys, 'x', "run", seen->desktop_id);
    Db *db = catalog_read_begin(world->catalog); /* sees what is at its first question */
    gboolean is_claimed = claims_take_briefly(world->claims, keys, CLAIMS_RUN, NULL);
    gboolean is_same = is_claimed && run_lookup(db, seen->desktop_id, &row, NULL) &&
                       g_str_equal(row.incarnation, seen->incarnation);
    catalog_read_end(world->catalog, db);
    if (is_claimed) {
        if (is_same)
            look_again(world, &row, driver, link);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
}

static gboolean is_settled(const RunRow *row, const HostDomain *d)
{
    return d && g_strcmp0(row->incarnation, d->incarnation) == 0 && agrees(row, d);
}

static void follow_all(World *world, const char *host_id, const GPtrArray *domains,
                       const HostDriver *driver, gpointer link)
{
    g_autoptr(GHashTable) by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *rows = rows_of(world, host_id);

    figures_seen(world->figures, host_id, domains);
    for (guint i = 0; i < domains->len; i++)
        g_hash_table_insert(by_uuid, ((HostDomain *)domains->pdata[i])->uuid, domains->pdata[i]);
    for (guint i = 0; rows && i < rows->len; i++) {
        RunRow *row = rows->pdata[i];
        HostDomain *d = g_hash_table_lookup(by_uuid, row->uuid);
        /* One that is being moved is its job's; nobody else's on either host. */
        if (!row->target_host_id && !is_settled(row, d))
            settle(world, row, driver, link);
        else if (!row->target_host_id && d->state == DOMAIN_STUCK)
            stuck_look(world->runs->stuck, row, driver, link);
        g_hash_table_remove(by_uuid, row->uuid);
        run_row_clear(row);
        g_free(row);
    }
    if (rows)
        g_ptr_array_unref(rows);
    GHashTableIter iter;
    gpointer d;
    g_hash_table_iter_init(&iter, by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, &d)) {
        const HostDomain *domain = d;
        if (domain->desktop_id && is_news(world->runs, host_id, domain))
            say(world, "host.stranger", domain->name,
                "a domain says it is desktop %.40s, which nobody started there: it is left"
                " alone",
                domain->desktop_id);
    }
}

void runs_seen(gpointer user, const char *host_id, const GPtrArray *domains,
               const HostDriver *driver, gpointer link)
{
    World *world = user;

    if (world->hosts && hosts_is_fenced(world->hosts, host_id))
        fence_lift(world, host_id, driver, link); /* and is looked at again */
    else
        follow_all(world, host_id, domains, driver, link);
}
