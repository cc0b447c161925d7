/* store_dir_layers.c: the slots of a dir store.
 *
 * A batch of overlays is written under temporary names, flushed, renamed, and the two folders are
 * flushed.  One file is flushed by itself; a big batch with one flush of the file system, unless
 * so many dirty pages of others wait there that flushing the files one by one is the shorter
 * way. */
#include "cow/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cow/blank.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define SYNC_EACH_MAX 16            /* up to here each file is flushed by itself */
#define DIRTY_MAX (256 * MIB)       /* beyond, a flush of the file system would wait for others */
#define SYNC_THREADS 8
#define RECLAIM_STEP (64 * MIB)

static int place_fd(Store *store, StorePlace place)
{
    return ((DirStore *)store)->place[place];
}

StoreStat store_dir_stat_of(const struct stat *st)
{
    return (StoreStat){ .length = st->st_size,
                        .disk_bytes = (guint64)st->st_blocks * 512,
                        .inode = st->st_ino,
                        .mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec,
                        .ctime_ns = st->st_ctim.tv_sec * 1000000000ll + st->st_ctim.tv_nsec,
                        .is_writable = (st->st_mode & S_IWUSR) != 0 };
}

static gboolean write_overlay(Store *store, int fd, const StoreOverlay *o, GError **error)
{
    g_auto(Blank) blank = { 0 };
    g_autofree char *backing =
        o->backing_slot ? g_strdup_printf("../layers/%s", o->backing_slot) : NULL;
    BlankSpec spec = { o->virtual_size, o->cluster_bits, o->has_subclusters, backing, o->identity };

    if (!o->cluster_bits)
        store_geometry(store, &spec.cluster_bits, &spec.has_subclusters);
    return blank_build(&spec, &blank, error) &&
           durable_write(fd, blank.header->data, blank.header->len, 0, error) &&
           durable_write(fd, blank.reftable, sizeof blank.reftable, blank.reftable_offset,
                         error) &&
           durable_write(fd, blank.refblock->data, blank.refblock->len, blank.refblock_offset,
                         error) &&
           durable_truncate(fd, blank.file_length, error);
}

static guint64 dirty_bytes(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    guint64 sum = 0;

    if (!g_file_get_contents("/proc/meminfo", &text, NULL, &error))
        return 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (g_str_has_prefix(line, "Dirty:") || g_str_has_prefix(line, "Writeback:"))
            sum += g_ascii_strtoull(strchr(line, ':') + 1 + strspn(strchr(line, ':') + 1, " "),
                                    NULL, 10) * KIB;
    }
    return sum;
}

typedef struct {
    const int *fds;
    guint n;
    gint next;  /* atomic */
    gint failed; /* atomic: 1 once a flush failed */
} SyncWork;

static gpointer sync_some(gpointer data)
{
    SyncWork *work = data;

    for (;;) {
        guint i = (guint)g_atomic_int_add(&work->next, 1);
        if (i >= work->n)
            return NULL;
        if (work->fds[i] >= 0 && !durable_sync(work->fds[i], NULL))
            g_atomic_int_set(&work->failed, 1);
    }
}

/* Make the content of n files durable. */
static gboolean sync_files(Store *store, const int *fds, guint n, GError **error)
{
    GThread *threads[SYNC_THREADS];
    SyncWork work = { .fds = fds, .n = n };

    if (n > SYNC_EACH_MAX && dirty_bytes() < DIRTY_MAX)
        return durable_sync_fs(place_fd(store, STORE_TMP), error);
    guint n_threads = MIN(SYNC_THREADS, n / 4);
    for (guint i = 0; i < n_threads; i++)
        threads[i] = g_thread_new("flush", sync_some, &work);
    sync_some(&work);
    for (guint i = 0; i < n_threads; i++)
        g_thread_join(threads[i]);
    if (work.failed)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot flush new layers");
    return !work.failed;
}

