/* archive_borg.c: kind "borg" of archive targets: a repository of BorgBackup.
 *
 * An object is a borg archive "layer-<layer id>" with one file "<layer id>.qcow2": the layer as an
 * uncompressed standard qcow2 stream (cow/layer_stream.h), whose backing name is its parent's file
 * name.  So `borg extract` of the chain's archives into one folder and `qemu-img convert` restore a
 * disk without imaged.  A point is an archive "point-<id>" with the one file manifest.json.  borg
 * finds equal pieces among all of them, compresses, encrypts, and checks.
 *
 * borg commits an archive when its input ends, and a daemon that is killed ends it too soon.  So a
 * layer is stored as "put-...", and gets its name when its length is right.  Manifests are read
 * from a file that is complete before borg starts.
 *
 * Sessions.  Each run of borg locks the repository for itself.  Between runs of one session, others
 * on this machine are kept off by a lock in our own folder; managers elsewhere can't be: each
 * notes itself in the repository (manager-<id>), and while there is more than one, what is
 * collected is first renamed ("gone-...") and deleted a day later, if no point came to name it
 * meanwhile.
 *
 * borg's own stale locks: those of processes that have died on the same machine it clears itself;
 * any other may belong to somebody, so `borg break-lock` is left to a person. */
#include "snapshot/archive_borg.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define LOCK_WAIT_MS 10000

/* ---- sessions ---- */

static gboolean try_lock(BorgTarget *t, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

    return fcntl(t->lock_fd, F_OFD_SETLK, &lock) == 0;
}

static void unlock(ArchiveTarget *target)
{
    try_lock((BorgTarget *)target, F_UNLCK);
}

/* Note in the repository that we use it, once. */
gboolean borg_note_manager(BorgTarget *t, GError **error)
{
    g_autofree char *name = g_strconcat(BORG_MANAGER, t->manager, NULL);
    g_autofree char *text =
        g_strdup_printf("{\"manager\": \"%s\", \"host\": \"%s\"}\n", t->manager, g_get_host_name());
    guint64 unused;
    GError *local = NULL;

    if (!t->archives && !borg_list(t, error))
        return FALSE;
    if (borg_find(t, name))
        return TRUE;
    auto_fd fd = borg_input_file(text, error);
    const BorgRun run = { .input = fd };
    if (fd < 0 || borg_create(t, name, "manager.json", &run, &unused, &local) || !local)
        return fd >= 0;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS)) {
        g_error_free(local); /* of another session of ours, just now */
        return TRUE;
    }
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean lock(ArchiveTarget *target, gboolean is_exclusive, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    gint64 until = g_get_monotonic_time() + (is_exclusive ? 0 : LOCK_WAIT_MS * 1000);

    while (!try_lock(t, is_exclusive ? F_WRLCK : F_RDLCK)) {
        if (errno != EAGAIN && errno != EACCES) {
            imaged_error_set_errno(error, errno, "cannot lock '%s/lock'", t->place.base_dir);
            return FALSE;
        }
        if (g_get_monotonic_time() >= until) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "borg repository '%s': it is %s",
                        t->place.location, is_exclusive ? "in use" : "being cleaned up");
            return FALSE;
        }
        g_usleep(20000);
    }
    if (borg_list(t, error))
        return TRUE;
    unlock(target);
    return FALSE;
}

/* ---- opening ---- */

static gboolean check_options(const ArchiveTargetOptions *o, GError **error)
{
    static const char *const kinds[] = {
        "none", "repokey", "repokey-blake2", "authenticated", "authenticated-blake2", NULL
    };
    const char *where = o->location;
    const char *why = NULL;

    if (!g_path_is_absolute(where) && !g_str_has_prefix(where, "ssh://"))
        why = "is neither an absolute path nor begins with ssh://";
    else if (g_str_has_prefix(where, "ssh://-"))
        why = "has no host";
    else if (strstr(where, "::"))
        why = "names an archive in the repository";
    else if (strpbrk(where, "{}"))
        why = "has braces, which borg would replace";
    if (why) {
        g_autofree char *shown = text_for_message(where, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the location '%s' %s", shown, why);
        imaged_error_hint(error, "write it like /mnt/backup/borg or ssh://user@host/./borg");
        return FALSE;
    }
    if (o->encryption && !g_strv_contains(kinds, o->encryption)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "borg targets are not encrypted in this way");
        imaged_error_hint(error, "say repokey-blake2 or none");
        return FALSE;
    }
    if (o->create && o->encryption && !g_str_equal(o->encryption, "none") && !o->passphrase) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "an encrypted borg repository needs a passphrase");
        return FALSE;
    }
    if (!o->state_dir) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "there is no folder for borg's cache");
        return FALSE;
    }
    return TRUE;
}

