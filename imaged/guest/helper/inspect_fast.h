/* inspect_fast.h: what is inside of a disk, read without an appliance. */
#pragma once

#include <jansson.h>

#include "imaged/guest/helper/block.h"

/* The result of the task "inspect" (see docs/design/inspection.md).  Caller unrefs.  UNSUPPORTED:
 * only the appliance can tell; CORRUPT, UNAVAILABLE. */
json_t *inspect_fast(Block *disk, GError **error);
