/* advice_read.h: the bytes of blocks that digests say are equal, of any of many chains.
 *
 * Few chains are open at once; who asks in order of owners opens each but once.  One thread. */
#pragma once

#include "imaged/job/world.h"

typedef struct AdviceReader AdviceReader;

/* layer_ids: for each owner the id of the topmost layer of its chain (char *; borrowed). */
AdviceReader *advice_reader_new(World *world, const GPtrArray *layer_ids);
void advice_reader_free(AdviceReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AdviceReader, advice_reader_free)

/* Read n blocks of 4 KiB as the guest of owner would see them.  The errors of opening and reading a
 * chain: what is gone meanwhile is NOT_FOUND, what runs meanwhile is BUSY. */
gboolean advice_reader_read(AdviceReader *reader, guint owner, guint64 block, guint n, void *buffer,
                            GError **error);
