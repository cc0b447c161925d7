/* rfb_filter.h: what a VNC client says, without what it may not say if it only looks.
 *
 * Reads the client's side of RFB 3.7 and 3.8 without a password, byte by byte as it comes, and
 * passes on what is about formats and updates; keys, pointer, clipboard and the screen's size are
 * left out, unless it may control.  What is no RFB, or a message that is not known, is an error.
 * Pure; one thread at a time.
 *
 * Source: RFC 6143; QEMU's own messages: docs/interop/vnc-ledstate-pseudo-encoding.rst and the RFB
 * community's registry. */
#pragma once

#include <glib.h>

#define RFB_FILTER_LOGGED_IN 2 /* a step to begin with: by somebody else's log-in (rfb_login.h) */

typedef struct {
    gboolean may_control;
    guint step; /* of the handshake */
    guint8 head[20];
    guint n_head;
    guint64 rest;    /* bytes of the present message that are still to come */
    gboolean passes; /* they are passed on */
} RfbFilter;

/* Appends to out.  INVALID: the connection is to be closed. */
gboolean rfb_filter_feed(RfbFilter *filter, const guint8 *data, gsize len, GByteArray *out,
                         GError **error);
