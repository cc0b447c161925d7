/* layer_extents.c: the mapping tables of one layer, read in guest order.
 *
 * One producer, next_run(), turns table entries into runs; layer_extents_next() merges runs into
 * extents, and layer_count() sums extents up, so that there is one decoder of entries alone.
 * An L2 table is read in chunks of up to CHUNK bytes, and only the part that the range needs.
 * Most entries of a diff are zero: they are skipped in blocks of 64 bytes, which makes a count cost
 * little more than the reads.
 *
 * The tables come from strangers.  Each entry is checked when it is met; the number of L2 tables
 * cannot exceed what fits into the file, so that one table named by all of L1 cannot cost more
 * than reading the file once. */
#include "cow/layer.h"

#include <string.h>
#include <sys/stat.h>

#include "imaged/base/error.h"

#define CHUNK (64u << 10) /* stays in the processor's cache between the read and the scan */
#define L1_RESERVED 0x7f000000000001ffull
#define L2_RESERVED 0x3f000000000001feull /* bit 0 is checked apart */

struct LayerExtents {
    const Layer *layer;
    const Qcow2Header *header;
    guint64 file_size;  /* bytes; read again before an entry is called wrong, see in_file() */
    guint64 to;         /* end of the range */
    guint64 at;         /* guest offset that next_run() decodes next */
    guint64 chunk_from; /* guest range that the chunk describes, aligned to clusters */
    guint64 chunk_to;
    guint8 *chunk;    /* raw entries, NULL before the first table */
    gsize chunk_size; /* bytes allocated */
    guint64 n_tables; /* L2 tables met */
    guint64 last_l1;  /* index of the last of them */
    Extent pending;   /* decoded, may still grow; length 0 for none */
};

/* One spare chunk per thread: reports open thousands of layers, and pages that malloc gives back
 * to the system and takes again cost as much as the count itself. */
static GPrivate spare_chunk = G_PRIVATE_INIT(g_free);

static void take_chunk(LayerExtents *x, guint64 wanted)
{
    if (wanted > CHUNK / 4) {
        x->chunk = g_private_get(&spare_chunk);
        g_private_set(&spare_chunk, NULL);
        x->chunk_size = CHUNK;
        if (!x->chunk)
            x->chunk = g_malloc(CHUNK);
    } else {
        x->chunk_size = wanted;
        x->chunk = g_malloc(wanted);
    }
}

static void give_chunk(LayerExtents *x)
{
    if (x->chunk_size == CHUNK && !g_private_get(&spare_chunk))
        g_private_set(&spare_chunk, x->chunk);
    else
        g_free(x->chunk);
    x->chunk = NULL;
}

static gboolean corrupt(const LayerExtents *x, GError **error, const char *what, guint64 entry)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                "'%s': %s (entry 0x%016" G_GINT64_MODIFIER "x, guest offset %" G_GUINT64_FORMAT ")",
                layer_label(x->layer), what, entry, x->at);
    return FALSE;
}

/* TRUE if [offset, offset + length) lies in the file.  A layer that QEMU writes grows after it was
 * opened, so the size is asked for again before the answer is no. */
static gboolean in_file(LayerExtents *x, guint64 offset, guint64 length)
{
    struct stat st;

    if (offset < x->file_size && length <= x->file_size - offset)
        return TRUE;
    if (fstat(layer_fd(x->layer), &st) == 0)
        x->file_size = st.st_size;
    return offset < x->file_size && length <= x->file_size - offset;
}

/* ---- L1 and the reading of L2 tables ---- */

static gboolean check_l1(LayerExtents *x, guint64 index, guint64 entry, GError **error)
{
    guint64 offset = entry & QCOW2_OFFSET_MASK, cluster = qcow2_cluster_size(x->header);

    if (entry & L1_RESERVED)
        return corrupt(x, error, "an L1 entry has reserved bits", entry);
    if (offset == 0)
        return entry ? corrupt(x, error, "an L1 entry has flags but no offset", entry) : TRUE;
    if (offset & (cluster - 1))
        return corrupt(x, error, "an L2 table is not aligned", entry);
    if (!in_file(x, offset, cluster))
        return corrupt(x, error, "an L2 table lies outside of the file", entry);
    if (index != x->last_l1) {
        x->last_l1 = index;
        x->n_tables++;
    }
    if (x->n_tables > x->file_size >> x->header->cluster_bits)
        return corrupt(x, error, "an L2 table is used more than once", entry);
    return TRUE;
}

/* Read the entries from x->at on: to the end of the table, of the range or of the chunk. */
static gboolean load_chunk(LayerExtents *x, guint64 l2_offset, guint64 table_to, GError **error)
{
    guint bits = x->header->cluster_bits;
    guint32 entry_size = qcow2_l2_entry_size(x->header);
    guint64 from = x->at >> bits << bits, end = MIN(x->to, table_to);
    guint64 n = ((end - from - 1) >> bits) + 1, span = qcow2_l2_span(x->header);

    if (!x->chunk) {
        guint64 all =
            ((x->to - from - 1) >> bits) + 1; /* of the range, in this table or the next */
        take_chunk(x, MIN(MIN(all, qcow2_n_l2(x->header)) * entry_size, CHUNK));
    }
    n = MIN(n, x->chunk_size / entry_size);
    x->chunk_from = x->chunk_to = from;
    if (!layer_pread(x->layer, x->chunk, n * entry_size,
                     l2_offset + ((from % span) >> bits) * entry_size, error))
        return FALSE;
    x->chunk_to = from + (n << bits);
    return TRUE;
}

