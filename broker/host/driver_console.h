/* driver_console.h: a domain's serial console as a socket.
 *
 * For libvirt's driver alone. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

/* A socket: what is written to it the guest reads, and the other way round.  Caller closes it,
 * which ends the console; its end is seen when the domain or the connection to its host ends.  Who
 * has it already loses it if is_forced is set.  -1: BUSY, ... */
int console_open(virDomainPtr domain, gboolean is_forced, GError **error);
