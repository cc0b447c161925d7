/* user_file.c: see user_file.h. */
#include "imaged/cli/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MAX_BYTES (1 * MIB)

static gboolean read_all(int fd, char *text, gsize *ret_len, const char *path, GError **error)
{
    gsize len = 0;
    gssize got = 1;

    while (got != 0 && len <= MAX_BYTES) {
        got = read(fd, text + len, MAX_BYTES + 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            imaged_error_set_errno(error, errno, "cannot read '%s'", path);
            return FALSE;
        }
        len += (gsize)got;
    }
    *ret_len = len;
    return TRUE;
}

char *user_file_read(const char *path, GError **error)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    g_autofree char *text = g_malloc(MAX_BYTES + 2);
    gsize len;

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
        return NULL;
    }
    if (!read_all(fd, text, &len, path, error))
        return NULL;
    text[len] = '\0';
    if (len <= MAX_BYTES && strlen(text) == len)
        return g_strdup(text);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is %s", path,
                len > MAX_BYTES ? "too large for what it should hold" : "not a text");
    return NULL;
}

/* ---- Writing ---- */

/* What path means when there is nothing yet: itself, unless it is a link into nowhere. */
static char *new_target(const char *path, GError **error)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return g_strdup(path);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' is a symbolic link to what is not there", path);
    return NULL;
}

/* The file that path and name mean, without links (caller frees), and what is there now: a mode of
 * 0 if nothing is. */
static char *find_target(const char *path, const char *name, struct stat *ret, GError **error)
{
    g_autofree char *inside = NULL, *last = g_path_get_basename(name);

    *ret = (struct stat){ 0 };
    if (stat(path, ret) == 0 && S_ISDIR(ret->st_mode)) {
        path = inside = g_build_filename(path, last, NULL);
        *ret = (struct stat){ 0 };
        if (stat(path, ret) == 0 && S_ISDIR(ret->st_mode)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is a folder", path);
            return NULL;
        }
    }
    if (!ret->st_mode)
        return new_target(path, error);
    char *real = realpath(path, NULL);
    if (!real)
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
    char *found = g_strdup(real); /* g_free() and free() need not be the same */
    free(real);
    return found;
}

static gboolean close_filled(int fd, gboolean ok, const char *path, GError **error)
{
    if (close(fd) == 0 || !ok)
        return ok;
    imaged_error_set_errno(error, errno, "cannot write '%s'", path);
    return FALSE;
}

/* What is no regular file is there for what it does: to replace it would take that away. */
static gboolean fill_special(const char *path, UserFileFill fill, gpointer data, GError **error)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

    if (fd >= 0)
        return close_filled(fd, fill(fd, data, error), path, error);
    imaged_error_set_errno(error, errno, "cannot write '%s'", path);
    return FALSE;
}

/* Let the new file be like the old one; but a program that runs as somebody else is not made of
 * bytes that came out of a guest. */
static gboolean copy_mode(int fd, const struct stat *old)
{
    /* Who may not give files away keeps the new one. */
    if (fchown(fd, old->st_uid, old->st_gid) < 0 && errno != EPERM)
        return FALSE;
    return fchmod(fd, old->st_mode & 0777) == 0;
}

/* Beside the file first; old: a regular file, or nothing. */
static gboolean fill_regular(const char *path, const struct stat *old, UserFileFill fill,
                             gpointer data, GError **error)
{
    g_autofree char *tmp = g_strconcat(path, ".imagectl-XXXXXX", NULL);

    /* The folder's rights would let us replace a file that is not to be written. */
    if (old->st_mode && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
        return FALSE;
    }
    int fd = g_mkstemp_full(tmp, O_WRONLY | O_CLOEXEC, old->st_mode ? 0600 : 0666);
    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
        return FALSE;
    }
    gboolean ok = fill(fd, data, error);
    if (ok && old->st_mode && !copy_mode(fd, old)) {
        imaged_error_set_errno(error, errno, "cannot give '%s' the mode it had", path);
        ok = FALSE;
    }
    ok = close_filled(fd, ok, path, error);
    if (ok && rename(tmp, path) < 0) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
        ok = FALSE;
    }
    if (!ok)
        unlink(tmp);
    return ok;
}

gboolean user_file_write(const char *path, const char *name, UserFileFill fill, gpointer data,
                         GError **error)
{
    struct stat old;
    g_autofree char *target = find_target(path, name, &old, error);

    if (!target)
        return FALSE;
    return !old.st_mode || S_ISREG(old.st_mode) ? fill_regular(target, &old, fill, data, error)
                                                : fill_special(target, fill, data, error);
}
