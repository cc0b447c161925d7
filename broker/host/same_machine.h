/* same_machine.h: two hosts are two machines.
 *
 * A libvirtd that is known under two addresses would be counted twice, and its domains would be
 * strangers to one of the two.  So a machine, by the UUID that libvirt tells, belongs to one host:
 * the one that was up with it first.  It does until that host is removed, or is up as another
 * machine; the rows say so, so a restart changes nothing.  Any thread. */
#pragma once

#include "imaged/catalog/catalog.h"

/* Is the host with this id, which is the machine machine_uuid (NULL: not known), let up?  If so its
 * row says which machine it is.  FALSE: UNAVAILABLE, it is another host's machine; once an event.
 * Or the row could not be written.  is_up tells whether another host is up. */
gboolean same_machine_check(Catalog *catalog, const char *host_id, const char *machine_uuid,
                            gboolean (*is_up)(gpointer user, const char *host_id), gpointer user,
                            GError **error);
