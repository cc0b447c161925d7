/* layer_patches.h: what can be wrong with a qcow2 file: a table of patches to images that
 * test_layer_check.c makes, each with what layer_check() must say of it and what qemu-img check
 * says. */
#pragma once

#include <glib.h>
#include <string.h>

#include "cow/qcow2.h"

typedef enum { CLEAN, LEAKS, CORRUPT } Verdict;

/* An image in memory. */
typedef struct {
    char *bytes;
    gsize len;
    Qcow2Header h;
} Image;

static guint8 *at(Image *image, guint64 offset)
{
    g_assert_cmpuint(offset + 8, <=, image->len);
    return (guint8 *)image->bytes + offset;
}

static guint64 get(Image *image, guint64 offset)
{
    return be64_at(at(image, offset));
}

static void put(Image *image, guint64 offset, guint64 value)
{
    put_be64(at(image, offset), value);
}

static guint64 l2_table(Image *image)
{
    return get(image, image->h.l1_offset) & QCOW2_OFFSET_MASK;
}

/* File offset of the first L2 entry that has an offset (skipping n of them). */
static guint64 l2_entry(Image *image, guint n)
{
    guint64 offset = l2_table(image);

    for (;; offset += qcow2_l2_entry_size(&image->h)) {
        if ((get(image, offset) & QCOW2_OFFSET_MASK) && n-- == 0)
            return offset;
    }
}

static guint64 data_at(Image *image, guint n)
{
    return get(image, l2_entry(image, n)) & QCOW2_OFFSET_MASK;
}

/* Set the refcount of the cluster at offset, in the first refcount block. */
static void set_refcount(Image *image, guint64 offset, guint64 value)
{
    guint bits = 1u << image->h.refcount_order;
    guint64 index = offset >> image->h.cluster_bits;
    guint8 *block = at(image, get(image, image->h.reftable_offset));

    g_assert_cmpuint(index, <, 8ull * qcow2_cluster_size(&image->h) / bits);
    if (bits < 8) {
        guint8 mask = (guint8)((1u << bits) - 1), *byte = block + index * bits / 8;
        guint shift = index * bits % 8;
        *byte = (guint8)((*byte & ~(mask << shift)) | (value & mask) << shift);
        return;
    }
    for (guint i = 0; i < bits / 8; i++)
        block[index * bits / 8 + i] = (guint8)(value >> (bits - 8 - 8 * i));
}

static void grow(Image *image)
{
    image->bytes = g_realloc(image->bytes, image->len + qcow2_cluster_size(&image->h));
    memset(image->bytes + image->len, 0, qcow2_cluster_size(&image->h));
    image->len += qcow2_cluster_size(&image->h);
}

/* One patch, one line. */
/* clang-format off */
#define PATCH(name) static void patch_##name(Image *m)
#define L2(n) l2_entry(m, n)
#define FLAG(offset, bits) put(m, offset, get(m, offset) ^ (bits))
#define RT m->h.reftable_offset
#define L1 m->h.l1_offset
#define CS qcow2_cluster_size(&m->h)
#define SN m->h.snapshots_offset
#define BD m->h.bitmap_directory_offset

