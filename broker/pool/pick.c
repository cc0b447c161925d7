/* pick.c: a pick is one set of changes whose first statement fails unless all holds that makes it
 * right: then, in the catalog's writer, nothing of it is done, and another desktop is tried.
 *
 * The condition stands where attachment's generation is computed: NULL breaks NOT NULL.  So it is
 * decided by the rows as they are at the commit, not as somebody read them. */
#include "broker/pool/pick.h"

#include "broker/access/quota.h"
#include "broker/pool/lease.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MAX_TRIES 64

/* Of member m and desktop d: has anybody else seen what is in it? */
#define SEEN_BY_OTHERS                                                                             \
    "EXISTS (SELECT 1 FROM attachment a WHERE a.desktop_id = d.id AND a.generation >="             \
    " m.clean_generation AND a.user_id <> ?3)"

static const char attach_free[] =
    "INSERT INTO attachment (desktop_id, generation, user_id, created_at) VALUES (?1,"
    " (SELECT d.generation FROM pool_desktop m JOIN pool p ON p.id = m.pool_id JOIN desktop d ON"
    " d.id = m.desktop_id WHERE m.desktop_id = ?1 AND m.pool_id = ?2 AND m.state = 'free' AND"
    " d.generation = ?5 AND m.clean_generation = ?5 AND d.version_id = " POOL_WANTED_OF_P
    " AND " POOL_IS_CLEAN_D_M
    " AND NOT EXISTS (SELECT 1 FROM attachment a WHERE a.desktop_id = d.id AND a.generation >="
    " m.clean_generation) AND (SELECT count(*) FROM pool_desktop o WHERE o.pool_id = ?2 AND"
    " o.user_id = ?3) < p.max_per_user), ?3, ?4)";

#define PRESENT                                                                                    \
    "(SELECT d.generation FROM pool_desktop m JOIN desktop d ON d.id = m.desktop_id WHERE"         \
    " m.desktop_id = ?1 AND m.pool_id = ?2 AND m.state = 'given' AND m.user_id = ?3 AND"           \
    " d.generation = ?5 AND (m.lease_until IS NULL OR m.lease_until > ?4) AND " POOL_IS_CLEAN_D_M  \
    " AND NOT " SEEN_BY_OTHERS                                                                     \
    " AND NOT EXISTS (SELECT 1 FROM lease_end e WHERE e.desktop_id = d.id))"

static const char attach_present[] =
    "INSERT INTO attachment (desktop_id, generation, user_id, created_at) VALUES (?1," PRESENT
    ", ?3, ?4) ON CONFLICT (desktop_id, generation, user_id) DO NOTHING";

static const char attach_assigned[] =
    "INSERT INTO attachment (desktop_id, generation, user_id, created_at) VALUES (?1,"
    " (SELECT d.generation FROM assignment a JOIN desktop d ON d.id = a.desktop_id WHERE"
    " a.desktop_id = ?1 AND a.user_id = ?2 AND d.is_trashed = 0 AND d.generation = ?4 AND"
    " (a.lease_until IS NULL OR a.lease_until > ?3) AND NOT EXISTS (SELECT 1 FROM pool_desktop m"
    " WHERE m.desktop_id = ?1)), ?2, ?3)"
    " ON CONFLICT (desktop_id, generation, user_id) DO NOTHING";

gboolean pool_is_granted(Db *db, const char *pool_id, const char *user_id)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM pool_grant WHERE pool_id = ?1 AND"
                      " (subject_id = ?2 OR subject_id IN (SELECT group_id FROM group_member WHERE"
                      " user_id = ?2))) AS granted",
                      "tt", pool_id, user_id) != 0;
}

json_t *pool_entitlements(Db *db, const char *user_id)
{
    json_t *out = json_array();
    Query *q = db_query(
        db,
        "SELECT 'desktop' AS kind, d.id, d.name FROM assignment a JOIN desktop d ON d.id ="
        " a.desktop_id WHERE a.user_id = ?1 AND d.is_trashed = 0 AND (a.lease_until IS NULL OR"
        " a.lease_until > ?2) UNION ALL SELECT 'pool', p.id, p.name FROM pool p WHERE EXISTS"
        " (SELECT 1 FROM pool_grant g WHERE g.pool_id = p.id AND (g.subject_id = ?1 OR g.subject_id"
        " IN (SELECT group_id FROM group_member WHERE user_id = ?1))) ORDER BY 1, 3",
        "ti", user_id, units_now_ms());

    while (query_next(q))
        json_array_append_new(out, json_pack("{s:s,s:s,s:s}", "kind", query_text(q, "kind"), "id",
                                             query_text(q, "id"), "name", query_text(q, "name")));
    query_end(q, NULL);
    return out;
}

/* What is known of the asker in this pool, as it was read. */
typedef struct {
    PoolRow pool;
    Picked present; /* desktop_id "" : none */
    gint64 n_has;
} Standing;

