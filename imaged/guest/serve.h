/* serve.h: the servers of one run's disks: nbdkit with our plugin, or qemu-storage-daemon.
 *
 * They end with the thread that started them.  For guest.c alone. */
#pragma once

#include "imaged/guest/folder.h"
#include "imaged/guest/guest.h"

typedef struct GuestServers GuestServers;

/* Serve the run's disks in folder; returns when all do.  *ret_disks (caller unrefs) is what the
 * request says about them. */
GuestServers *guest_servers_start(const GuestRun *run, const char *folder, const GuestOwner *owner,
                                  json_t **ret_disks, GError **error);

/* Ask all to end (a writer flushes), wait, kill.  FALSE if a writer did not end by itself. */
gboolean guest_servers_stop(GuestServers *servers, GError **error);

void guest_servers_free(GuestServers *servers); /* ends what still runs, at once */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestServers, guest_servers_free)
