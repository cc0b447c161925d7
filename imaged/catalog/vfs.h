/* vfs.h: SQLite's changes to storage pass durable_fault_point(), like all others of ours.
 *
 * A VFS around SQLite's default one.  Reads, locks and shared memory that is there go straight
 * through; making a file, writing, truncating, flushing and deleting, and growing the shared memory
 * of a WAL, count as one change each and can be made to kill the process or to fail.
 *
 * A catalog whose URI names another VFS (vfs=ceph) does not use this one.  Any thread may call. */
#pragma once

#include <glib.h>
#include <sqlite3.h>

/* The name to give to sqlite3_open_v2(), registered at the first call.  Static storage. */
const char *vfs_name(void);

/* Has a flush of this connection's database or WAL ever failed?  What is on the disk is unknown
 * then, and a later flush that succeeds proves nothing: the kernel has dropped the pages.  FALSE
 * for a connection through another VFS, whose errors are all there is to go by. */
gboolean vfs_flush_failed(sqlite3 *db);

/* Write the WAL's content over itself and flush it.  After a flush that failed (and a stop) the
 * kernel still shows what never reached the disk, and would not write it again by itself.  For the
 * start, before others use the catalog.  UNAVAILABLE; a full disk is no error. */
gboolean vfs_rewrite_wal(sqlite3 *db, GError **error);