PATCH(refcount_0) { set_refcount(m, data_at(m, 0), 0); }
PATCH(refcount_2) { set_refcount(m, data_at(m, 0), 2); }
PATCH(header_refcount_0) { set_refcount(m, 0, 0); }
PATCH(header_refcount_2) { set_refcount(m, 0, 2); }
PATCH(leak) { grow(m); set_refcount(m, m->len - CS, 1); }
PATCH(forgotten) { put(m, L2(0), 0); }
PATCH(behind_end) { set_refcount(m, (m->len + 5 * CS) & ~(CS - 1), 1); }
PATCH(l2_copied) { FLAG(L2(0), QCOW2_OFLAG_COPIED); }
PATCH(l1_copied) { FLAG(L1, QCOW2_OFLAG_COPIED); }
PATCH(l2_reserved) { FLAG(L2(0), 1ull << 57); }
PATCH(l2_reserved_low) { FLAG(L2(0), 1ull << 3); }
PATCH(l2_reserved_free) { put(m, l2_table(m) + CS - 16, 1ull << 3); }
PATCH(l1_reserved) { FLAG(L1, 1ull << 60); }
PATCH(l1_reserved_low) { FLAG(L1, 1ull << 5); }
PATCH(l1_flags_only) { grow(m); put(m, L1, QCOW2_OFLAG_COPIED); }
PATCH(l1_misaligned) { FLAG(L1, 512); }
PATCH(l2_misaligned) { FLAG(L2(0), 512); }
PATCH(l1_outside) { FLAG(L1, 1ull << 40); }
PATCH(l2_outside) { FLAG(L2(0), 1ull << 40); }
PATCH(reftable_misaligned) { FLAG(RT, 512); }
PATCH(reftable_reserved) { FLAG(RT, 4); }
PATCH(reftable_outside) { FLAG(RT, 1ull << 40); }
PATCH(reftable_outside_unused) { put(m, RT + 8, 1ull << 40); }
PATCH(reftable_empty) { put(m, RT, 0); }
PATCH(refblock_twice) { put(m, RT + 8, get(m, RT)); }
PATCH(refblock_twice_counted) { put(m, RT + 8, get(m, RT)); set_refcount(m, get(m, RT), 2); }
PATCH(zero_and_offset) { FLAG(L2(0), QCOW2_OFLAG_ZERO); }
PATCH(copied_no_offset) { put(m, l2_table(m) + CS - 16, QCOW2_OFLAG_COPIED); }
PATCH(zero_copied_no_offset) { put(m, l2_table(m) + CS - 16, QCOW2_OFLAG_COPIED | 1); }
PATCH(cut_half) { m->len -= CS / 2; }
PATCH(cut_one) { m->len -= CS; }
PATCH(cut_l2) { m->len = l2_table(m) + CS / 2; }
PATCH(snapshots_misaligned) { put(m, 64, 512); }
PATCH(raw_data) { FLAG(88, QCOW2_AUTOCLEAR_RAW_DATA); }
PATCH(end_mark_length) { put(m, m->h.header_length, 0xffffff); }
PATCH(marked_dirty) { FLAG(72, QCOW2_INCOMPAT_DIRTY); }
PATCH(dirty_low) { FLAG(72, QCOW2_INCOMPAT_DIRTY); set_refcount(m, data_at(m, 0), 0); }
PATCH(dirty_broken) { patch_dirty_low(m); FLAG(L2(1), 512); }

/* Point the first data entry at target, with refcounts that agree. */
static void redirect(Image *m, guint64 target)
{
    set_refcount(m, data_at(m, 0), 0);
    put(m, L2(0), target);
    set_refcount(m, target, 2);
}

PATCH(data_in_header) { put(m, L2(0), QCOW2_OFLAG_COPIED | CS); set_refcount(m, CS, 2); }
PATCH(data_in_l1) { redirect(m, L1); }
PATCH(data_in_reftable) { redirect(m, RT); }
PATCH(data_in_refblock) { redirect(m, get(m, RT)); }
PATCH(data_in_l2) { redirect(m, l2_table(m)); FLAG(L1, QCOW2_OFLAG_COPIED); }
PATCH(data_twice) { put(m, L2(1), get(m, L2(0))); }
PATCH(data_twice_counted)
{
    set_refcount(m, data_at(m, 1), 0);
    put(m, L2(1), data_at(m, 0));
    put(m, L2(0), data_at(m, 0));
    set_refcount(m, data_at(m, 0), 2);
}
PATCH(l2_twice) { put(m, L1 + 8, get(m, L1)); m->h.n_l1 = 2; put_be32(at(m, 36), 2); }
PATCH(l2_twice_counted)
{
    patch_l2_twice(m);
    put(m, L1, l2_table(m));
    put(m, L1 + 8, l2_table(m));
    set_refcount(m, l2_table(m), 2);
    for (guint64 i = 0; i < CS; i += 8) {
        guint64 entry = get(m, l2_table(m) + i) & ~QCOW2_OFLAG_COPIED;
        if (entry & QCOW2_OFFSET_MASK) {
            put(m, l2_table(m) + i, entry);
            set_refcount(m, entry & QCOW2_OFFSET_MASK, 2);
        }
    }
}
PATCH(l2_in_l1) { put(m, L1 + 8, L1); put_be32(at(m, 36), 2); set_refcount(m, L1, 2); }