static gboolean exists(int dirfd, const char *name)
{
    struct stat st;

    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A new file in tmp/; one that a stopped try left there is thrown away. */
static int create_fresh(int tmp, const char *slot, GError **error)
{
    g_autoptr(GError) local = NULL;
    int fd = durable_create(tmp, slot, 0, 0660, &local);

    if (fd < 0 && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS)) {
        g_clear_error(&local);
        if (durable_unlink(tmp, slot, &local))
            fd = durable_create(tmp, slot, 0, 0660, &local);
    }
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    return fd;
}

static gboolean write_batch(Store *store, const StoreOverlay *overlays, guint n, int *fds,
                            GError **error)
{
    for (guint i = 0; i < n; i++) {
        fds[i] = create_fresh(place_fd(store, STORE_TMP), overlays[i].slot, error);
        if (fds[i] < 0 || !write_overlay(store, fds[i], &overlays[i], error))
            return FALSE;
    }
    return TRUE;
}

/* Rename into layers/.  One that is there already was renamed before a stop, and was whole then. */
static gboolean publish_overlay(Store *store, const char *slot, GError **error)
{
    int tmp = place_fd(store, STORE_TMP);
    g_autoptr(GError) local = NULL;

    if (durable_rename(tmp, slot, place_fd(store, STORE_LAYERS), slot, FALSE, &local))
        return TRUE;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        return durable_unlink(tmp, slot, error);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean store_dir_create_overlays(Store *store, const StoreOverlay *overlays, guint n,
                                   GError **error)
{
    int tmp = place_fd(store, STORE_TMP), layers = place_fd(store, STORE_LAYERS);
    g_autofree int *fds = g_new(int, n);
    guint n_renamed = 0;

    for (guint i = 0; i < n; i++)
        fds[i] = -1;
    gboolean ok = write_batch(store, overlays, n, fds, error) && sync_files(store, fds, n, error);
    while (ok && n_renamed < n) {
        ok = publish_overlay(store, overlays[n_renamed].slot, error);
        n_renamed += ok;
    }
    /* tmp/ needs no flush: what a stop leaves there is swept at the next start */
    ok = ok && durable_sync_dir(layers, error);
    for (guint i = 0; i < n; i++) {
        if (!ok && fds[i] >= 0) /* all or none */
            durable_unlink(i < n_renamed ? layers : tmp, overlays[i].slot, NULL);
        durable_close(&fds[i]);
    }
    return ok;
}

int store_dir_create_tmp(Store *store, const char *slot, GError **error)
{
    int tmp = place_fd(store, STORE_TMP);

    if (!durable_unlink(tmp, slot, error))
        return -1;
    return durable_create(tmp, slot, store->features.has_direct_io ? O_DIRECT : 0, 0660, error);
}

gboolean store_dir_publish_tmp(Store *store, const char *slot, gboolean is_frozen, GError **error)
{
    int tmp = place_fd(store, STORE_TMP), layers = place_fd(store, STORE_LAYERS);
    auto_fd fd = openat(tmp, slot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT && exists(layers, slot))
        return TRUE; /* done before */
    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open the new layer");
        return FALSE;
    }
    if ((is_frozen && !durable_chmod(fd, 0440, error)) || !durable_sync(fd, error) ||
        !durable_rename(tmp, slot, layers, slot, FALSE, error))
        return FALSE;
    if (durable_sync_dir(layers, error))
        return TRUE;
    durable_unlink(layers, slot, NULL); /* nobody has heard of it */
    return FALSE;
}

gboolean store_dir_move(Store *store, const char *const *slots, guint n, StorePlace from,
                        StorePlace to, gboolean durable, GError **errors, GError **error)
{
    int from_fd = place_fd(store, from), to_fd = place_fd(store, to);

    for (guint i = 0; i < n; i++) {
        g_autoptr(GError) local = NULL;
        if (durable_rename(from_fd, slots[i], to_fd, slots[i], FALSE, &local))
            continue;
        if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) &&
            exists(to_fd, slots[i]))
            continue;
        if (!errors) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        errors[i] = g_steal_pointer(&local);
    }
    return !durable || (durable_sync_dir(to_fd, error) && durable_sync_dir(from_fd, error));
}

