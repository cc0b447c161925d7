/* layer_writer.c: the file is laid out as it comes: cluster 0 is kept for the header, then data
 * clusters, each L2 table behind the data it describes, then L1, refcount table and refcount
 * blocks.  Every cluster is used exactly once, so all refcounts are 1.  The header is written last:
 * a file without it is no image, whatever happens before. */
#include "cow/layer_writer.h"

#include <stdlib.h>
#include <string.h>

#include "cow/digest.h"
#include "cow/qcow2.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define OUT_BYTES (2 * MIB)
#define ALIGN 4096u
#define RESERVE_AHEAD (256 * MIB) /* of file length; it is cut at the end */

struct LayerWriter {
    int fd;
    BlankSpec spec;
    char *backing_name, *identity;
    guint64 cluster, sub; /* bytes of a cluster, and of what one bit of its masks stands for */
    guint64 virtual_size;
    guint64 end; /* guest offset up to which the stream has come */

    guint8 *out; /* clusters not yet written, for out_offset on; aligned */
    gsize out_len;
    guint64 out_offset;
    guint64 reserved; /* the file's length, if layer_writer_reserve() has set it */

    guint8 *now;                /* the cluster being put together */
    guint64 now_index;          /* its number in the guest */
    guint32 now_data, now_zero; /* its subclusters: bit set = data, = explicit zeros */
    gboolean now_open;

    guint8 *l2; /* the current L2 table, in file byte order */
    guint64 l2_index;
    gboolean l2_used;
    guint64 *l1; /* in file byte order */
    guint32 n_l1;

    guint64 data_bytes;
    Digest digest;
    gboolean has_unseen; /* so the digest is not known */
};

LayerWriter *layer_writer_new(int fd, const BlankSpec *spec, GError **error)
{
    g_auto(Blank) blank = { 0 };
    g_autoptr(LayerWriter) w = g_new0(LayerWriter, 1);

    w->fd = fd;
    w->spec = *spec;
    w->spec.backing_name = w->backing_name = g_strdup(spec->backing_name);
    w->spec.identity = w->identity = g_strdup(spec->identity);
    if (spec->cluster_bits < 12) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "whole layers are written with clusters of at least 4 KiB");
        return NULL;
    }
    if (!blank_build(&w->spec, &blank, error)) /* checks the geometry */
        return NULL;
    w->cluster = 1ull << spec->cluster_bits;
    w->sub = spec->has_subclusters ? w->cluster / QCOW2_SUBCLUSTERS : w->cluster;
    w->virtual_size = (spec->virtual_size + 511) & ~511ull;
    w->n_l1 = blank.n_l1;
    w->out = aligned_alloc(ALIGN, OUT_BYTES + w->cluster);
    w->now = g_malloc0(w->cluster);
    w->l2 = g_malloc0(w->cluster);
    w->l1 = g_new0(guint64, MAX(w->n_l1, 1));
    w->out_offset = w->cluster;
    return g_steal_pointer(&w);
}

void layer_writer_free(LayerWriter *w)
{
    if (!w)
        return;
    free(w->out);
    g_free(w->now);
    g_free(w->l2);
    g_free(w->l1);
    g_free(w->backing_name);
    g_free(w->identity);
    g_free(w);
}

/* Write what is in out, leaving out blocks of zeros so that the file stays sparse. */
static gboolean flush_out(LayerWriter *w, GError **error)
{
    gsize len = (w->out_len + ALIGN - 1) & ~(gsize)(ALIGN - 1), at = 0;

    memset(w->out + w->out_len, 0, len - w->out_len);
    digest_add(&w->digest, w->out_offset, w->out, len);
    while (at < len) {
        while (at < len && digest_block_is_zero(w->out + at))
            at += ALIGN;
        gsize start = at;
        while (at < len && !digest_block_is_zero(w->out + at))
            at += ALIGN;
        if (at > start &&
            !durable_write(w->fd, w->out + start, at - start, w->out_offset + start, error))
            return FALSE;
    }
    w->out_offset += w->out_len;
    w->out_len = 0;
    return TRUE;
}

/* Append bytes that fill whole clusters (the last one is padded with zeros).  Returns the file
 * offset where they begin, or 0 on an error. */
static guint64 append(LayerWriter *w, const void *data, guint64 len, GError **error)
{
    guint64 offset = w->out_offset + w->out_len;
    const guint8 *from = data;

    for (guint64 done = 0; done < len; done += w->cluster) {
        guint64 piece = MIN(w->cluster, len - done);
        memcpy(w->out + w->out_len, from + done, piece);
        memset(w->out + w->out_len + piece, 0, w->cluster - piece);
        w->out_len += w->cluster;
        if (w->out_len >= OUT_BYTES && !flush_out(w, error))
            return 0;
    }
    return offset;
}