PATCH(comp_copied) { FLAG(L2(0), QCOW2_OFLAG_COPIED); }
PATCH(comp_low)
{
    guint64 offset, length;

    g_assert_true(get(m, L2(0)) & QCOW2_OFLAG_COMPRESSED);
    qcow2_compressed_place(&m->h, get(m, L2(0)), &offset, &length);
    set_refcount(m, offset, 1);
}
PATCH(comp_outside) { FLAG(L2(0), 1ull << 40); }
PATCH(comp_long) { FLAG(L2(0), 1ull << 61); }

PATCH(ext_both) { FLAG(L2(0) + 8, 1ull << 32); put(m, L2(0) + 8, get(m, L2(0) + 8) | 1); }
PATCH(ext_no_offset) { put(m, l2_table(m) + CS - 8, 1); }
PATCH(ext_zero_bits) { put(m, l2_table(m) + CS - 8, 1ull << 40); }
PATCH(ext_zero_flag) { FLAG(L2(0), QCOW2_OFLAG_ZERO); }
PATCH(ext_allocated_none) { put(m, L2(0) + 8, 0); }
PATCH(ext_compressed_bits) { put(m, L2(0) + 8, 1); }

PATCH(snap_misaligned) { FLAG(SN, 512); }
PATCH(snap_outside) { FLAG(SN, 1ull << 40); }
PATCH(snap_too_large) { put_be32(at(m, SN + 8), 1u << 31); }
PATCH(snap_same_l1) { put(m, L1, get(m, SN)); }
PATCH(snap_extra) { put_be32(at(m, SN + 36), 5000); }
PATCH(snap_incomplete) { put_be32(at(m, SN + 36), 0); }
PATCH(snap_forgotten) { put_be32(at(m, 60), 1); }
PATCH(snap_table_outside) { put(m, 64, 1ull << 40); }
PATCH(snap_low) { set_refcount(m, get(m, SN), 0); }

PATCH(bitmap_type) { at(m, BD)[16] = 2; }
PATCH(bitmap_granularity) { at(m, BD)[17] = 40; }
PATCH(bitmap_flags) { at(m, BD)[12] = 1; }
PATCH(bitmap_misaligned) { FLAG(BD, 512); }
PATCH(bitmap_outside) { FLAG(BD, 1ull << 40); }
PATCH(bitmap_size) { put_be32(at(m, BD + 8), 2); }
PATCH(bitmap_extra) { at(m, BD)[23] = 8; }
PATCH(bitmap_entry) { FLAG(get(m, BD), 1ull << 60); }
PATCH(bitmap_low) { set_refcount(m, get(m, BD), 0); }
PATCH(bitmap_dropped) { FLAG(88, QCOW2_AUTOCLEAR_BITMAPS); }

