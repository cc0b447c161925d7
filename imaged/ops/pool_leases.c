/* pool_leases.c: what is due is decided by lease_step() of broker/pool/lease.h, and noted in the
 * same commit that does it, so that nobody is warned twice and nothing ended early. */
#include "imaged/ops/pool_leases.h"

#include "broker/pool/lease.h"
#include "broker/pool/members.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/ops.h"

#define AHEAD_MS (gint64)(8 * 86400 * 1000)
#define MAX_ROWS 5000
#define STOP_S 60

typedef struct {
    char *desktop_id, *name, *user_id, *user_name, *terms;
    gint64 until;
    gboolean is_warned;
} Held;

static void held_free(gpointer data)
{
    Held *h = data;

    g_free(h->desktop_id);
    g_free(h->name);
    g_free(h->user_id);
    g_free(h->user_name);
    g_free(h->terms);
    g_free(h);
}

static GPtrArray *load(World *world, gboolean is_pooled, gint64 now_ms)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(held_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q =
        is_pooled
            ? db_query(db,
                       "SELECT m.desktop_id, d.name, m.user_id, u.name AS user_name, m.lease_until,"
                       " m.warned_at IS NOT NULL AS warned, p.settings AS terms FROM pool_desktop m"
                       " JOIN pool p ON p.id = m.pool_id JOIN desktop d ON d.id = m.desktop_id LEFT"
                       " JOIN user u ON u.id = m.user_id WHERE m.state = 'given' AND m.lease_until"
                       " < ?1 ORDER BY m.lease_until LIMIT ?2",
                       "ii", now_ms + AHEAD_MS, (gint64)MAX_ROWS)
            : db_query(db,
                       "SELECT a.desktop_id, d.name, a.user_id, u.name AS user_name, a.lease_until,"
                       " a.warned_at IS NOT NULL AS warned, coalesce(a.lease, '{}') AS terms FROM"
                       " assignment a JOIN desktop d ON d.id = a.desktop_id LEFT JOIN user u ON"
                       " u.id = a.user_id WHERE a.lease_until < ?1 ORDER BY a.lease_until LIMIT ?2",
                       "ii", now_ms + AHEAD_MS, (gint64)MAX_ROWS);

    while (query_next(q)) {
        Held *h = g_new0(Held, 1);
        *h = (Held){ .desktop_id = g_strdup(query_text(q, "desktop_id")),
                     .name = g_strdup(query_text(q, "name")),
                     .user_id = g_strdup(query_text(q, "user_id")),
                     .user_name = g_strdup(query_text(q, "user_name")),
                     .terms = g_strdup(query_text(q, "terms")),
                     .until = query_int(q, "lease_until"),
                     .is_warned = query_int(q, "warned") != 0 };
        g_ptr_array_add(out, h);
    }
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    return out;
}

static const char *user_of(const Held *h)
{
    return h->user_name ? h->user_name : "its user";
}

/* Through the guest agent.  So far no host driver speaks to it: what can't be delivered is said. */
static gboolean tell_user(World *world, const Held *h, const char *text, GError **error)
{
    (void)world, (void)h, (void)text;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no guest agent answers");
    return FALSE;
}

static void warn(World *world, const Held *h, gboolean is_pooled, gint64 now_ms)
{
    Changes *changes = changes_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *when = units_format_time(h->until);
    g_autofree char *text = g_strdup_printf("this desktop is yours until %s", when);
    gboolean is_told = tell_user(world, h, text, &error);

    if (is_pooled)
        changes_sql(changes,
                    "UPDATE pool_desktop SET warned_at = ?3 WHERE desktop_id = ?1 AND user_id = ?2"
                    " AND state = 'given'",
                    "tti", h->desktop_id, h->user_id, now_ms);
    else
        changes_sql(changes,
                    "UPDATE assignment SET warned_at = ?3 WHERE desktop_id = ?1 AND user_id = ?2",
                    "tti", h->desktop_id, h->user_id, now_ms);
    changes_event(changes, "lease.warning", "info", h->name, NULL, "%s: until %s; %s%s", user_of(h),
                  when,
                  is_told ? "told in the guest" : "not delivered: ", is_told ? "" : error->message);
    catalog_commit(world->catalog, changes, NULL);
}

static void end_sessions(Changes *changes, const Held *h, gint64 now_ms)
{
    changes_sql(changes,
                "UPDATE session SET state = 'ended', reason = 'its lease is over', ended_at = ?3"
                " WHERE desktop_id = ?1 AND user_id = ?2 AND ended_at IS NULL",
                "tti", h->desktop_id, h->user_id, now_ms);
}