static guint64 l2_span_clusters(const LayerWriter *w)
{
    return w->cluster / (w->spec.has_subclusters ? 16 : 8);
}

static gboolean close_l2(LayerWriter *w, GError **error)
{
    if (!w->l2_used)
        return TRUE;
    guint64 offset = append(w, w->l2, w->cluster, error);
    if (!offset)
        return FALSE;
    w->l1[w->l2_index] = GUINT64_TO_BE(offset | QCOW2_OFLAG_COPIED);
    memset(w->l2, 0, w->cluster);
    w->l2_used = FALSE;
    return TRUE;
}

/* Make the L2 table of guest cluster index the current one. */
static gboolean open_l2(LayerWriter *w, guint64 index, GError **error)
{
    if (w->l2_used && index / l2_span_clusters(w) != w->l2_index && !close_l2(w, error))
        return FALSE;
    w->l2_index = index / l2_span_clusters(w);
    w->l2_used = TRUE;
    return TRUE;
}

static void set_entry(LayerWriter *w, guint64 index, guint64 offset, guint32 data, guint32 zero)
{
    guint64 slot = index % l2_span_clusters(w), entry = offset ? offset | QCOW2_OFLAG_COPIED : 0;

    if (w->spec.has_subclusters) {
        put_be64(w->l2 + slot * 16, entry);
        put_be64(w->l2 + slot * 16 + 8, ((guint64)zero << 32) | data);
    } else {
        put_be64(w->l2 + slot * 8, entry | (data ? 0 : QCOW2_OFLAG_ZERO));
    }
    w->data_bytes += (guint64)__builtin_popcount(data) * w->sub;
}

/* Drop subclusters of the current cluster that hold nothing but zeros. */
static void find_zeros(LayerWriter *w)
{
    for (guint bit = 0; bit < (w->spec.has_subclusters ? QCOW2_SUBCLUSTERS : 1); bit++) {
        const guint8 *piece = w->now + bit * w->sub;
        if (!(w->now_data & (1u << bit)))
            continue;
        if (digest_is_zero(piece, w->sub)) {
            w->now_data &= ~(1u << bit);
            if (w->backing_name)
                w->now_zero |= 1u << bit;
        }
    }
}

static gboolean close_cluster(LayerWriter *w, GError **error)
{
    guint64 offset = 0;

    if (!w->now_open)
        return TRUE;
    w->now_open = FALSE;
    find_zeros(w);
    if (w->now_data || w->now_zero) {
        if (!open_l2(w, w->now_index, error) ||
            (w->now_data && !(offset = append(w, w->now, w->cluster, error))))
            return FALSE;
        set_entry(w, w->now_index, offset, w->now_data, w->now_zero);
    }
    memset(w->now, 0, w->cluster);
    w->now_data = w->now_zero = 0;
    return TRUE;
}

/* Make the cluster that holds offset the current one. */
static gboolean open_cluster(LayerWriter *w, guint64 offset, GError **error)
{
    guint64 index = offset / w->cluster;

    if (w->now_open && w->now_index == index)
        return TRUE;
    if (!close_cluster(w, error))
        return FALSE;
    w->now_index = index;
    w->now_open = TRUE;
    return TRUE;
}

static gboolean put(LayerWriter *w, guint64 offset, const guint8 *data, guint64 len, GError **error)
{
    if (offset < w->end || offset % 512 || len % 512 || offset > w->virtual_size ||
        len > w->virtual_size - offset) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a piece at %" G_GUINT64_FORMAT " does not fit the layer", offset);
        return FALSE;
    }
    w->end = offset + len;
    while (len > 0) {
        guint64 at = offset % w->cluster, piece = MIN(len, w->cluster - at);
        if (!open_cluster(w, offset, error))
            return FALSE;
        if (data) {
            memcpy(w->now + at, data, piece);
            w->now_data |= qcow2_sub_mask(w->sub, at, piece);
            data += piece;
        } else {
            w->now_zero |= qcow2_sub_mask(w->sub, at, piece) & ~w->now_data;
        }
        offset += piece;
        len -= piece;
    }
    return TRUE;
}

gboolean layer_writer_data(LayerWriter *w, guint64 offset, const void *data, guint64 len,
                           GError **error)
{
    return put(w, offset, data, len, error);
}

gboolean layer_writer_zero(LayerWriter *w, guint64 offset, guint64 len, GError **error)
{
    return w->backing_name ? put(w, offset, NULL, len, error) : TRUE;
}

/* ---- Clusters whose bytes the caller brings ---- */