#define ROW(seed, patch, ours, theirs) { #patch, #seed, patch_##patch, ours, theirs }
static const struct {
    const char *name, *seed;
    void (*patch)(Image *m);
    Verdict ours, theirs;
} layer_patches[] = {
#define SAME(seed, patch, verdict) ROW(seed, patch, verdict, verdict)
    SAME(plain, refcount_0, CORRUPT), SAME(plain, refcount_2, CORRUPT),
    SAME(v2, refcount_0, CORRUPT), SAME(c512, refcount_0, CORRUPT), SAME(c2m, refcount_0, CORRUPT),
    SAME(r1, refcount_0, CORRUPT), SAME(r2, refcount_0, CORRUPT), SAME(r4, refcount_0, CORRUPT),
    SAME(r8, refcount_0, CORRUPT), SAME(r32, refcount_0, CORRUPT), SAME(r64, refcount_0, CORRUPT),
    SAME(r1, leak, LEAKS), SAME(r4, leak, LEAKS), SAME(r8, leak, LEAKS), SAME(r32, leak, LEAKS),
    SAME(r8, header_refcount_2, LEAKS), SAME(ext, refcount_0, CORRUPT),
    SAME(plain, header_refcount_0, CORRUPT), SAME(plain, header_refcount_2, LEAKS),
    SAME(plain, leak, LEAKS), SAME(plain, forgotten, LEAKS), SAME(plain, behind_end, CLEAN),
    SAME(plain, l2_copied, CORRUPT), SAME(plain, l1_copied, CORRUPT),
    SAME(plain, l2_reserved, CORRUPT), SAME(plain, l2_reserved_low, CORRUPT),
    SAME(plain, l2_reserved_free, CORRUPT), SAME(plain, l1_reserved, CORRUPT),
    SAME(plain, l1_reserved_low, CORRUPT), SAME(plain, l1_flags_only, CORRUPT),
    SAME(plain, l1_misaligned, CORRUPT), SAME(plain, l2_misaligned, CORRUPT),
    SAME(plain, l1_outside, CORRUPT), SAME(plain, l2_outside, CORRUPT),
    SAME(plain, reftable_misaligned, CORRUPT), SAME(plain, reftable_reserved, CORRUPT),
    SAME(plain, reftable_outside, CORRUPT), SAME(plain, reftable_outside_unused, CORRUPT),
    SAME(plain, reftable_empty, CORRUPT), SAME(plain, refblock_twice, CORRUPT),
    SAME(plain, refblock_twice_counted, CORRUPT), SAME(plain, zero_and_offset, CLEAN),
    SAME(plain, cut_half, CLEAN), SAME(plain, cut_one, CORRUPT), SAME(plain, data_twice, CORRUPT),
    SAME(plain, data_twice_counted, CLEAN), SAME(plain, l2_twice, CORRUPT),
    SAME(plain, l2_twice_counted, CLEAN), SAME(plain, marked_dirty, CLEAN),
    SAME(plain, snapshots_misaligned, CORRUPT), SAME(plain, raw_data, CORRUPT),
    SAME(plain, end_mark_length, CORRUPT), SAME(lazy, dirty_broken, CORRUPT),
    SAME(zlib, comp_copied, CORRUPT), SAME(zstd, comp_low, CORRUPT),
    SAME(zlib512, comp_outside, CORRUPT), SAME(zlib, comp_long, CORRUPT),
    SAME(snapc, comp_low, CORRUPT), SAME(ext, ext_both, CORRUPT), SAME(ext, ext_no_offset, CORRUPT),
    SAME(ext, ext_zero_bits, CLEAN), SAME(ext, ext_allocated_none, CLEAN),
    SAME(extzlib, ext_compressed_bits, CORRUPT), SAME(snap, snap_misaligned, CORRUPT),
    SAME(snap, snap_outside, CORRUPT), SAME(snap, snap_too_large, CORRUPT),
    SAME(snap, snap_same_l1, CORRUPT), SAME(snap, snap_extra, CORRUPT),
    SAME(snap, snap_incomplete, CORRUPT), SAME(snap, snap_forgotten, LEAKS),
    SAME(snap, snap_table_outside, CORRUPT), SAME(snap, snap_low, CORRUPT),
    SAME(bitmap, bitmap_type, CORRUPT), SAME(bitmap, bitmap_granularity, CORRUPT),
    SAME(bitmap, bitmap_flags, CORRUPT), SAME(bitmap, bitmap_misaligned, CORRUPT),
    SAME(bitmap, bitmap_outside, CORRUPT), SAME(bitmap, bitmap_size, CORRUPT),
    SAME(bitmap, bitmap_extra, CORRUPT), SAME(bitmap, bitmap_entry, CORRUPT),
    SAME(bitmap, bitmap_low, CORRUPT), SAME(bitmap, bitmap_dropped, LEAKS),
    /* Where we are stricter: metadata that a guest write would destroy, and entries that the format
     * forbids. */
    ROW(plain, data_in_l1, CORRUPT, CLEAN), ROW(plain, data_in_reftable, CORRUPT, CLEAN),
    ROW(plain, data_in_refblock, CORRUPT, CORRUPT), ROW(plain, data_in_l2, CORRUPT, CLEAN),
    ROW(plain, data_in_header, CORRUPT, CORRUPT), ROW(plain, l2_in_l1, CORRUPT, CORRUPT),
    ROW(plain, copied_no_offset, CORRUPT, CLEAN), ROW(plain, zero_copied_no_offset, CORRUPT, CLEAN),
    ROW(v2, zero_and_offset, CORRUPT, CLEAN), ROW(ext, ext_zero_flag, CORRUPT, CLEAN),
    ROW(zero, cut_l2, CORRUPT, CLEAN),
    /* Refcounts that lag behind after a crash are what the dirty mark announces. */
    ROW(lazy, dirty_low, LEAKS, CORRUPT),
};

/* clang-format on */
