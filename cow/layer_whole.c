/* layer_whole.c: see layer_whole.h. */
#include "cow/layer_whole.h"

#include <errno.h>
#include <fcntl.h>

#include "cow/layer_check.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"

gboolean layer_whole(int fd, const gint *cancel, GError **error)
{
    int own = durable_open_again(fd, O_RDONLY); /* the store opens with O_DIRECT */
    g_auto(LayerCheck) check = { 0 };

    if (own < 0) {
        imaged_error_set_errno(error, errno, "cannot read the new layer");
        return FALSE;
    }
    g_autoptr(Layer) layer = layer_open_fd(own, "the new layer", error);
    if (!layer || !layer_check(layer, cancel, NULL, NULL, &check, error))
        return FALSE;
    if (!check.n_errors)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                "what was written as the new layer is not sound: %s",
                check.messages->len ? (char *)check.messages->pdata[0] : "it has errors");
    return FALSE;
}