/* Make the chunk hold the entry of x->at.  If no table does, *ret_gap gets the number of bytes
 * from there on that are unallocated, else 0. */
static gboolean find_chunk(LayerExtents *x, guint64 *ret_gap, GError **error)
{
    guint64 span = qcow2_l2_span(x->header), i = x->at / span, n_l1 = x->header->n_l1;
    guint64 entry = i < n_l1 ? layer_l1_entry(x->layer, i) : 0;

    *ret_gap = 0;
    if (entry) {
        guint64 table_to = x->to / span > i ? (i + 1) * span : x->to;
        return check_l1(x, i, entry, error) &&
               load_chunk(x, entry & QCOW2_OFFSET_MASK, table_to, error);
    }
    while (i < n_l1 && i < x->to / span && layer_l1_entry(x->layer, i) == 0)
        i++;
    guint64 end = i < n_l1 && i <= x->to / span ? MIN(i * span, x->to) : x->to;
    /* The range may end inside the last span, which the loop does not enter. */
    *ret_gap = (end > x->at ? end : x->to) - x->at;
    return TRUE;
}

/* ---- L2 entries ---- */

/* Bytes from p on (a multiple of 8, at most len) that are zero. */
static gsize zero_prefix(const guint8 *p, gsize len)
{
    typedef guint64 Words __attribute__((vector_size(16), may_alias, aligned(1)));
    gsize i = 0;

    for (; len - i >= 64; i += 64) {
        const Words *w = (const Words *)(p + i);
        Words any = (w[0] | w[1]) | (w[2] | w[3]);
        if (any[0] | any[1])
            break;
    }
    while (i < len && be64_at(p + i) == 0)
        i += 8;
    return i;
}

static gboolean decode_compressed(LayerExtents *x, guint64 entry, Extent *run, GError **error)
{
    guint64 offset, length;

    qcow2_compressed_place(x->header, entry, &offset, &length);
    if (entry & QCOW2_OFLAG_COPIED)
        return corrupt(x, error, "a compressed cluster is marked as copied", entry);
    if (!in_file(x, offset, 1))
        return corrupt(x, error, "a compressed cluster lies outside of the file", entry);
    run->kind = EXTENT_COMPRESSED;
    run->host_offset = offset;
    run->host_length = length;
    return TRUE;
}

/* The checks that hold for each entry that is not compressed. */
static gboolean check_l2(LayerExtents *x, guint64 entry, GError **error)
{
    guint64 offset = entry & QCOW2_OFFSET_MASK;

    if (entry & L2_RESERVED)
        return corrupt(x, error, "an L2 entry has reserved bits", entry);
    if ((entry & QCOW2_OFLAG_ZERO) && (x->header->version < 3 || x->header->is_extended_l2))
        return corrupt(x, error, "an L2 entry has a zero flag that its format does not know",
                       entry);
    if (offset & (qcow2_cluster_size(x->header) - 1))
        return corrupt(x, error, "a data cluster is not aligned", entry);
    if (offset == 0 && (entry & QCOW2_OFLAG_COPIED))
        return corrupt(x, error, "an L2 entry is marked as copied but has no offset", entry);
    /* Its end may be cut off by the end of the file: QEMU writes no more than it has. */
    if (offset && !in_file(x, offset, 1))
        return corrupt(x, error, "a data cluster lies outside of the file", entry);
    return TRUE;
}

/* The subclusters from x->at on that are of one kind; run comes with the rest of the cluster. */
static gboolean decode_bitmap(LayerExtents *x, guint64 entry, guint64 bitmap, Extent *run,
                              GError **error)
{
    guint sub_bits = x->header->cluster_bits - 5;
    guint32 data = (guint32)bitmap, zero = (guint32)(bitmap >> 32), same;
    guint64 in_cluster = x->at & (qcow2_cluster_size(x->header) - 1);
    guint first = in_cluster >> sub_bits;

    if (data & zero)
        return corrupt(x, error, "a subcluster is marked both as data and as zeros", bitmap);
    if (data && !(entry & QCOW2_OFFSET_MASK))
        return corrupt(x, error, "a subcluster is marked as data but has no offset", bitmap);
    if ((data >> first) & 1) {
        run->kind = EXTENT_DATA;
        same = ~(data >> first);
    } else if ((zero >> first) & 1) {
        run->kind = EXTENT_ZERO;
        same = ~(zero >> first);
    } else {
        run->kind = EXTENT_UNALLOCATED;
        same = (data | zero) >> first;
    }
    guint n = same ? (guint)__builtin_ctz(same) : QCOW2_SUBCLUSTERS;
    if (first + n < QCOW2_SUBCLUSTERS)
        run->length = ((guint64)(first + n) << sub_bits) - in_cluster;
    return TRUE;
}

