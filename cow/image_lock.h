/* image_lock.h: QEMU's image locks, so that QEMU and we see each other.
 *
 * QEMU takes shared open-file-description locks on single bytes of an image: 100+n "I use
 * permission n", 200+n "I do not share permission n".  We take the same bytes: a writer's before a
 * layer is replaced, deleted or frozen.  The lock lives as long as the ImageLock.  Any thread.
 *
 * Source: block/file-posix.c of QEMU (RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE). */
#pragma once

#include <glib.h>

typedef struct {
    int fd; /* open read-write description that holds the bytes; -1 = not held */
} ImageLock;

#define IMAGE_LOCK_INIT { -1 }

/* Take the writer's bytes on fd (taken over, closed by image_lock_release or on error).
 * BUSY if QEMU (or anybody who speaks its protocol) has the image open in a way that
 * conflicts; UNSUPPORTED if the file system has no such locks. */
gboolean image_lock_take_writer(ImageLock *lock, int fd, GError **error);

/* Take the bytes of a reader that shares no writing, on fd (stays the caller's; the lock lives as
 * long as any copy of it): QEMU cannot open the image for writing meanwhile.  BUSY, UNSUPPORTED. */
gboolean image_lock_hold_readonly(int fd, GError **error);

void image_lock_release(ImageLock *lock);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ImageLock, image_lock_release)

/* TRUE if somebody else has the image open for writing.  fd stays the caller's. */
gboolean image_lock_has_writer(int fd);

/* Do such locks work here?  Uses two descriptors of a scratch file, both open read-write. */
gboolean image_lock_probe(int fd, int other_fd);
