/* customize_seal.c: a fresh build has not run yet, so little of it belongs to one machine: what the
 * packages' scripts left.  The list is that of the task "seal", as far as it can be here. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/customize.h"

/* Files that go. */
#define ROOT_HOME "/root"

static const char *const files[] = {
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssh/ssh_host_*_key.pub",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/dhcp/*.leases*",
    "/var/lib/NetworkManager/*.lease",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/var/cache/apt/*.bin",
    "/var/cache/apt/archives/*.deb",
    "/var/cache/debconf/*-old",
    "/var/lib/dpkg/*-old",
    ROOT_HOME "/.bash_history",
    "/home/*/.bash_history",
    ROOT_HOME "/.wget-hsts",
    "/etc/resolv.conf.dpkg-*",
    "/etc/*-",
};

/* Everything in these goes, folders stay. */
static const char *const emptied[] = { "/var/lib/apt/lists", "/tmp", "/var/tmp" };

/* Logs are emptied, not deleted: their owners and modes are what the packages made. */
static void empty_logs(const char *folder, guint depth, guint *n)
{
    g_autoptr(GDir) dir = depth < 8 ? g_dir_open(folder, 0, NULL) : NULL;
    const char *name;
    struct stat st;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            empty_logs(path, depth + 1, n);
        else if (S_ISREG(st.st_mode) && st.st_size > 0 && truncate(path, 0) == 0)
            (*n)++;
    }
}

static void remove_tree(int dirfd, const char *name, guint *n)
{
    if (unlinkat(dirfd, name, 0) == 0) {
        (*n)++;
        return;
    }
    int fd = errno == EISDIR || errno == EPERM
                 ? openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                 : -1;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(fd, entry->d_name, n);
    }
    if (dir)
        closedir(dir);
    unlinkat(dirfd, name, AT_REMOVEDIR);
}

static void empty_folder(const char *folder, guint *n)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        remove_tree(AT_FDCWD, path, n);
    }
}

gboolean customize_seal(gpointer data, GError **error)
{
    guint n = 0;

    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        glob_t found;
        if (glob(files[i], GLOB_NOSORT, NULL, &found) == 0) {
            for (size_t k = 0; k < found.gl_pathc; k++)
                n += unlink(found.gl_pathv[k]) == 0;
            globfree(&found);
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(emptied); i++)
        empty_folder(emptied[i], &n);
    empty_logs("/var/log", 0, &n);
    /* Empty, not missing: systemd then makes one at the boot, and does not take it for a first boot
     * of an unconfigured system. */
    if (!customize_put_text("/etc/machine-id", "", 0444, error))
        return FALSE;
    g_autofree char *words = g_strdup_printf("sealed: %u files removed or emptied", n);
    task_log(data, words);
    return TRUE;
}
