/* archive_dir.c: an archive in a folder, on a mounted backup share.
 *
 *   imaged-archive.json      the marker: the target's id
 *   lock                     shared while somebody writes or reads, exclusive to collect garbage
 *   layers/DIGEST.qcow2      each layer once: a standard qcow2 file, named by its own BLAKE2b-256,
 *                            its backing file named likewise and in the same folder
 *   points/ID.json           manifests
 *   deleted/ID-MS.json       those of deleted points, with the time, until they are purged
 *   tmp/                     being written; emptied when nobody else is there
 *
 * Everything is reached through one held descriptor, and a session begins with comparing it and the
 * marker with what is mounted: an empty mount point or another disk is never written to.  Files are
 * durable under their last name before a point names them. */
#include "snapshot/archive_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MARKER "imaged-archive.json"
#define LOCK "lock"
#define MARKER_MAX 4096
#define FORMAT 1
#define LOCK_WAIT_MS 10000 /* a collection is short: writers wait for it */

static const char *const place_names[DIR_N_PLACES] = { "layers", "points", "deleted", "tmp" };

static gboolean away(const char *location, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static gboolean away(const char *location, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "the archive target at '%s' is not there: %s", location, why);
    return FALSE;
}

/* An error of the file system, with the place that the user knows. */
gboolean archive_dir_prefixed(gboolean ok, const DirTarget *t, GError **error)
{
    if (!ok)
        g_prefix_error(error, "archive target at '%s': ", t->base.location);
    return ok;
}

gboolean archive_dir_each(DirTarget *t, int folder, DirVisit visit, gpointer user, GError **error)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    struct dirent *entry;

    if (!dir) {
        durable_close(&fd);
        return away(t->base.location, error, "%s", g_strerror(errno));
    }
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        if (!g_str_equal(entry->d_name, ".") && !g_str_equal(entry->d_name, ".."))
            g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    int err = errno;
    closedir(dir);
    if (err)
        return away(t->base.location, error, "%s", g_strerror(err));
    gboolean ok = TRUE;
    for (guint i = 0; ok && i < names->len; i++)
        ok = visit(t, names->pdata[i], user, error);
    return ok;
}

/* ---- The marker ---- */

static gboolean read_marker(DirTarget *t, char **ret_id, GError **error)
{
    g_autofree char *text = NULL;
    GError *local = NULL;
    gsize len;
    int format = 0;
    const char *id = NULL;

    if (!durable_read(t->root, MARKER, MARKER_MAX, &text, &len, &local)) {
        gboolean is_gone = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
        away(t->base.location, error, "%s",
             is_gone ? "there is no archive's marker (an empty mount point?)" : local->message);
        g_error_free(local);
        return FALSE;
    }
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    gboolean ok = root && json_unpack(root, "{s:i,s:s}", "format", &format, "id", &id) == 0 &&
                  id_is_valid(id);
    if (ok && format > FORMAT)
        ok = away(t->base.location, error, "it was made by a newer version of imaged");
    else if (!ok)
        away(t->base.location, error, "its marker %s is not readable", MARKER);
    *ret_id = ok ? g_strdup(id) : NULL;
    json_decref(root);
    return ok;
}

/* Is what is mounted there still what we hold? */
gboolean archive_dir_check(DirTarget *t, GError **error)
{
    g_autofree char *id = NULL;
    struct stat st;

    if (stat(t->base.location, &st) < 0)
        return away(t->base.location, error, "%s", g_strerror(errno));
    if (st.st_dev != t->dev || st.st_ino != t->ino)
        return away(t->base.location, error, "something else is mounted there");
    if (!read_marker(t, &id, error))
        return FALSE;
    return g_str_equal(id, t->base.id) ||
           away(t->base.location, error, "another archive's disk is there");
}

static gboolean note_stranger(DirTarget *t, const char *name, gpointer user, GError **error)
{
    gboolean is_ours = g_str_equal(name, LOCK) || g_str_equal(name, "." MARKER ".new") ||
                       g_str_equal(name, "lost+found");

    for (guint i = 0; i < DIR_N_PLACES; i++)
        is_ours |= g_str_equal(name, place_names[i]);
    *(gboolean *)user |= !is_ours;
    return TRUE;
}

/* A new archive goes into an empty folder (or one where a stop left one half made) alone. */
static gboolean create(DirTarget *t, GError **error)
{
    gboolean is_used = FALSE;
    Id id = id_new();

    if (!archive_dir_each(t, t->root, note_stranger, &is_used, error))
        return FALSE;
    if (is_used)
        return away(t->base.location, error, "the folder is not empty and has no archive's marker");
    for (guint i = 0; i < DIR_N_PLACES; i++) {
        if (!durable_mkdir(t->root, place_names[i], 0770, error))
            return archive_dir_prefixed(FALSE, t, error);
    }
    if (!durable_unlink(t->root, LOCK, error))
        return archive_dir_prefixed(FALSE, t, error);
    auto_fd lock = durable_create(t->root, LOCK, 0, 0660, error);
    g_autofree char *text = g_strdup_printf("{\"format\": %d, \"id\": \"%s\"}\n", FORMAT, id.s);
    t->base.id = g_strdup(id.s);
    return archive_dir_prefixed(
        lock >= 0 && durable_replace(t->root, MARKER, text, strlen(text), 0640, error), t, error);
}