static gboolean look(World *world, const PickAsk *ask, Standing *s, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = pool_lookup(db, ask->pool_id, &s->pool, error);

    if (ok && s->pool.is_deleting) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "the pool '%s' is being deleted",
                    s->pool.name);
        ok = FALSE;
    }
    if (ok && !pool_is_granted(db, s->pool.id, ask->user_id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "the pool '%s' was not granted to this user", s->pool.name);
        ok = FALSE;
    }
    if (ok) {
        Query *q = db_query(db,
                            "SELECT m.desktop_id, d.generation FROM pool_desktop m JOIN desktop d"
                            " ON d.id = m.desktop_id WHERE m.pool_id = ?1 AND m.user_id = ?2 AND"
                            " m.state = 'given' ORDER BY m.desktop_id IS NOT ?3, m.given_at DESC",
                            "ttt", s->pool.id, ask->user_id, ask->desktop_id);
        for (s->n_has = 0; query_next(q); s->n_has++) {
            if (s->n_has == 0)
                g_strlcpy(s->present.desktop_id, query_text(q, "desktop_id"), ID_LEN + 1);
            if (s->n_has == 0)
                s->present.generation = query_int(q, "generation");
        }
        ok = query_end(q, error);
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

static gboolean commit(World *world, Changes *changes, const PickAsk *ask, const Picked *picked,
                       GError **error)
{
    if (ask->also)
        ask->also(changes, picked, ask->also_user);
    return catalog_commit(world->catalog, changes, error);
}

/* Why he did not get the one that he has: it is no more his, or not fit to be opened. */
static void check_present(World *world, const PickAsk *ask, const Standing *s, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gint64 fit = lookup_int(db,
                            "SELECT " PRESENT " IS NOT NULL OR NOT EXISTS (SELECT 1 FROM"
                            " pool_desktop m JOIN desktop d ON d.id = m.desktop_id WHERE"
                            " m.desktop_id = ?1 AND m.user_id = ?3 AND d.generation = ?5 AND"
                            " m.state = 'given') AS fit",
                            "tttii", s->present.desktop_id, s->pool.id, ask->user_id,
                            units_now_ms(), s->present.generation);

    catalog_read_end(world->catalog, db);
    if (fit)
        return;
    g_clear_error(error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "this user's desktop of the pool '%s' cannot be opened: its lease is over, or it"
                " was changed such that it may hold what others left",
                s->pool.name);
    imaged_error_hint(error, "see it, and return it: imagectl pool show %s", s->pool.name);
}

static gboolean take_present(World *world, const PickAsk *ask, const Standing *s, GError **error)
{
    Changes *changes = changes_new();
    gint64 now = units_now_ms(), until = lease_end(s->pool.settings, now);

    changes_sql(changes, attach_present, "tttii", s->present.desktop_id, s->pool.id, ask->user_id,
                now, s->present.generation);
    if (until) /* it stayed his over a time in which the pool was closed */
        changes_sql(changes,
                    "UPDATE pool_desktop SET lease_until = ?2 WHERE desktop_id = ?1 AND lease_until"
                    " IS NULL AND state = 'given'",
                    "ti", s->present.desktop_id, until);
    if (commit(world, changes, ask, &s->present, error)) {
        if (until)
            pools_took(world->pools); /* the keeper looks when it ends */
        return TRUE;
    }
    if (g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        check_present(world, ask, s, error);
    return FALSE;
}

/* Try the candidate; whatever comes of it, it is given back. */
static gboolean take_free(World *world, const PickAsk *ask, const Standing *s,
                          const PoolCandidate *candidate, Picked *ret, GError **error)
{
    Changes *changes = changes_new();
    gint64 now = units_now_ms(), until = lease_end(s->pool.settings, now);

    *ret = (Picked){ .generation = candidate->generation, .is_new = TRUE };
    g_strlcpy(ret->desktop_id, candidate->desktop_id, sizeof ret->desktop_id);
    quota_require_given(changes, ask->user_id, ret->desktop_id);
    changes_sql(changes, attach_free, "tttii", ret->desktop_id, s->pool.id, ask->user_id, now,
                ret->generation);
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'given', user_id = ?2, given_at = ?3, changed_at ="
                " ?3, lease_until = nullif(?4, 0), warned_at = NULL, n_extensions = 0, reason ="
                " NULL WHERE desktop_id = ?1",
                "ttii", ret->desktop_id, ask->user_id, now, until);
    gboolean ok = commit(world, changes, ask, ret, error);
    pools_give_back(world->pools, ret->desktop_id, ok);
    return ok;
}

typedef enum { TRY_DONE, TRY_AGAIN, TRY_WAIT, TRY_FAILED } Try;

/* None was to be had.  The last one may have gone to himself, who asked twice: then it is his. */
static Try say_none(World *world, const PickAsk *ask, const Standing *s, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gint64 n_has = lookup_int(db,
                              "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1 AND user_id ="
                              " ?2 AND state = 'given'",
                              "tt", s->pool.id, ask->user_id);
    gboolean some_come = lookup_int(db,
                                    "SELECT EXISTS (SELECT 1 FROM pool_desktop WHERE pool_id = ?1"
                                    " AND state IN ('making', 'returning', 'free')) OR (SELECT"
                                    " count(*) FROM pool_desktop WHERE pool_id = ?1) < ?2 AS n",
                                    "ti", s->pool.id, s->pool.size) != 0;

    catalog_read_end(world->catalog, db);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "no desktop of the pool '%s' is free",
                s->pool.name);
    imaged_error_hint(error, "see what they do: imagectl pool show %s", s->pool.name);
    return n_has > s->n_has ? TRY_AGAIN : some_come ? TRY_WAIT : TRY_FAILED;
}

