/* stream.h: server-sent events: a job's progress, or all events as they happen. */
#pragma once

#include <microhttpd.h>

#include "imaged/ops/ops.h"

/* Answer with a stream: of the job in args, or of the events that caller may see.  stopping ends
 * it. */
enum MHD_Result stream_start(World *world, const gint *stopping, struct MHD_Connection *connection,
                             const Caller *caller, json_t *args);