static gboolean open_target(DirTarget *t, const ArchiveTargetOptions *options, GError **error)
{
    const char *location = options->location;
    struct stat st;

    if (!g_path_is_absolute(location)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a target's location is an absolute path");
        return FALSE;
    }
    t->root = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->root < 0 || fstat(t->root, &st) < 0)
        return away(location, error, "%s", g_strerror(errno));
    t->dev = st.st_dev;
    t->ino = st.st_ino;
    gboolean is_new = fstatat(t->root, MARKER, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
    if (is_new && options->create ? !create(t, error) : !read_marker(t, &t->base.id, error))
        return FALSE;
    if (options->expect_id && !g_str_equal(options->expect_id, t->base.id))
        return away(location, error, "another archive's disk is there");
    for (guint i = 0; i < DIR_N_PLACES; i++) {
        t->place[i] =
            openat(t->root, place_names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (t->place[i] < 0)
            return away(location, error, "its folder '%s' is missing", place_names[i]);
    }
    t->lock = openat(t->root, LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (t->lock < 0 && (errno == EROFS || errno == EACCES)) /* to be read, all the same */
        t->lock = openat(t->root, LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return t->lock >= 0 || away(location, error, "its lock can't be opened: %s", g_strerror(errno));
}

/* ---- Sessions ---- */

static gboolean try_lock(DirTarget *t, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

    return fcntl(t->lock, F_OFD_SETLK, &lock) == 0;
}

static gboolean drop_tmp(DirTarget *t, const char *name, gpointer user, GError **error)
{
    return durable_unlink(t->place[DIR_TMP], name, error);
}

static void dir_unlock(ArchiveTarget *target)
{
    try_lock((DirTarget *)target, F_UNLCK);
}

static gboolean take_lock(DirTarget *t, gboolean is_exclusive, GError **error)
{
    gint64 until = g_get_monotonic_time() + LOCK_WAIT_MS * 1000;

    for (;;) {
        if (try_lock(t, F_WRLCK)) {
            archive_dir_each(t, t->place[DIR_TMP], drop_tmp, NULL,
                             NULL); /* nobody's: we are alone here */
            if (is_exclusive || try_lock(t, F_RDLCK))
                return TRUE;
        }
        int err = errno;
        if (is_exclusive && err == EBADF)
            return away(t->base.location, error, "it can only be read");
        if (!is_exclusive && try_lock(t, F_RDLCK))
            return TRUE;
        if (errno != EAGAIN && errno != EACCES)
            return away(t->base.location, error, "it can't be locked: %s", g_strerror(errno));
        if (is_exclusive || g_get_monotonic_time() > until)
            break;
        g_usleep(20000);
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the archive target at '%s' is %s",
                t->base.location, is_exclusive ? "in use" : "being cleaned up");
    return FALSE;
}

static gboolean dir_lock(ArchiveTarget *target, gboolean is_exclusive, GError **error)
{
    DirTarget *t = (DirTarget *)target;

    if (!archive_dir_check(t, error) || !take_lock(t, is_exclusive, error))
        return FALSE;
    return TRUE;
}

static void dir_free(ArchiveTarget *target)
{
    DirTarget *t = (DirTarget *)target;

    for (guint i = 0; i < DIR_N_PLACES; i++)
        durable_close(&t->place[i]);
    durable_close(&t->lock);
    durable_close(&t->root);
    g_free(t->base.id);
    g_free(t->base.location);
    g_free(t);
}

static const ArchiveTargetOps dir_ops = {
    .kind = "dir",
    .lock = dir_lock,
    .unlock = dir_unlock,
    .put_layer = archive_dir_put_layer,
    .has_object = archive_dir_has_object,
    .open_object = archive_dir_open_object,
    .verify_object = archive_dir_verify_object,
    .list_objects = archive_dir_list_objects,
    .delete_objects = archive_dir_delete_objects,
    .put_point = archive_dir_put_point,
    .get_point = archive_dir_get_point,
    .list_points = archive_dir_list_points,
    .delete_point = archive_dir_delete_point,
    .undelete_point = archive_dir_undelete_point,
    .purge_points = archive_dir_purge_points,
    .forget_point = archive_dir_forget_point,
    .free = dir_free,
};

ArchiveTarget *archive_dir_open(const ArchiveTargetOptions *options, GError **error)
{
    DirTarget *t = g_new0(DirTarget, 1);

    t->base.ops = &dir_ops;
    t->base.location = g_strdup(options->location);
    t->root = t->lock = -1;
    for (guint i = 0; i < DIR_N_PLACES; i++)
        t->place[i] = -1;
    if (open_target(t, options, error))
        return &t->base;
    dir_free(&t->base);
    return NULL;
}
