/* pack_file.c: cluster 0 is kept for the header; then frames lie byte by byte behind one another,
 * each L2 table, aligned, behind the frames it names, and each refcount block as soon as the file
 * has grown past the clusters it counts; at the end L1, refcount table and the last blocks.
 *
 * A frame counts once in each file cluster that its sectors touch, so a cluster of packed frames
 * has as many references as frames.  The smallest frame has more than 12 bytes: a count fits 16
 * bits by far.  The header is written last: a file without it is no image. */
#include "cow/pack_file.h"

#include <sodium.h>
#include <string.h>

#include "cow/layer_pack.h"
#include "cow/qcow2.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define OUT_BYTES (2 * MIB)
#define START_BYTES (8 * MIB)   /* after so many, the system is told to begin writing */
#define BEHIND_BYTES (32 * MIB) /* so far behind we wait for it, and let go of the pages */
#define WRITE_ALIGN 4096u
#define MAX_L1 (4 * MIB)
#define MAX_FRAME_SECTORS(bits) (1ull << ((bits)-8)) /* what an entry can say */

struct PackFile {
    int fd;
    BlankSpec spec;
    char *backing_name;
    guint64 cluster;   /* bytes */
    guint64 per_block; /* refcounts of one block */

    guint8 *out; /* bytes not yet written, for out_offset (a multiple of WRITE_ALIGN) on */
    gsize out_len;
    guint64 out_offset, started, dropped;
    crypto_generichash_state *hash;

    guint8 *l2; /* the current L2 table, in file byte order */
    guint64 l2_index;
    gboolean l2_used;
    guint64 *l1; /* in file byte order */
    guint32 n_l1;

    GArray *refs; /* guint16: refcounts from cluster refs_from on, which begins a block */
    guint64 refs_from;
    GArray *blocks; /* guint64, file byte order: where the blocks before refs_from lie */
};

PackFile *pack_file_new(int fd, const BlankSpec *spec, GError **error)
{
    g_autoptr(PackFile) f = g_new0(PackFile, 1);
    guint64 n_l1 = blank_n_l1(spec);

    if (spec->virtual_size > (guint64)G_MAXINT64 || n_l1 > MAX_L1 / 8) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "a disk of %" G_GUINT64_FORMAT " bytes is too large to be packed",
                    spec->virtual_size);
        return NULL;
    }
    if (!(f->hash = pack_hash_new(error)))
        return NULL;
    f->fd = fd;
    f->spec = *spec;
    f->spec.backing_name = f->backing_name = g_strdup(spec->backing_name);
    f->cluster = 1ull << spec->cluster_bits;
    f->per_block = f->cluster / 2;
    f->out = g_malloc(OUT_BYTES + 2 * f->cluster);
    f->out_len = f->cluster;
    memset(f->out, 0, f->cluster);
    f->l2 = g_malloc0(f->cluster);
    f->n_l1 = (guint32)n_l1;
    f->l1 = g_new0(guint64, n_l1);
    f->refs = g_array_new(FALSE, TRUE, sizeof(guint16));
    f->blocks = g_array_new(FALSE, FALSE, sizeof(guint64));
    guint16 one = 1;
    g_array_append_val(f->refs, one); /* the header's */
    return g_steal_pointer(&f);
}

void pack_file_free(PackFile *f)
{
    if (!f)
        return;
    sodium_free(f->hash);
    g_free(f->out);
    g_free(f->l2);
    g_free(f->l1);
    g_free(f->backing_name);
    g_clear_pointer(&f->refs, g_array_unref);
    g_clear_pointer(&f->blocks, g_array_unref);
    g_free(f);
}

/* ---- Bytes ---- */

static guint64 position(const PackFile *f)
{
    return f->out_offset + f->out_len;
}

/* Keep the system writing, and few pages in its hands: dirty ones must not pile up, and pages that
 * come back at once are the cheapest for what is written next. */
static gboolean write_back(PackFile *f, GError **error)
{
    if (f->out_offset - f->started < START_BYTES)
        return TRUE;
    durable_begin_write(f->fd, f->started, f->out_offset - f->started);
    f->started = f->out_offset;
    guint64 behind = f->started > BEHIND_BYTES ? f->started - BEHIND_BYTES : 0;
    if (behind <= f->dropped)
        return TRUE;
    guint64 from = f->dropped;
    f->dropped = behind;
    return durable_drop_written(f->fd, from, behind - from, error);
}

