/* search.h: what other operations use of searching. */
#pragma once

#include "imaged/ops/ops.h"

/* Who asks. */
const Caller *search_caller(const OpsCall *call);

/* A change that takes names may say search instead: then names takes its place in the arguments,
 * with what the search finds now (of what has no name, the ids).  It is empty if the idempotency
 * key has its job already: the operation then finds that.  For whoever calls operations, before he
 * asks what the caller may. */
gboolean search_select(OpsCall *call, GError **error);
