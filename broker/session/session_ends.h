/* session_ends.h: what ends a session by itself, and passwords that have done their work.
 *
 * For sessions.h alone: looked for at each tick, done by some threads of its own, so that a host
 * that hangs holds up nobody else's end. */
#pragma once

#include "broker/session/sessions.h"

typedef struct SessionEnds SessionEnds;

SessionEnds *session_ends_new(Sessions *sessions);

/* Waits for what its threads are at. */
void session_ends_free(SessionEnds *ends);

void session_ends_tick(SessionEnds *ends, gint64 now_ms);

/* One thread at a time ends a session; waits. */
void session_ends_claim(SessionEnds *ends, const char *session_id);
void session_ends_release(SessionEnds *ends, const char *session_id);

/* Until all that a tick began is done: for tests. */
void session_ends_wait(SessionEnds *ends);
