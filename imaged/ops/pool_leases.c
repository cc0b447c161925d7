/* pool_leases.c: what is due is decided by lease_step() of broker/pool/lease.h, and noted in the
 * same commit that does it, so that nobody is warned twice and nothing ended early. */
#include "imaged/ops/pool_leases.h"

#include "broker/pool/lease.h"
#include "broker/pool/members.h"
#include "imaged/ops/lease_ends.h"
#include "imaged/ops/lease_warnings.h"

#define AHEAD_MS (gint64)(8 * 86400 * 1000)
#define MAX_ROWS 5000
#define SOON_MS 1000 /* between two looks at ends that are under way */

struct PoolLeases {
    World *world;
    PoolDeeds *deeds;
    LeaseWarnings *warnings;
};

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
                       " a.warned_at IS NOT NULL AS warned, coalesce(a.lease, ?3) AS terms FROM"
                       " assignment a JOIN desktop d ON d.id = a.desktop_id LEFT JOIN user u ON"
                       " u.id = a.user_id WHERE a.lease_until < ?1 ORDER BY a.lease_until LIMIT ?2",
                       "iit", now_ms + AHEAD_MS, (gint64)MAX_ROWS, LEASE_OF_OWN);

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

static void warn(PoolLeases *l, const Held *h, gboolean is_pooled, gint64 now_ms)
{
    const LeaseWarning warning = { .is_pooled = is_pooled,
                                   .desktop_id = h->desktop_id,
                                   .name = h->name,
                                   .user_id = h->user_id,
                                   .user_name = h->user_name,
                                   .until_ms = h->until };

    lease_warn(l->warnings, &warning, now_ms);
}

/* Who is on it is cut off, by the sessions' own thread. */
static void end_sessions(Changes *changes, const Held *h)
{
    changes_sql(changes,
                "UPDATE session SET state = 'ending', reason = 'the lease is over' WHERE"
                " desktop_id = ?1 AND user_id = ?2 AND ended_at IS NULL AND state <> 'ending'",
                "tt", h->desktop_id, h->user_id);
}

static void end_pooled(PoolLeases *l, const Held *h, LeaseAction action, gint64 now_ms)
{
    Changes *changes = changes_new();

    end_sessions(changes, h);
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
        lease_end_put(changes, h->desktop_id, h->user_id, action, NULL, now_ms);
    }
    changes_event(changes, "lease.end", "info", h->name, NULL, "the lease of %s is over: %s",
                  user_of(h), lease_action_name(action));
    if (catalog_commit(l->world->catalog, changes, NULL))
        pools_touch(l->world->pools);
}

/* Of several users of a desktop only he has to go: it stays as it is. */
static void end_assigned(PoolLeases *l, const Held *h, const LeaseTerms *terms, gint64 now_ms)
{
    Changes *changes = changes_new();
    Db *db = catalog_read_begin(l->world->catalog);
    gboolean has_others = lookup_int(db,
                                     "SELECT EXISTS (SELECT 1 FROM assignment WHERE desktop_id ="
                                     " ?1 AND user_id <> ?2) AS others",
                                     "tt", h->desktop_id, h->user_id) != 0;

    catalog_read_end(l->world->catalog, db);
    end_sessions(changes, h);
    changes_sql(changes, "DELETE FROM assignment WHERE desktop_id = ?1 AND user_id = ?2", "tt",
                h->desktop_id, h->user_id);
    if (!has_others)
        lease_end_put(changes, h->desktop_id, h->user_id, terms->action, terms->target, now_ms);
    changes_event(changes, "lease.end", "info", h->name, NULL,
                  "the lease of %s is over: it is not assigned to him any more; %s", user_of(h),
                  has_others ? "it stays on for others" : lease_action_name(terms->action));
    if (catalog_commit(l->world->catalog, changes, NULL))
        pools_touch(l->world->pools);
}

/* When to look again; 0: never. */
static gint64 step(PoolLeases *l, const Held *h, gboolean is_pooled, gint64 now_ms)
{
    g_auto(LeaseTerms) terms = { 0 };
    gint64 next = 0;

    if (!lease_terms_read(h->terms, &terms, NULL))
        return 0; /* it stays as it is until somebody mends them */
    switch (lease_step(&terms, h->until, h->is_warned, now_ms, &next)) {
    case LEASE_WARN:
        warn(l, h, is_pooled, now_ms);
        break;
    case LEASE_END:
        if (is_pooled)
            end_pooled(l, h, terms.action, now_ms);
        else
            end_assigned(l, h, &terms, now_ms);
        break;
    default:
        break;
    }
    return next;
}

static gint64 sooner(gint64 a, gint64 b)
{
    return !a || (b && b < a) ? b : a;
}

PoolLeases *pool_leases_new(World *world, PoolDeeds *deeds)
{
    PoolLeases *l = g_new0(PoolLeases, 1);

    *l = (PoolLeases){ world, deeds, lease_warnings_new(world) };
    return l;
}

void pool_leases_free(PoolLeases *l)
{
    lease_warnings_free(l->warnings);
    g_free(l);
}

gint64 pool_leases_turn(PoolLeases *l, gint64 now_ms)
{
    gint64 due = 0;

    if (g_atomic_int_get(&l->world->expiry_held)) /* the clock has jumped */
        return 0;
    for (guint is_pooled = 0; is_pooled < 2; is_pooled++) {
        g_autoptr(GPtrArray) all = load(l->world, is_pooled != 0, now_ms);
        for (guint i = 0; i < all->len; i++)
            due = sooner(due, step(l, all->pdata[i], is_pooled != 0, now_ms));
    }
    return lease_ends_turn(l->world, l->deeds, now_ms) ? sooner(due, now_ms + SOON_MS) : due;
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
