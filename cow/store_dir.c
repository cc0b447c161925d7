/* store_dir.c: a store in a folder.
 *
 *   imaged-store.json   the marker: the store's id, its owner's, its format
 *   owner               locked while a daemon has the store open
 *   journal             see journal.h
 *   catalog.backup      the catalog, now and then (store_dir_files.c)
 *   config/             see store_dir_config.c
 *   layers/ trash/ tmp/ quarantine/
 *
 * Everything is reached through one held descriptor, so that a mount or unmount over the path can
 * never make us write to another file system; check_online() compares the two. */
#include "cow/store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define MARKER_MAX 4096
#define FORMAT 1

static gboolean offline(const char *location, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static gboolean offline(const char *location, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the store at '%s' is offline: %s",
                location, why);
    return FALSE;
}

static gboolean write_marker(DirStore *s, GError **error)
{
    json_t *root = json_pack("{s:i,s:s,s:s,s:s,s:{s:b,s:b,s:b,s:b}}", "format", FORMAT, "id",
                             s->base.id, "owner", s->base.owner_id, "layer_format",
                             store_layer_format_name(s->base.layer_format), "features", "locks",
                             s->base.features.has_locks, "reflink", s->base.features.has_reflink,
                             "direct_io", s->base.features.has_direct_io, "rename",
                             s->base.features.has_rename);
    char *text = json_dumps(root, JSON_INDENT(2));
    gboolean ok = durable_replace(s->root, MARKER_NAME, text, strlen(text), 0640, error);

    free(text);
    json_decref(root);
    return ok;
}

static gboolean parse_marker(DirStore *s, const char *text, GError **error)
{
    const char *id, *owner, *layer_format;
    int format, locks, reflink, direct_io, can_rename;
    json_t *root = json_loads(text, 0, NULL);
    gboolean ok = root &&
                  json_unpack(root, "{s:i,s:s,s:s,s:s,s:{s:b,s:b,s:b,s:b}}", "format", &format,
                              "id", &id, "owner", &owner, "layer_format", &layer_format,
                              "features", "locks", &locks, "reflink", &reflink, "direct_io",
                              &direct_io, "rename", &can_rename) == 0 &&
                  id_is_valid(id) && id_is_valid(owner) &&
                  store_layer_format_parse(layer_format, &s->base.layer_format, NULL);
    if (ok && format > FORMAT) {
        json_decref(root);
        return offline(s->base.location, error, "it was made by a newer version of imaged");
    }
    if (ok) {
        s->base.id = g_strdup(id);
        s->base.owner_id = g_strdup(owner);
        s->base.features = (StoreFeatures){ locks, reflink, direct_io, can_rename };
    } else {
        offline(s->base.location, error, "its marker %s is not readable", MARKER_NAME);
    }
    json_decref(root);
    return ok;
}

static gboolean open_root(DirStore *s, const StoreOpenOptions *options, GError **error)
{
    struct stat st;

    if (options->create && !durable_mkdir_path(s->base.location, 0770, error))
        return FALSE;
    s->root = open(s->base.location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root < 0 || fstat(s->root, &st) < 0)
        return offline(s->base.location, error, "%s", g_strerror(errno));
    s->root_dev = st.st_dev;
    s->root_ino = st.st_ino;
    return TRUE;
}

static gboolean set_group(int fd, const char *group, GError **error)
{
    g_autofree char *buffer = g_malloc(16384);
    struct group entry, *found = NULL;

    if (!group || !*group)
        return TRUE;
    getgrnam_r(group, &entry, buffer, 16384, &found);
    if (!found) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no group '%s'", group);
        return FALSE;
    }
    if (fchown(fd, -1, found->gr_gid) < 0) {
        imaged_error_set_errno(error, errno, "cannot give the store to group '%s'", group);
        return FALSE;
    }
    return TRUE;
}

