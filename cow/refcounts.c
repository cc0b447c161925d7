/* refcounts.c: who uses which cluster.  The bits are kept per refcount block, since that is how
 * refcounts_compare.c compares them. */
#include "cow/refcounts.h"

#include "cow/check_state.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

/* Use table entry i.  A block that cannot be followed counts as missing. */
static void take_entry(Refcounts *refs, guint64 i, guint64 entry)
{
    CheckState *c = refs->check;
    guint64 offset = entry & ~511ull;

    if (entry == 0)
        return;
    if (entry & 511)
        check_error(c, 1, "refcount table entry %" G_GUINT64_FORMAT " has reserved bits set", i);
    else if (offset & (c->cluster - 1))
        check_error(c, 1, "refcount table entry %" G_GUINT64_FORMAT " is misaligned", i);
    else if (offset >= layer_file_size(c->layer))
        check_error(c, 1, "refcount block %" G_GUINT64_FORMAT " lies outside of the file", i);
    else
        refs->blocks[i].offset = offset;
}

Refcounts *refcounts_new(CheckState *c, GError **error)
{
    const Qcow2Header *h = c->header;
    Refcounts *refs = g_new0(Refcounts, 1);
    guint64 n_entries = ((guint64)h->n_reftable_clusters << h->cluster_bits) / 8;
    g_autofree guint8 *table = g_malloc(n_entries * 8); /* at most 8 MiB, qcow2.c sees to it */

    refs->check = c;
    refs->order = h->refcount_order;
    refs->block_shift = h->cluster_bits + 3 - refs->order;
    guint64 per_block = 1ull << refs->block_shift;
    /* One more than the file has: a compressed cluster may end behind the last one. */
    refs->n_words = (MIN(per_block, c->n_clusters + 1) + 63) / 64;
    refs->budget = 64 * MIB + 4 * MIN(c->real_bytes, 1ull << 50);
    if (!layer_pread(c->layer, table, n_entries * 8, h->reftable_offset, error)) {
        refcounts_free(refs);
        return NULL;
    }
    /* The table is mostly empty in a small image: what lies behind its last entry in use, and
     * behind what the file needs, is not worth the memory. */
    guint64 needed = MIN(n_entries, (c->n_clusters + 1) / per_block + 1);
    while (n_entries > needed && be64_at(table + 8 * (n_entries - 1)) == 0)
        n_entries--;
    refs->n_blocks = n_entries;
    refs->blocks = g_new0(RefBlock, n_entries);
    for (guint64 i = 0; i < n_entries; i++)
        take_entry(refs, i, be64_at(table + 8 * i));
    return refs;
}

void refcounts_free(Refcounts *refs)
{
    if (!refs)
        return;
    for (guint64 i = 0; i < refs->n_blocks; i++) {
        g_free(refs->blocks[i].bits);
        g_free(refs->blocks[i].counts);
    }
    g_free(refs->blocks);
    g_free(refs);
}

guint64 refcounts_n_bytes(const Refcounts *refs)
{
    guint64 n = 0;

    for (guint64 i = 0; i < refs->n_blocks; i++)
        n += refs->blocks[i].offset != 0;
    return n * refs->check->cluster;
}

gboolean refcounts_is_full(const Refcounts *refs)
{
    return refs->is_full;
}

/* Zeroed memory below the budget.  Big pieces come untouched from the kernel, so what is not used
 * of them costs nothing. */
static void *take_memory(Refcounts *refs, gsize size)
{
    void *memory = NULL;

    if (refs->is_full)
        return NULL;
    if (size <= refs->budget)
        memory = g_try_malloc0(size);
    if (!memory) {
        refs->is_full = TRUE;
        check_error(refs->check, 1,
                    "the file is too sparse to be checked: its tables need more "
                    "memory than its size on disk allows");
        return NULL;
    }
    refs->budget -= size;
    return memory;
}

/* More than one use of cluster i of the block (one of them may have been there before). */
static void count_uses(Refcounts *refs, RefBlock *block, gsize i, guint32 n_uses)
{
    guint64 bit = 1ull << (i & 63);
    guint64 *words = refblock_words(block, i >> 6);

    if (!block->counts)
        block->counts = take_memory(refs, refs->n_words * 64 * sizeof *block->counts);
    if (!block->counts)
        return;
    guint64 n = words[BITS_MULTI] & bit ? block->counts[i] : words[BITS_USED] & bit ? 1 : 0;
    block->counts[i] = MIN(n + n_uses, G_MAXUINT32);
    words[BITS_MULTI] |= bit;
    words[BITS_USED] |= bit;
}

/* Some of the clusters in mask were in use before. */
static void add_again(Refcounts *refs, RefBlock *block, gsize w, guint64 mask, guint64 overlap,
                      guint32 n_uses)
{
    if (overlap) {
        guint64 in_block = w * 64 + (guint)__builtin_ctzll(overlap);
        guint64 cluster = ((guint64)(block - refs->blocks) << refs->block_shift) + in_block;
        check_error(refs->check, (guint64)__builtin_popcountll(overlap),
                    "metadata at 0x%" G_GINT64_MODIFIER "x is used for something else as well",
                    cluster * refs->check->cluster);
    }
    for (; mask; mask &= mask - 1)
        count_uses(refs, block, w * 64 + (guint)__builtin_ctzll(mask), n_uses);
}