gboolean store_dir_discard(Store *store, StorePlace place, const char *const *slots, guint n,
                           GError **error)
{
    for (guint i = 0; i < n; i++) {
        if (!durable_unlink(place_fd(store, place), slots[i], error))
            return FALSE;
    }
    return durable_sync_dir(place_fd(store, place), error);
}

gboolean store_dir_reclaim_step(Store *store, StorePlace place, const char *slot,
                                guint64 *ret_freed, gboolean *ret_gone, GError **error)
{
    int dirfd = place_fd(store, place);
    struct stat st;
    auto_fd fd = openat(dirfd, slot, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    *ret_freed = 0;
    *ret_gone = TRUE;
    if (fd < 0 && errno == EACCES) { /* a frozen layer: ours, but read-only even for us */
        if (fchmodat(dirfd, slot, 0660, 0) == 0)
            fd = openat(dirfd, slot, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    }
    if (fd < 0 && errno == ENOENT)
        return TRUE;
    if (fd < 0 || fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", slot);
        return FALSE;
    }
    guint64 length = st.st_size, disk = (guint64)st.st_blocks * 512;
    if (disk <= RECLAIM_STEP) {
        *ret_freed = disk;
        return durable_unlink(dirfd, slot, error);
    }
    /* A sparse file is cut in proportion, so that a step frees about RECLAIM_STEP. */
    guint64 step = MAX(RECLAIM_STEP, (guint64)((gdouble)length * RECLAIM_STEP / (gdouble)disk));
    *ret_gone = FALSE;
    if (!durable_truncate(fd, length > step ? length - step : 0, error))
        return FALSE;
    *ret_freed = fstat(fd, &st) == 0 && disk > (guint64)st.st_blocks * 512
                     ? disk - (guint64)st.st_blocks * 512
                     : 0;
    return TRUE;
}

gboolean store_dir_stat(Store *store, StorePlace place, const char *slot, StoreStat *ret,
                        GError **error)
{
    struct stat st;

    if (fstatat(place_fd(store, place), slot, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        imaged_error_set_errno(error, errno, "layer %s", slot);
        return FALSE;
    }
    *ret = store_dir_stat_of(&st);
    return TRUE;
}

gboolean store_dir_visit_folder(int dirfd, StoreVisit visit, gpointer user, GError **error)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    gboolean ok = dir != NULL;

    if (!dir) {
        imaged_error_set_errno(error, errno, "cannot read a folder of the store");
        durable_close(&copy);
        return FALSE;
    }
    for (;;) {
        struct stat st;
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno) {
            imaged_error_set_errno(error, errno, "cannot read a folder of the store");
            ok = FALSE;
        }
        if (!entry || !ok)
            break;
        if (g_str_equal(entry->d_name, ".") || g_str_equal(entry->d_name, "..") ||
            fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        StoreStat stat = store_dir_stat_of(&st);
        ok = visit(entry->d_name, &stat, user, error);
    }
    closedir(dir);
    return ok;
}

gboolean store_dir_list(Store *store, StorePlace place, StoreVisit visit, gpointer user,
                        GError **error)
{
    return store_dir_visit_folder(place_fd(store, place), visit, user, error);
}

int store_dir_open_slot(Store *store, StorePlace place, const char *slot, gboolean *ret_is_live,
                        GError **error)
{
    int fd = openat(place_fd(store, place), slot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        imaged_error_set_errno(error, errno, "layer %s", slot);
    else if (ret_is_live)
        *ret_is_live = image_lock_has_writer(fd);
    return fd;
}

gboolean store_dir_lock(Store *store, StorePlace place, const char *slot, ImageLock *ret_lock,
                        GError **error)
{
    int fd = store_dir_open_slot(store, place, slot, NULL, error);
    g_autoptr(GError) local = NULL;

    if (fd < 0)
        return FALSE;
    if (image_lock_take_writer(ret_lock, fd, &local))
        return TRUE;
    if (!store->features.has_locks &&
        g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED))
        return TRUE; /* the store was added by force; the lease is the only wall there */
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

char *store_dir_path(Store *store, const char *slot, GError **error)
{
    return g_build_filename(store->location, "layers", slot, NULL);
}
