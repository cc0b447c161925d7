/* digest_cache.c: see digest_cache.h.  A digest is made under another name and renamed when it is
 * whole; it is not flushed, since a torn one is noticed by its checksum. */
#include "snapshot/digest_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"

#define FOLDER "digests"
#define NEW_SUFFIX ".new"
#define NEW_KEPT_S 86400 /* an unfinished one that old is nobody's */
#define SETTLED_MS 200   /* a file that changed less long ago may change again in the same tick */

static int open_folder(World *world, GError **error)
{
    g_autofree char *path = g_build_filename(world->state_dir, FOLDER, NULL);
    int fd;

    if (!durable_mkdir_path(path, 0700, error))
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open the folder of digests");
    return fd;
}

static gboolean stamp_of(Store *store, const LayerRow *row, BlockStamp *ret, GError **error)
{
    StoreStat stat;

    *ret = (BlockStamp){ 0 };
    if (!g_str_equal(row->state, "active"))
        return TRUE;
    if (!store_stat_layer(store, row->slot, &stat, error))
        return FALSE;
    *ret = (BlockStamp){ stat.inode, stat.length, stat.mtime_ns, stat.ctime_ns };
    return TRUE;
}

static gboolean is_settled(const BlockStamp *stamp)
{
    return units_now_ms() - stamp->mtime_ns / 1000000 > SETTLED_MS;
}

static BlockDigest *find_kept(DigestCache *c, int dirfd, const char *id, const BlockStamp *stamp)
{
    int fd = openat(dirfd, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    BlockDigest *found = fd >= 0 ? block_digest_open(fd, id, stamp, NULL) : NULL;

    if (found) {
        c->n_kept++;
        if (c->progress)
            c->progress(block_digest_counts(found)->n_data * BLOCK_DIGEST_BLOCK, c->data);
    }
    return found;
}

static gboolean busy(GError **error, const char *what)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "%s", what);
    return FALSE;
}

/* Read the layer; it must not have changed meanwhile. */
static gboolean make(DigestCache *c, Store *store, const LayerRow *row, const BlockStamp *stamp,
                     int to, GError **error)
{
    gboolean is_live = FALSE, is_active = g_str_equal(row->state, "active");
    g_autoptr(Layer) layer = store_open_layer(store, row->slot, &is_live, error);
    BlockDigestMake m = { .layer = layer,
                          .id = row->id,
                          .stamp = *stamp,
                          .to = to,
                          .cancel = c->cancel,
                          .progress = c->progress,
                          .data = c->data };
    BlockStamp after;

    if (!layer || !chain_check_layer(layer, row, error))
        return FALSE;
    if (is_active && is_live)
        return busy(error, "it runs");
    if (!block_digest_make(&m, error) || !stamp_of(store, row, &after, error))
        return FALSE;
    if (is_active &&
        (memcmp(&after, stamp, sizeof after) != 0 || image_lock_has_writer(layer_fd(layer))))
        return busy(error, "it was started while it was read");
    return TRUE;
}

static BlockDigest *make_new(DigestCache *c, int dirfd, Store *store, const LayerRow *row,
                             const BlockStamp *stamp, GError **error)
{
    Id unique = id_new();
    g_autofree char *name = g_strconcat(unique.s, NEW_SUFFIX, NULL);
    auto_fd fd = durable_create(dirfd, name, 0, 0600, error);
    BlockDigest *made = NULL;

    if (fd < 0)
        return NULL;
    gboolean ok = make(c, store, row, stamp, fd, error);
    if (ok && is_settled(stamp))
        ok = durable_rename(dirfd, name, dirfd, row->id, TRUE, error);
    else
        durable_unlink(dirfd, name, NULL);
    if (ok) {
        int again = fd;
        fd = -1;
        made = block_digest_open(again, row->id, stamp, error);
    }
    if (made) {
        c->n_made++;
        c->made_bytes += block_digest_counts(made)->n_data * BLOCK_DIGEST_BLOCK;
    } else if (!ok) {
        durable_unlink(dirfd, name, NULL);
    }
    return made;
}

BlockDigest *digest_cache_open(DigestCache *c, const LayerRow *row, GError **error)
{
    g_autoptr(Store) store = store_set_get(c->world->stores, row->store_id, error);
    auto_fd dirfd = store ? open_folder(c->world, error) : -1;
    BlockStamp stamp;

    if (dirfd < 0 || !stamp_of(store, row, &stamp, error))
        return NULL;
    BlockDigest *found = find_kept(c, dirfd, row->id, &stamp);
    if (found &&
        g_str_equal(row->state, "active")) { /* the file is as it was; but is it at rest? */
        gboolean is_live = TRUE;
        g_autoptr(Layer) layer = store_open_layer(store, row->slot, &is_live, NULL);
        if (is_live) {
            block_digest_free(found);
            busy(error, "it runs");
            return NULL;
        }
    }
    return found ? found : make_new(c, dirfd, store, row, &stamp, error);
}

void digest_cache_forget(World *world, const char *layer_id)
{
    g_autofree char *path = g_build_filename(world->state_dir, FOLDER, NULL);
    auto_fd dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dirfd >= 0 && faccessat(dirfd, layer_id, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        durable_unlink(dirfd, layer_id, NULL);
}

/* Is this file of use to anybody? */
static gboolean is_needed(World *world, int dirfd, const char *name)
{
    struct stat st;

    if (g_str_has_suffix(name, NEW_SUFFIX))
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
               units_now_ms() / 1000 - st.st_mtime < NEW_KEPT_S;
    if (!id_is_valid(name))
        return TRUE; /* not ours */
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = lookup_int(db,
                             "SELECT EXISTS (SELECT 1 FROM layer WHERE id = ?1 AND state IN"
                             " ('active', 'frozen'))",
                             "t", name) != 0;
    catalog_read_end(world->catalog, db);
    return is;
}

void digest_cache_trim(World *world)
{
    g_autofree char *path = g_build_filename(world->state_dir, FOLDER, NULL);
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && !is_needed(world, dirfd(dir), entry->d_name))
            durable_unlink(dirfd(dir), entry->d_name, NULL);
    }
    if (dir)
        closedir(dir);
}

int digest_cache_scratch(World *world, GError **error)
{
    Id unique = id_new();
    g_autofree char *name = g_strconcat(unique.s, NEW_SUFFIX, NULL);
    auto_fd dirfd = open_folder(world, error);
    int fd = dirfd >= 0 ? durable_create(dirfd, name, 0, 0600, error) : -1;

    if (fd >= 0 && !durable_unlink(dirfd, name, error))
        durable_close(&fd);
    return fd;
}
