/* quota.c: see quota.h. */
#include "broker/access/quota.h"

#include "imaged/base/error.h"
#include "imaged/catalog/lookup.h"

/* Those of the user with the id ?1, or of the members of the group with that id. */
#define DESKTOPS                                                                                   \
    "WITH who AS (SELECT ?1 AS id UNION SELECT user_id FROM group_member WHERE group_id = ?1), "   \
    "mine AS (SELECT desktop_id FROM assignment WHERE is_owner = 1 AND user_id IN (SELECT id FROM" \
    " who) UNION SELECT desktop_id FROM pool_desktop WHERE user_id IN (SELECT id FROM who)) "

static const struct {
    const char *key, *name, *used;
} kinds[QUOTA_N] = {
    [QUOTA_DESKTOPS] = { "max_desktops", "desktops", DESKTOPS "SELECT count(*) FROM mine" },
    [QUOTA_RUNNING] = { "max_running", "running desktops",
                        DESKTOPS "SELECT count(*) FROM run WHERE desktop_id IN (SELECT desktop_id"
                                 " FROM mine)" },
    [QUOTA_DISK_BYTES] = { "max_disk_bytes", "bytes on disk",
                           DESKTOPS "SELECT coalesce(sum(c.disk_bytes), 0) FROM layer l JOIN"
                                    " layer_counts c ON c.layer_id = l.id WHERE l.owner_id IN"
                                    " (SELECT desktop_id FROM mine)" },
    [QUOTA_SNAPSHOTS] = { "max_snapshots", "snapshots",
                          DESKTOPS "SELECT count(*) FROM snapshot WHERE is_trashed = 0 AND"
                                   " desktop_id IN (SELECT desktop_id FROM mine)" },
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

gint64 quota_used(Db *db, const char *subject_id, QuotaKind kind)
{
    return lookup_int(db, kinds[kind].used, "t", subject_id);
}

static gint64 limit_of(Query *q, QuotaKind kind)
{
    static const char *const columns[QUOTA_N] = { "n_desktops", "n_running", "disk_bytes",
                                                  "n_snapshots" };

    return query_is_null(q, columns[kind]) ? QUOTA_NONE : query_int(q, columns[kind]);
}

static gint64 planned_of(GHashTable *planned, const char *subject_id)
{
    const gint64 *n = planned ? g_hash_table_lookup(planned, subject_id) : NULL;

    return n ? *n : 0;
}

static void plan(GHashTable *planned, const GPtrArray *subjects, gint64 more)
{
    for (guint i = 0; planned && i < subjects->len; i++) {
        gint64 *n = g_new(gint64, 1);
        *n = planned_of(planned, subjects->pdata[i]) + more;
        g_hash_table_insert(planned, g_strdup(subjects->pdata[i]), n);
    }
}

/* subjects: whose quotas were looked at. */
static gboolean check_one(Db *db, Query *q, QuotaKind kind, gint64 more, GHashTable *planned,
                          GPtrArray *subjects, GError **error)
{
    const char *id = query_text(q, "subject_id");
    gint64 limit = limit_of(q, kind);

    g_ptr_array_add(subjects, g_strdup(id));
    if (limit == QUOTA_NONE)
        return TRUE;
    gint64 used = quota_used(db, id, kind) + planned_of(planned, id);
    if (more <= limit && used <= limit - more)
        return TRUE;
    g_set_error(
        error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
        "the quota of the %s '%s' is reached: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " %s",
        query_text(q, "subject_kind"), query_text(q, "name"), used, limit, kinds[kind].name);
    return FALSE;
}

static gboolean check(Db *db, const char *user_id, QuotaKind kind, gint64 more, GHashTable *planned,
                      GError **error)
{
    g_autoptr(GPtrArray) subjects = g_ptr_array_new_with_free_func(g_free);
    gboolean ok = TRUE;
    Query *q = db_query(db,
                        "SELECT q.*, coalesce(u.name, g.name) AS name FROM quota q LEFT JOIN user u"
                        " ON u.id = q.subject_id LEFT JOIN user_group g ON g.id = q.subject_id"
                        " WHERE q.subject_id = ?1 OR q.subject_id IN (SELECT group_id FROM"
                        " group_member WHERE user_id = ?1)",
                        "t", user_id);

    while (ok && query_next(q))
        ok = check_one(db, q, kind, more, planned, subjects, error);
    ok = query_end(q, ok ? error : NULL) && ok;
    if (ok)
        plan(planned, subjects, more);
    return ok;
}

gboolean quota_check(Db *db, const char *user_id, QuotaKind kind, gint64 more, GError **error)
{
    return check(db, user_id, kind, more, NULL, error);
}

gboolean quota_check_desktop(Db *db, const char *desktop_id, QuotaKind kind, gint64 more,
                             GHashTable *planned, GError **error)
{
    g_autofree char *user = NULL;
    Query *q = db_query(db,
                        "SELECT user_id FROM assignment WHERE desktop_id = ?1 AND is_owner = 1"
                        " UNION ALL SELECT user_id FROM pool_desktop WHERE desktop_id = ?1 AND"
                        " user_id IS NOT NULL LIMIT 1",
                        "t", desktop_id);

    if (query_next(q))
        user = g_strdup(query_text(q, "user_id"));
    return query_end(q, error) && (!user || check(db, user, kind, more, planned, error));
}
