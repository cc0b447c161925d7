/* refcounts_compare.c: the refcounts on disk against the uses that were counted: 64 clusters at a
 * time, one word of bits against 64 refcounts.  In a sound image nearly all of these are "all in
 * use, all 1" or "all free, all 0", which takes a few instructions; the rest is compared one by
 * one.  Blocks that are adjacent in the file are read together. */
#include "cow/check_state.h"
#include "imaged/base/error.h"

static guint64 get_refcount(const guint8 *block, guint order, gsize i)
{
    switch (order) {
    case 0:
        return (block[i / 8] >> (i % 8)) & 1;
    case 1:
        return (block[i / 4] >> (2 * (i % 4))) & 3;
    case 2:
        return (block[i / 2] >> (4 * (i % 2))) & 15;
    case 3:
        return block[i];
    case 4:
        return be16_at(block + 2 * i);
    case 5:
        return be32_at(block + 4 * i);
    default:
        return be64_at(block + 8 * i);
    }
}

/* Which of the 64 refcounts from number i on are 0, and which are 1. */
static void get_masks(const guint8 *block, guint order, gsize i, guint64 *ret_zero,
                      guint64 *ret_one)
{
    if (order == 4) {
        /* The width of nearly all images. */
        const guint64 ones = GUINT64_TO_BE(0x0001000100010001ull);
        guint64 differs = 0, any = 0;

        for (guint k = 0; k < 16; k++) {
            guint64 four;
            __builtin_memcpy(&four, block + 2 * i + 8 * k, 8);
            differs |= four ^ ones;
            any |= four;
        }
        if (differs == 0 || any == 0) {
            *ret_zero = any ? 0 : ~0ull;
            *ret_one = any ? ~0ull : 0;
            return;
        }
    }
    *ret_zero = *ret_one = 0;
    for (guint k = 0; k < 64; k++) {
        guint64 n = get_refcount(block, order, i + k);
        *ret_zero |= (guint64)(n == 0) << k;
        *ret_one |= (guint64)(n == 1) << k;
    }
}

static void compare_one(Refcounts *refs, const RefBlock *block, gsize i, guint64 refcount)
{
    CheckState *c = refs->check;
    guint64 bit = 1ull << (i & 63), uses = 0;
    guint64 offset = (((guint64)(block - refs->blocks) << refs->block_shift) + i) * c->cluster;
    gboolean is_copied = FALSE, is_plain = FALSE;

    if (block->bits) {
        const guint64 *words = refblock_words(block, i >> 6);
        uses = words[BITS_MULTI] & bit ? block->counts[i] : !!(words[BITS_USED] & bit);
        is_copied = !!(words[BITS_COPIED] & bit);
        is_plain = !!(words[BITS_PLAIN] & bit);
    }
    /* With lazy refcounts and no clean end, refcounts lag behind.  That explains a low one, but
     * not that a cluster is used twice when one user claims it for itself. */
    gboolean is_stale = c->result->is_dirty && !(uses > 1 && is_copied);
    guint64 *counter = is_stale ? &c->n_stale : NULL;

    if (refcount > uses) {
        c->result->n_leaks++;
        check_note(c,
                   "the cluster at 0x%" G_GINT64_MODIFIER "x has refcount %" G_GUINT64_FORMAT
                   " and %" G_GUINT64_FORMAT " uses (leaked space)",
                   offset, refcount, uses);
    } else if (refcount < uses) {
        check_count(c, counter,
                    "the cluster at 0x%" G_GINT64_MODIFIER "x has refcount %" G_GUINT64_FORMAT
                    " and %" G_GUINT64_FORMAT " uses",
                    offset, refcount, uses);
    }
    if ((refcount == 1 && is_plain) || (refcount != 1 && is_copied))
        check_count(c, counter,
                    "the COPIED flag for the cluster at 0x%" G_GINT64_MODIFIER
                    "x does not fit its refcount %" G_GUINT64_FORMAT,
                    offset, refcount);
}

/* Compare the n refcounts of a block; data is NULL if they are all 0. */
static void compare_block(Refcounts *refs, const RefBlock *block, const guint8 *data, guint64 n)
{
    guint64 base = (guint64)(block - refs->blocks) << refs->block_shift;

    if (!data && !block->bits)
        return;
    for (gsize w = 0; w * 64 < n; w++) {
        guint64 valid = n - w * 64 < 64 ? ~(~0ull << (n - w * 64)) : ~0ull;
        guint64 zero = ~0ull, one = 0, used = 0, odd = 0;

        if (data)
            get_masks(data, refs->order, w * 64, &zero, &one);
        if (block->bits) {
            const guint64 *words = refblock_words(block, w);
            used = words[BITS_USED];
            odd = words[BITS_MULTI] | words[BITS_PLAIN];
        }
        guint64 active = (used | ~zero) & valid;
        if (active)
            refs->highest = MAX(refs->highest, base + w * 64 + 63 - (guint)__builtin_clzll(active));
        guint64 wrong = ~((one & used & ~odd) | (zero & ~used)) & valid;
        for (; wrong; wrong &= wrong - 1) {
            gsize i = w * 64 + (guint)__builtin_ctzll(wrong);
            compare_one(refs, block, i, data ? get_refcount(data, refs->order, i) : 0);
        }
    }
}

/* How many blocks from number i on are adjacent in the file, and fit into one read. */
static guint64 count_adjacent(const Refcounts *refs, guint64 i, guint64 end)
{
    guint64 cluster = refs->check->cluster, n = 1;

    while (i + n < end && (n + 1) * cluster <= CHECK_READ_BYTES &&
           refs->blocks[i + n].offset == refs->blocks[i].offset + n * cluster)
        n++;
    return n;
}

gboolean refcounts_compare(Refcounts *refs, GError **error)
{
    CheckState *c = refs->check;
    g_autofree guint8 *buffer = g_malloc(MAX(CHECK_READ_BYTES, c->cluster));
    guint64 per_block = 1ull << refs->block_shift;
    guint64 n_clusters = c->n_clusters + (refs->has_extra ? 1 : 0);
    guint64 end = MIN(refs->n_blocks, (n_clusters + per_block - 1) >> refs->block_shift);

    for (guint64 i = 0, ahead = 0, ahead_bytes = 0; i < end;) {
        guint64 n = 1;
        gboolean is_hole = TRUE;

        for (; ahead < end && ahead_bytes < CHECK_AHEAD_BYTES;) {
            guint64 run = count_adjacent(refs, ahead, end);
            if (refs->blocks[ahead].offset) {
                check_read_ahead(c, refs->blocks[ahead].offset, run * c->cluster);
                ahead_bytes += run * c->cluster;
            }
            ahead += run;
        }
        if (refs->blocks[i].offset) {
            n = count_adjacent(refs, i, end);
            if (!check_read(c, buffer, n * c->cluster, refs->blocks[i].offset, &is_hole, error))
                return FALSE;
            ahead_bytes -= MIN(ahead_bytes, n * c->cluster);
        }
        for (guint64 k = 0; k < n; k++) {
            guint64 rest = n_clusters - ((i + k) << refs->block_shift);
            compare_block(refs, &refs->blocks[i + k], is_hole ? NULL : buffer + k * c->cluster,
                          MIN(rest, per_block));
        }
        i += n;
    }
    c->result->image_end_offset = (refs->highest + 1) * c->cluster;
    return TRUE;
}