gboolean layer_writer_reserve(LayerWriter *w, guint64 n_clusters, guint64 *ret_offset,
                              GError **error)
{
    if (!close_cluster(w, error) || !flush_out(w, error))
        return FALSE;
    *ret_offset = w->out_offset;
    w->out_offset += n_clusters * w->cluster;
    if (w->out_offset <= w->reserved)
        return TRUE;
    /* Writes that don't move the file's end: for those XFS would allocate more than was written. */
    w->reserved = w->out_offset + RESERVE_AHEAD;
    return durable_truncate(w->fd, w->reserved, error);
}

gboolean layer_writer_place(LayerWriter *w, guint64 index, guint64 offset, guint32 data,
                            guint32 zero, GError **error)
{
    guint64 start = index * w->cluster;

    if (start < w->end || start >= w->virtual_size || !(data | zero) || (data & zero) ||
        !data != !offset) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a cluster at %" G_GUINT64_FORMAT " does not fit the layer", start);
        return FALSE;
    }
    w->end = MIN(start + w->cluster, w->virtual_size);
    if (!close_cluster(w, error) || !open_l2(w, index, error))
        return FALSE;
    set_entry(w, index, offset, data, zero);
    return TRUE;
}

void layer_writer_seen(LayerWriter *w, guint64 offset, const void *data, guint64 len)
{
    digest_add(&w->digest, offset, data, len);
}

void layer_writer_unseen(LayerWriter *w)
{
    w->has_unseen = TRUE;
}

/* Refcount table and blocks for a file that ends behind them; returns TRUE and their place. */
static gboolean append_refcounts(LayerWriter *w, guint64 *ret_offset, guint32 *ret_n_table,
                                 GError **error)
{
    guint64 per_block = w->cluster / 2, per_table = w->cluster / 8;
    guint64 used = (w->out_offset + w->out_len) / w->cluster, n_blocks = 0, n_table = 0;

    for (;;) { /* the blocks count themselves and the table */
        guint64 blocks = (used + n_blocks + n_table + per_block - 1) / per_block;
        guint64 table = (blocks + per_table - 1) / per_table;
        if (blocks == n_blocks && table == n_table)
            break;
        n_blocks = blocks;
        n_table = table;
    }
    guint64 total = used + n_table + n_blocks, first_block = (used + n_table) * w->cluster;
    g_autofree guint8 *table = g_malloc0(n_table * w->cluster);
    for (guint64 i = 0; i < n_blocks; i++)
        put_be64(table + i * 8, first_block + i * w->cluster);
    if (!(*ret_offset = append(w, table, n_table * w->cluster, error)))
        return FALSE;
    *ret_n_table = (guint32)n_table;

    g_autofree guint8 *block = g_malloc0(w->cluster);
    for (guint64 i = 0; i < n_blocks; i++) {
        guint64 n = MIN(per_block, total - i * per_block);
        memset(block, 0, w->cluster);
        for (guint64 k = 0; k < n; k++)
            block[2 * k + 1] = 1;
        if (!append(w, block, w->cluster, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean write_header(LayerWriter *w, guint64 l1_offset, guint64 reftable_offset,
                             guint32 n_reftable, GError **error)
{
    g_autoptr(GByteArray) header =
        blank_header(&w->spec, w->n_l1, l1_offset, reftable_offset, n_reftable);
    gsize len = ((gsize)header->len + ALIGN - 1) & ~(gsize)(ALIGN - 1);

    memset(w->out, 0, len);
    memcpy(w->out, header->data, header->len);
    digest_add(&w->digest, 0, w->out, len);
    return durable_write(w->fd, w->out, len, 0, error);
}

gboolean layer_writer_finish(LayerWriter *w, LayerSummary *ret, GError **error)
{
    guint64 l1_offset, reftable_offset;
    guint32 n_reftable;

    if (!close_cluster(w, error) || !close_l2(w, error))
        return FALSE;
    l1_offset = append(w, w->l1, MAX(8ull * w->n_l1, 8), error);
    if (!l1_offset || !append_refcounts(w, &reftable_offset, &n_reftable, error) ||
        !flush_out(w, error))
        return FALSE;
    /* The data must be there before the header says so, whatever the order of the disk's cache. */
    if (!durable_truncate(w->fd, w->out_offset, error) || !durable_sync(w->fd, error) ||
        !write_header(w, l1_offset, reftable_offset, n_reftable, error) ||
        !durable_sync(w->fd, error))
        return FALSE;
    g_autofree char *digest = digest_to_text(&w->digest);
    g_strlcpy(ret->digest, w->has_unseen ? "" : digest, sizeof ret->digest);
    ret->data_bytes = w->data_bytes;
    ret->file_length = w->out_offset;
    return TRUE;
}