/* The folder for borg's cache, our lock and cached manifests: one for each location. */
static gboolean open_base(BorgTarget *t, const ArchiveTargetOptions *o, GError **error)
{
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, o->location, -1);
    g_autofree char *name = g_strdup_printf("borg-%.16s", digest), *text = NULL;
    auto_fd state = open(o->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    GError *local = NULL;

    if (state < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", o->state_dir);
        return FALSE;
    }
    t->place.base_dir = g_build_filename(o->state_dir, name, NULL);
    if (!durable_mkdir(state, name, 0700, error))
        return FALSE;
    t->base_fd = openat(state, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (t->base_fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", t->place.base_dir);
        return FALSE;
    }
    if (!durable_mkdir(t->base_fd, "points", 0700, error))
        return FALSE;
    t->points_fd = openat(t->base_fd, "points", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (t->points_fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s/points'", t->place.base_dir);
        return FALSE;
    }
    t->lock_fd = durable_create(t->base_fd, "lock", 0, 0600, &local);
    if (t->lock_fd < 0 && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS)) {
        g_clear_error(&local);
        t->lock_fd = openat(t->base_fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
    if (t->lock_fd < 0) {
        if (local)
            g_propagate_error(error, local);
        else
            imaged_error_set_errno(error, errno, "cannot open '%s/lock'", t->place.base_dir);
        return FALSE;
    }
    if (durable_read(t->base_fd, "manager", 64, &text, NULL, NULL) &&
        id_is_valid(g_strstrip(text))) {
        g_strlcpy(t->manager, text, sizeof t->manager);
        return TRUE;
    }
    Id id = id_new();
    g_strlcpy(t->manager, id.s, sizeof t->manager);
    return durable_replace(t->base_fd, "manager", id.s, strlen(id.s), 0600, error);
}

static gboolean init(BorgTarget *t, const ArchiveTargetOptions *o, GError **error)
{
    const char *how = o->encryption ? o->encryption : o->passphrase ? "repokey-blake2" : "none";
    const char *const argv[] = { "init", "--encryption", how, t->place.location, NULL };
    const BorgRun run = { .input = -1 };

    return borg_run(&t->place, argv, &run, error);
}

static gboolean open_repository(BorgTarget *t, const ArchiveTargetOptions *o, GError **error)
{
    GError *local = NULL;

    t->base.id = g_strdup(o->expect_id);
    if (borg_list(t, &local))
        return TRUE;
    if (!o->create || !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE) ||
        !strstr(local->message, "no borg repository")) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_error_free(local);
    return init(t, o, error) && borg_list(t, error);
}

static void borg_free(ArchiveTarget *target)
{
    BorgTarget *t = (BorgTarget *)target;

    durable_close(&t->lock_fd);
    durable_close(&t->points_fd);
    durable_close(&t->base_fd);
    if (t->archives)
        g_array_unref(t->archives);
    if (t->place.passphrase)
        memset(t->place.passphrase, 0, strlen(t->place.passphrase));
    g_free(t->place.passphrase);
    g_free(t->place.location);
    g_free(t->place.base_dir);
    g_free(t->base.location);
    g_free(t->base.id);
    g_free(t);
}

static const ArchiveTargetOps borg_ops = {
    .kind = "borg",
    .lock = lock,
    .unlock = unlock,
    .put_layer = borg_put_layer,
    .has_object = borg_has_object,
    .open_object = borg_open_object,
    .verify_object = borg_verify_object,
    .list_objects = borg_list_objects,
    .delete_objects = borg_delete_objects,
    .put_point = borg_put_point,
    .get_point = borg_get_point,
    .list_points = borg_list_points,
    .delete_point = borg_delete_point,
    .undelete_point = borg_undelete_point,
    .purge_points = borg_purge_points,
    .forget_point = borg_forget_point,
    .free = borg_free,
};

ArchiveTarget *archive_borg_open(const ArchiveTargetOptions *options, GError **error)
{
    if (!check_options(options, error))
        return NULL;
    BorgTarget *t = g_new0(BorgTarget, 1);
    t->base.ops = &borg_ops;
    t->base_fd = t->points_fd = t->lock_fd = -1;
    t->base.location = g_strdup(options->location);
    t->place.location = g_strdup(options->location);
    t->place.passphrase = g_strdup(options->passphrase);
    if (open_base(t, options, error) && open_repository(t, options, error))
        return &t->base;
    borg_free(&t->base);
    return NULL;
}
