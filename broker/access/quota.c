/* quota.c: see quota.h.
 *
 * What counts is reckoned up where it changes, by the catalog's triggers (imaged/catalog/schema.c,
 * 16): held has who each desktop counts for, and each quota's row what its user or group has.  So a
 * question costs as much for a group of 10,000 as for one user. */
#include "broker/access/quota.h"

#include "imaged/base/error.h"
#include "imaged/catalog/lookup.h"

/* The user with the id ?1, or the members of the group with that id. */
#define WHO "(SELECT ?1 UNION ALL SELECT user_id FROM group_member WHERE group_id = ?1)"

/* used: in the row of a quota; sum: what those of ?1 have; brings: what the desktop ?2 has, if it
 * does not count for ?1 yet. */
static const struct {
    const char *key, *name, *word, *limit, *used, *sum, *brings;
} kinds[QUOTA_N] = {
    [QUOTA_DESKTOPS] = { "max_desktops", "desktops", "desktops", "n_desktops", "used_desktops",
                         "SELECT count(*) FROM held WHERE user_id IN " WHO, NULL },
    [QUOTA_RUNNING] = { "max_running", "running desktops", "running", "n_running", "used_running",
                        "SELECT coalesce(sum(n_running), 0) FROM held WHERE user_id IN " WHO,
                        "SELECT n_running FROM desktop_use WHERE desktop_id = ?1" },
    [QUOTA_DISK_BYTES] = { "max_disk_bytes", "bytes on disk", "bytes", "disk_bytes", NULL,
                           "SELECT l.slot, l.store_id FROM held h CROSS JOIN layer l ON l.owner_id"
                           " = h.desktop_id WHERE h.user_id IN " WHO " AND l.owner_kind ="
                           " 'desktop' AND l.state IN ('active', 'frozen')",
                           "SELECT l.slot, l.store_id FROM layer l WHERE l.owner_id = ?1 AND"
                           " l.owner_kind = 'desktop' AND l.state IN ('active', 'frozen')" },
    [QUOTA_SNAPSHOTS] = { "max_snapshots", "snapshots", "snapshots", "n_snapshots",
                          "used_snapshots",
                          "SELECT coalesce(sum(n_snapshots), 0) FROM held WHERE user_id IN " WHO,
                          "SELECT n_snapshots FROM desktop_use WHERE desktop_id = ?1" },
};

const char *quota_key(QuotaKind kind)
{
    return kinds[kind].key;
}

gboolean quota_set(Catalog *catalog, const char *subject_id, gboolean is_group, const char *name,
                   const Quota *quota, const char *who, GError **error)
{
    g_autoptr(GString) said = g_string_new(NULL);
    const gint64 *l = quota->limit;

    for (guint i = 0; i < QUOTA_N; i++) {
        if (l[i] == QUOTA_NONE)
            g_string_append_printf(said, "%sno %s", said->len ? ", " : "", kinds[i].key);
        else if (l[i] != QUOTA_KEEP)
            g_string_append_printf(said, "%s%s %" G_GINT64_FORMAT, said->len ? ", " : "",
                                   kinds[i].key, l[i]);
    }
    if (said->len == 0)
        return TRUE;
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO quota (subject_id, subject_kind) VALUES (?1, ?2) ON CONFLICT DO"
                " NOTHING",
                "tt", subject_id, is_group ? "group" : "user");
    changes_sql(changes,
                "UPDATE quota SET n_desktops = CASE ?2 WHEN -2 THEN n_desktops WHEN -1 THEN NULL"
                " ELSE ?2 END, n_running = CASE ?3 WHEN -2 THEN n_running WHEN -1 THEN NULL ELSE ?3"
                " END, disk_bytes = CASE ?4 WHEN -2 THEN disk_bytes WHEN -1 THEN NULL ELSE ?4 END,"
                " n_snapshots = CASE ?5 WHEN -2 THEN n_snapshots WHEN -1 THEN NULL ELSE ?5 END"
                " WHERE subject_id = ?1",
                "tiiii", subject_id, l[QUOTA_DESKTOPS], l[QUOTA_RUNNING], l[QUOTA_DISK_BYTES],
                l[QUOTA_SNAPSHOTS]);
    changes_event(changes, is_group ? "group.quota" : "user.quota", "info", name, who, "%s",
                  said->str);
    return catalog_commit(catalog, changes, error);
}

