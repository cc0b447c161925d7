/* advice_view.h: what several layers hold together, from their digests: where more than one holds a
 * block, the uppermost has it.  One thread. */
#pragma once

#include "cow/block_digest.h"

typedef struct AdviceView AdviceView;

/* digests (BlockDigest, the lowest first) are taken over, the array is not. */
AdviceView *advice_view_new(BlockDigest *const *digests, guint n);
void advice_view_free(AdviceView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AdviceView, advice_view_free)

/* Blocks of data that all of them hold: less what the runs have, so much is hidden. */
guint64 advice_view_n_data(const AdviceView *view);

/* The next run, in guest order.  FALSE at the end (no error set) or on an error. */
gboolean advice_view_next(AdviceView *view, BlockRun *ret_run, GError **error);
