/* driver_libvirt_private.h: what the files of libvirt's driver share.  For those alone. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

#include "broker/host/driver_live.h"

/* NOT_FOUND, UNAVAILABLE.  Free with virDomainFree(). */
virDomainPtr driver_libvirt_lookup(gpointer link, const char *uuid, GError **error);

/* What libvirt said last on this thread, in one line.  FALSE. */
gboolean driver_libvirt_error(GError **error, const char *what);

extern const HostLive driver_libvirt_live;
