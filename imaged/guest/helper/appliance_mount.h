/* appliance_mount.h: the guest's file systems mounted in the appliance, as the guest mounts them.
 *
 * The disk was added read-only: libguestfs then puts an overlay of its own on it, into which a
 * journal is replayed, so even a disk that was cut off reads as the guest will see it. */
#pragma once

#include <guestfs.h>

#include "imaged/guest/helper/task.h"

typedef struct {
    guestfs_h *g;
    char *root;     /* device of the system's root file system; NULL: no system was found */
    GPtrArray *mounts; /* char *: where, device, where, device ... */
    gboolean is_windows;
} ApplianceMount;

void appliance_mount_clear(ApplianceMount *mount);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApplianceMount, appliance_mount_clear)

/* Start the appliance, look for a system, mount what belongs to it; without a system, the first
 * file system that can be mounted.  NOT_FOUND if there is none, CORRUPT if the system's root cannot
 * be mounted, UNAVAILABLE. */
gboolean appliance_mount(ApplianceMount *mount, Task *task, GError **error);

/* The bytes of a small file, or NULL. */
GByteArray *appliance_mount_read(const ApplianceMount *mount, const char *path, gsize max);