/* names: of those to be switched off, what belongs to them staying. */
static void end_pooled(World *world, const Held *h, LeaseAction action, gint64 now_ms,
                       json_t *names)
{
    Changes *changes = changes_new();

    end_sessions(changes, h, now_ms);
    if (action == LEASE_REIMAGE) {
        members_return(changes, h->desktop_id, "its lease is over");
    } else if (action == LEASE_ARCHIVE) {
        changes_sql(changes,
                    "UPDATE pool_desktop SET state = 'archiving', reason = 'its lease is over',"
                    " changed_at = ?2 WHERE desktop_id = ?1 AND state = 'given'",
                    "ti", h->desktop_id, now_ms);
    } else { /* stays his for the next time that the pool is open */
        changes_sql(changes,
                    "UPDATE pool_desktop SET lease_until = NULL, warned_at = NULL, n_extensions ="
                    " 0 WHERE desktop_id = ?1 AND user_id = ?2 AND state = 'given'",
                    "tt", h->desktop_id, h->user_id);
        json_array_append_new(names, json_string(h->name));
    }
    changes_event(changes, "lease.end", "info", h->name, NULL, "the lease of %s is over: %s",
                  user_of(h), lease_action_name(action));
    if (catalog_commit(world->catalog, changes, NULL))
        pools_touch(world->pools);
}

static void end_assigned(World *world, const Held *h, gint64 now_ms, json_t *names)
{
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(world->catalog);
    gboolean has_others = lookup_int(db,
                                     "SELECT EXISTS (SELECT 1 FROM assignment WHERE desktop_id ="
                                     " ?1 AND user_id <> ?2) AS others",
                                     "tt", h->desktop_id, h->user_id) != 0;

    catalog_read_end(world->catalog, db);
    end_sessions(changes, h, now_ms);
    changes_sql(changes, "DELETE FROM assignment WHERE desktop_id = ?1 AND user_id = ?2", "tt",
                h->desktop_id, h->user_id);
    changes_event(changes, "lease.end", "info", h->name, NULL,
                  "the lease of %s is over: it is not assigned to him any more", user_of(h));
    if (catalog_commit(world->catalog, changes, NULL) && !has_others)
        json_array_append_new(names, json_string(h->name));
}

/* One that does not run is no trouble. */
static void switch_off(World *world, json_t *names)
{
    json_auto_t *args = json_pack("{s:O,s:i}", "names", names, "timeout_s", STOP_S);
    g_autoptr(Caller) caller = caller_new_admin("imaged");
    OpsCall call = { .world = world, .caller = caller, .who = "imaged", .args = args };

    if (json_array_size(names))
        json_decref(ops_desktop_stop(&call, NULL));
    g_free(call.job_id);
}

static gint64 turn_of(World *world, gboolean is_pooled, gint64 now_ms)
{
    g_autoptr(GPtrArray) all = load(world, is_pooled, now_ms);
    json_auto_t *names = json_array();
    gint64 due = 0;

    for (guint i = 0; i < all->len; i++) {
        const Held *h = all->pdata[i];
        g_auto(LeaseTerms) terms = { 0 };
        gint64 next = 0;
        if (!lease_terms_read(h->terms, &terms, NULL))
            continue; /* it stays as it is until somebody mends them */
        switch (lease_step(&terms, h->until, h->is_warned, now_ms, &next)) {
        case LEASE_WARN:
            warn(world, h, is_pooled, now_ms);
            break;
        case LEASE_END:
            if (is_pooled)
                end_pooled(world, h, terms.action, now_ms, names);
            else
                end_assigned(world, h, now_ms, names);
            break;
        default:
            break;
        }
        due = next && (!due || next < due) ? next : due;
    }
    switch_off(world, names);
    return due;
}

gint64 pool_leases_turn(World *world, gint64 now_ms)
{
    gint64 pooled = turn_of(world, TRUE, now_ms), assigned = turn_of(world, FALSE, now_ms);

    return !pooled || (assigned && assigned < pooled) ? assigned : pooled;
}

guint pool_leases_archived(Db *db, Changes *changes, const char *pool_id)
{
    guint n = 0;
    Query *q = db_query(db,
                        "SELECT desktop_id FROM pool_desktop m WHERE pool_id = ?1 AND state ="
                        " 'archiving' AND EXISTS (SELECT 1 FROM archive_point a WHERE"
                        " a.desktop_id = m.desktop_id AND a.created_at >= m.changed_at)",
                        "t", pool_id);

    for (; query_next(q); n++)
        members_return(changes, query_text(q, "desktop_id"), "archived; its lease is over");
    query_end(q, NULL);
    return n;
}
