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
#include "snapshot/archive_target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/layer_pack.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MARKER "imaged-archive.json"
#define LOCK "lock"
#define MARKER_MAX 4096
#define FORMAT 1
#define LOCK_WAIT_MS 10000 /* a collection is short: writers wait for it */

enum { LAYERS, POINTS, DELETED, TMP, N_PLACES };
static const char *const place_names[N_PLACES] = { "layers", "points", "deleted", "tmp" };

typedef struct {
    ArchiveTarget base;
    int root, lock, place[N_PLACES];
    dev_t dev;
    ino_t ino;
} DirTarget;

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
static gboolean prefixed(gboolean ok, const DirTarget *t, GError **error)
{
    if (!ok)
        g_prefix_error(error, "archive target at '%s': ", t->base.location);
    return ok;
}

typedef gboolean (*NameVisit)(DirTarget *t, const char *name, gpointer user, GError **error);

static gboolean each_name(DirTarget *t, int folder, NameVisit visit, gpointer user, GError **error)
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
static gboolean check_online(DirTarget *t, GError **error)
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

    for (guint i = 0; i < N_PLACES; i++)
        is_ours |= g_str_equal(name, place_names[i]);
    *(gboolean *)user |= !is_ours;
    return TRUE;
}

/* A new archive goes into an empty folder (or one where a stop left one half made) alone. */
static gboolean create(DirTarget *t, GError **error)
{
    gboolean is_used = FALSE;
    Id id = id_new();

    if (!each_name(t, t->root, note_stranger, &is_used, error))
        return FALSE;
    if (is_used)
        return away(t->base.location, error, "the folder is not empty and has no archive's marker");
    for (guint i = 0; i < N_PLACES; i++) {
        if (!durable_mkdir(t->root, place_names[i], 0770, error))
            return prefixed(FALSE, t, error);
    }
    if (!durable_unlink(t->root, LOCK, error))
        return prefixed(FALSE, t, error);
    auto_fd lock = durable_create(t->root, LOCK, 0, 0660, error);
    g_autofree char *text = g_strdup_printf("{\"format\": %d, \"id\": \"%s\"}\n", FORMAT, id.s);
    t->base.id = g_strdup(id.s);
    return prefixed(lock >= 0 && durable_replace(t->root, MARKER, text, strlen(text), 0640, error),
                    t, error);
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
    for (guint i = 0; i < N_PLACES; i++) {
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
    return durable_unlink(t->place[TMP], name, error);
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
            each_name(t, t->place[TMP], drop_tmp, NULL, NULL); /* nobody's: we are alone here */
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
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                "the archive target at '%s' is %s", t->base.location,
                is_exclusive ? "in use" : "being cleaned up");
    return FALSE;
}

static gboolean dir_lock(ArchiveTarget *target, gboolean is_exclusive, GError **error)
{
    DirTarget *t = (DirTarget *)target;

    if (!check_online(t, error) || !take_lock(t, is_exclusive, error))
        return FALSE;
    return TRUE;
}

/* ---- Objects ---- */

static gboolean is_digest(const char *name)
{
    return strlen(name) == PACK_DIGEST_TEXT &&
           strspn(name, "0123456789abcdef") == PACK_DIGEST_TEXT;
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
    return check_online(t, error) && durable_chmod(fd, 0440, error) &&
           durable_rename(t->place[TMP], tmp, t->place[LAYERS], file, TRUE, error) &&
           durable_sync_dir(t->place[LAYERS], error);
}

static gboolean dir_put_layer(ArchiveTarget *target, const ArchivePut *put, ArchiveObject *ret,
                              GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *backing = put->parent ? object_file(put->parent) : NULL;
    Id tmp = id_new();
    PackSummary summary = { 0 };
    auto_fd fd = durable_create(t->place[TMP], tmp.s, 0, 0640, error);

    if (fd < 0)
        return prefixed(FALSE, t, error);
    LayerPack pack = { .layer = put->layer, .below = put->below, .n_below = put->n_below,
                       .backing_name = backing, .to = fd, .cancel = put->cancel,
                       .progress = put->progress, .data = put->data };
    if (!layer_pack(&pack, &summary, error) || !publish_object(t, tmp.s, fd, &summary, error)) {
        durable_unlink(t->place[TMP], tmp.s, NULL);
        return prefixed(FALSE, t, error);
    }
    g_strlcpy(ret->name, summary.digest, sizeof ret->name);
    ret->bytes = summary.file_length;
    return TRUE;
}

