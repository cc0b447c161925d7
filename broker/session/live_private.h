/* live_private.h: the table of sessions that are open, for live.c (what is in it, and due) and
 * live_hosts.c (what hosts tell of its clients). */
#pragma once

#include "broker/session/live.h"
#include "broker/session/session_ends.h"

/* One session. */
typedef struct {
    char *session_id, *host_id, *uuid, *incarnation, *password;
    Clients clients;
    gint64 ask_ms;  /* when its agent is asked next */
    gint64 wait_ms; /* and until then, if there is no answer: longer and longer */
    gint n_users;   /* logged in there when it was asked last; -1: not known */
} Live;

struct Sessions {
    World *world;
    GMutex lock; /* guards what follows */
    GCond wake;
    GHashTable *by_uuid; /* uuid of the desktop -> Live */
    GHashTable *to_ask;  /* ids of hosts that are to be asked who is connected */
    gboolean is_stopping;
    GThread *thread;
    SessionEnds *ends;
};
