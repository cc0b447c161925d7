/* secret_file.c: see secret_file.h. */
#include "imaged/base/secret_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static int open_folder(const char *state_dir, const char *folder, gboolean makes, GError **error)
{
    auto_fd state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (state < 0 || (makes && !durable_mkdir(state, folder, 0700, error))) {
        if (state < 0)
            imaged_error_set_errno(error, errno, "cannot open the state folder");
        return -1;
    }
    int fd = openat(state, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open the folder '%s' of secrets", folder);
    return fd;
}

gboolean secret_file_write(const char *state_dir, const char *folder, const char *id,
                           const char *secret, GError **error)
{
    auto_fd fd = open_folder(state_dir, folder, TRUE, error);

    return fd >= 0 && durable_replace(fd, id, secret, strlen(secret), 0600, error);
}

char *secret_file_read(const char *state_dir, const char *folder, const char *id, GError **error)
{
    auto_fd fd = open_folder(state_dir, folder, FALSE, error);
    char *secret = NULL;
    gsize len;

    return fd >= 0 && durable_read(fd, id, SECRET_FILE_MAX, &secret, &len, error) ? secret : NULL;
}

void secret_file_delete(const char *state_dir, const char *folder, const char *id)
{
    auto_fd fd = open_folder(state_dir, folder, FALSE, NULL);

    if (fd >= 0)
        durable_unlink(fd, id, NULL);
}

void secret_file_tidy(const char *state_dir, const char *folder, SecretFileIsUsed is_used,
                      gpointer user)
{
    int fd = open_folder(state_dir, folder, FALSE, NULL);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && !is_used(entry->d_name, user))
            durable_unlink(dirfd(dir), entry->d_name, NULL);
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        durable_close(&fd);
}