static int open_file(DirTarget *t, const char *name, struct stat *ret_st, GError **error)
{
    g_autofree char *file = object_file(name);
    auto_fd fd = is_digest(name) ? openat(t->place[LAYERS], file,
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

static gboolean dir_has_object(ArchiveTarget *target, const char *name, gboolean *ret,
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
    return prefixed(FALSE, (DirTarget *)target, error);
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

static int dir_open_object(ArchiveTarget *target, const char *name, int scratch,
                           const gint *cancel, ArchiveProgress progress, gpointer data,
                           GError **error)
{
    DirTarget *t = (DirTarget *)target;
    char digest[PACK_DIGEST_TEXT + 1];
    struct stat st;
    auto_fd fd = open_file(t, name, &st, error);
    Reading reading = { progress, data, fd >= 0 ? (guint64)st.st_size : 0 };

    if (fd < 0 || !pack_digest(fd, cancel, read_progress, &reading, digest, error)) {
        prefixed(FALSE, t, error);
        return -1;
    }
    if (!g_str_equal(digest, name)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "archive target at '%s': the object %s is damaged: its bytes do not match its"
                    " name", t->base.location, name);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

static gboolean dir_verify_object(ArchiveTarget *target, const char *name, const gint *cancel,
                                  GError **error)
{
    auto_fd fd = dir_open_object(target, name, -1, cancel, NULL, NULL, error);

    return fd >= 0;
}

typedef struct {
    ArchiveVisit visit;
    gpointer user;
    gint64 before_ms;  /* of a purge */
    const char *wanted; /* of a search */
    char *found;
} Walk;

static gboolean visit_object(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *digest = g_strndup(name, PACK_DIGEST_TEXT);
    struct stat st;

    if (!is_digest(digest) || !g_str_equal(name + PACK_DIGEST_TEXT, ".qcow2") ||
        fstatat(t->place[LAYERS], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return TRUE;
    return walk->visit(digest, (guint64)st.st_size, walk->user, error);
}

static gboolean dir_list_objects(ArchiveTarget *target, ArchiveVisit visit, gpointer user,
                                 GError **error)
{
    DirTarget *t = (DirTarget *)target;
    Walk walk = { .visit = visit, .user = user };

    return each_name(t, t->place[LAYERS], visit_object, &walk, error);
}

static gboolean dir_delete_objects(ArchiveTarget *target, const char *const *names, guint n,
                                   guint64 *ret_freed, GError **error)
{
    DirTarget *t = (DirTarget *)target;

    *ret_freed = 0;
    for (guint i = 0; i < n; i++) {
        g_autofree char *file = object_file(names[i]);
        struct stat st;
        if (!is_digest(names[i]) ||
            fstatat(t->place[LAYERS], file, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!durable_unlink(t->place[LAYERS], file, error))
            return prefixed(FALSE, t, error);
        *ret_freed += (guint64)st.st_blocks * 512;
    }
    return prefixed(durable_sync_dir(t->place[LAYERS], error), t, error);
}

/* ---- Points ---- */

static char *point_file(const char *id)
{
    return g_strconcat(id, ".json", NULL);
}

/* "ID-MS.json" -> ID and MS. */
static gboolean split_deleted(const char *name, char **ret_id, gint64 *ret_ms)
{
    g_autofree char *id = g_strndup(name, ID_LEN);
    char *end = NULL;

    if (!id_is_valid(id) || name[ID_LEN] != '-' || !g_ascii_isdigit(name[ID_LEN + 1]))
        return FALSE;
    *ret_ms = g_ascii_strtoll(name + ID_LEN + 1, &end, 10);
    if (!g_str_equal(end, ".json"))
        return FALSE;
    *ret_id = g_steal_pointer(&id);
    return TRUE;
}

static gboolean match_deleted(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *id = NULL;
    gint64 ms;

    if (split_deleted(name, &id, &ms) && g_str_equal(id, walk->wanted)) {
        g_free(walk->found);
        walk->found = g_strdup(name);
    }
    return TRUE;
}

/* The file in deleted/ of this point, or NULL (without an error if there is none). */
static char *find_deleted(DirTarget *t, const char *id, GError **error)
{
    Walk walk = { .wanted = id };

    if (each_name(t, t->place[DELETED], match_deleted, &walk, error))
        return walk.found;
    g_free(walk.found);
    return NULL;
}

static gboolean not_found(const char *id, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the target has no point %s", id);
    return FALSE;
}

static gboolean dir_put_point(ArchiveTarget *target, const char *id, const char *text,
                              GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    Id tmp = id_new();
    auto_fd fd = durable_create(t->place[TMP], tmp.s, 0, 0640, error);

    if (fd < 0)
        return prefixed(FALSE, t, error);
    if (durable_write(fd, text, strlen(text), 0, error) && durable_sync(fd, error) &&
        check_online(t, error) &&
        durable_rename(t->place[TMP], tmp.s, t->place[POINTS], file, TRUE, error) &&
        durable_sync_dir(t->place[POINTS], error))
        return TRUE;
    durable_unlink(t->place[TMP], tmp.s, NULL);
    return prefixed(FALSE, t, error);
}

static char *dir_get_point(ArchiveTarget *target, const char *id, gboolean is_deleted,
                           GError **error)
{
    DirTarget *t = (DirTarget *)target;
    GError *local = NULL;
    g_autofree char *file = is_deleted ? find_deleted(t, id, &local) : point_file(id);
    char *text = NULL;

    if (local) {
        g_propagate_error(error, local);
        return NULL;
    }
    gsize len = 0;
    if (!file || !durable_read(t->place[is_deleted ? DELETED : POINTS], file,
                               ARCHIVE_POINT_TEXT_MAX, &text, &len, &local)) {
        if (!file || g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
            not_found(id, error);
        else if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_INVALID))
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "point %s: %s", id,
                        local->message);
        else
            g_propagate_error(error, g_steal_pointer(&local));
        g_clear_error(&local);
        return NULL;
    }
    if (strlen(text) != len) {
        g_free(text);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "point %s is no text", id);
        return NULL;
    }
    return text;
}

static gboolean visit_point(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *id = g_strndup(name, ID_LEN);

    return !id_is_valid(id) || !g_str_equal(name + ID_LEN, ".json") ||
           walk->visit(id, 0, walk->user, error);
}

static gboolean visit_deleted(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *id = NULL;
    gint64 ms;

    return !split_deleted(name, &id, &ms) || walk->visit(id, 0, walk->user, error);
}

static gboolean dir_list_points(ArchiveTarget *target, gboolean deleted, ArchiveVisit visit,
                                gpointer user, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    Walk walk = { .visit = visit, .user = user };

    return each_name(t, t->place[deleted ? DELETED : POINTS],
                     deleted ? visit_deleted : visit_point, &walk, error);
}

static gboolean move_point(DirTarget *t, int from, const char *old, int to, const char *new,
                           GError **error)
{
    return prefixed(durable_rename(t->place[from], old, t->place[to], new, TRUE, error) &&
                        durable_sync_dir(t->place[to], error) &&
                        durable_sync_dir(t->place[from], error),
                    t, error);
}

static gboolean dir_delete_point(ArchiveTarget *target, const char *id, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    g_autofree char *aside = g_strdup_printf("%s-%" G_GINT64_FORMAT ".json", id, units_now_ms());
    g_autofree char *before = NULL;
    GError *local = NULL;
    struct stat st;

    if (fstatat(t->place[POINTS], file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return move_point(t, POINTS, file, DELETED, aside, error);
    if ((before = find_deleted(t, id, &local)))
        return TRUE; /* before a stop */
    if (!local)
        return not_found(id, error);
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean dir_undelete_point(ArchiveTarget *target, const char *id, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    GError *local = NULL;
    g_autofree char *aside = find_deleted(t, id, &local);
    struct stat st;

    if (aside)
        return move_point(t, DELETED, aside, POINTS, file, error);
    if (!local && fstatat(t->place[POINTS], file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return TRUE; /* before a stop */
    if (!local)
        return not_found(id, error);
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean purge_one(DirTarget *t, const char *name, gpointer user, GError **error)
{
    const Walk *walk = user;
    g_autofree char *id = NULL;
    gint64 ms;

    return !split_deleted(name, &id, &ms) || ms >= walk->before_ms ||
           durable_unlink(t->place[DELETED], name, error);
}

static gboolean dir_purge_points(ArchiveTarget *target, gint64 before_ms, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    Walk walk = { .before_ms = before_ms };

    return prefixed(each_name(t, t->place[DELETED], purge_one, &walk, error) &&
                        durable_sync_dir(t->place[DELETED], error),
                    t, error);
}

static gboolean dir_forget_point(ArchiveTarget *target, const char *id, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    GError *local = NULL;
    g_autofree char *aside = find_deleted(t, id, &local);

    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    return prefixed((!aside || durable_unlink(t->place[DELETED], aside, error)) &&
                        durable_unlink(t->place[POINTS], file, error) &&
                        durable_sync_dir(t->place[DELETED], error) &&
                        durable_sync_dir(t->place[POINTS], error),
                    t, error);
}

static void dir_free(ArchiveTarget *target)
{
    DirTarget *t = (DirTarget *)target;

    for (guint i = 0; i < N_PLACES; i++)
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
    .put_layer = dir_put_layer,
    .has_object = dir_has_object,
    .open_object = dir_open_object,
    .verify_object = dir_verify_object,
    .list_objects = dir_list_objects,
    .delete_objects = dir_delete_objects,
    .put_point = dir_put_point,
    .get_point = dir_get_point,
    .list_points = dir_list_points,
    .delete_point = dir_delete_point,
    .undelete_point = dir_undelete_point,
    .purge_points = dir_purge_points,
    .forget_point = dir_forget_point,
    .free = dir_free,
};

ArchiveTarget *archive_dir_open(const ArchiveTargetOptions *options, GError **error)
{
    DirTarget *t = g_new0(DirTarget, 1);

    t->base.ops = &dir_ops;
    t->base.location = g_strdup(options->location);
    t->root = t->lock = -1;
    for (guint i = 0; i < N_PLACES; i++)
        t->place[i] = -1;
    if (open_target(t, options, error))
        return &t->base;
    dir_free(&t->base);
    return NULL;
}
