/* driver_libvirt_addresses.h: of driver_libvirt.c, what addresses a guest has.  For that alone. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

/* The guest's IP addresses, but those that are its own business (loopback, link-local), with spaces
 * between them: as its agent tells, which is waited for at most a second, else as the host's DHCP
 * or ARP does.  NULL: not known.  Caller frees. */
char *libvirt_addresses(virDomainPtr domain);