/* Write whole blocks of what is in out; the header's cluster is left out. */
static gboolean flush_out(PackFile *f, GError **error)
{
    gsize len = f->out_len & ~(gsize)(WRITE_ALIGN - 1);
    gsize skip = f->out_offset == 0 ? f->cluster : 0,
          last = f->out_offset == 0 ? PACK_HASHED_LAST : 0;

    if (len > last)
        crypto_generichash_update(f->hash, f->out + last, len - last);
    if (len > skip && !durable_write(f->fd, f->out + skip, len - skip, f->out_offset + skip, error))
        return FALSE;
    memmove(f->out, f->out + len, f->out_len - len);
    f->out_len -= len;
    f->out_offset += len;
    return write_back(f, error);
}

/* Append at most two clusters; NULL is zeros. */
static gboolean append(PackFile *f, const void *data, gsize len, GError **error)
{
    if (data)
        memcpy(f->out + f->out_len, data, len);
    else
        memset(f->out + f->out_len, 0, len);
    f->out_len += len;
    return f->out_len < OUT_BYTES || flush_out(f, error);
}

static gboolean align(PackFile *f, GError **error)
{
    gsize over = position(f) % f->cluster;

    return !over || append(f, NULL, f->cluster - over, error);
}

/* ---- Refcounts ---- */

/* One more reference to each file cluster that [offset, offset + len) touches. */
static void refer(PackFile *f, guint64 offset, guint64 len)
{
    guint64 last = (offset + len - 1) / f->cluster - f->refs_from;

    if (f->refs->len <= last)
        g_array_set_size(f->refs, (guint)last + 1);
    for (guint64 i = offset / f->cluster - f->refs_from; i <= last; i++)
        g_array_index(f->refs, guint16, i)++;
}

static gboolean append_block(PackFile *f, GError **error)
{
    g_autofree guint8 *block = g_malloc0(f->cluster);
    guint64 n = MIN(f->per_block, f->refs->len);

    for (guint64 i = 0; i < n; i++)
        put_be16(block + 2 * i, g_array_index(f->refs, guint16, i));
    guint64 place = GUINT64_TO_BE(position(f));
    g_array_append_val(f->blocks, place);
    g_array_remove_range(f->refs, 0, (guint)n);
    f->refs_from += f->per_block;
    return append(f, block, f->cluster, error);
}

