/* blank.c: see blank.h. */
#include "cow/blank.h"

#include <string.h>

#include "cow/qcow2.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define HEADER_LENGTH 112u
#define MAX_VIRTUAL_SIZE (64ull * TIB)

static void append_extension(GByteArray *out, guint32 type, const char *text)
{
    static const guint8 zeros[8];
    guint8 head[8];
    gsize len = strlen(text);

    put_be32(head, type);
    put_be32(head + 4, (guint32)len);
    g_byte_array_append(out, head, sizeof head);
    g_byte_array_append(out, (const guint8 *)text, (guint)len);
    g_byte_array_append(out, zeros, (guint)((8 - len % 8) % 8));
}

GByteArray *blank_header(const BlankSpec *spec, guint32 n_l1, guint64 l1_offset,
                         guint64 reftable_offset, guint32 n_reftable_clusters)
{
    static const guint8 end[8];
    GByteArray *out = g_byte_array_sized_new(1024);
    guint8 h[HEADER_LENGTH] = { 0 };

    put_be32(h, QCOW2_MAGIC);
    put_be32(h + 4, 3);
    put_be32(h + 20, spec->cluster_bits);
    put_be64(h + 24, (spec->virtual_size + 511) & ~511ull);
    put_be32(h + 36, n_l1);
    put_be64(h + 40, l1_offset);
    put_be64(h + 48, reftable_offset);
    put_be32(h + 56, n_reftable_clusters);
    put_be64(h + 72, spec->has_subclusters ? QCOW2_INCOMPAT_EXTENDED_L2 : 0);
    put_be32(h + 96, 4); /* 16-bit refcounts */
    put_be32(h + 100, HEADER_LENGTH);
    g_byte_array_append(out, h, sizeof h);

    if (spec->backing_name)
        append_extension(out, QCOW2_EXT_BACKING_FORMAT, "qcow2");
    if (spec->identity)
        append_extension(out, QCOW2_EXT_IDENTITY, spec->identity);
    g_byte_array_append(out, end, sizeof end);
    if (spec->backing_name) {
        put_be64(out->data + 8, out->len);
        put_be32(out->data + 16, (guint32)strlen(spec->backing_name));
        g_byte_array_append(out, (const guint8 *)spec->backing_name,
                            (guint)strlen(spec->backing_name));
    }
    return out;
}

guint64 blank_n_l1(const BlankSpec *spec)
{
    guint64 span = 1ull << (2 * spec->cluster_bits - (spec->has_subclusters ? 4 : 3));

    /* an empty disk has one too: QEMU takes the cluster of an L1 table of no entries for a leak */
    return MAX(1, (spec->virtual_size + span - 1) / span);
}

gboolean blank_build(const BlankSpec *spec, Blank *ret, GError **error)
{
    guint32 min_bits = spec->has_subclusters ? 14 : QCOW2_MIN_CLUSTER_BITS;
    guint64 cluster = 1ull << MIN(spec->cluster_bits, QCOW2_MAX_CLUSTER_BITS);
    gsize texts = (spec->backing_name ? strlen(spec->backing_name) + 24 : 0) +
                  (spec->identity ? strlen(spec->identity) + 16 : 0) + HEADER_LENGTH + 8;

    if (spec->cluster_bits < min_bits || spec->cluster_bits > QCOW2_MAX_CLUSTER_BITS ||
        texts > cluster) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a cluster size of 2^%u bytes is out of range", spec->cluster_bits);
        return FALSE;
    }
    guint64 n_l1 = spec->virtual_size <= MAX_VIRTUAL_SIZE ? blank_n_l1(spec) : G_MAXUINT64;
    if (n_l1 > QCOW2_MAX_L1_BYTES / 8) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a virtual size of %" G_GUINT64_FORMAT " bytes is too large",
                    spec->virtual_size);
        return FALSE;
    }
    guint64 n_clusters = 3 + (n_l1 * 8 + cluster - 1) / cluster;
    if (n_clusters * 2 > cluster) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "clusters of %" G_GUINT64_FORMAT " bytes are too small for this disk", cluster);
        return FALSE;
    }

    ret->reftable_offset = cluster;
    ret->refblock_offset = 2 * cluster;
    ret->l1_offset = 3 * cluster;
    ret->n_l1 = (guint32)n_l1;
    ret->file_length = n_clusters * cluster;
    put_be64(ret->reftable, ret->refblock_offset);
    ret->refblock = g_byte_array_sized_new((guint)n_clusters * 2);
    for (guint64 i = 0; i < n_clusters; i++)
        g_byte_array_append(ret->refblock, (const guint8[]){ 0, 1 }, 2);
    ret->header = blank_header(spec, ret->n_l1, ret->l1_offset, ret->reftable_offset, 1);
    return TRUE;
}

void blank_clear(Blank *blank)
{
    g_clear_pointer(&blank->header, g_byte_array_unref);
    g_clear_pointer(&blank->refblock, g_byte_array_unref);
}
