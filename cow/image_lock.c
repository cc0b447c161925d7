/* image_lock.c: the byte numbers are QEMU's.  A lock is taken first and tested afterwards, so that
 * of two that race at least one sees the other. */
#include "cow/image_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define USED 100
#define UNSHARED 200
enum { CONSISTENT_READ = 0, WRITE = 1, RESIZE = 3, LAST_PERMISSION = 3 };

static const int writer_uses[] = { CONSISTENT_READ, WRITE, RESIZE };
static const int writer_unshares[] = { WRITE, RESIZE };
static const int reader_uses[] = { CONSISTENT_READ };

static struct flock byte_lock(short type, int byte)
{
    return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
}

static int take(int fd, int byte)
{
    struct flock lock = byte_lock(F_RDLCK, byte);

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? errno : 0;
}

/* TRUE if another open file description holds the byte. */
static gboolean is_held(int fd, int byte)
{
    struct flock lock = byte_lock(F_WRLCK, byte);

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static gboolean is_range_held(int fd, int first, int n)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = n };

    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static gboolean busy(GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the disk is in use by QEMU");
    imaged_error_hint(error, "shut the desktop down first");
    return FALSE;
}

gboolean image_lock_hold_readonly(int fd, GError **error)
{
    int err = 0;

    for (guint i = 0; !err && i < G_N_ELEMENTS(reader_uses); i++)
        err = take(fd, USED + reader_uses[i]);
    for (guint i = 0; !err && i < G_N_ELEMENTS(writer_unshares); i++)
        err = take(fd, UNSHARED + writer_unshares[i]);
    if (err == EAGAIN || err == EACCES)
        return busy(error);
    if (err) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the file system cannot lock images: %s", g_strerror(err));
        return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(reader_uses); i++) {
        if (is_held(fd, UNSHARED + reader_uses[i]))
            return busy(error);
    }
    for (guint i = 0; i < G_N_ELEMENTS(writer_unshares); i++) {
        if (is_held(fd, USED + writer_unshares[i]))
            return busy(error);
    }
    return TRUE;
}

gboolean image_lock_take_writer(ImageLock *lock, int fd, GError **error)
{
    int err = 0;

    lock->fd = fd;
    for (guint i = 0; !err && i < G_N_ELEMENTS(writer_uses); i++)
        err = take(fd, USED + writer_uses[i]);
    for (guint i = 0; !err && i < G_N_ELEMENTS(writer_unshares); i++)
        err = take(fd, UNSHARED + writer_unshares[i]);
    if (err == EAGAIN || err == EACCES) {
        image_lock_release(lock);
        return busy(error);
    }
    if (err) {
        image_lock_release(lock);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the file system cannot lock images: %s", g_strerror(err));
        return FALSE;
    }
    /* Nearly always nobody holds anything: one look at all bytes tells that. */
    gboolean conflict = FALSE;
    gboolean is_alone = !is_range_held(fd, USED, UNSHARED + LAST_PERMISSION - USED + 1);
    for (guint i = 0; !is_alone && i < G_N_ELEMENTS(writer_uses); i++)
        conflict |= is_held(fd, UNSHARED + writer_uses[i]);
    for (guint i = 0; !is_alone && i < G_N_ELEMENTS(writer_unshares); i++)
        conflict |= is_held(fd, USED + writer_unshares[i]);
    if (conflict) {
        image_lock_release(lock);
        return busy(error);
    }
    return TRUE;
}

void image_lock_release(ImageLock *lock)
{
    durable_close(&lock->fd);
}

gboolean image_lock_has_writer(int fd)
{
    return is_held(fd, USED + WRITE);
}

gboolean image_lock_probe(int fd, int other_fd)
{
    return take(fd, USED + WRITE) == 0 && is_held(other_fd, USED + WRITE) &&
           !is_held(fd, USED + WRITE);
}
