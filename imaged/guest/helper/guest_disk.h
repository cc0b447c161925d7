/* guest_disk.h: one of several disks in an appliance: its own root and what belongs below it.
 *
 * For clones, whose file systems have the same UUIDs: nothing is looked up by UUID or label but
 * among the partitions of this very disk, and mounting is by device.  guestfs_inspect_os() would
 * take one disk's partition for the other's. */
#pragma once

#include "imaged/guest/helper/appliance.h"

typedef struct {
    guestfs_h *g;
    char *device; /* "/dev/sda" */
    char *at;     /* where it is mounted: "/old" */
    gboolean is_read_only;
    gboolean is_windows;
    GPtrArray *systems; /* of GuestFs: what lies on this disk */
    GHashTable *points; /* mount point in the guest -> GuestFs; "/" is there always */
} GuestDisk;

/* Find its root, read its fstab, and mount the root.  Journals are replayed (a read-only disk has
 * an overlay in the appliance for that). NOT_FOUND    no operating system on it UNSUPPORTED  on
 * LVM, encrypted; an NTFS that is hibernated or dirty (BUSY: a matter of its owner shutting it
 * down) */
gboolean guest_disk_mount(GuestDisk *disk, GError **error);

/* The path in the appliance of a path in the guest, with the file system mounted that holds it.
 * Caller frees.  INVALID if a folder on the way is a link. */
char *guest_disk_path(GuestDisk *disk, const char *path, GError **error);

/* Is something of its own mounted just there? */
gboolean guest_disk_is_mount_point(const GuestDisk *disk, const char *path);

void guest_disk_clear(GuestDisk *disk);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GuestDisk, guest_disk_clear)
