/* inspect_appliance.h: what is inside of a disk, read by libguestfs. */
#pragma once

#include "imaged/guest/helper/task.h"

/* Likewise (inspect_fast.h), for all that it does not read. */
json_t *inspect_appliance(Task *task, GError **error);
