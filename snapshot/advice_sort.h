/* advice_sort.h: brings blocks with equal digests together, in bounded memory.
 *
 * Records are spread over parts by the first bits of their digest, in one scratch file; each part
 * is then sorted by itself.  Memory: a buffer of 64 KiB for each part, and one part: 32 MiB, or a
 * 256th of all records if that is more (32 bytes for each block of 4 KiB: 164 MiB for 5,000 diffs
 * that hold 1 GiB each).  One thread. */
#pragma once

#include "cow/block_digest.h"

typedef struct {
    BlockHash hash;
    guint64 block; /* of the guest */
    guint32 owner; /* index of who holds it */
    guint32
        is_wrong; /* its bytes are not those of the group's first: set while they are compared */
} AdviceRecord;

typedef struct AdviceSort AdviceSort;

/* scratch is taken over; n_expected records at most are to come. */
AdviceSort *advice_sort_new(int scratch, guint64 n_expected);
void advice_sort_free(AdviceSort *sort);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AdviceSort, advice_sort_free)

gboolean advice_sort_add(AdviceSort *sort, const AdviceRecord *record, GError **error);

guint advice_sort_n_parts(const AdviceSort *sort);

/* One part's records, by digest, then block, then owner.  Caller frees. */
AdviceRecord *advice_sort_part(AdviceSort *sort, guint part, gsize *ret_n, GError **error);
