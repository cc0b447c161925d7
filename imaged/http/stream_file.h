/* stream_file.h: a file out of a disk, as the body of an answer. */
#pragma once

#include <microhttpd.h>

#include "imaged/ops/ops.h"

/* Answer with the bytes of the file in args (ref, path).  Sets error instead (MHD_NO) if there is
 * nothing to begin with; a body that breaks off ends its connection, so that the client sees it. */
enum MHD_Result stream_file(World *world, const gint *stopping, struct MHD_Connection *connection,
                            json_t *args, GError **error);
