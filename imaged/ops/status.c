/* status.c: how the daemon and its stores are, in one look: for people, and as figures in the text
 * form that Prometheus reads. */
#include "broker/alert/alerts.h"
#include "broker/host/hosts.h"
#include "imaged/base/durable.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/args.h"

json_t *ops_status(OpsCall *call, GError **error)
{
    World *world = call->world;
    g_autofree char *started = units_format_time(world->started_at);

    if (!args_check(call, "", error))
        return NULL;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n_templates = lookup_int(db, "SELECT count(*) FROM template WHERE is_trashed = 0", "");
    gint64 n_desktops = lookup_int(db, "SELECT count(*) FROM desktop WHERE is_trashed = 0", "");
    catalog_read_end(world->catalog, db);
    json_t *guest = guest_status(world->guest);
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s?,s:s,s:I,s:I,s:i,s:s,s:o}", "id", world->manager_id, "name", "imaged",
        "version", IMAGED_VERSION, "state", world->rescue_reason ? "rescue" : "ready", "reason",
        world->rescue_reason, "started_at", started, "n_templates", (json_int_t)n_templates,
        "n_desktops", (json_int_t)n_desktops, "n_jobs_running", (int)job_n_running(world->jobs),
        "expiry", g_atomic_int_get(&world->expiry_held) ? "held" : "on", "guest", guest);
}

static void count_stores(World *world, GString *out)
{
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);

    for (guint i = 0; i < ids->len; i++) {
        g_auto(StoreEntry) e = { 0 };
        StoreSpace space = { 0 };
        if (!store_set_describe(world->stores, ids->pdata[i], &e))
            continue;
        if (e.store)
            e.store->ops->space(e.store, &space, NULL);
        g_string_append_printf(out,
                               "imaged_store_online{store=\"%s\"} %d\n"
                               "imaged_store_total_bytes{store=\"%s\"} %" G_GUINT64_FORMAT "\n"
                               "imaged_store_free_bytes{store=\"%s\"} %" G_GUINT64_FORMAT "\n",
                               e.name, e.store != NULL, e.name, space.total_bytes, e.name,
                               space.free_bytes);
    }
}

/* One figure for each row: its label's value and its number. */
static void count_by(Db *db, GString *out, const char *name, const char *help, const char *label,
                     const char *sql)
{
    Query *q = db_query(db, sql, "");

    g_string_append_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
    while (query_next(q)) /* states are words of ours */
        g_string_append_printf(out, "%s{%s=\"%s\"} %" G_GINT64_FORMAT "\n", name, label,
                               query_text(q, "state"), query_int(q, "n"));
    query_end(q, NULL);
}

/* States that nothing is in are there with 0, so that an alarm on them can be set. */
static void count_broker(Db *db, GString *out)
{
    count_by(db, out, "imaged_runs", "Desktops that run, by state", "state",
             "SELECT column1 AS state, (SELECT count(*) FROM run WHERE state = column1) AS n FROM"
             " (VALUES ('starting'), ('running'), ('paused'), ('stuck'), ('stopping'),"
             " ('unknown'))");
    count_by(db, out, "imaged_pool_desktops", "Desktops of pools, by state", "state",
             "SELECT column1 AS state, (SELECT count(*) FROM pool_desktop WHERE state = column1)"
             " AS n FROM (VALUES ('making'), ('free'), ('given'), ('returning'), ('broken'))");
    count_by(db, out, "imaged_sessions", "Sessions that are not over, by state", "state",
             "SELECT column1 AS state, (SELECT count(*) FROM session WHERE ended_at IS NULL AND"
             " state = column1) AS n FROM (VALUES ('opening'), ('connected'), ('disconnected'),"
             " ('ending'))");
}

