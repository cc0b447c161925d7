/* choose.h: which desktop, or which pool, a user means who wants to connect.  Reads alone: whether
 * he gets it is decided when it is given out (broker/pool/pick.h, sessions.h). */
#pragma once

#include "broker/host/hosts.h"
#include "imaged/catalog/db.h"
#include "imaged/catalog/lookup.h"

typedef struct {
    const char *user_id; /* "": root, who may have every desktop */
    const char *name;    /* of a desktop or a pool; NULL: whatever is his */
} SessionWish;

typedef struct {
    char *desktop_id;     /* NULL: one of the pool's */
    char *pool_id;        /* NULL: it is of none */
    gboolean is_assigned; /* he has it by an assignment */
    gboolean may_take_over;
} SessionChoice;
void session_choice_clear(SessionChoice *choice);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SessionChoice, session_choice_clear)

/* His own session first, from wherever he comes; else the one desktop or pool that he has.
 * NOT_FOUND: he has none (of this name); INVALID: several, and the message names them. */
gboolean session_choose(Db *db, const SessionWish *wish, SessionChoice *ret, GError **error);

typedef struct {
    gboolean has_spice, is_windows;
    const GError *no_vnc; /* why he who asks cannot have that; NULL: he can */
} SessionDisplay;

/* INVALID: there is none of this name. */
gboolean session_protocol_check(const char *name, GError **error);

/* The protocol of a session: wanted, or (NULL) the best one: static.  UNSUPPORTED: not with this
 * desktop, or not from there. */
const char *session_protocol(const char *wanted, const SessionDisplay *display, GError **error);

/* What a client connects to, on this host: caller frees.  A host on our own machine is there by the
 * loopback address, unless it was given another. */
char *session_display_host(const HostRow *host);
