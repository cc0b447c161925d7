/* archive_dir_objects.c: layers in a folder: packed, found, read against their names, deleted. */
#include "snapshot/archive_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/layer_pack.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

static gboolean is_digest(const char *name)
{
    return strlen(name) == PACK_DIGEST_TEXT && strspn(name, "0123456789abcdef") == PACK_DIGEST_TEXT;
}

static char *object_file(const char *name)
{
    return g_strconcat(name, ".qcow2", NULL);
}

static gboolean publish_object(DirTarget *t, const char *tmp, int fd, const PackSummary *summary,
                               GError **error)
{
    g_autofree char *file = object_file(summary->digest);

    /* One that is there already has the same bytes, or has been damaged. */
    return archive_dir_check(t, error) && durable_chmod(fd, 0440, error) &&
           durable_rename(t->place[DIR_TMP], tmp, t->place[DIR_LAYERS], file, TRUE, error) &&
           durable_sync_dir(t->place[DIR_LAYERS], error);
}

gboolean archive_dir_put_layer(ArchiveTarget *target, const ArchivePut *put, ArchiveObject *ret,
                               GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *backing = put->parent ? object_file(put->parent) : NULL;
    Id tmp = id_new();
    PackSummary summary = { 0 };
    auto_fd fd = durable_create(t->place[DIR_TMP], tmp.s, 0, 0640, error);

    if (fd < 0)
        return archive_dir_prefixed(FALSE, t, error);
    LayerPack pack = { .layer = put->layer,
                       .below = put->below,
                       .n_below = put->n_below,
                       .backing_name = backing,
                       .to = fd,
                       .cancel = put->cancel,
                       .progress = put->progress,
                       .data = put->data };
    if (!layer_pack(&pack, &summary, error) || !publish_object(t, tmp.s, fd, &summary, error)) {
        durable_unlink(t->place[DIR_TMP], tmp.s, NULL);
        return archive_dir_prefixed(FALSE, t, error);
    }
    g_strlcpy(ret->name, summary.digest, sizeof ret->name);
    ret->bytes = summary.file_length;
    return TRUE;
}

static int open_file(DirTarget *t, const char *name, struct stat *ret_st, GError **error)
{
    g_autofree char *file = object_file(name);
    auto_fd fd = is_digest(name) ? openat(t->place[DIR_LAYERS], file,
                                          O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
                                 : (errno = ENOENT, -1);

    if (fd < 0 || fstat(fd, ret_st) < 0) {
        imaged_error_set_errno(error, errno, "cannot open the object %s", name);
        return -1;
    }
    if (!S_ISREG(ret_st->st_mode)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the object %s is no file", name);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

gboolean archive_dir_has_object(ArchiveTarget *target, const char *name, gboolean *ret,
                                GError **error)
{
    GError *local = NULL;
    struct stat st;
    auto_fd fd = open_file((DirTarget *)target, name, &st, &local);

    *ret = fd >= 0 && st.st_size > 0;
    if (!local || g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) ||
        g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CORRUPT)) {
        g_clear_error(&local);
        return TRUE;
    }
    g_propagate_error(error, local);
    return archive_dir_prefixed(FALSE, (DirTarget *)target, error);
}

typedef struct {
    ArchiveProgress progress;
    gpointer data;
    guint64 total;
} Reading;

static void read_progress(guint64 bytes, gpointer data)
{
    Reading *r = data;

    if (r->progress)
        r->progress(bytes, r->total, r->data);
}

int archive_dir_open_object(ArchiveTarget *target, const char *name, int scratch,
                            const gint *cancel, ArchiveProgress progress, gpointer data,
                            GError **error)
{
    DirTarget *t = (DirTarget *)target;
    char digest[PACK_DIGEST_TEXT + 1];
    struct stat st;
    auto_fd fd = open_file(t, name, &st, error);
    Reading reading = { progress, data, fd >= 0 ? (guint64)st.st_size : 0 };

    if (fd < 0 || !pack_digest(fd, cancel, read_progress, &reading, digest, error)) {
        archive_dir_prefixed(FALSE, t, error);
        return -1;
    }
    if (!g_str_equal(digest, name)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "archive target at '%s': the object %s is damaged: its bytes do not match its"
                    " name",
                    t->base.location, name);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

gboolean archive_dir_verify_object(ArchiveTarget *target, const char *name, const gint *cancel,
                                   GError **error)
{
    auto_fd fd = archive_dir_open_object(target, name, -1, cancel, NULL, NULL, error);

    return fd >= 0;
}

typedef struct {
    ArchiveVisit visit;
    gpointer user;
} Walk;

static gboolean visit_object(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *digest = g_strndup(name, PACK_DIGEST_TEXT);
    struct stat st;

    if (!is_digest(digest) || !g_str_equal(name + PACK_DIGEST_TEXT, ".qcow2") ||
        fstatat(t->place[DIR_LAYERS], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return TRUE;
    return walk->visit(digest, (guint64)st.st_size, walk->user, error);
}

gboolean archive_dir_list_objects(ArchiveTarget *target, ArchiveVisit visit, gpointer user,
                                  GError **error)
{
    DirTarget *t = (DirTarget *)target;
    Walk walk = { .visit = visit, .user = user };

    return archive_dir_each(t, t->place[DIR_LAYERS], visit_object, &walk, error);
}

gboolean archive_dir_delete_objects(ArchiveTarget *target, const char *const *names, guint n,
                                    guint64 *ret_freed, GError **error)
{
    DirTarget *t = (DirTarget *)target;

    *ret_freed = 0;
    for (guint i = 0; i < n; i++) {
        g_autofree char *file = object_file(names[i]);
        struct stat st;
        if (!is_digest(names[i]) ||
            fstatat(t->place[DIR_LAYERS], file, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!durable_unlink(t->place[DIR_LAYERS], file, error))
            return archive_dir_prefixed(FALSE, t, error);
        *ret_freed += (guint64)st.st_blocks * 512;
    }
    return archive_dir_prefixed(durable_sync_dir(t->place[DIR_LAYERS], error), t, error);
}
