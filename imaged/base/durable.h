/* durable.h: every change that we make to storage passes here.
 *
 * Thin wrappers over the system calls that create, write, rename and delete, with our errors
 * and with one process-wide counter of changes.  IMAGED_FAULT=kill:N (or eio:N, enospc:N) makes
 * the N-th change kill the process, or fail: so that a test can stop the service at every single
 * change it makes.  Not for reading, but for the two helpers
 * that everybody needs.  All files are opened close-on-exec.  Safe from any thread.
 *
 * "path" in messages is the name given; the caller prefixes what it means to the user. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Create a new file below dirfd (never opens an existing one, never follows a link).
 * flags: O_DIRECT or 0.  Returns the descriptor (caller closes) or -1; IMAGED_ERROR_EXISTS. */
int durable_create(int dirfd, const char *name, int flags, mode_t mode, GError **error);

/* Write all of data at offset. */
gboolean durable_write(int fd, const void *data, gsize len, guint64 offset, GError **error);

/* Share len bytes of another file of the same file system (FICLONERANGE).  UNSUPPORTED if these two
 * places can't share: the file system, alignment; nothing was changed then. */
gboolean durable_clone_range(int fd, guint64 offset, int from, guint64 from_offset, guint64 len,
                             GError **error);

/* Set the file's length; new bytes read as zeros. */
gboolean durable_truncate(int fd, guint64 length, GError **error);

gboolean durable_chmod(int fd, mode_t mode, GError **error);

/* Flush the file's data and what is needed to find it again.  A failure is final. */
gboolean durable_sync(int fd, GError **error);

/* Open the file behind fd once more, with these flags (O_CLOEXEC is added): a second description,
 * since O_DIRECT is a property of that.  -1 with errno. */
int durable_open_again(int fd, int flags);

/* Flush a folder's entries. */
/* For files that are written once, from front to back: tell the system to begin writing a range
 * (bytes); and wait until one is written and let go of its pages.  Neither makes it durable:
 * durable_sync() does.  An error of the latter is final. */
void durable_begin_write(int fd, guint64 offset, guint64 len);
gboolean durable_drop_written(int fd, guint64 offset, guint64 len, GError **error);

gboolean durable_sync_dir(int dirfd, GError **error);

/* Flush the whole file system that holds fd: for big batches alone. */
gboolean durable_sync_fs(int fd, GError **error);

/* Rename; replace says whether an existing target may be replaced (else IMAGED_ERROR_EXISTS). */
gboolean durable_rename(int from_dirfd, const char *from, int to_dirfd, const char *to,
                        gboolean replace, GError **error);

gboolean durable_link(int from_dirfd, const char *from, int to_dirfd, const char *to,
                      GError **error);

/* Delete a file; one that is not there is no error. */
gboolean durable_unlink(int dirfd, const char *name, GError **error);

/* Delete an empty folder; one that is not there is no error. */
gboolean durable_rmdir(int dirfd, const char *name, GError **error);

/* Make a folder if there is none. */
gboolean durable_mkdir(int dirfd, const char *name, mode_t mode, GError **error);

/* The same for a path, with the folders above it. */
gboolean durable_mkdir_path(const char *path, mode_t mode, GError **error);

/* Open a file that only carries a lock; it is made if there is none.  -1 on an error. */
int durable_open_lock(int dirfd, const char *name, mode_t mode, GError **error);

/* Allocate blocks in [offset, offset + len) without changing the file's length or content.  For
 * reserves: FALSE is no error to tell. */
gboolean durable_reserve(int fd, guint64 offset, guint64 len);

/* Let the file share all blocks of from (FICLONE).  FALSE if the file system can't. */
gboolean durable_clone(int to, int from);

/* Have the kernel copy [offset, offset + len), to the same place.  Returns how many bytes it
 * copied; 0 at the end of from, -1 (errno) if it can't. */
gssize durable_copy_range(int to, int from, guint64 offset, gsize len);

/* Replace (or make) a small file as a whole: temporary file, write, flush, rename, flush folder. */
gboolean durable_replace(int dirfd, const char *name, const void *data, gsize len, mode_t mode,
                         GError **error);

/* Read a small file as a whole (at most max bytes, else IMAGED_ERROR_INVALID).  Caller frees
 * *ret_data, which is NUL-terminated.  IMAGED_ERROR_NOT_FOUND if there is none. */
gboolean durable_read(int dirfd, const char *name, gsize max, char **ret_data, gsize *ret_len,
                      GError **error);

/* Read len bytes at offset, or as many as there are before the file's end.  FALSE (errno) if that
 * fails; *ret_len says how far it came in either case. */
gboolean durable_pread(int fd, void *buffer, gsize len, guint64 offset, gsize *ret_len);

/* Count one change made by other means (SQLite's, in imaged/catalog/vfs.c) and apply the fault, if
 * any.  Returns 0 or the errno to fail with. */
int durable_fault_point(void);

/* Changes counted so far. */
guint64 durable_n_changes(void);

static inline void durable_close(int *fd)
{
    extern int close(int);
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
/* A descriptor that is closed at the end of its scope; set it to -1 to keep it open. */
#define auto_fd __attribute__((cleanup(durable_close))) int
