/* stream.h: server-sent events: a job's progress, or all events as they happen. */
#pragma once

#include <microhttpd.h>

#include "imaged/ops/ops.h"

/* Answer with a stream: of the job in args, or of the events that the caller may see and that
 * args want (since: an event's id, severity, kind).  stopping ends it.  INVALID: nothing was
 * answered. */
enum MHD_Result stream_start(World *world, const gint *stopping, struct MHD_Connection *connection,
                             const Caller *caller, json_t *args, GError **error);
