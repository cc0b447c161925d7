/* suspensions.h: what desktops that are suspended had in their memory.
 *
 * A file of the store, DESKTOP-GENERATION.mem beside the config disks, and a row.  It belongs to
 * one state of the desktop's disks: their layers, and their files as they were when the host had
 * let go of them (inode, length, time).  With any other state it is never used, and thrown away
 * without asking.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

typedef struct {
    char *desktop_id, *incarnation; /* of the run that was saved */
    gint64 generation;
    char *layer_id, *data_layer_id, *disk_stamp;
    char *store_id, *host_id;
    gint64 bytes, created_at;
    char *hardware; /* as RunRow's */
} SuspensionRow;
void suspension_row_clear(SuspensionRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SuspensionRow, suspension_row_clear)

/* NOT_FOUND: it is not suspended. */
gboolean suspension_lookup(Db *db, const char *desktop_id, SuspensionRow *ret, GError **error);

/* The state of the desktop's disks now; NULL if it cannot be told.  Caller frees. */
char *suspension_stamp(World *world, Db *db, const DesktopRow *desktop);

/* Are its disks still as they were then? */
gboolean suspension_is_valid(World *world, Db *db, const DesktopRow *desktop,
                             const SuspensionRow *row);

/* Before its run is deleted, whose hardware it takes over. */
void suspension_put(Changes *changes, const SuspensionRow *row);
void suspension_delete(Changes *changes, const char *desktop_id);

/* The file's path as imaged sees it, whether it is there or not.  Caller frees. */
char *suspension_path(World *world, const DesktopRow *desktop, GError **error);

/* Its bytes on disk; 0: there is none. */
gint64 suspension_file_bytes(const char *path);

/* Make it durable, whoever wrote it.  A failure is final: it is good for nothing then. */
gboolean suspension_file_flush(const char *path, GError **error);

/* Remove the file of this generation; one that is not there is no error. */
void suspension_remove_file(World *world, const char *store_id, const char *desktop_id,
                            gint64 generation);

/* Forget those whose disks are others by now, and of desktops that run; config_disks_tidy() removes
 * the files. */
void suspensions_tidy(World *world);
