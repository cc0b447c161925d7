/* shadow.h: somebody looks at a user's screen, with his consent.
 *
 * By the VNC display that a domain has beside SPICE, through a relay of ours (rfb_filter.h): a unix
 * socket whose name nobody can guess, for one client, for a minute.  Asked and allowed is kept in
 * memory: after a restart one asks again.  The host must be on this machine: libvirt hands over its
 * display's connection on a unix socket alone.  Any thread. */
#pragma once

#include "broker/session/sessions.h"

typedef struct Shadows Shadows;

/* dir: where the sockets go; made if it is not there. */
Shadows *shadows_new(World *world, const char *dir);
void shadows_free(Shadows *shadows); /* before the hosts go; ends all that look */

typedef enum { SHADOW_ASKED, SHADOW_ALLOWED } ShadowState;

/* Ask the session's user; asked again when he has allowed it: *ret_path (caller frees) is the
 * socket.  DENIED: he has refused. */
gboolean shadow_ask(Shadows *shadows, const SessionRow *session, const char *who,
                    gboolean wants_control, ShadowState *ret_state, char **ret_path,
                    GError **error);

/* His answer, with what it is about in *ret_who (caller frees) and *ret_control.  NOT_FOUND: nobody
 * has asked. */
gboolean shadow_answer(Shadows *shadows, const SessionRow *session, gboolean allows, char **ret_who,
                       gboolean *ret_control, GError **error);
