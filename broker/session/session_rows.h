/* session_rows.h: who is on which desktop, as rows of the catalog.
 *
 *   opening -> connected <-> disconnected -> ending -> ended
 *
 * ending: nobody gets in any more, but it is not known yet that the former client is cut off.  At
 * most one session of a desktop is not ended.  Any thread. */
#pragma once

#include "imaged/catalog/changes.h"
#include "imaged/catalog/db.h"

typedef struct {
    char *id, *user_id; /* user_id: "" for root */
    char *desktop_id, *pool_id, *incarnation;
    char *host_id;      /* where its desktop runs now; once that is off: where it ran */
    gboolean is_moving; /* to another host, at the moment */
    gint64 generation;
    char *protocol, *client_address, *state, *reason;
    gint64 created_at, connected_at, disconnected_at, ended_at; /* 0: not yet */
    gint64 logged_in_at;                                        /* its guest told of a user */
    char *user_name, *desktop_name, *uuid;                      /* uuid: the desktop's */
} SessionRow;
void session_row_clear(SessionRow *row);
void session_row_free(gpointer row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SessionRow, session_row_clear)

/* NOT_FOUND.  name is an id, or the name of a desktop with a session that is not ended. */
gboolean session_lookup(Db *db, const char *name, SessionRow *ret, GError **error);

/* The session of this desktop that is not ended.  FALSE without an error: there is none. */
gboolean session_of_desktop(Db *db, const char *desktop_id, SessionRow *ret, GError **error);

/* The user's newest session that is neither ended nor ending.  FALSE likewise. */
gboolean session_of_user(Db *db, const char *user_id, SessionRow *ret, GError **error);

/* All that are not ended (of SessionRow), or those alone that a condition finds: it is put behind
 * AND, and may name session s, desktop d, run r (or NULLs).  NULL on an error; caller unrefs. */
GPtrArray *session_rows(Db *db, const char *sql, const char *types, ...);
#define SESSION_SELECT                                                                             \
    "SELECT s.*, coalesce((SELECT n.host_id FROM run n WHERE n.desktop_id = s.desktop_id AND"      \
    " n.incarnation = s.incarnation), s.host_id) AS at_host_id, EXISTS (SELECT 1 FROM run n WHERE" \
    " n.desktop_id = s.desktop_id AND n.incarnation = s.incarnation AND n.target_host_id IS NOT"   \
    " NULL) AS is_moving, d.name AS desktop_name, d.uuid, coalesce(u.name, 'root') AS user_name"   \
    " FROM session s JOIN desktop d ON d.id = s.desktop_id LEFT JOIN user u ON u.id = s.user_id "

/* A new one, with the note that this generation has seen this user: into one set of changes.  It
 * cannot be committed (EXISTS) if the desktop has another session, runs as another incarnation, is
 * not assigned to this user (root has all), or is a pool's and was not given to him, or has seen
 * another, or if the user is disabled or gone. */
void session_put(Changes *changes, const SessionRow *row);

/* He goes on with another one. */
void session_set_protocol(Changes *changes, const char *id, const char *protocol);

/* A state is left behind alone as the picture above says; others are not touched. */
void session_set_connected(Changes *changes, const char *id, const char *address, gint64 now_ms);
/* from: opening (nobody came) or connected. */
void session_set_disconnected(Changes *changes, const char *id, const char *from, gint64 now_ms);
/* The one that is open on a run that was moved. */
void session_set_host(Changes *changes, const char *desktop_id, const char *incarnation,
                      const char *host_id);
/* Its guest tells of users.  By RDP, whose connections nobody sees, that is connected. */
void session_set_logged_in(Changes *changes, const char *id, gint64 now_ms);
void session_set_ending(Changes *changes, const char *id, const char *reason);
void session_set_ended(Changes *changes, const char *id, const char *reason, gint64 now_ms);