/* What stores that are away hold is not seen. */
static gint64 bytes_of(World *world, Query *layers)
{
    gint64 sum = 0;

    while (query_next(layers)) {
        g_autoptr(Store) store = store_set_peek(world->stores, query_text(layers, "store_id"));
        StoreStat stat;
        if (store && store->ops->stat(store, STORE_LAYERS, query_text(layers, "slot"), &stat, NULL))
            sum += (gint64)stat.disk_bytes;
    }
    query_end(layers, NULL);
    return sum;
}

static gint64 ask(World *world, Db *db, QuotaKind kind, const char *sql, const char *id)
{
    Query *q = kind == QUOTA_DISK_BYTES ? db_query(db, sql, "t", id) : NULL;

    return q ? bytes_of(world, q) : lookup_int(db, sql, "t", id);
}

gint64 quota_used(World *world, Db *db, const char *subject_id, QuotaKind kind)
{
    return ask(world, db, kind, kinds[kind].sum, subject_id);
}

gboolean quota_any(Db *db)
{
    return lookup_int(db, "SELECT EXISTS (SELECT 1 FROM quota)", "") != 0;
}

/* What somebody is to get: a desktop with all that it has, or more of one kind. */
typedef struct {
    const char *desktop_id; /* or NULL */
    gint64 more;
    GHashTable *planned; /* subject -> gint64, or NULL */
} Growth;

static gint64 planned_of(const Growth *g, const char *subject_id)
{
    const gint64 *n = g->planned ? g_hash_table_lookup(g->planned, subject_id) : NULL;

    return n ? *n : 0;
}

static void plan(const Growth *g, const char *subject_id, gint64 n)
{
    gint64 *value = g_new(gint64, 1);

    *value = n;
    g_hash_table_insert(g->planned, g_strdup(subject_id), value);
}

/* By its quota's row; files are asked, once for a request. */
static gint64 used_of(World *world, Db *db, Query *q, QuotaKind kind, const Growth *g)
{
    const char *id = query_text(q, "subject_id");

    if (kind != QUOTA_DISK_BYTES)
        return query_int(q, kinds[kind].used) + planned_of(g, id);
    if (g->planned && g_hash_table_contains(g->planned, id))
        return planned_of(g, id);
    gint64 bytes = quota_used(world, db, id, kind);
    if (g->planned)
        plan(g, id, bytes);
    return bytes;
}

/* By how much more it would be. */
static gint64 growth_of(World *world, Db *db, const char *subject_id, QuotaKind kind,
                        const Growth *g)
{
    if (!g->desktop_id)
        return g->more;
    gboolean is_there =
        lookup_int(db,
                   "SELECT EXISTS (SELECT 1 FROM held h WHERE h.desktop_id = ?2 AND (h.user_id ="
                   " ?1 OR EXISTS (SELECT 1 FROM group_member m WHERE m.group_id = ?1 AND"
                   " m.user_id = h.user_id)))",
                   "tt", subject_id, g->desktop_id) != 0;
    return is_there                 ? 0
           : kind == QUOTA_DESKTOPS ? 1
                                    : ask(world, db, kind, kinds[kind].brings, g->desktop_id);
}

/* One quota (q's row) and one kind; world may be NULL where no bytes are asked for.  What does not
 * grow is let be, even beyond the limit. */
static gboolean check_limit(World *world, Db *db, Query *q, QuotaKind kind, const Growth *g,
                            GError **error)
{
    if (query_is_null(q, kinds[kind].limit))
        return TRUE;
    gint64 limit = query_int(q, kinds[kind].limit);
    gint64 more = growth_of(world, db, query_text(q, "subject_id"), kind, g);
    gint64 used = more > 0 ? used_of(world, db, q, kind, g) : 0;
    if (more <= 0 || used + more <= limit)
        return TRUE;
    g_set_error(
        error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
        "the quota of the %s '%s' is reached: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " %s",
        query_text(q, "subject_kind"), query_text(q, "name"), used, limit, kinds[kind].name);
    imaged_error_hint(error, "who may, sets another one: imagectl %s set %s --max-...",
                      query_text(q, "subject_kind"), query_text(q, "name"));
    return FALSE;
}