/* Decode the entry at p, whose cluster holds x->at. */
static gboolean decode_entry(LayerExtents *x, const guint8 *p, Extent *run, GError **error)
{
    guint64 entry = be64_at(p), cluster = qcow2_cluster_size(x->header);
    guint64 bitmap = x->header->is_extended_l2 ? be64_at(p + 8) : 0;
    guint64 in_cluster = x->at & (cluster - 1);

    run->length = cluster - in_cluster;
    if (entry & QCOW2_OFLAG_COMPRESSED) {
        if (bitmap)
            return corrupt(x, error, "a compressed cluster has subclusters", bitmap);
        return decode_compressed(x, entry, run, error);
    }
    if (!check_l2(x, entry, error))
        return FALSE;
    if (x->header->is_extended_l2) {
        if (!decode_bitmap(x, entry, bitmap, run, error))
            return FALSE;
    } else if (entry & QCOW2_OFLAG_ZERO) {
        run->kind = EXTENT_ZERO;
    } else {
        run->kind = entry ? EXTENT_DATA : EXTENT_UNALLOCATED;
    }
    if (run->kind == EXTENT_DATA)
        run->host_offset = (entry & QCOW2_OFFSET_MASK) + in_cluster;
    return TRUE;
}

/* The next run at x->at < x->to: alike, but not as long as it could be. */
static gboolean next_run(LayerExtents *x, Extent *run, GError **error)
{
    guint64 gap = 0;

    *run = (Extent){ .start = x->at };
    if ((x->at < x->chunk_from || x->at >= x->chunk_to) && !find_chunk(x, &gap, error))
        return FALSE;
    if (gap) {
        run->length = gap;
    } else {
        guint bits = x->header->cluster_bits;
        guint32 entry_size = qcow2_l2_entry_size(x->header);
        gsize from = ((x->at - x->chunk_from) >> bits) * entry_size;
        gsize end = ((x->chunk_to - x->chunk_from) >> bits) * entry_size;
        guint64 n_zero = zero_prefix(x->chunk + from, end - from) / entry_size;

        if (n_zero)
            run->length = (n_zero << bits) - (x->at & (qcow2_cluster_size(x->header) - 1));
        else if (!decode_entry(x, x->chunk + from, run, error))
            return FALSE;
    }
    run->length = MIN(run->length, x->to - x->at);
    x->at += run->length;
    return TRUE;
}

/* ---- The interface ---- */

static void extents_init(LayerExtents *x, const Layer *layer, guint64 from, guint64 to)
{
    x->layer = layer;
    x->header = layer_header(layer);
    x->file_size = layer_file_size(layer);
    x->to = MIN(to, layer_virtual_size(layer));
    x->at = MIN(from, x->to);
    x->last_l1 = G_MAXUINT64;
}

LayerExtents *layer_extents_new(const Layer *layer, guint64 from, guint64 to)
{
    LayerExtents *x = g_new0(LayerExtents, 1);

    extents_init(x, layer, from, to);
    return x;
}

void layer_extents_free(LayerExtents *x)
{
    if (!x)
        return;
    give_chunk(x);
    g_free(x);
}

static gboolean joins(const Extent *a, const Extent *b)
{
    return a->kind == b->kind && a->kind != EXTENT_COMPRESSED &&
           (a->kind != EXTENT_DATA || a->host_offset + a->length == b->host_offset);
}

gboolean layer_extents_next(LayerExtents *x, Extent *ret_extent, GError **error)
{
    Extent run;

    while (x->at < x->to) {
        if (!next_run(x, &run, error))
            return FALSE;
        if (x->pending.length && !joins(&x->pending, &run)) {
            *ret_extent = x->pending;
            x->pending = run;
            return TRUE;
        }
        if (x->pending.length)
            x->pending.length += run.length;
        else
            x->pending = run;
    }
    *ret_extent = x->pending;
    x->pending.length = 0;
    return ret_extent->length > 0;
}

void layer_extents_seek(LayerExtents *x, guint64 offset)
{
    guint64 skip;

    if (offset >= x->at) {
        x->pending.length = 0;
        x->at = MIN(offset, x->to);
    } else if (x->pending.length && offset > x->pending.start) {
        skip = offset - x->pending.start;
        x->pending.start = offset;
        x->pending.length -= skip;
        if (x->pending.kind == EXTENT_DATA)
            x->pending.host_offset += skip;
    }
}

gboolean layer_count(const Layer *layer, LayerCounts *ret_counts, GError **error)
{
    LayerExtents x = { 0 };
    LayerCounts counts = { 0 };
    GError *local = NULL;
    Extent e;

    extents_init(&x, layer, 0, G_MAXUINT64);
    while (layer_extents_next(&x, &e, &local))
        layer_counts_add(&counts, &e);
    give_chunk(&x);
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    *ret_counts = counts;
    return TRUE;
}
