/* shadow.h: somebody looks at a user's screen, with his consent.
 *
 * By the VNC display that a domain has beside SPICE, through a relay of ours (rfb_relay.h).  Asked
 * and allowed is kept in memory: after a restart one asks again.  Any thread. */
#pragma once

#include "broker/session/rfb_relay.h"

typedef struct Shadows Shadows;

Shadows *shadows_new(Relays *relays);
void shadows_free(Shadows *shadows);

typedef enum { SHADOW_ASKED, SHADOW_ALLOWED } ShadowState;

/* Ask the session's user; asked again when he has allowed it: *ret_way is the way there.  DENIED:
 * he has refused.  UNSUPPORTED: as relay_begin(). */
gboolean shadow_ask(Shadows *shadows, const SessionRow *session, const RelayAsk *ask,
                    ShadowState *ret_state, RelayWay *ret_way, GError **error);

/* His answer, with what it is about in *ret_who (caller frees) and *ret_control.  NOT_FOUND: nobody
 * has asked. */
gboolean shadow_answer(Shadows *shadows, const SessionRow *session, gboolean allows, char **ret_who,
                       gboolean *ret_control, GError **error);
