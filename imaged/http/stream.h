/* stream.h: server-sent events: a job's progress, or all events as they happen. */
#pragma once

#include <microhttpd.h>

#include "imaged/ops/ops.h"

/* Answer with a stream: of the job in args, or of events.  stopping ends it. */
enum MHD_Result stream_start(World *world, const gint *stopping, struct MHD_Connection *connection,
                             json_t *args);