/* Add to one word; mask says which clusters.  The caller has set up the bits of the block. */
static inline void add_word(Refcounts *refs, RefBlock *block, gsize w, guint64 mask, guint32 n_uses,
                            gboolean is_meta, UseFlag flag)
{
    guint64 *words = refblock_words(block, w);
    guint64 again = words[BITS_USED] & mask;
    guint64 counted = n_uses > 1 ? mask : again;

    if (counted)
        add_again(refs, block, w, counted, again & (is_meta ? ~0ull : words[BITS_META]), n_uses);
    words[BITS_USED] |= mask;
    if (is_meta)
        words[BITS_META] |= mask;
    if (flag == USE_COPIED)
        words[BITS_COPIED] |= mask;
    else if (flag == USE_NOT_COPIED)
        words[BITS_PLAIN] |= mask;
}

/* Add n clusters in a row; all lie within the file (or right behind it). */
static void add_clusters(Refcounts *refs, guint64 cluster, guint64 n, guint32 n_uses,
                         gboolean is_meta, UseFlag flag)
{
    guint64 per_block = 1ull << refs->block_shift;

    while (n > 0 && !refs->is_full) {
        guint64 index = cluster >> refs->block_shift;
        gsize first = cluster & (per_block - 1);
        gsize here = MIN(n, per_block - first);
        RefBlock *block = index < refs->n_blocks ? &refs->blocks[index] : NULL;

        cluster += here;
        n -= here;
        if (!block || !block->offset) {
            refs->highest = MAX(refs->highest, cluster - 1);
            check_error(refs->check, here,
                        "the cluster at 0x%" G_GINT64_MODIFIER "x is in use and no refcount block "
                        "covers it",
                        (cluster - here) * refs->check->cluster);
            continue;
        }
        if (!block->bits)
            block->bits = take_memory(refs, N_BITS * refs->n_words * 8);
        if (!block->bits)
            return;
        for (gsize end = first + here; first < end;) {
            guint bit = first & 63;
            gsize in_word = MIN(64 - bit, end - first);
            guint64 mask = (~0ull >> (64 - in_word)) << bit;

            add_word(refs, block, first >> 6, mask, n_uses, is_meta, flag);
            first += in_word;
        }
    }
}

/* TRUE if [offset, offset + len) ends less than one cluster behind the file: as QEMU counts. */
static gboolean in_file(const Refcounts *refs, guint64 offset, guint64 len)
{
    guint64 limit = layer_file_size(refs->check->layer) + refs->check->cluster;

    return len < limit && offset < limit - len;
}

/* All clusters that [offset, offset + len) touches. */
static void add_range(Refcounts *refs, guint64 offset, guint64 len, guint32 n_uses,
                      gboolean is_meta)
{
    guint bits = refs->check->header->cluster_bits;
    guint64 first = offset >> bits, last = (offset + len - 1) >> bits;

    if (last >= refs->check->n_clusters)
        refs->has_extra = TRUE;
    add_clusters(refs, first, last - first + 1, n_uses, is_meta, USE_DATA);
}

gboolean refcounts_add_table(Refcounts *refs, guint64 offset, guint64 len, const char *what)
{
    guint64 n_errors = refs->check->result->n_errors;

    if (len == 0)
        return TRUE;
    if (!in_file(refs, offset, len)) {
        check_error(refs->check, 1, "the %s at 0x%" G_GINT64_MODIFIER "x lies outside of the file",
                    what, offset);
        return FALSE;
    }
    add_range(refs, offset, len, 1, TRUE);
    return refs->check->result->n_errors == n_errors;
}

void refcounts_add_own(Refcounts *refs)
{
    CheckState *c = refs->check;
    guint64 len = (guint64)c->header->n_reftable_clusters << c->header->cluster_bits;

    refcounts_add_table(refs, c->header->reftable_offset, len, "refcount table");
    for (guint64 i = 0; i < refs->n_blocks && !refs->is_full; i++) {
        guint64 offset = refs->blocks[i].offset;
        /* One that overlaps is not read: all entries could name the same one. */
        if (offset && !refcounts_add_table(refs, offset, c->cluster, "refcount block") &&
            !refs->is_full && !refs->blocks[i].bits)
            refs->blocks[i].offset = 0;
    }
}

gboolean refcounts_add_l2(Refcounts *refs, guint64 offset, guint32 n_uses)
{
    guint64 n_errors = refs->check->result->n_errors;

    add_range(refs, offset, refs->check->cluster, n_uses, TRUE);
    return refs->check->result->n_errors == n_errors;
}

void refcounts_flag_l2(Refcounts *refs, guint64 offset, UseFlag flag)
{
    guint64 cluster = offset >> refs->check->header->cluster_bits;
    guint64 index = cluster >> refs->block_shift;
    gsize i = cluster & ((1ull << refs->block_shift) - 1);

    if (index < refs->n_blocks && refs->blocks[index].bits)
        refblock_words(&refs->blocks[index],
                       i >> 6)[flag == USE_COPIED ? BITS_COPIED : BITS_PLAIN] |= 1ull << (i & 63);
}

void refcounts_add_data(Refcounts *refs, guint64 cluster, guint64 n, guint32 n_uses, UseFlag flag)
{
    guint64 n_clusters = refs->check->n_clusters;
    guint64 inside = cluster < n_clusters ? MIN(n, n_clusters - cluster) : 0;

    if (inside < n)
        check_error(refs->check, n - inside,
                    "data at 0x%" G_GINT64_MODIFIER "x lies outside of the file",
                    (cluster + inside) << refs->check->header->cluster_bits);
    add_clusters(refs, cluster, inside, n_uses, FALSE, flag);
}

void refcounts_add_compressed(Refcounts *refs, guint64 offset, guint64 len, guint32 n_uses)
{
    if (in_file(refs, offset, len))
        add_range(refs, offset, len, n_uses, FALSE);
    else
        check_error(refs->check, 1,
                    "compressed data at 0x%" G_GINT64_MODIFIER "x lies outside of the file",
                    offset);
}
