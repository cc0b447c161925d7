/* stand_in_view.h: stand-ins (snapshot/stand_in.h) as the API shows them.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/ops/ops.h"

/* The id of the stand-in in a desktop's chain, or NULL.  Of the chain. */
const char *stand_in_of_chain(const LookupRows *chain);

/* All that are on this version's layers, in whichever store: an array. */
json_t *stand_in_list(World *world, const char *version_id);
