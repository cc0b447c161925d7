/* rfb_display.h: a domain's VNC display, on its host: a connection past its log-in. */
#pragma once

#include "broker/session/session_rows.h"
#include "broker/session/wire.h"
#include "imaged/job/world.h"

/* Of the session's own run alone.  UNSUPPORTED: its host cannot be reached that way. */
gboolean rfb_display_open(World *world, const SessionRow *session, Wire *ret, GError **error);

/* For a client that logged in to us and not to the display: up to where a client says whether
 * others may look too. */
gboolean rfb_display_log_in(Wire *display, GError **error);
