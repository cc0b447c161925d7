/* open_layer.h: a layer by the name of its file, which only tools for tests may do: the daemon
 * opens layers below a store's folder. */
#pragma once

#include <errno.h>
#include <fcntl.h>

#include "cow/layer.h"
#include "imaged/base/error.h"

static inline Layer *open_layer(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
        return NULL;
    }
    return layer_open_fd(fd, path, error);
}
