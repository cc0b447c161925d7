/* assignment.c: desktops that are somebody's own: see change.h. */
#include "broker/access/quota.h"
#include "broker/pool/change.h"
#include "broker/pool/lease.h"
#include "broker/pool/members.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

typedef struct {
    DesktopRow desktop;
    char *user_id, *pool;
    gint64 n_others, n_owners;
    gboolean is_ending; /* the lease of one before is just ended */
} Facts;

static void facts_clear(Facts *f)
{
    desktop_row_clear(&f->desktop);
    g_free(f->user_id);
    g_free(f->pool);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Facts, facts_clear)

static gboolean look(World *world, const char *desktop, const char *user, gboolean is_given,
                     Facts *f, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop(db, desktop, &f->desktop, error) &&
                  (!user || (f->user_id = user_find(db, user, error)));

    if (ok && is_given)
        ok = quota_check_given(world, db, f->user_id, f->desktop.id, error);
    if (ok) {
        f->pool = member_pool_name(db, f->desktop.id);
        f->n_others = lookup_int(db,
                                 "SELECT count(*) FROM assignment WHERE desktop_id = ?1 AND"
                                 " user_id IS NOT ?2",
                                 "tt", f->desktop.id, f->user_id);
        f->n_owners = lookup_int(db,
                                 "SELECT count(*) FROM assignment WHERE desktop_id = ?1 AND"
                                 " user_id IS NOT ?2 AND is_owner",
                                 "tt", f->desktop.id, f->user_id);
        f->is_ending = lookup_int(db, "SELECT count(*) FROM lease_end WHERE desktop_id = ?1", "t",
                                  f->desktop.id) > 0;
    }
    catalog_read_end(world->catalog, db);
    return ok;
}

static gboolean check(const Facts *f, const AssignSpec *spec, GError **error)
{
    if (f->is_ending) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the last lease of the desktop '%s' is just being ended", f->desktop.name);
        return FALSE;
    }
    if (f->pool) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the desktop '%s' is of the pool '%s', which gives it to its users",
                    f->desktop.name, f->pool);
        imaged_error_hint(error, "let him use the pool: imagectl pool grant %s --user NAME",
                          f->pool);
        return FALSE;
    }
    if (!spec->is_shared ? f->n_others > 0 : f->n_owners > 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                    "the desktop '%s' is assigned to another user", f->desktop.name);
        imaged_error_hint(error,
                          "take it from him: imagectl desktop unassign %s; then several users may"
                          " have it, each by: imagectl desktop share",
                          f->desktop.name);
        return FALSE;
    }
    return TRUE;
}

gboolean assignment_add(World *world, const char *desktop, const char *user, const AssignSpec *spec,
                        const char *who, GError **error)
{
    g_auto(Facts) f = { 0 };

    if (!look(world, desktop, user, !spec->is_shared, &f, error) || !check(&f, spec, error))
        return FALSE;
    Changes *changes = changes_new();
    if (!spec->is_shared)
        quota_require_given(changes, f.user_id, f.desktop.id);
    /* NULL, and so an error, if somebody else got it just now */
    changes_sql(changes,
                "INSERT INTO assignment (desktop_id, user_id, is_owner, may_take_over, lease,"
                " lease_until, created_at) VALUES (?1, ?2, (SELECT ?3 WHERE NOT EXISTS (SELECT 1"
                " FROM assignment WHERE desktop_id = ?1 AND user_id <> ?2 AND (?3 OR is_owner))"
                " AND NOT EXISTS (SELECT 1 FROM pool_desktop WHERE desktop_id = ?1) AND NOT EXISTS"
                " (SELECT 1 FROM lease_end WHERE desktop_id = ?1)), ?4, ?5,"
                " nullif(?6, 0), ?7) ON CONFLICT (desktop_id, user_id) DO UPDATE SET is_owner ="
                " excluded.is_owner, may_take_over = excluded.may_take_over, lease ="
                " excluded.lease, lease_until = excluded.lease_until, warned_at = NULL,"
                " n_extensions = 0",
                "ttiitii", f.desktop.id, f.user_id, (gint64)!spec->is_shared,
                (gint64)spec->may_take_over, spec->lease, spec->until_ms, units_now_ms());
    changes_event(changes, spec->is_shared ? "desktop.share" : "desktop.assign", "info",
                  f.desktop.name, who, "to %s", user);
    if (!catalog_commit(world->catalog, changes, error)) {
        g_prefix_error(error, "cannot assign '%s': ", f.desktop.name);
        return FALSE;
    }
    pools_touch(world->pools); /* there may be a lease to look at */
    return TRUE;
}

