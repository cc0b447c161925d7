/* durable.c: see durable.h.  Each wrapper asks durable_fault_point() before it acts, so a killed
 * process has made exactly N-1 changes. */
#include "imaged/base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/error.h"

static gint64 n_changes; /* atomic */

typedef struct {
    int action; /* 0 none, SIGKILL, or the errno to return */
    gint64 at;
} Fault;

static gpointer read_fault(gpointer unused)
{
    static Fault fault;
    const char *text = g_getenv("IMAGED_FAULT");
    const char *colon = text ? strchr(text, ':') : NULL;

    (void)unused;
    if (!colon)
        return &fault;
    fault.at = g_ascii_strtoll(colon + 1, NULL, 10);
    fault.action = g_str_has_prefix(text, "kill")  ? -1
                   : g_str_has_prefix(text, "eio") ? EIO
                                                   : ENOSPC;
    return &fault;
}

int durable_fault_point(void)
{
    static GOnce once = G_ONCE_INIT;
    const Fault *fault = g_once(&once, read_fault, NULL);
    gint64 number = __atomic_add_fetch(&n_changes, 1, __ATOMIC_SEQ_CST);

    if (G_LIKELY(!fault->action || number != fault->at))
        return 0;
    if (fault->action > 0)
        return fault->action;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

guint64 durable_n_changes(void)
{
    return __atomic_load_n(&n_changes, __ATOMIC_SEQ_CST);
}

/* TRUE if the fault says to fail; sets *error then. */
static gboolean fault_failed(const char *what, const char *name, GError **error)
{
    int err = durable_fault_point();

    if (!err)
        return FALSE;
    imaged_error_set_errno(error, err, "cannot %s '%s'", what, name);
    return TRUE;
}

int durable_create(int dirfd, const char *name, int flags, mode_t mode, GError **error)
{
    if (fault_failed("create", name, error))
        return -1;
    int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | flags, mode);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot create '%s'", name);
    return fd;
}

gboolean durable_write(int fd, const void *data, gsize len, guint64 offset, GError **error)
{
    const guint8 *at = data;

    if (fault_failed("write", "file", error))
        return FALSE;
    while (len > 0) {
        gssize done = pwrite(fd, at, len, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            imaged_error_set_errno(error, done < 0 ? errno : EIO, "cannot write");
            return FALSE;
        }
        at += done;
        len -= done;
        offset += done;
    }
    return TRUE;
}

/* The shape of all the one-call wrappers below. */
static gboolean finish(int result, const char *what, const char *name, GError **error)
{
    if (result == 0)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot %s '%s'", what, name);
    return FALSE;
}

gboolean durable_clone_range(int fd, guint64 offset, int from, guint64 from_offset, guint64 len,
                             GError **error)
{
    struct file_clone_range range = {
        .src_fd = from, .src_offset = from_offset, .src_length = len, .dest_offset = offset
    };

    if (fault_failed("share", "file", error))
        return FALSE;
    while (ioctl(fd, FICLONERANGE, &range) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EOPNOTSUPP || errno == EXDEV || errno == EINVAL || errno == ENOTTY)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "cannot share blocks: %s",
                        g_strerror(errno));
        else
            imaged_error_set_errno(error, errno, "cannot share blocks");
        return FALSE;
    }
    return TRUE;
}

gboolean durable_truncate(int fd, guint64 length, GError **error)
{
    return !fault_failed("truncate", "file", error) &&
           finish(ftruncate(fd, (off_t)length), "truncate", "file", error);
}

gboolean durable_chmod(int fd, mode_t mode, GError **error)
{
    return !fault_failed("chmod", "file", error) &&
           finish(fchmod(fd, mode), "chmod", "file", error);
}

gboolean durable_sync(int fd, GError **error)
{
    return !fault_failed("flush", "file", error) && finish(fdatasync(fd), "flush", "file", error);
}

void durable_begin_write(int fd, guint64 offset, guint64 len)
{
    (void)sync_file_range(fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE); /* a hint */
}

