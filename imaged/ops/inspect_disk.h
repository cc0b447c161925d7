/* inspect_disk.h: the disk of one desktop or template version, opened to be looked into, and
 * whether it stayed what it was meanwhile.
 *
 * Looking takes no claims and no locks: nobody's boot or reset waits for it, which may take a
 * minute.  What was found counts only if the disk is still the same afterwards.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

typedef struct {
    World *world;
    char *kind; /* "desktop", "version" */
    char *object_id;
    char *name;
    LookupRows rows; /* its chain, the base first */
    GArray *fds;     /* int: its layers, open */
    StoreStat stat;  /* of the topmost file */
} InspectDisk;

void inspect_disk_clear(InspectDisk *disk);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(InspectDisk, inspect_disk_clear)

/* BUSY while QEMU writes it; NOT_FOUND. */
gboolean inspect_disk_open(World *world, const char *kind, const char *object_id, InspectDisk *ret,
                           GError **error);

const LayerRow *inspect_disk_top(const InspectDisk *disk);

/* BUSY if it was written, reset, merged or deleted since it was opened. */
gboolean inspect_disk_check(const InspectDisk *disk, GError **error);

/* Have the helper do a task on a chain's open layers; with_appliance: by libguestfs.  what and
 * cancel as in guest.h; request and events may be NULL. */
typedef struct {
    const char *what, *task;
    const GArray *fds; /* of int, the base first */
    const json_t *request;
    const GuestEvents *events;
    const gint *cancel;
} InspectRun;
json_t *inspect_run(World *world, const InspectRun *run, gboolean with_appliance, GError **error);

/* Read what is inside and keep it in the catalog; what it fails for is kept, too, if that lies in
 * the disk.  The quick way; UNSUPPORTED (nothing is kept) if only the appliance can tell. */
gboolean inspect_disk_put(const InspectDisk *disk, gboolean with_appliance, const gint *cancel,
                          GError **error);