static gboolean check_kinds(World *world, Db *db, const char *user_id, QuotaKind first,
                            QuotaKind last, const Growth *g, GError **error)
{
    g_autoptr(GPtrArray) subjects = g_ptr_array_new_with_free_func(g_free);
    gboolean ok = TRUE;
    Query *q = db_query(db,
                        "SELECT q.*, coalesce(u.name, g.name) AS name FROM quota q LEFT JOIN user u"
                        " ON u.id = q.subject_id LEFT JOIN user_group g ON g.id = q.subject_id"
                        " WHERE q.subject_id = ?1 OR q.subject_id IN (SELECT group_id FROM"
                        " group_member WHERE user_id = ?1)",
                        "t", user_id);

    while (ok && query_next(q)) {
        g_ptr_array_add(subjects, g_strdup(query_text(q, "subject_id")));
        for (QuotaKind kind = first; ok && kind <= last; kind++)
            ok = (kind == QUOTA_DISK_BYTES && !world) || check_limit(world, db, q, kind, g, error);
    }
    ok = query_end(q, ok ? error : NULL) && ok;
    for (guint i = 0; ok && g->planned && first != QUOTA_DISK_BYTES && i < subjects->len; i++)
        plan(g, subjects->pdata[i], planned_of(g, subjects->pdata[i]) + g->more);
    return ok;
}

/* For whom a desktop counts: NULL and TRUE if for nobody. */
static gboolean find_user(Db *db, const char *desktop_id, char **ret, GError **error)
{
    Query *q = db_query(db, "SELECT user_id FROM held WHERE desktop_id = ?1", "t", desktop_id);

    *ret = query_next(q) ? g_strdup(query_text(q, "user_id")) : NULL;
    return query_end(q, error);
}

gboolean quota_check_more(World *world, Db *db, const char *desktop_id, QuotaKind kind,
                          GHashTable *planned, GError **error)
{
    const Growth g = { .more = 1, .planned = planned };
    g_autofree char *user = NULL;

    if (!find_user(db, desktop_id, &user, error))
        return FALSE;
    if (!user ||
        (kind == QUOTA_RUNNING &&
         lookup_int(db, "SELECT n_running FROM held WHERE desktop_id = ?1", "t", desktop_id)))
        return TRUE;
    return check_kinds(world, db, user, kind, kind, &g, error);
}

gboolean quota_check_given(World *world, Db *db, const char *user_id, const char *desktop_id,
                           GError **error)
{
    const Growth g = { .desktop_id = desktop_id };

    return check_kinds(world, db, user_id, 0, QUOTA_N - 1, &g, error);
}

/* ---- Within a set of changes: in the writer, which waits for no store ---- */

typedef struct {
    QuotaKind kind;
    char *user_id, *desktop_id;
} Wall;

static void wall_free(gpointer data)
{
    Wall *w = data;

    g_free(w->user_id);
    g_free(w->desktop_id);
    g_free(w);
}

static gboolean test_given(Db *db, gpointer data, GError **error)
{
    const Wall *w = data;

    return quota_check_given(NULL, db, w->user_id, w->desktop_id, error);
}

static gboolean test_more(Db *db, gpointer data, GError **error)
{
    const Wall *w = data;

    return quota_check_more(NULL, db, w->desktop_id, w->kind, NULL, error);
}

static void require(Changes *changes, ChangesTest test, QuotaKind kind, const char *user_id,
                    const char *desktop_id)
{
    Wall *w = g_new0(Wall, 1);

    *w = (Wall){ kind, g_strdup(user_id), g_strdup(desktop_id) };
    changes_require(changes, test, w, wall_free);
}

void quota_require_given(Changes *changes, const char *user_id, const char *desktop_id)
{
    require(changes, test_given, QUOTA_N, user_id, desktop_id);
}

void quota_hold(Changes *changes, QuotaKind kind, const char *desktop_id, const char *thing_id,
                const char *job_id)
{
    require(changes, test_more, kind, NULL, desktop_id);
    changes_sql(changes,
                "INSERT INTO quota_hold (thing_id, kind, desktop_id, job_id) VALUES (?1, ?2, ?3,"
                " ?4)",
                "tttt", thing_id, kinds[kind].word, desktop_id, job_id);
}
