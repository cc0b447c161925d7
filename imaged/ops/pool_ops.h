/* pool_ops.h: what the verbs on pools share. */
#pragma once

#include "broker/pool/pools.h"
#include "imaged/ops/ops.h"

/* By its name alone: that is what the caller's right was looked up by. */
gboolean pool_find(Db *db, const char *name, PoolRow *ret, GError **error);

/* The pool as it is shown.  Caller unrefs. */
json_t *pool_object(World *world, const char *name, GError **error);