static gboolean open_places(DirStore *s, const StoreOpenOptions *options, GError **error)
{
    for (int i = 0; i < STORE_N_PLACES; i++) {
        const char *name = store_place_name(i);
        if (options->create && !durable_mkdir(s->root, name, 02770, error))
            return FALSE;
        s->place[i] = openat(s->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (s->place[i] < 0)
            return offline(s->base.location, error, "its folder '%s' is missing", name);
        if (options->create && !set_group(s->place[i], options->group, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean take_owner_lock(DirStore *s, GError **error)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    g_autoptr(GError) local = NULL;

    s->owner = durable_open_lock(s->root, OWNER_NAME, 0640, &local);
    if (s->owner < 0)
        return offline(s->base.location, error, "its owner file: %s", local->message);
    if (fcntl(s->owner, F_OFD_SETLK, &lock) == 0)
        return TRUE;
    if (errno == EAGAIN || errno == EACCES)
        return offline(s->base.location, error, "another daemon has it open");
    return TRUE; /* no locks there: accepted when the store was added by force */
}

/* A new store goes only into an empty folder (or one where a stop left a new store half made). */
static gboolean create_store(DirStore *s, const StoreOpenOptions *options, GError **error)
{
    Id id = id_new();
    gboolean is_used;

    if (!store_dir_look_for_content(s, &is_used, error))
        return FALSE;
    if (is_used)
        return offline(s->base.location, error,
                       "the folder is not empty and has no store's marker");
    s->base.id = g_strdup(id.s);
    s->base.owner_id = g_strdup(options->owner_id);
    s->base.layer_format = options->layer_format;
    return durable_chmod(s->root, 02770, error) && set_group(s->root, options->group, error) &&
           take_owner_lock(s, error) && open_places(s, options, error) &&
           store_dir_probe(s, options->force, error) && write_marker(s, error);
}

static gboolean check_owner(DirStore *s, const StoreOpenOptions *options, GError **error)
{
    if (options->expect_id && !g_str_equal(s->base.id, options->expect_id))
        return offline(s->base.location, error, "another store's disk is there");
    if (!options->owner_id || g_str_equal(s->base.owner_id, options->owner_id))
        return TRUE;
    if (!options->force) {
        offline(s->base.location, error, "it belongs to another manager");
        imaged_error_hint(error, "if that manager is gone for good, add the store with --force");
        return FALSE;
    }
    g_free(s->base.owner_id);
    s->base.owner_id = g_strdup(options->owner_id);
    return write_marker(s, error);
}

static gboolean open_store(DirStore *s, const StoreOpenOptions *options, GError **error)
{
    g_autofree char *text = NULL;
    GError *local = NULL;
    struct stat st;
    StoreOpenOptions existing = *options;

    existing.create = FALSE;
    if (!open_root(s, options, error))
        return FALSE;
    if (!durable_read(s->root, MARKER_NAME, MARKER_MAX, &text, NULL, &local)) {
        gboolean is_new = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
        g_error_free(local);
        if (!is_new || !options->create)
            return offline(s->base.location, error,
                           "there is no store's marker (an empty mount point?)");
        if (!create_store(s, options, error))
            return FALSE;
    } else if (!parse_marker(s, text, error) || !take_owner_lock(s, error) ||
               !check_owner(s, options, error) || !open_places(s, &existing, error)) {
        return FALSE;
    }
    if (fstatat(s->root, MARKER_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return offline(s->base.location, error, "%s", g_strerror(errno));
    s->marker_ino = st.st_ino;
    /* A journal that is lost is begun anew; the catalog notices that by the sequence number. */
    s->base.journal = journal_open(s->root, JOURNAL_NAME, TRUE, error);
    return s->base.journal != NULL;
}

static gboolean check_online(Store *store, GError **error)
{
    DirStore *s = (DirStore *)store;
    struct statvfs vfs;
    struct stat st;

    if (stat(store->location, &st) < 0)
        return offline(store->location, error, "%s", g_strerror(errno));
    if (st.st_dev != s->root_dev || st.st_ino != s->root_ino)
        return offline(store->location, error, "something else is mounted there");
    if (fstatat(s->root, MARKER_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != s->marker_ino)
        return offline(store->location, error, "its marker is gone");
    if (fstatvfs(s->root, &vfs) < 0)
        return offline(store->location, error, "%s", g_strerror(errno));
    if (vfs.f_flag & ST_RDONLY)
        return offline(store->location, error, "its file system is read-only");
    return TRUE;
}

static gboolean space(Store *store, StoreSpace *ret, GError **error)
{
    DirStore *s = (DirStore *)store;
    struct statvfs vfs;

    if (fstatvfs(s->root, &vfs) < 0)
        return offline(store->location, error, "%s", g_strerror(errno));
    ret->total_bytes = (guint64)vfs.f_blocks * vfs.f_frsize;
    ret->free_bytes = (guint64)vfs.f_bavail * vfs.f_frsize;
    ret->free_inodes = vfs.f_files ? vfs.f_favail : G_MAXUINT32; /* btrfs has no such limit */
    return TRUE;
}

static void free_store(Store *store)
{
    DirStore *s = (DirStore *)store;

    journal_free(store->journal);
    for (int i = 0; i < STORE_N_PLACES; i++)
        durable_close(&s->place[i]);
    durable_close(&s->owner);
    durable_close(&s->root);
    g_free(store->id);
    g_free(store->owner_id);
    g_free(store->location);
    g_free(s);
}

static const StoreOps dir_ops = {
    .kind = "dir",
    .check_online = check_online,
    .space = space,
    .free = free_store,
    .create_overlays = store_dir_create_overlays,
    .create_tmp = store_dir_create_tmp,
    .publish_tmp = store_dir_publish_tmp,
    .switch_slot = store_dir_switch_slot,
    .freeze = store_dir_freeze,
    .move = store_dir_move,
    .discard = store_dir_discard,
    .reclaim_step = store_dir_reclaim_step,
    .stat = store_dir_stat,
    .list = store_dir_list,
    .metadata_bytes = store_dir_metadata_bytes,
    .open = store_dir_open_slot,
    .lock = store_dir_lock,
    .path = store_dir_path,
    .put_file = store_dir_put_file,
    .put_config = store_dir_put_config,
    .get_config = store_dir_get_config,
    .rename_config = store_dir_rename_config,
    .remove_config = store_dir_remove_config,
    .list_config = store_dir_list_config,
    .config_path = store_dir_config_path,
};

/* Whatever a stopped process left half-written was never acknowledged. */
static gboolean sweep(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    return durable_unlink(*(int *)user, name, error);
}

static gboolean sweep_all(DirStore *s, GError **error)
{
    return store_dir_visit_folder(s->place[STORE_TMP], sweep, &s->place[STORE_TMP], error) &&
           durable_unlink(s->root, "." JOURNAL_NAME ".new", error) &&
           durable_unlink(s->root, "." MARKER_NAME ".new", error);
}

Store *store_dir_open(const char *location, const StoreOpenOptions *options, GError **error)
{
    DirStore *s = g_new0(DirStore, 1);

    s->base.ops = &dir_ops;
    s->base.refs = 1;
    s->base.location = g_strdup(location);
    s->root = s->owner = -1;
    for (int i = 0; i < STORE_N_PLACES; i++)
        s->place[i] = -1;
    if (!g_path_is_absolute(location)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a store's location is an absolute path");
    } else if (open_store(s, options, error) && sweep_all(s, error)) {
        return &s->base;
    }
    free_store(&s->base);
    return NULL;
}
