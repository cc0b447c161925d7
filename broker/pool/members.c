/* members.c: see members.h. */
#include "broker/pool/members.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

void members_add(Changes *changes, const char *pool_id, const char *desktop_id, const char *job_id)
{
    changes_sql(changes,
                "INSERT INTO pool_desktop (desktop_id, pool_id, state, clean_generation, job_id,"
                " n_extensions, changed_at) VALUES (?2, ?1, 'making', 0, ?3, 0, ?4)",
                "ttti", pool_id, desktop_id, job_id, units_now_ms());
}

void members_made(Changes *changes, const char *desktop_id)
{
    gint64 now = units_now_ms();

    changes_sql(changes,
                "DELETE FROM pool_desktop WHERE desktop_id = ?1 AND state = 'making' AND NOT EXISTS"
                " (SELECT 1 FROM desktop d WHERE d.id = ?1 AND d.is_trashed = 0)",
                "t", desktop_id);
    /* its first disk, which nobody was ever let in to; else it is re-imaged to be sure of it */
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'free', clean_generation = 1, job_id = NULL,"
                " changed_at = ?2 WHERE desktop_id = ?1 AND state = 'making' AND EXISTS (SELECT 1"
                " FROM desktop d WHERE d.id = ?1 AND d.generation = 1 AND d.data_layer_id IS NULL)"
                " AND NOT EXISTS (SELECT 1 FROM attachment a WHERE a.desktop_id = ?1)",
                "ti", desktop_id, now);
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'returning', job_id = NULL, changed_at = ?2 WHERE"
                " desktop_id = ?1 AND state = 'making'",
                "ti", desktop_id, now);
}

void members_return(Changes *changes, const char *desktop_id, const char *reason)
{
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'returning', reason = ?2, n_failures = 0,"
                " changed_at = ?3 WHERE desktop_id = ?1 AND state IN ('free', 'given',"
                " 'archiving', 'broken')",
                "tti", desktop_id, reason, units_now_ms());
}

guint members_sort_out(Db *db, Changes *changes, const char *pool_id)
{
    guint n = 0;
    Query *q = db_query(
        db,
        "SELECT m.desktop_id, coalesce(d.is_trashed, 1) AS is_gone FROM pool_desktop m JOIN pool p"
        " ON p.id = m.pool_id LEFT JOIN desktop d ON d.id = m.desktop_id WHERE m.pool_id = ?1 AND"
        " m.state <> 'making' AND (coalesce(d.is_trashed, 1) OR m.state = 'free' AND"
        " (d.generation <> m.clean_generation OR d.state <> 'ok' OR d.data_layer_id IS NOT NULL"
        " OR d.version_id <> " POOL_WANTED_OF_P
        " OR EXISTS (SELECT 1 FROM attachment a WHERE a.desktop_id = d.id AND a.generation >="
        " m.clean_generation)))",
        "t", pool_id);

    for (; query_next(q); n++) {
        const char *id = query_text(q, "desktop_id");
        if (query_int(q, "is_gone"))
            changes_sql(changes,
                        "DELETE FROM pool_desktop WHERE desktop_id = ?1 AND NOT EXISTS (SELECT 1"
                        " FROM desktop d WHERE d.id = ?1 AND d.is_trashed = 0)",
                        "t", id);
        else
            changes_sql(changes,
                        "UPDATE pool_desktop SET state = 'returning', n_failures = 0, reason ="
                        " 'not as the pool wants it', changed_at = ?2 WHERE desktop_id = ?1 AND"
                        " state = 'free'",
                        "ti", id, units_now_ms());
    }
    query_end(q, NULL);
    return n;
}

void members_reimaged(Changes *changes, const char *desktop_id, const char *layer_id)
{
    gint64 now = units_now_ms();

    /* Nothing of the one before is left to be taken up: neither his session nor his name. */
    changes_sql(changes,
                "UPDATE session SET state = 'ended', reason = 'the desktop was returned', ended_at"
                " = ?2 WHERE desktop_id = ?1 AND ended_at IS NULL",
                "ti", desktop_id, now);
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'free', user_id = NULL, lease_until = NULL,"
                " warned_at = NULL, n_extensions = 0, n_failures = 0, reason = NULL, changed_at ="
                " ?3, clean_generation = (SELECT d.generation FROM desktop d WHERE d.id ="
                " desktop_id) WHERE desktop_id = ?1 AND state = 'returning' AND EXISTS (SELECT 1"
                " FROM desktop d WHERE d.id = ?1 AND d.layer_id = ?2 AND d.is_trashed = 0)",
                "tti", desktop_id, layer_id, now);
}

void members_failed(Changes *changes, const char *desktop_id, const char *reason)
{
    changes_sql(changes,
                "UPDATE pool_desktop SET n_failures = n_failures + 1, reason = ?2, changed_at = ?3,"
                " state = CASE WHEN n_failures + 1 >= ?4 THEN 'broken' ELSE state END WHERE"
                " desktop_id = ?1 AND state = 'returning'",
                "ttii", desktop_id, reason, units_now_ms(), (gint64)MEMBER_MAX_FAILURES);
}

void members_leave(Changes *changes, const char *desktop_id)
{
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'leaving', changed_at = ?2 WHERE desktop_id = ?1"
                " AND state IN ('free', 'returning', 'broken')",
                "ti", desktop_id, units_now_ms());
}

char *member_pool_name(Db *db, const char *desktop_id)
{
    Query *q = db_query(db,
                        "SELECT p.name FROM pool_desktop m JOIN pool p ON p.id = m.pool_id WHERE"
                        " m.desktop_id = ?1",
                        "t", desktop_id);
    char *name = query_next(q) ? g_strdup(query_text(q, "name")) : NULL;

    query_end(q, NULL);
    return name;
}

gboolean member_check_content(Db *db, const char *desktop_id, gint64 generation, GError **error)
{
    g_autofree char *pool = member_pool_name(db, desktop_id);
    gboolean is_his = lookup_int(db,
                                 "SELECT EXISTS (SELECT 1 FROM pool_desktop WHERE desktop_id = ?1"
                                 " AND state = 'given' AND ?2 >= clean_generation) AS ok",
                                 "ti", desktop_id, generation) != 0;

    if (!pool || is_his)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "it is of the pool '%s', and that disk is from before it was given to its present"
                " user, if it has one",
                pool);
    imaged_error_hint(error, "it may be of somebody else; look into it with: imagectl export");
    return FALSE;
}
