/* rollout_view.h: roll-outs as the API shows them.  Any thread. */
#pragma once

#include "imaged/ops/ops.h"

/* One, by its id; NOT_FOUND.  One whose job came to an end without a word of it (the catalog could
 * not be written then) is shown as stopped. */
json_t *rollout_view(World *world, const char *id, GError **error);