gboolean durable_drop_written(int fd, guint64 offset, guint64 len, GError **error)
{
    const guint all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

    if (fault_failed("flush", "file", error))
        return FALSE;
    /* what it reports, a later flush does not; file systems that can't do it flush at the end */
    if (sync_file_range(fd, (off_t)offset, (off_t)len, all) < 0 && errno != EINVAL &&
        errno != ENOSYS && errno != ESPIPE)
        return finish(-1, "flush", "file", error);
    posix_fadvise(fd, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
    return TRUE;
}

gboolean durable_sync_dir(int dirfd, GError **error)
{
    return !fault_failed("flush", "folder", error) &&
           finish(fsync(dirfd), "flush", "folder", error);
}

gboolean durable_sync_fs(int fd, GError **error)
{
    return !fault_failed("flush", "file system", error) &&
           finish(syncfs(fd), "flush", "file system", error);
}

gboolean durable_rename(int from_dirfd, const char *from, int to_dirfd, const char *to,
                        gboolean replace, GError **error)
{
    return !fault_failed("rename", from, error) &&
           finish(renameat2(from_dirfd, from, to_dirfd, to, replace ? 0 : RENAME_NOREPLACE),
                  "rename", from, error);
}

gboolean durable_link(int from_dirfd, const char *from, int to_dirfd, const char *to,
                      GError **error)
{
    return !fault_failed("link", from, error) &&
           finish(linkat(from_dirfd, from, to_dirfd, to, 0), "link", from, error);
}

gboolean durable_unlink(int dirfd, const char *name, GError **error)
{
    if (fault_failed("delete", name, error))
        return FALSE;
    int result = unlinkat(dirfd, name, 0);
    return finish(result < 0 && errno == ENOENT ? 0 : result, "delete", name, error);
}

gboolean durable_rmdir(int dirfd, const char *name, GError **error)
{
    if (fault_failed("delete", name, error))
        return FALSE;
    int result = unlinkat(dirfd, name, AT_REMOVEDIR);
    return finish(result < 0 && errno == ENOENT ? 0 : result, "delete", name, error);
}

gboolean durable_mkdir(int dirfd, const char *name, mode_t mode, GError **error)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return TRUE;
    if (fault_failed("make folder", name, error))
        return FALSE;
    int made = mkdirat(dirfd, name, mode & 0777);
    if (made < 0 && errno == EEXIST) {
        /* Another thread was faster, and may not have set the mode yet; or it is no folder. */
        made = fstatat(dirfd, name, &st, 0) == 0 && S_ISDIR(st.st_mode) ? 0 : -1;
        errno = EEXIST;
    }
    return finish(made, "make folder", name, error) &&
           /* mkdir ignores the setgid bit in its mode */
           finish(fchmodat(dirfd, name, mode, 0), "chmod", name, error);
}

gboolean durable_mkdir_path(const char *path, mode_t mode, GError **error)
{
    g_autofree char *above = g_path_get_dirname(path);
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return TRUE;
    return (g_str_equal(above, path) || durable_mkdir_path(above, mode, error)) &&
           durable_mkdir(AT_FDCWD, path, mode, error);
}

int durable_open_lock(int dirfd, const char *name, mode_t mode, GError **error)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && fault_failed("create", name, error))
        return -1;
    int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open '%s'", name);
    return fd;
}

gboolean durable_reserve(int fd, guint64 offset, guint64 len)
{
    return !durable_fault_point() &&
           fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) == 0;
}

gboolean durable_clone(int to, int from)
{
    return !durable_fault_point() && ioctl(to, FICLONE, from) == 0;
}

gssize durable_copy_range(int to, int from, guint64 offset, gsize len)
{
    off_t in = (off_t)offset, out = in;

    if ((errno = durable_fault_point()))
        return -1;
    gssize got = copy_file_range(from, &in, to, &out, len, 0);
    return got;
}

gboolean durable_replace(int dirfd, const char *name, const void *data, gsize len, mode_t mode,
                         GError **error)
{
    g_autofree char *tmp = g_strdup_printf(".%s.new", name);

    if (!durable_unlink(dirfd, tmp, error))
        return FALSE;
    auto_fd fd = durable_create(dirfd, tmp, 0, mode, error);
    return fd >= 0 && durable_write(fd, data, len, 0, error) && durable_sync(fd, error) &&
           durable_rename(dirfd, tmp, dirfd, name, TRUE, error) && durable_sync_dir(dirfd, error);
}

int durable_open_again(int fd, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

gboolean durable_pread(int fd, void *buffer, gsize len, guint64 offset, gsize *ret_len)
{
    gsize done = 0;
    gssize got = 1;

    while (done < len && got != 0) {
        got = pread(fd, (char *)buffer + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        done += (gsize)got;
    }
    *ret_len = done;
    return got >= 0;
}

gboolean durable_read(int dirfd, const char *name, gsize max, char **ret_data, gsize *ret_len,
                      GError **error)
{
    auto_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    gsize len;

    if (fd < 0 || fstat(fd, &st) < 0)
        return finish(-1, "read", name, error);
    if (!S_ISREG(st.st_mode) || (guint64)st.st_size > max) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a small regular file",
                    name);
        return FALSE;
    }
    g_autofree char *data = g_malloc(st.st_size + 1);
    if (!durable_pread(fd, data, (gsize)st.st_size, 0, &len))
        return finish(-1, "read", name, error);
    data[len] = '\0';
    if (ret_len)
        *ret_len = len;
    *ret_data = g_steal_pointer(&data);
    return TRUE;
}