/* Write the blocks whose clusters are all behind the file's end; it is aligned. */
static gboolean flush_blocks(PackFile *f, GError **error)
{
    while (position(f) / f->cluster >= f->refs_from + f->per_block) {
        refer(f, position(f), f->cluster);
        if (!append_block(f, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- Tables ---- */

static gboolean close_l2(PackFile *f, GError **error)
{
    if (!f->l2_used)
        return TRUE;
    if (!align(f, error))
        return FALSE;
    f->l1[f->l2_index] = GUINT64_TO_BE(position(f) | QCOW2_OFLAG_COPIED);
    refer(f, position(f), f->cluster);
    if (!append(f, f->l2, f->cluster, error))
        return FALSE;
    memset(f->l2, 0, f->cluster);
    f->l2_used = FALSE;
    return flush_blocks(f, error);
}

/* Put the entry of a guest cluster into its L2 table. */
static gboolean open_l2(PackFile *f, guint64 cluster, GError **error)
{
    guint64 index = cluster / (f->cluster / 8);

    if (index >= f->n_l1 || (f->l2_used && index < f->l2_index)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "cluster %" G_GUINT64_FORMAT " does not fit the layer", cluster);
        return FALSE;
    }
    if (f->l2_used && index != f->l2_index && !close_l2(f, error))
        return FALSE;
    f->l2_index = index;
    f->l2_used = TRUE;
    return TRUE;
}

static void set_entry(PackFile *f, guint64 cluster, guint64 entry)
{
    put_be64(f->l2 + cluster % (f->cluster / 8) * 8, entry);
}

gboolean pack_file_zero(PackFile *f, guint64 cluster, GError **error)
{
    if (!open_l2(f, cluster, error))
        return FALSE;
    set_entry(f, cluster, QCOW2_OFLAG_ZERO);
    return TRUE;
}

gboolean pack_file_frame(PackFile *f, guint64 cluster, const void *frame, gsize len, GError **error)
{
    guint shift = 62 - (f->spec.cluster_bits - 8);

    if (!open_l2(f, cluster, error))
        return FALSE;
    /* Blocks go in as soon as they are complete, also amid the frames of one L2 table. */
    if (position(f) / f->cluster >= f->refs_from + f->per_block &&
        (!align(f, error) || !flush_blocks(f, error)))
        return FALSE;
    guint64 offset = position(f), sectors = (offset + len - 1) / 512 - offset / 512;
    if (len == 0 || sectors >= MAX_FRAME_SECTORS(f->spec.cluster_bits) ||
        (offset + len) >> MIN(shift, 56)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "the packed file is too large");
        return FALSE;
    }
    set_entry(f, cluster, QCOW2_OFLAG_COMPRESSED | sectors << shift | offset);
    refer(f, offset, len);
    return append(f, frame, len, error);
}

/* ---- The end ---- */

static gboolean append_table(PackFile *f, const guint8 *data, guint64 len, GError **error)
{
    for (guint64 at = 0; at < len; at += f->cluster) {
        gsize piece = MIN(f->cluster, len - at);
        if (!append(f, data + at, piece, error))
            return FALSE;
    }
    return align(f, error);
}

/* L1, refcount table and the rest of the blocks, which count themselves. */
static gboolean append_tables(PackFile *f, guint64 *ret_l1, guint64 *ret_table,
                              guint32 *ret_n_table, GError **error)
{
    guint64 l1_bytes = f->n_l1 * 8ull, per_table = f->cluster / 8, n_blocks = f->blocks->len;
    guint64 n_l1 = (l1_bytes + f->cluster - 1) / f->cluster, n_table = 0, total;
    guint64 used = position(f) / f->cluster + n_l1;

    for (;;) {
        total = used + n_table + (n_blocks - f->blocks->len);
        guint64 blocks = (total + f->per_block - 1) / f->per_block;
        guint64 table = (blocks + per_table - 1) / per_table;
        if (blocks == n_blocks && table == n_table)
            break;
        n_blocks = MAX(blocks, n_blocks);
        n_table = MAX(table, n_table);
    }
    if (n_table * f->cluster > QCOW2_MAX_REFTABLE_BYTES) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "the packed file is too large");
        return FALSE;
    }
    *ret_l1 = position(f);
    *ret_table = used * f->cluster;
    *ret_n_table = (guint32)n_table;
    guint64 first = (used + n_table) * f->cluster;
    refer(f, position(f), (total - position(f) / f->cluster) * f->cluster);

    g_autofree guint8 *table = g_malloc0(n_table * f->cluster);
    if (f->blocks->len > 0)
        memcpy(table, f->blocks->data, f->blocks->len * 8ull);
    for (guint64 i = f->blocks->len, k = 0; i < n_blocks; i++, k++)
        put_be64(table + i * 8, first + k * f->cluster);
    if (!append_table(f, (const guint8 *)f->l1, l1_bytes, error) ||
        !append_table(f, table, n_table * f->cluster, error))
        return FALSE;
    while (f->blocks->len < n_blocks)
        if (!append_block(f, error))
            return FALSE;
    return TRUE;
}

static gboolean write_header(PackFile *f, guint64 l1_offset, guint64 table_offset, guint32 n_table,
                             GError **error)
{
    g_autoptr(GByteArray) header =
        blank_header(&f->spec, f->n_l1, l1_offset, table_offset, n_table);

    put_be64(header->data + 72, QCOW2_INCOMPAT_COMPRESSION);
    header->data[104] = QCOW2_ZSTD;
    if (header->len > PACK_HASHED_LAST) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the backing name is too long");
        return FALSE;
    }
    memset(f->out, 0, f->cluster);
    memcpy(f->out, header->data, header->len);
    crypto_generichash_update(f->hash, f->out, PACK_HASHED_LAST);
    return durable_write(f->fd, f->out, f->cluster, 0, error);
}

gboolean pack_file_finish(PackFile *f, guint64 *ret_length, char *ret_digest, GError **error)
{
    guint64 l1_offset, table_offset;
    guint32 n_table;

    if (!close_l2(f, error) || !align(f, error) || !flush_blocks(f, error) ||
        !append_tables(f, &l1_offset, &table_offset, &n_table, error) || !flush_out(f, error))
        return FALSE;
    *ret_length = f->out_offset;
    /* The data must be there before the header says so, whatever the order of the disk's cache. */
    if (!durable_sync(f->fd, error) || !write_header(f, l1_offset, table_offset, n_table, error) ||
        !durable_sync(f->fd, error))
        return FALSE;
    pack_hash_text(f->hash, ret_digest);
    return TRUE;
}