static void count_hosts(World *world, Db *db, GString *out)
{
    guint n[HOST_N_STATES] = { 0 };
    Query *q = db_query(db, "SELECT id FROM host", "");

    while (query_next(q)) {
        g_auto(HostView) view = { 0 };
        if (world->hosts && hosts_view(world->hosts, query_text(q, "id"), &view))
            n[view.state]++;
    }
    query_end(q, NULL);
    g_string_append(out, "# HELP imaged_hosts Hosts, by state\n# TYPE imaged_hosts gauge\n");
    for (guint i = 0; i < G_N_ELEMENTS(n); i++)
        g_string_append_printf(out, "imaged_hosts{state=\"%s\"} %u\n", host_state_name(i), n[i]);
}

static void count_alerts(World *world, Db *db, GString *out)
{
    GString *failing = g_string_new("# HELP imaged_alert_failing Does its receiver not take events"
                                    "\n# TYPE imaged_alert_failing gauge\n");
    Query *q = db_query(db, "SELECT id FROM alert ORDER BY name", "");

    g_string_append(out, "# HELP imaged_alert_backlog Events that wait to be told\n"
                         "# TYPE imaged_alert_backlog gauge\n");
    while (query_next(q)) {
        g_auto(AlertView) view = { 0 };
        g_auto(AlertRow) row = { 0 };
        if (!world->alerts || !alerts_view(world->alerts, query_text(q, "id"), &view) ||
            !alert_lookup(db, query_text(q, "id"), &row, NULL))
            continue;
        g_string_append_printf(out, "imaged_alert_backlog{alert=\"%s\"} %" G_GINT64_FORMAT "\n",
                               row.name, row.is_on ? alert_backlog(db, &row, view.position) : 0);
        g_string_append_printf(failing, "imaged_alert_failing{alert=\"%s\"} %d\n", row.name,
                               g_str_equal(view.state, "failing"));
    }
    query_end(q, NULL);
    g_string_append(out, failing->str);
    g_string_free(failing, TRUE);
}

char *ops_metrics(World *world)
{
    GString *out = g_string_new(NULL);
    static const char *const counts[][3] = {
        { "imaged_templates", "Templates", "SELECT count(*) FROM template WHERE is_trashed = 0" },
        { "imaged_desktops", "Desktops", "SELECT count(*) FROM desktop WHERE is_trashed = 0" },
        { "imaged_desktops_missing", "Desktops whose disk is missing",
          "SELECT count(*) FROM desktop WHERE state = 'missing' AND is_trashed = 0" },
        { "imaged_layers", "Layers", "SELECT count(*) FROM layer" },
        { "imaged_trash_entries", "Trash entries", "SELECT count(*) FROM trash" },
        { "imaged_rollouts_open", "Roll-outs that are not over",
          "SELECT count(*) FROM rollout WHERE finished_at IS NULL" },
        { "imaged_rollouts_stopped", "Roll-outs that have stopped at a bad sign",
          "SELECT count(*) FROM rollout WHERE state = 'stopped'" },
        { "imaged_jobs_failed", "Jobs that failed",
          "SELECT count(*) FROM job WHERE state = 'failed'" },
    };
    Db *db = catalog_read_begin(world->catalog);

    for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
        g_string_append_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %" G_GINT64_FORMAT "\n",
                               counts[i][0], counts[i][1], counts[i][0], counts[i][0],
                               lookup_int(db, counts[i][2], ""));
    count_broker(db, out);
    count_hosts(world, db, out);
    count_alerts(world, db, out);
    catalog_read_end(world->catalog, db);
    g_string_append_printf(
        out,
        "# HELP imaged_jobs_active Jobs queued or running\n"
        "# TYPE imaged_jobs_active gauge\nimaged_jobs_active %u\n"
        "# TYPE imaged_expiry_held gauge\nimaged_expiry_held %d\n"
        "# HELP imaged_storage_changes_total Writes, flushes, renames... so far\n"
        "# TYPE imaged_storage_changes_total counter\n"
        "imaged_storage_changes_total %" G_GUINT64_FORMAT "\n",
        job_n_running(world->jobs), g_atomic_int_get(&world->expiry_held), durable_n_changes());
    count_stores(world, out);
    return g_string_free(out, FALSE);
}
