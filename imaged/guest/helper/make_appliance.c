/* make_appliance.c: supermin builds it in three seconds, without starting QEMU.
 *
 * It lies in a folder named after what it was made from, so that one that is in use is never
 * exchanged; it is built under another name, flushed and renamed.  Old ones go when a new one is
 * made, a day after they were last made use of. */
#include "imaged/guest/helper/make_appliance.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <guestfs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define NEW_NAME "new"
#define LOCK_NAME "lock"
#define STAMP_LEN 16
#define KEEP_OLD_MS (24 * 3600 * 1000ll)

/* libguestfs knows a fixed appliance by the file README.fixed. */
static const char *const parts[] = { "kernel", "initrd", "root", "README.fixed" };

/* ---- What it is made from ---- */

static char *find_supermin_dir(GError **error)
{
    guestfs_h *g = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT);
    g_auto(GStrv) dirs = g_strsplit(g ? guestfs_get_path(g) : "", ":", -1);
    char *found = NULL;

    for (guint i = 0; dirs[i] && !found; i++) {
        g_autofree char *path = g_build_filename(dirs[i], "supermin.d", NULL);
        if (g_file_test(path, G_FILE_TEST_IS_DIR))
            found = g_steal_pointer(&path);
    }
    if (g)
        guestfs_close(g);
    if (!found)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "libguestfs' parts of an appliance (supermin.d) are not installed");
    return found;
}

static int compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names, sizes and times of what lies in a folder, in a fixed order. */
static void add_folder(GChecksum *sum, const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare);
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *full = g_build_filename(path, names->pdata[i], NULL);
        struct stat st = { 0 };
        if (stat(full, &st) < 0)
            continue;
        g_autofree char *line =
            g_strdup_printf("%s %lld %lld\n", full, (long long)st.st_size, (long long)st.st_mtime);
        g_checksum_update(sum, (const guchar *)line, -1);
    }
}

static char *make_stamp(const char *supermin_dir)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

    add_folder(sum, supermin_dir);
    add_folder(sum, "/lib/modules");
    return g_strndup(g_checksum_get_string(sum), STAMP_LEN);
}

static gboolean is_appliance(const char *path)
{
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autofree char *file = g_build_filename(path, parts[i], NULL);
        if (access(file, R_OK) < 0)
            return FALSE;
    }
    return TRUE;
}

/* ---- Making it ---- */

static void remove_one(int dirfd, const char *name)
{
    auto_fd fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    for (guint i = 0; fd >= 0 && i < G_N_ELEMENTS(parts); i++)
        durable_unlink(fd, parts[i], NULL);
    if (fd >= 0)
        durable_rmdir(dirfd, name, NULL);
}

static gboolean run_supermin(const char *supermin_dir, const char *out, GError **error)
{
    struct utsname machine;
    g_autoptr(GError) local = NULL;
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autofree char *said = NULL;

    uname(&machine);
    g_autofree char *above = g_path_get_dirname(out);
    g_subprocess_launcher_setenv(launcher, "TMPDIR", above, TRUE);
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C", TRUE);
    g_autoptr(GSubprocess) child = g_subprocess_launcher_spawn(
        launcher, &local, "supermin", "--build", "--copy-kernel", "-f", "ext2", "--host-cpu",
        machine.machine, supermin_dir, "-o", out, NULL);
    if (child && g_subprocess_communicate_utf8(child, NULL, NULL, NULL, &said, &local) &&
        g_subprocess_get_if_exited(child) && g_subprocess_get_exit_status(child) == 0)
        return TRUE;
    g_autofree char *words = text_for_message(said ? g_strstrip(said) : "", 300);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "supermin cannot make the appliance: %s", local ? local->message : words);
    imaged_error_hint(error, "it needs a kernel with its modules: Debian's linux-image-amd64");
    return FALSE;
}

static gboolean flush(int dirfd, const char *name, GError **error)
{
    auto_fd folder = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const char readme[] = "libguestfs' appliance, made by imaged-guest with supermin.\n";
    gboolean ok = folder >= 0 && durable_chmod(folder, 0755, error) &&
                  durable_replace(folder, "README.fixed", readme, strlen(readme), 0644, error);

    for (guint i = 0; ok && i < G_N_ELEMENTS(parts); i++) {
        auto_fd fd = openat(folder, parts[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            imaged_error_set_errno(error, errno, "the appliance has no '%s'", parts[i]);
            return FALSE;
        }
        ok = durable_chmod(fd, 0644, error) && durable_sync(fd, error);
    }
    return ok && durable_sync_dir(folder, error);
}

static void remove_old(int dirfd, const char *dir, const char *stamp)
{
    g_autoptr(GDir) list = g_dir_open(dir, 0, NULL);
    const char *name;
    struct stat st;

    while (list && (name = g_dir_read_name(list))) {
        if (strlen(name) == STAMP_LEN && strcmp(name, stamp) != 0 &&
            fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            units_now_ms() - st.st_mtime * 1000ll > KEEP_OLD_MS)
            remove_one(dirfd, name);
    }
}

static int open_locked(const char *dir, int *ret_lock, GError **error)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd =
        durable_mkdir_path(dir, 0755, error) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd < 0)
        return -1;
    *ret_lock = durable_chmod(fd, 0755, error) ? durable_open_lock(fd, LOCK_NAME, 0640, error) : -1;
    while (*ret_lock >= 0 && fcntl(*ret_lock, F_OFD_SETLKW, &lock) < 0 && errno == EINTR)
        ;
    if (*ret_lock < 0)
        durable_close(&fd);
    return fd;
}

char *make_appliance(const char *dir, gboolean may_make, GError **error)
{
    auto_fd lock = -1;

    if (is_appliance(dir))
        return g_strdup(dir);
    g_autofree char *supermin_dir = find_supermin_dir(error);
    g_autofree char *stamp = supermin_dir ? make_stamp(supermin_dir) : NULL;
    if (!stamp)
        return NULL;
    g_autofree char *path = g_build_filename(dir, stamp, NULL);
    if (is_appliance(path)) {
        utimensat(AT_FDCWD, path, NULL, 0); /* in use: for remove_old(), where we may */
        return g_steal_pointer(&path);
    }
    if (!may_make) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "there is no appliance of libguestfs in '%s' for this machine's kernel", dir);
        imaged_error_hint(error, "systemctl start imaged-appliance");
        return NULL;
    }
    auto_fd dirfd = open_locked(dir, &lock, error);
    if (dirfd < 0)
        return NULL;
    if (is_appliance(path)) /* made while we waited */
        return g_steal_pointer(&path);
    g_autofree char *out = g_build_filename(dir, NEW_NAME, NULL);
    remove_one(dirfd, NEW_NAME);
    if (!run_supermin(supermin_dir, out, error) || !flush(dirfd, NEW_NAME, error) ||
        !durable_rename(dirfd, NEW_NAME, dirfd, stamp, FALSE, error) ||
        !durable_sync_dir(dirfd, error)) {
        remove_one(dirfd, NEW_NAME);
        return NULL;
    }
    remove_old(dirfd, dir, stamp);
    return g_steal_pointer(&path);
}
