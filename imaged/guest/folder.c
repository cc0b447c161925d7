/* folder.c: see folder.h. */
#include "imaged/guest/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define GUEST_DIR "guest"
#define KEPT_DIR "guest-cache"
#define NAME_LEN 24
#define MAX_DEPTH 300u /* a descriptor for each while it is removed */

static int open_dir(int dirfd, const char *name, GError **error)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open '%s'", name);
    return fd;
}

static gboolean give(int fd, const GuestOwner *owner, gboolean to_user, GError **error)
{
    uid_t uid = to_user && owner->is_root ? owner->uid : (uid_t)-1;

    if ((uid == (uid_t)-1 && owner->gid == (gid_t)-1) || fchown(fd, uid, owner->gid) == 0)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot give a folder to the helper's user");
    return FALSE;
}

/* The folder ABOVE below the state folder, which all may pass through.  -1 on an error. */
static int open_above(const char *state_dir, const char *above, GError **error)
{
    auto_fd state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (state_fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", state_dir);
        return -1;
    }
    if (!durable_mkdir(state_fd, above, 0711, error))
        return -1;
    int fd = open_dir(state_fd, above, error);
    if (fd >= 0 && !durable_chmod(fd, 0711, error))
        durable_close(&fd);
    return fd;
}

char *guest_kept_folder_make(const char *state_dir, const char *name, const GuestOwner *owner,
                             GError **error)
{
    auto_fd above_fd = open_above(state_dir, KEPT_DIR, error);

    if (above_fd < 0 || !durable_mkdir(above_fd, name, 0700, error))
        return NULL;
    auto_fd fd = open_dir(above_fd, name, error);
    if (fd < 0 || !give(fd, owner, TRUE, error) || !durable_chmod(fd, 02770, error))
        return NULL;
    return g_build_filename(state_dir, KEPT_DIR, name, NULL);
}

/* In the folder of a run: what its helper may write to. */
static gboolean make_inner(int dirfd, const char *name, const GuestOwner *owner, mode_t mode,
                           GError **error)
{
    if (!durable_mkdir(dirfd, name, 0700, error))
        return FALSE;
    auto_fd fd = open_dir(dirfd, name, error);
    return fd >= 0 && give(fd, owner, TRUE, error) && durable_chmod(fd, mode, error);
}

char *guest_run_folder_make(const char *state_dir, const GuestOwner *owner, gboolean is_writable,
                            GError **error)
{
    auto_fd guest_fd = open_above(state_dir, GUEST_DIR, error);
    Id id = id_new();
    const char *name = id.s + ID_LEN - NAME_LEN; /* it begins with the time; its end is random */

    if (guest_fd < 0 || !durable_mkdir(guest_fd, name, 0700, error))
        return NULL;
    auto_fd fd = open_dir(guest_fd, name, error);
    g_autofree char *path = g_build_filename(state_dir, GUEST_DIR, name, NULL);
    if (fd >= 0 && give(fd, owner, FALSE, error) && durable_chmod(fd, 0710, error) &&
        (is_writable ? make_inner(fd, GUEST_RUN_WORK, owner, 02770, error)
                     : make_inner(fd, GUEST_RUN_TMP, owner, 0770, error)))
        return is_writable ? g_build_filename(path, GUEST_RUN_WORK, NULL) : g_steal_pointer(&path);
    guest_run_folder_remove(path, NULL, NULL);
    return NULL;
}

int guest_run_folder_listen(const char *folder, const char *name, const GuestOwner *owner,
                            char **ret_path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *path = g_build_filename(folder, name, NULL);
    auto_fd dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Through the descriptor, because a socket's path has 107 bytes. */
    g_autofree char *bound = g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);
    uid_t uid = owner->is_root ? owner->uid : (uid_t)-1;

    g_strlcpy(address.sun_path, bound, sizeof address.sun_path);
    /* Nobody can connect before listen(), and the folder lets nobody else in. */
    if (dirfd < 0 || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        fchownat(dirfd, name, uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(dirfd, name, owner->is_root ? 0600 : 0660, 0) < 0 || listen(fd, SOMAXCONN) < 0) {
        imaged_error_set_errno(error, errno, "cannot listen on '%s'", path);
        return -1;
    }
    int out = fd;
    fd = -1;
    *ret_path = g_steal_pointer(&path);
    return out;
}

/* ---- Removing ---- */

static gboolean remove_at(int dirfd, const char *name, guint depth, const gint *cancel,
                          GError **error);

/* Let ourselves in; the name may have become a link in the meantime. */
static gboolean unlock_dir(int dirfd, const char *name)
{
    auto_fd fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

    return fd >= 0 && chmod(path, 0700) == 0;
}

static gboolean remove_entries(int dirfd, guint depth, const gint *cancel, GError **error)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    gboolean ok = dir != NULL;

    if (!dir) {
        imaged_error_set_errno(error, errno, "cannot list a helper's folder");
        durable_close(&copy);
        return FALSE;
    }
    while (ok && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = remove_at(dirfd, entry->d_name, depth, cancel, error);
    }
    closedir(dir);
    return ok;
}

static gboolean remove_at(int dirfd, const char *name, guint depth, const gint *cancel,
                          GError **error)
{
    struct stat st;

    if (cancel && g_atomic_int_get(cancel)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    if (!S_ISDIR(st.st_mode))
        return durable_unlink(dirfd, name, error);
    if (depth >= MAX_DEPTH) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "a helper's folder is nested too deeply to be removed");
        return FALSE;
    }
    auto_fd fd = open_dir(dirfd, name, NULL);
    if (fd < 0 && errno == EACCES && unlock_dir(dirfd, name))
        fd = open_dir(dirfd, name, NULL);
    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open a helper's folder '%.40s'", name);
        return FALSE;
    }
    return remove_entries(fd, depth + 1, cancel, error) && durable_rmdir(dirfd, name, error);
}

gboolean guest_run_folder_remove(const char *path, const gint *cancel, GError **error)
{
    g_autofree char *above = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    auto_fd fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return TRUE;
    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", above);
        return FALSE;
    }
    return remove_at(fd, name, 0, cancel, error);
}

GPtrArray *guest_run_folders_list(const char *state_dir)
{
    g_autofree char *above = g_build_filename(state_dir, GUEST_DIR, NULL);
    g_autoptr(GDir) dir = g_dir_open(above, 0, NULL);
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(paths, g_build_filename(above, name, NULL));
    return paths;
}
