/* driver_display.h: displays of libvirt's domains: passwords, and who is connected.
 *
 * A part of driver_libvirt.c. */
#pragma once

#include <libvirt/libvirt.h>

#include "broker/host/driver.h"

/* Tell listener->client what clients do, on libvirt's event thread.  The callback's id, or -1. */
int display_watch(virConnectPtr conn, const HostListener *listener);

/* FALSE without an error: see libvirt's own. */
gboolean display_set_ticket(virDomainPtr domain, const HostTicket *ticket, HostDisplay *ret,
                            GError **error);

/* NULL: see libvirt's error. */
GPtrArray *display_clients(virDomainPtr domain, const char *uuid);

/* -1: see libvirt's error. */
int display_open_vnc(virDomainPtr domain);

/* The path of its VNC display's unix socket: pure.  NULL if the domain's XML has none.  Caller
 * frees. */
char *display_vnc_socket(const char *domain_xml);

/* The element of a SPICE display as libvirt shows it, with another password: pure, so that it can
 * be tested.  NULL if the domain's XML has none.  Caller frees. */
char *display_element(const char *domain_xml, const HostTicket *ticket, HostDisplay *ret);