gboolean assignment_remove(World *world, const char *desktop, const char *user, const char *who,
                           GError **error)
{
    g_auto(Facts) f = { 0 };
    gint64 n;

    if (!look(world, desktop, user, FALSE, &f, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    n = lookup_int(db,
                   "SELECT count(*) FROM assignment WHERE desktop_id = ?1 AND (?2 IS NULL OR"
                   " user_id = ?2)",
                   "tt", f.desktop.id, f.user_id);
    catalog_read_end(world->catalog, db);
    if (n == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "the desktop '%s' is not assigned to %s", desktop, user ? user : "anybody");
        return FALSE;
    }
    Changes *changes = changes_new();
    changes_sql(changes,
                "DELETE FROM assignment WHERE desktop_id = ?1 AND (?2 IS NULL OR user_id = ?2)",
                "tt", f.desktop.id, f.user_id);
    /* who is on it, is not any more */
    changes_sql(changes,
                "UPDATE session SET state = 'ending', reason = 'the desktop was taken from its"
                " user' WHERE desktop_id = ?1 AND (?2 IS NULL OR user_id = ?2) AND user_id <> ''"
                " AND ended_at IS NULL AND state <> 'ending'",
                "tt", f.desktop.id, f.user_id);
    changes_event(changes, "desktop.unassign", "info", f.desktop.name, who, "from %s",
                  user ? user : "all");
    return catalog_commit(world->catalog, changes, error);
}

/* ---- Extensions ---- */

/* A lease that somebody has. */
typedef struct {
    char *user_id, *settings;
    gint64 until, n_extensions;
    gboolean is_pooled;
    guint n; /* how many there are to choose from */
} Lease;

static void lease_clear(Lease *lease)
{
    g_free(lease->user_id);
    g_free(lease->settings);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Lease, lease_clear)

/* user_id NULL: of whoever has it. */
static gboolean find_lease(Db *db, const char *desktop_id, const char *user_id, Lease *ret,
                           GError **error)
{
    Query *q = db_query(db,
                        "SELECT 1 AS is_pooled, m.user_id, m.lease_until, m.n_extensions,"
                        " p.settings FROM pool_desktop m JOIN pool p ON p.id = m.pool_id WHERE"
                        " m.desktop_id = ?1 AND m.state = 'given' AND m.lease_until IS NOT NULL AND"
                        " (?2 IS NULL OR m.user_id = ?2) UNION ALL SELECT 0, user_id, lease_until,"
                        " n_extensions, coalesce(lease, ?3) FROM assignment WHERE desktop_id = ?1"
                        " AND lease_until IS NOT NULL AND (?2 IS NULL OR user_id = ?2)",
                        "ttt", desktop_id, user_id, LEASE_OF_OWN);

    for (; query_next(q); ret->n++) {
        if (ret->n)
            continue;
        ret->is_pooled = query_int(q, "is_pooled") != 0;
        ret->user_id = g_strdup(query_text(q, "user_id"));
        ret->until = query_int(q, "lease_until");
        ret->n_extensions = query_int(q, "n_extensions");
        ret->settings = g_strdup(query_text(q, "settings"));
    }
    return query_end(q, error);
}

static gboolean prolong(World *world, const DesktopRow *desktop, const Lease *lease,
                        const char *who, gint64 *ret_until, GError **error)
{
    g_auto(LeaseTerms) terms = { 0 };

    if (!lease_terms_read(lease->settings, &terms, error) ||
        !lease_extend(&terms, lease->until, lease->n_extensions, ret_until, error))
        return FALSE;
    g_autofree char *when = units_format_time(*ret_until);
    Changes *changes = changes_new();
    changes_sql(changes,
                lease->is_pooled
                    ? "UPDATE pool_desktop SET lease_until = ?3, n_extensions = n_extensions + 1,"
                      " warned_at = NULL WHERE desktop_id = ?1 AND user_id = ?2 AND state ="
                      " 'given' AND lease_until = ?4"
                    : "UPDATE assignment SET lease_until = ?3, n_extensions = n_extensions + 1,"
                      " warned_at = NULL WHERE desktop_id = ?1 AND user_id = ?2 AND lease_until ="
                      " ?4",
                "ttii", desktop->id, lease->user_id, *ret_until, lease->until);
    changes_event(changes, "lease.extend", "info", desktop->name, who, "until %s", when);
    return catalog_commit(world->catalog, changes, error);
}

/* Was it, or was it extended or ended by somebody else at the same moment? */
static gboolean is_until(World *world, const DesktopRow *desktop, const Lease *lease, gint64 until)
{
    g_auto(Lease) now = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = find_lease(db, desktop->id, lease->user_id, &now, NULL);

    catalog_read_end(world->catalog, db);
    return ok && now.n == 1 && now.until == until;
}

gboolean lease_prolong(World *world, const char *desktop, const char *user, const char *who,
                       gint64 *ret_until, GError **error)
{
    g_auto(Facts) f = { 0 };
    g_auto(Lease) lease = { 0 };

    if (!look(world, desktop, user, FALSE, &f, error))
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = find_lease(db, f.desktop.id, f.user_id, &lease, error);
    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    if (lease.n != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    lease.n ? "several users have a lease on the desktop '%s': say whose"
                            : "nobody has a lease on the desktop '%s'",
                    f.desktop.name);
        imaged_error_hint(error, "see them with: imagectl desktop assignments %s", f.desktop.name);
        return FALSE;
    }
    if (!prolong(world, &f.desktop, &lease, who, ret_until, error))
        return FALSE;
    if (!is_until(world, &f.desktop, &lease, *ret_until)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the lease on '%s' was just changed by somebody else", f.desktop.name);
        return FALSE;
    }
    pools_touch(world->pools);
    return TRUE;
}
