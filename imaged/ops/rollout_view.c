/* rollout_view.c: see rollout_view.h, and what can be listed. */
#include "imaged/ops/rollout_view.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"
#include "snapshot/rollout.h"

/* of: which rows of rollout_desktop are counted. */
#define ROLLOUT_COLUMNS(of)                                                                        \
    "SELECT r.id, r.name, t.name AS template, v.version, CASE WHEN r.state IN ('planned',"         \
    " 'canary', 'gate', 'rolling', 'rolling-back') AND j.id IS NULL THEN 'stopped' ELSE r.state"   \
    " END AS state, r.reason, coalesce(n.total, 0) AS n_desktops, coalesce(n.waiting, 0) AS"       \
    " n_waiting, coalesce(n.deferred, 0) AS n_deferred, coalesce(n.moved, 0) AS n_moved,"          \
    " coalesce(n.unchecked, 0) AS n_unchecked,"                                                    \
    " coalesce(n.unhealthy, 0) AS n_unhealthy, coalesce(n.unavailable, 0) AS n_unavailable,"       \
    " coalesce(n.failed, 0) AS n_failed, coalesce(n.skipped, 0) AS n_skipped,"                     \
    " coalesce(n.returned, 0) AS n_returned, coalesce(n.held, 0) AS n_held, coalesce(n.kept, 0)"   \
    " AS n_kept, r.canary, r.batch, r.max_unavailable, r.when_running AS \"when\", r.health,"      \
    " r.health_limit_ms / 1000 AS"                                                                 \
    " health_timeout_s,"                                                                           \
    " nullif(r.deadline, 0) AS deadline__time, r.owner, r.job_id AS job, r.created_at AS"          \
    " created_at__time, r.started_at AS started_at__time, r.finished_at AS finished_at__time"      \
    " FROM rollout r LEFT JOIN template t ON t.id = r.template_id LEFT JOIN version v ON"          \
    " v.id = r.version_id LEFT JOIN job j ON j.id = r.job_id AND j.state IN ('queued',"            \
    " 'running') LEFT JOIN (SELECT rollout_id, count(*) AS total, sum(state = 'waiting') AS"       \
    " waiting, sum(state = 'deferred') AS deferred, sum(state = 'moved') AS moved,"                \
    " sum(state = 'moved' AND health IS 'unchecked') AS"                                           \
    " unchecked, sum(state = 'moved' AND health IS 'failed') AS unhealthy, sum(state ="            \
    " 'unavailable') AS unavailable, sum(state = 'failed') AS failed, sum(state = 'skipped') AS"   \
    " skipped, sum(state = 'returned') AS returned, sum(state = 'held') AS held, sum(state ="      \
    " 'kept') AS kept FROM rollout_desktop " of                                                    \
    " GROUP BY rollout_id) n ON n.rollout_id = r.id WHERE "

json_t *ops_rollout_list(OpsCall *call, GError **error)
{
    ViewPage page;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out =
        view_array(db_query(db, ROLLOUT_COLUMNS("") "?1 IS NULL OR r.id < ?1 ORDER BY r.id DESC",
                            "t", page.after),
                   page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* How fast it goes, and when it will be over, while its job is at work.  Where a health command is
 * asked, a desktop counts when that has answered: a gate may take longer than all the moving. */
static void add_pace(Db *db, json_t *object, const char *id)
{
    static const char *const active[] = { "canary", "gate", "rolling", "rolling-back", NULL };
    const char *state = json_string_value(json_object_get(object, "state"));
    gdouble rate = 0;
    gint64 left = -1;
    gboolean is_active = g_strv_contains(active, state);

    if (is_active) {
        gboolean is_back = g_str_equal(state, "rolling-back");
        gint64 n_left =
            json_integer_value(json_object_get(object, is_back ? "n_moved" : "n_waiting"));
        gint64 started = lookup_int(db, "SELECT started_at FROM rollout WHERE id = ?1", "t", id);
        gint64 n = lookup_int(db,
                              "SELECT count(*) FROM rollout_desktop WHERE rollout_id = ?1 AND"
                              " (state = 'returned' OR ?3 = 0 AND state = 'moved' AND"
                              " health IS NOT 'unchecked') AND changed_at >= ?2",
                              "tii", id, started, (gint64)is_back);
        n_left += is_back ? 0 : json_integer_value(json_object_get(object, "n_unchecked"));
        rate = 1000.0 * (gdouble)n / (gdouble)MAX(units_now_ms() - started, 1);
        left = n ? (gint64)((gdouble)n_left / rate) : -1;
    }
    json_object_set_new(object, "desktops_per_s", is_active ? json_real(rate) : json_null());
    json_object_set_new(object, "eta_s", left < 0 ? json_null() : json_integer(left));
}

json_t *rollout_view(World *world, const char *id, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, ROLLOUT_COLUMNS("WHERE rollout_id = ?1") "r.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    if (query_end(q, error) && !out)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the roll-out is gone");
    if (out)
        add_pace(db, out, id);
    catalog_read_end(world->catalog, db);
    return out;
}

/* The id of the one that is named (caller frees). */
static char *named(OpsCall *call, GError **error)
{
    g_auto(Rollout) rollout = { 0 };
    const char *name = args_text(call, "rollout", TRUE, error);

    if (!name)
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = rollout_find(db, name, &rollout, error);
    catalog_read_end(call->world->catalog, db);
    return ok ? g_steal_pointer(&rollout.id) : NULL;
}

json_t *ops_rollout_show(OpsCall *call, GError **error)
{
    g_autofree char *id = args_check(call, "rollout", error) ? named(call, error) : NULL;

    return id ? rollout_view(call->world, id, error) : NULL;
}

json_t *ops_rollout_desktops(OpsCall *call, GError **error)
{
    ViewPage page;
    GError *local = NULL;
    const char *state = args_text(call, "state", FALSE, &local);

    if (local) {
        g_propagate_error(error, local);
        return NULL;
    }
    if (!args_check(call, "rollout state search limit after", error) ||
        !view_page(call, &page, error))
        return NULL;
    g_autofree char *id = named(call, error);
    if (!id)
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db,
                 "SELECT r.desktop_id AS id, coalesce(d.name, r.name) AS name, t.name || ':' ||"
                 " v.version AS former, r.state, r.health, r.reason, CASE WHEN r.state IN"
                 " ('moved', 'held') THEN r.trash_id END AS trash, r.generation, r.changed_at AS"
                 " changed_at__time FROM rollout_desktop r LEFT JOIN desktop d ON"
                 " d.id = r.desktop_id LEFT JOIN version v ON v.id = r.version_id LEFT JOIN"
                 " template t ON t.id = v.template_id WHERE r.rollout_id = ?1 AND (?2 IS NULL OR"
                 " r.state = ?2) AND r.position > coalesce((SELECT position FROM rollout_desktop"
                 " WHERE rollout_id = ?1 AND desktop_id = ?3), -1) ORDER BY r.position",
                 "ttt", id, state, page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}