/* One turn: look how things stand, and take what is there. */
static Try try_once(World *world, const PickAsk *ask, Picked *ret, GError **error)
{
    g_auto(PoolRow) pool = { 0 };
    Standing s = { 0 };
    PoolCandidate candidate;
    g_autoptr(GError) local = NULL;
    Try result = TRY_FAILED;

    if (!look(world, ask, &s, error) || !lease_check_open(&s.pool, units_now_ms(), error)) {
        pool = s.pool;
        return TRY_FAILED;
    }
    pool = s.pool; /* to be cleared */
    if (s.n_has && !ask->wants_another) {
        *ret = s.present;
        result = take_present(world, ask, &s, &local) ? TRY_DONE : TRY_AGAIN;
    } else if (s.n_has >= s.pool.max_per_user) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "a user has at most %d desktops of the pool '%s' at a time",
                    (int)s.pool.max_per_user, s.pool.name);
        return TRY_FAILED;
    } else if (!pools_take(world->pools, s.pool.id, &candidate)) {
        return say_none(world, ask, &s, error);
    } else {
        result = take_free(world, ask, &s, &candidate, ret, &local) ? TRY_DONE : TRY_AGAIN;
    }
    if (local && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        result = TRY_FAILED;
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    return result;
}

gboolean pool_pick(World *world, const PickAsk *ask, Picked *ret, GError **error)
{
    gint64 end_us = g_get_monotonic_time() + ask->limit_ms * 1000;
    guint n_lost = 0;

    for (;;) {
        guint64 stamp = pools_stamp(world->pools);
        g_autoptr(GError) local = NULL;
        Try result = try_once(world, ask, ret, &local);
        gint64 left_ms = (end_us - g_get_monotonic_time()) / 1000;

        if (result == TRY_DONE) {
            if (ret->is_new)
                pools_took(world->pools); /* a spare is gone */
            return TRUE;
        }
        if (result == TRY_WAIT && left_ms > 0) {
            pools_wait(world->pools, &stamp, MIN(left_ms, 1000));
            continue;
        }
        if (result == TRY_AGAIN && ++n_lost < MAX_TRIES)
            continue;
        if (result == TRY_AGAIN)
            g_prefix_error(&local, "cannot give a desktop: ");
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
}

gboolean assignment_attach(World *world, const char *desktop_id, const PickAsk *ask, Picked *ret,
                           GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_autoptr(GError) local = NULL;
    Changes *changes;

    for (guint n = 0; n < MAX_TRIES; n++) {
        desktop_row_clear(&desktop);
        g_clear_error(&local);
        Db *db = catalog_read_begin(world->catalog);
        gboolean ok = lookup_desktop_by_id(db, desktop_id, &desktop, error);
        gboolean has = ok && lookup_int(db,
                                        "SELECT EXISTS (SELECT 1 FROM assignment WHERE desktop_id"
                                        " = ?1 AND user_id = ?2 AND (lease_until IS NULL OR"
                                        " lease_until > ?3)) AS has",
                                        "tti", desktop_id, ask->user_id, units_now_ms());
        catalog_read_end(world->catalog, db);
        if (!ok)
            return FALSE;
        if (!has) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                        "the desktop '%s' is not assigned to this user", desktop.name);
            return FALSE;
        }
        *ret = (Picked){ .generation = desktop.generation };
        g_strlcpy(ret->desktop_id, desktop_id, sizeof ret->desktop_id);
        changes = changes_new();
        changes_sql(changes, attach_assigned, "ttii", desktop_id, ask->user_id, units_now_ms(),
                    desktop.generation);
        if (commit(world, changes, ask, ret, &local))
            return TRUE;
        if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
            break;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

void pool_release(Changes *changes, const char *desktop_id, const char *user_id)
{
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'returning', reason = 'its session ended',"
                " changed_at = ?3 WHERE desktop_id = ?1 AND user_id = ?2 AND state = 'given' AND"
                " (SELECT type FROM pool p WHERE p.id = pool_id) = '" POOL_AUTOMATIC "'",
                "tti", desktop_id, user_id, units_now_ms());
}
