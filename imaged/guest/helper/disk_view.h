/* disk_view.h: a guest's disk, taken apart: partitions, file systems, and its folders as one tree.
 *
 * The quick way, without an appliance.  What it cannot do is UNSUPPORTED, and the appliance can. */
#pragma once

#include "imaged/guest/helper/partitions.h"
#include "imaged/guest/helper/tree.h"

typedef struct {
    char *device;     /* "/dev/sda1", as libguestfs would call it */
    const char *type; /* "ext4", "vfat", "unknown" ... */
    char *label, *uuid;
    guint64 size; /* bytes */
    gint64 used;  /* bytes; -1: not known */
    char *where;  /* where the system mounts it, or NULL */
    const Partition *part;
    Block *block;
    ExtKind ext;
} DiskFs;

typedef struct {
    Block *disk;
    Trace *trace; /* borrowed, or NULL */
    PartitionTable *table;
    GPtrArray *file_systems; /* of DiskFs */
    Tree *tree;              /* NULL before disk_view_mount() */
    gboolean has_system;     /* its root is that of an operating system */
} DiskView;

DiskView *disk_view_open(Block *disk, Trace *trace, GError **error);
void disk_view_free(DiskView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskView, disk_view_free)

/* Find the root and put the tree together: the system's own, or, on a disk without a system, its
 * first file system.  UNSUPPORTED: only the appliance can tell.  NOT_FOUND: there is no file system
 * at all. */
gboolean disk_view_mount(DiskView *view, GError **error);
