/* advice_group.h: groups of blocks with equal digests: their bytes compared, and counted.
 *
 * Internal to the advice_*.c of this folder. */
#pragma once

#include "snapshot/advice_count.h"
#include "snapshot/advice_sort.h"

typedef struct AdviceGroups AdviceGroups;

/* Counts into set; a block that need diffs have at the same place is one for a stand-in. */
AdviceGroups *advice_groups_new(AdviceSet *set, guint need);
void advice_groups_free(AdviceGroups *groups);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AdviceGroups, advice_groups_free)

/* Compare and count one part of the records.  CANCELLED, UNAVAILABLE. */
gboolean advice_groups_count(AdviceGroups *groups, AdviceSort *sort, guint part, GError **error);
