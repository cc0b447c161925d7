/* rfb_display.h: a domain's VNC display, on its host: a connection past its log-in.
 *
 * From a host on our own machine libvirt hands it over; to others that libvirt reaches by ssh, ssh
 * leads there, too (broker/host/ssh_socket.h).  By TLS or TCP nothing but libvirt's own calls comes
 * through, and none of them reads a display. */
#pragma once

#include "broker/host/ssh_socket.h"
#include "broker/session/session_rows.h"
#include "broker/session/wire.h"
#include "imaged/job/world.h"

typedef struct {
    Wire wire;
    SshSocket *ssh; /* NULL: without */
} RfbDisplay;
#define RFB_DISPLAY_NONE                                                                           \
    {                                                                                              \
        .wire = {.fd = -1 }                                                                        \
    }

/* UNSUPPORTED: no way leads from that host's displays to here.  Asks no host. */
gboolean rfb_display_check(World *world, const char *host_id, GError **error);

/* Of the session's own run alone; goes_on as in ssh_socket.h.  UNSUPPORTED likewise. */
gboolean rfb_display_open(World *world, const SessionRow *session, SshSocketGoesOn goes_on,
                          gpointer user, RfbDisplay *ret, GError **error);
void rfb_display_close(RfbDisplay *display);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RfbDisplay, rfb_display_close)

/* For a client that logged in to us and not to the display: up to where a client says whether
 * others may look too. */
gboolean rfb_display_log_in(Wire *display, GError **error);
