/* viewer_file.h: what a client program is handed to open a desktop: a pure function of what is
 * written here.
 *
 * A .vv for remote-viewer (application/x-virt-viewer), an .rdp for RDP clients.  Values cannot put
 * in keys of their own, whatever they hold.
 *
 * Source: virt-viewer's manual page; Microsoft's "RDP file settings". */
#pragma once

#include <glib.h>

#define VIEWER_VV_TYPE "application/x-virt-viewer"
#define VIEWER_RDP_TYPE "application/x-rdp"

typedef struct {
    const char *protocol; /* spice, vnc */
    const char *host;     /* what the client connects to */
    guint port, tls_port; /* with tls_port, port is not given: there is no way without TLS */
    const char *user;     /* vnc, or NULL */
    const char *password;
    const char *ca;           /* PEM, or NULL */
    const char *host_subject; /* of the host's certificate, or NULL */
    const char *proxy;        /* or NULL */
    const char *title;
    const char *usb_filter; /* which devices are offered to the guest by themselves, or NULL */
    gboolean has_usb;
} ViewerSpice;

/* Caller frees. */
char *viewer_file_vv(const ViewerSpice *spice);

typedef struct {
    const char *host; /* the guest's address */
    guint port;       /* 0: RDP's own */
    const char *user; /* or NULL */
    const char *title;
    gboolean has_clipboard, has_audio, has_drives;
} ViewerRdp;

/* Caller frees. */
char *viewer_file_rdp(const ViewerRdp *rdp);
