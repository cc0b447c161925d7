/* mounted.h: a guest's operating system, found on the appliance's first disk and mounted.
 *
 * Only for a single disk: what an fstab names by UUID is then on that disk or nowhere. */
#pragma once

#include "imaged/guest/helper/appliance.h"

typedef struct {
    char *root;        /* "/dev/sda1" */
    char *type;        /* linux, windows, ... */
    char *distro;      /* debian, ... */
    char *product;     /* its full name, for people */
    GPtrArray *points; /* char *: where something is mounted, "/" first */
} MountedOs;

void mounted_os_clear(MountedOs *os);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MountedOs, mounted_os_clear)

/* Find the one operating system.  NOT_FOUND, UNSUPPORTED if there are several. */
gboolean mounted_os_find(guestfs_h *g, MountedOs *ret, GError **error);

/* Mount all of it, for writing.  What cannot be mounted but for the root is a warning. */
gboolean mounted_os_mount(Task *task, guestfs_h *g, MountedOs *os, GError **error);

/* Mount what belongs to the system at root.  mounts gets two texts for each: where, and the
 * device.  What cannot be mounted but for the root is a warning. */
gboolean mounted_points(Task *task, guestfs_h *g, const char *root, gboolean is_read_only,
                        GPtrArray *mounts, GError **error);
