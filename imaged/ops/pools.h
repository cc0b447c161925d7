/* pools.h: what the verbs on pools and on assignments share. */
#pragma once

#include "imaged/ops/ops.h"

/* The argument "until": a date (its end, in UTC) or a moment in the future; 0 if it is not there.
 * INVALID. */
gboolean pools_parse_until(OpsCall *call, gint64 *ret_ms, GError **error);
