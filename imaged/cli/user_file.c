/* user_file.c: see user_file.h. */
#include "imaged/cli/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
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
