/* live.h: what sessions.c, session_ends.c and live.c share: the table of sessions that are open. */
#pragma once

#include "broker/session/clients.h"
#include "broker/session/sessions.h"

World *sessions_world(Sessions *sessions);

/* Its password (NULL: it has none) is out from now_ms on. */
void live_add(Sessions *sessions, const SessionRow *row, const char *password, gint64 now_ms);
void live_drop(Sessions *sessions, const char *uuid, const char *session_id);

/* What a session was at some moment. */
typedef struct {
    char *session_id, *host_id, *uuid, *incarnation;
    char *password; /* or NULL */
} LiveSession;
void live_session_free(gpointer session);

/* Those whose password is over: of LiveSession, each told once. */
GPtrArray *live_over(Sessions *sessions, gint64 now_ms);

/* It lets nobody in any more; who is in stays.  Not waited for. */
void sessions_end_password(Sessions *sessions, const LiveSession *session);

/* What the guest's agent says of users, asked now and then.  live_ask_due(): those to be asked now,
 * of LiveSession.  live_note_users(): what is new in that. */
typedef enum { USERS_SAME, USERS_CAME, USERS_LEFT } UsersChange;
GPtrArray *live_ask_due(Sessions *sessions, gint64 now_ms);
UsersChange live_note_users(Sessions *sessions, const char *uuid, const char *session_id,
                            gint n_users, gint64 now_ms);

/* Is this the password that was given out last, and over?  Or still to hold? */
gboolean live_is_over(Sessions *sessions, const char *uuid, const char *password);
gboolean live_is_wanted(Sessions *sessions, const char *uuid, const char *password);

/* It is being ended: a password that is still on its way to the host will not do any more. */
void live_forbid(Sessions *sessions, const char *uuid, const char *session_id);

/* One thread at a time ends a session: who has it looks at the row again first. */
void live_claim_end(Sessions *sessions, const char *session_id); /* waits */
void live_release_end(Sessions *sessions, const char *session_id);

/* Both with the end claimed. The session's row: cut off its client, and then it is ended. */
gboolean sessions_cut_and_finish(Sessions *sessions, const SessionRow *row, gint64 now_ms,
                                 gint64 limit_ms, GError **error);
/* Its desktop is off: there is nobody to cut off. */
gboolean sessions_finish(Sessions *sessions, const SessionRow *row, const char *reason,
                         gint64 now_ms, GError **error);
