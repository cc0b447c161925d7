/* store_dir_switch.c: slots of a dir store whose file is exchanged, or changes its state.
 *
 * The former file is linked into trash/ before the new one is renamed over the slot, so at every
 * moment the slot has a whole file, and the former one a name. */
#include "cow/store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static int place_fd(Store *store, StorePlace place)
{
    return ((DirStore *)store)->place[place];
}

static gboolean is_same_file(int left_dir, const char *left, int right_dir, const char *right)
{
    struct stat a, b;

    return fstatat(left_dir, left, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(right_dir, right, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

/* Give the slot's file its second name.  One of a stopped try that is another file goes. */
static gboolean link_former(int layers, const char *slot, int trash, const char *former,
                            GError **error)
{
    g_autoptr(GError) local = NULL;

    if (is_same_file(layers, slot, trash, former))
        return TRUE;
    if (!durable_unlink(trash, former, error))
        return FALSE;
    return durable_link(layers, slot, trash, former, error);
}

gboolean store_dir_switch_slot(Store *store, const char *slot, StorePlace from, const char *content,
                               const char *former, gboolean is_frozen, GError **error)
{
    int from_fd = place_fd(store, from), layers = place_fd(store, STORE_LAYERS);
    int trash = place_fd(store, STORE_TRASH);
    auto_fd fd = openat(from_fd, content, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open the new layer");
        return FALSE;
    }
    if (!durable_chmod(fd, is_frozen ? 0440 : 0660, error) || !durable_sync(fd, error))
        return FALSE;
    if (!link_former(layers, slot, trash, former, error) ||
        !durable_sync_dir(trash, error) || /* the former has its name before the slot changes */
        !durable_rename(from_fd, content, layers, slot, TRUE, error)) {
        if (is_same_file(layers, slot, trash, former)) /* it is in its slot still */
            durable_unlink(trash, former, NULL);
        return FALSE;
    }
    return durable_sync_dir(layers, error) &&
           (from != STORE_TRASH || durable_sync_dir(trash, error));
}

gboolean store_dir_freeze(Store *store, const char *slot, gboolean is_frozen, GError **error)
{
    auto_fd fd = openat(place_fd(store, STORE_LAYERS), slot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "layer %s", slot);
        return FALSE;
    }
    /* what QEMU wrote last may be in the page cache still, if it was killed */
    return durable_sync(fd, error) && durable_chmod(fd, is_frozen ? 0440 : 0660, error);
}
