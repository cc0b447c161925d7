/* hosts.h: what operations on hosts share. */
#pragma once

#include "imaged/ops/ops.h"

/* The id of the host group with this name, NULL where name is; caller frees.  NOT_FOUND. */
gboolean host_group_id(World *world, const char *name, char **ret_id, GError **error);

/* Where a host, or the hosts of a group, see our stores: the call's store_paths (names of stores,
 * and paths) by the stores' ids, an object of its own.  NULL with INVALID, NOT_FOUND. */
json_t *host_take_store_paths(OpsCall *call, GError **error);
