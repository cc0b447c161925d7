/* session_rows.c: see session_rows.h. */
#include "broker/session/session_rows.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

void session_row_clear(SessionRow *row)
{
    char **texts[] = { &row->id,       &row->user_id,   &row->desktop_id,
                       &row->pool_id,  &row->host_id,   &row->incarnation,
                       &row->protocol, &row->state,     &row->client_address,
                       &row->reason,   &row->user_name, &row->desktop_name,
                       &row->uuid };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

void session_row_free(gpointer row)
{
    if (row)
        session_row_clear(row);
    g_free(row);
}

static char *text(Query *q, const char *column)
{
    return g_strdup(query_text(q, column));
}

static void read_row(Query *q, SessionRow *ret)
{
    *ret = (SessionRow){ .id = text(q, "id"),
                         .user_id = text(q, "user_id"),
                         .desktop_id = text(q, "desktop_id"),
                         .pool_id = text(q, "pool_id"),
                         .host_id = text(q, "at_host_id"),
                         .is_moving = query_int(q, "is_moving") != 0,
                         .incarnation = text(q, "incarnation"),
                         .generation = query_int(q, "generation"),
                         .protocol = text(q, "protocol"),
                         .client_address = text(q, "client_address"),
                         .state = text(q, "state"),
                         .reason = text(q, "reason"),
                         .created_at = query_int(q, "created_at"),
                         .connected_at = query_int(q, "connected_at"),
                         .disconnected_at = query_int(q, "disconnected_at"),
                         .logged_in_at = query_int(q, "logged_in_at"),
                         .ended_at = query_int(q, "ended_at"),
                         .user_name = text(q, "user_name"),
                         .desktop_name = text(q, "desktop_name"),
                         .uuid = text(q, "uuid") };
}

/* The first row, if there is one; the query is ended. */
static gboolean read_one(Query *q, SessionRow *ret, GError **error)
{
    gboolean found = query_next(q);

    if (found)
        read_row(q, ret);
    if (query_end(q, error))
        return found;
    session_row_clear(ret);
    return FALSE;
}

gboolean session_of_desktop(Db *db, const char *desktop_id, SessionRow *ret, GError **error)
{
    return read_one(db_query(db, SESSION_SELECT "WHERE s.desktop_id = ?1 AND s.ended_at IS NULL",
                             "t", desktop_id),
                    ret, error);
}

gboolean session_of_user(Db *db, const char *user_id, SessionRow *ret, GError **error)
{
    return read_one(db_query(db,
                             SESSION_SELECT "WHERE s.user_id = ?1 AND s.ended_at IS NULL AND"
                                            " s.state <> 'ending' ORDER BY s.created_at DESC"
                                            " LIMIT 1",
                             "t", user_id),
                    ret, error);
}

gboolean session_lookup(Db *db, const char *name, SessionRow *ret, GError **error)
{
    GError *local = NULL;

    if (read_one(db_query(db, SESSION_SELECT "WHERE s.id = ?1", "t", name), ret, &local) ||
        (!local && read_one(db_query(db,
                                     SESSION_SELECT "WHERE d.name = ?1 AND d.is_trashed = 0 AND"
                                                    " s.ended_at IS NULL",
                                     "t", name),
                            ret, &local)))
        return TRUE;
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_autofree char *shown = text_for_message(name, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no session '%s'", shown);
    imaged_error_hint(error, "give its id or its desktop; see them with: imagectl session list");
    return FALSE;
}

GPtrArray *session_rows(Db *db, const char *sql, const char *types, ...)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(session_row_free);
    va_list args;

    va_start(args, types);
    Query *q = db_query_va(db, sql, types, args);
    va_end(args);
    while (query_next(q)) {
        SessionRow *row = g_new0(SessionRow, 1);
        read_row(q, row);
        g_ptr_array_add(out, row);
    }
    if (!query_end(q, NULL))
        g_clear_pointer(&out, g_ptr_array_unref);
    return out;
}

void session_put(Changes *changes, const SessionRow *row)
{
    /* No row is found where something has changed since it was looked at, and a session without a
     * generation cannot be. */
    changes_sql(changes,
                "INSERT INTO session (id, user_id, desktop_id, pool_id, host_id, incarnation,"
                " protocol, client_address, state, created_at, generation) VALUES (?1, ?2, ?3, ?4,"
                " ?5, ?6, ?7, ?8, 'opening', ?9, (SELECT r.generation FROM run r WHERE"
                " r.desktop_id = ?3 AND r.incarnation = ?6 AND (?2 = '' OR EXISTS (SELECT 1 FROM"
                " user u WHERE u.id = ?2 AND u.is_disabled = 0)) AND (?2 = '' OR EXISTS (SELECT 1"
                " FROM assignment o WHERE o.desktop_id = ?3 AND o.user_id = ?2 AND (o.lease_until"
                " IS NULL OR o.lease_until > ?9)) OR EXISTS (SELECT 1 FROM pool_desktop o WHERE"
                " o.desktop_id = ?3)) AND NOT EXISTS (SELECT 1 FROM lease_end e WHERE"
                " e.desktop_id = ?3) AND NOT EXISTS (SELECT 1 FROM"
                " pool_desktop p WHERE p.desktop_id = ?3 AND (p.state <> 'given' OR p.user_id IS"
                " NOT ?2 OR EXISTS (SELECT 1 FROM attachment a WHERE a.desktop_id = ?3 AND"
                " a.generation = r.generation AND a.user_id <> ?2)))))",
                "tttttttti", row->id, row->user_id, row->desktop_id, row->pool_id, row->host_id,
                row->incarnation, row->protocol, row->client_address, row->created_at);
    changes_sql(changes,
                "INSERT OR IGNORE INTO attachment (desktop_id, generation, user_id, created_at)"
                " SELECT desktop_id, generation, user_id, created_at FROM session WHERE id = ?1",
                "t", row->id);
}

void session_set_protocol(Changes *changes, const char *id, const char *protocol)
{
    changes_sql(changes, "UPDATE session SET protocol = ?2 WHERE id = ?1 AND ended_at IS NULL",
                "tt", id, protocol);
}

void session_set_connected(Changes *changes, const char *id, const char *address, gint64 now_ms)
{
    changes_sql(changes,
                "UPDATE session SET state = 'connected', client_address = coalesce(?2, "
                "client_address), connected_at ="
                " coalesce(connected_at, ?3), disconnected_at = NULL WHERE id = ?1 AND state IN"
                " ('opening', 'connected', 'disconnected')",
                "tti", id, address, now_ms);
}

void session_set_disconnected(Changes *changes, const char *id, const char *from, gint64 now_ms)
{
    changes_sql(changes,
                "UPDATE session SET state = 'disconnected', disconnected_at = ?3 WHERE id = ?1 AND"
                " state = ?2",
                "tti", id, from, now_ms);
}

void session_set_host(Changes *changes, const char *desktop_id, const char *incarnation,
                      const char *host_id)
{
    changes_sql(changes,
                "UPDATE session SET host_id = ?3 WHERE desktop_id = ?1 AND incarnation = ?2 AND"
                " ended_at IS NULL",
                "ttt", desktop_id, incarnation, host_id);
}

void session_set_logged_in(Changes *changes, const char *id, gint64 now_ms)
{
    changes_sql(changes,
                "UPDATE session SET logged_in_at = coalesce(logged_in_at, ?2) WHERE id = ?1 AND"
                " ended_at IS NULL",
                "ti", id, now_ms);
    changes_sql(changes,
                "UPDATE session SET state = 'connected', connected_at = coalesce(connected_at, ?2),"
                " disconnected_at = NULL WHERE id = ?1 AND protocol = 'rdp' AND state IN"
                " ('opening', 'disconnected')",
                "ti", id, now_ms);
}

void session_set_ending(Changes *changes, const char *id, const char *reason)
{
    changes_sql(changes,
                "UPDATE session SET state = 'ending', reason = ?2 WHERE id = ?1 AND ended_at IS"
                " NULL AND state <> 'ending'",
                "tt", id, reason);
}

void session_set_ended(Changes *changes, const char *id, const char *reason, gint64 now_ms)
{
    changes_sql(changes,
                "UPDATE session SET state = 'ended', reason = coalesce(?2, reason), ended_at = ?3"
                " WHERE id = ?1 AND ended_at IS NULL",
                "tti", id, reason, now_ms);
}
