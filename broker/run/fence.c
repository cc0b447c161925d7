/* fence.c: see fence.h. */
#include "broker/run/fence.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define CLAIM_WAIT_MS (3600 * 1000) /* jobs on it end soon: the host's calls have all an answer */

void fence_put(Changes *changes, const HostRow *host, const char *who)
{
    changes_sql(changes, "UPDATE host SET fenced_at = ?2 WHERE id = ?1", "ti", host->id,
                units_now_ms());
    changes_sql(changes,
                "INSERT OR IGNORE INTO fenced_run (host_id, incarnation, uuid, name) SELECT ?1,"
                " r.incarnation, d.uuid, d.name FROM run r JOIN desktop d ON d.id = r.desktop_id"
                " WHERE ?1 IN (r.host_id, r.target_host_id)",
                "t", host->id);
    changes_event(changes, "host.fence", "warning", host->name, who,
                  "declared off: its desktops may be started elsewhere");
}

/* ---- Runs that were there ---- */

static gboolean end_claimed(Job *job, World *world, const char *host_id, const RunRow *was,
                            gboolean *ret_is_off, GError **error)
{
    g_auto(RunRow) row = { 0 };
    g_autoptr(GError) local = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean has = run_lookup(db, was->desktop_id, &row, &local);

    catalog_read_end(world->catalog, db);
    *ret_is_off = !has && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    if (!has || !g_str_equal(row.incarnation, was->incarnation) || row.target_host_id ||
        !g_str_equal(row.host_id, host_id))
        return TRUE; /* it has ended by itself, or is elsewhere */
    Changes *changes = changes_new();
    run_delete(changes, &row);
    changes_event(changes, "desktop.off", "warning", row.name, NULL, "its host was declared off");
    if (!job_commit(job, changes, job_step(job) + 1, error))
        return FALSE;
    runs_let_go(world->runs, was->desktop_id);
    *ret_is_off = TRUE;
    return TRUE;
}

gboolean fence_end_run(Job *job, World *world, const char *host_id, const RunRow *run,
                       gboolean *ret_is_off, GError **error)
{
    json_auto_t *keys = json_array();

    claims_add(keys, 'x', "run", run->desktop_id);
    if (!world_wait_claims(world, job, keys, CLAIM_WAIT_MS, error))
        return FALSE;
    gboolean ok = end_claimed(job, world, host_id, run, ret_is_off, error);
    claims_release(world->claims, keys);
    return ok;
}

/* ---- It comes back ---- */

typedef struct {
    char *uuid, *incarnation, *name;
} Left;

static void left_free(gpointer data)
{
    Left *l = data;

    g_free(l->uuid);
    g_free(l->incarnation);
    g_free(l->name);
    g_free(l);
}

/* NULL: it cannot be read. */
static GPtrArray *left_there(World *world, const char *host_id)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(left_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT uuid, incarnation, name FROM fenced_run WHERE host_id = ?1",
                        "t", host_id);

    while (query_next(q)) {
        Left *l = g_new0(Left, 1);
        *l = (Left){ g_strdup(query_text(q, "uuid")), g_strdup(query_text(q, "incarnation")),
                     g_strdup(query_text(q, "name")) };
        g_ptr_array_add(out, l);
    }
    gboolean ok = query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (!ok)
        g_clear_pointer(&out, g_ptr_array_unref);
    return out;
}

typedef enum { LEFT_NONE, LEFT_RUNS, LEFT_NOT_SAID } Found;

/* Only this very incarnation: another one of the same desktop was not started by us. */
static Found find(const Left *l, const HostDriver *driver, gpointer link)
{
    g_autoptr(GError) local = NULL;
    HostDomain *d = driver->find(link, l->uuid, &local);
    gboolean is_it = d && g_strcmp0(d->incarnation, l->incarnation) == 0;

    if (!d && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return LEFT_NOT_SAID;
    host_domain_free(d);
    return is_it ? LEFT_RUNS : LEFT_NONE;
}

gboolean fence_lift(World *world, const char *host_id, const HostDriver *driver, gpointer link)
{
    g_autoptr(GPtrArray) left = left_there(world, host_id);
    g_autoptr(GString) ended = g_string_new(NULL);
    g_auto(HostRow) host = { 0 };

    for (guint i = 0; left && i < left->len; i++) {
        const Left *l = left->pdata[i];
        Found found = find(l, driver, link);
        if (found == LEFT_RUNS) {
            driver->destroy(link, l->uuid, NULL);
            g_string_append_printf(ended, "%s%s", ended->len ? ", " : "", l->name);
            found = find(l, driver, link);
        }
        if (found != LEFT_NONE)
            return FALSE;
    }
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = left && host_lookup(db, host_id, &host, NULL);
    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    Changes *changes = changes_new();
    changes_sql(changes, "DELETE FROM fenced_run WHERE host_id = ?1", "t", host_id);
    changes_sql(changes, "UPDATE host SET fenced_at = NULL WHERE id = ?1", "t", host_id);
    if (ended->len)
        changes_event(changes, "host.return", "alarm", host.name, NULL,
                      "it was not off: desktops still ran there, and were ended: %s", ended->str);
    else
        changes_event(changes, "host.return", "info", host.name, NULL,
                      "nothing of what had run there was left");
    if (!catalog_commit(world->catalog, changes, NULL))
        return FALSE;
    hosts_set_fenced(world->hosts, host_id, FALSE);
    return TRUE;
}
