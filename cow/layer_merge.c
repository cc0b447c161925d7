/* layer_merge.c: see layer_merge.h.
 *
 *     plan (tables) -> read what has to pass through memory -> look at it -> place -> write, share
 *
 * One thread does all of this in batches of clusters, in a ring: while it looks at one batch, the
 * reads of the next ones and the writes of the ones before are on their way (merge_io.c).  In a
 * batch's buffer each cluster has a slot, laid out as it will be in the result's file, so that a
 * dense piece of the disk is read and written in large calls.
 *
 * Data that nobody has to see is shared by reflink straight from the plan.  Holes are never
 * written: the result is as sparse as its data. */
#include "cow/layer_merge.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cow/digest.h"
#include "cow/merge_io.h"
#include "cow/merge_plan.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define BLOCK DIGEST_BLOCK     /* of file systems, and of digests */
#define BUFFER_BYTES (4 * MIB) /* of a batch */
#define BATCH_BYTES                                                                                \
    (64 * MIB) /* of the guest, at most in a batch: it is cancelled between them                   \
                */
#define N_BATCHES 4
#define N_AHEAD 2 /* batches that are being read */

typedef struct {
    guint64 index, place; /* guest cluster, and where its data lies in the result */
    guint32 data, zero, below;
    guint32 memory; /* subclusters that are written from the buffer */
    int slot;       /* in the buffer, or -1 */
} Item;

/* A piece of a file that can be shared; whole subclusters. */
typedef struct {
    guint item;
    guint32 at, len; /* bytes in the cluster */
    guint layer;
    guint64 host_offset;
} Share;

typedef struct {
    guint8 *buffer, *below; /* below is there for drop_equal */
    guint n_slots;          /* used */
    GArray *items, *shares;
    MergeGroup group;
    guint64 bytes; /* of data as it was planned, for progress */
} Batch;

/* What may still grow before it is handed on. */
typedef struct {
    guint layer;
    guint64 from, to;
    guint8 *buffer;
    guint64 len;
} Stretch;

typedef struct {
    const LayerMerge *merge;
    MergePlan *plan;
    MergeIo *io;
    LayerWriter *writer;
    guint64 cluster, sub; /* bytes */
    gboolean look, can_share;
    guint64 done, total; /* bytes, for progress */
    Batch batches[N_BATCHES];
} Merge;

/* ---- Reading ---- */

static void submit_read(Merge *m, Batch *b, Stretch *s)
{
    if (s->len)
        merge_io_read(m->io, &b->group, s->layer, s->from, s->buffer, s->len);
    s->len = 0;
}

static void add_read(Merge *m, Batch *b, Stretch *s, guint layer, guint64 from, guint8 *buffer,
                     guint64 len)
{
    if (len == 0)
        return;
    if (s->len && s->layer == layer && s->from + s->len == from && s->buffer + s->len == buffer) {
        s->len += len;
        return;
    }
    submit_read(m, b, s);
    *s = (Stretch){ .layer = layer, .from = from, .buffer = buffer, .len = len };
}

/* Set the subclusters in mask to zeros, in whole blocks. */
static void clear(const Merge *m, guint8 *cluster, guint32 mask)
{
    if (m->sub < BLOCK && mask) {
        memset(cluster, 0, m->cluster);
        return;
    }
    for (; mask; mask &= mask - 1)
        memset(cluster + (guint)__builtin_ctz(mask) * m->sub, 0, m->sub);
}

/* What below says in the subclusters of mask, for the part of the cluster in [from, to). */
static void read_below(Merge *m, Batch *b, guint8 *cluster, guint64 start, guint32 mask,
                       guint64 from, guint64 to)
{
    while (mask) {
        guint first = (guint)__builtin_ctz(mask);
        guint32 rest = mask + (1u << first); /* the carry clears the lowest run of bits */
        guint n = rest ? (guint)__builtin_ctz(rest) - first : QCOW2_SUBCLUSTERS - first;
        guint64 begin = MAX(from, first * m->sub), end = MIN(to, (first + n) * m->sub);
        if (begin < end)
            merge_io_read_below(m->io, &b->group, start + begin, cluster + begin, end - begin);
        mask &= rest;
    }
}

/* Bring a cluster's bytes into its slot. */
static void read_cluster(Merge *m, Batch *b, const Item *item, const MergeCluster *c, Stretch *s)
{
    guint8 *to = b->buffer + (gsize)item->slot * m->cluster;
    guint64 start = c->index * m->cluster;

    clear(m, to, m->sub < BLOCK ? c->data : c->compose);
    for (guint i = 0; i < c->pieces->len; i++) {
        const MapExtent *e = &g_array_index(c->pieces, MapExtent, i);
        guint64 at = e->start - start, end = at + e->length;
        if (e->kind == EXTENT_COMPRESSED) {
            merge_io_read_run(m->io, &b->group, e->start, to + at, e->length);
        } else if (e->kind == EXTENT_UNALLOCATED) {
            read_below(m, b, to, start, c->fill, at, end);
        } else if (e->kind == EXTENT_DATA) {
            MergeShare share;
            if (m->look || !m->can_share || !merge_plan_share(m->plan, e, &share))
                share = (MergeShare){ end, end };
            add_read(m, b, s, e->layer, e->host_offset, to + at, share.from - at);
            add_read(m, b, s, e->layer, e->host_offset + (share.to - at), to + share.to,
                     end - share.to);
        }
    }
    if (m->merge->drop_equal)
        read_below(m, b, b->below + (gsize)item->slot * m->cluster, start, c->data & c->below, 0,
                   m->cluster);
}

static void add_cluster(Merge *m, Batch *b, const MergeCluster *c, Stretch *s)
{
    Item item = { c->index, 0, c->data, c->zero, c->below, c->data, -1 };
    MergeShare share;

    for (guint i = 0; m->can_share && i < c->pieces->len; i++) {
        const MapExtent *e = &g_array_index(c->pieces, MapExtent, i);
        if (e->kind != EXTENT_DATA || !merge_plan_share(m->plan, e, &share))
            continue;
        Share add = { b->items->len, (guint32)share.from, (guint32)(share.to - share.from),
                      e->layer, e->host_offset + (share.from - (e->start & (m->cluster - 1))) };
        g_array_append_val(b->shares, add);
        item.memory &= ~qcow2_sub_mask(m->sub, add.at, add.len);
    }
    if (item.memory || (m->look && c->data)) {
        item.slot = (int)b->n_slots++;
        read_cluster(m, b, &item, c, s);
    }
    b->bytes += (guint64)__builtin_popcount(c->data) * m->sub;
    g_array_append_val(b->items, item);
}

/* Plan a batch and start to read it; it stays empty at the end of the disk. */
static gboolean fill_batch(Merge *m, Batch *b, GError **error)
{
    guint slots = (guint)(MAX(BUFFER_BYTES, m->cluster) / m->cluster);
    guint most = (guint)(BATCH_BYTES / m->cluster);
    GError *local = NULL;
    Stretch stretch = { 0 };
    MergeCluster c;

    if (!merge_io_wait(m->io, &b->group, error)) /* until the writes from its buffer are done */
        return FALSE;
    if (m->merge->cancel && g_atomic_int_get(m->merge->cancel)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    g_array_set_size(b->items, 0);
    g_array_set_size(b->shares, 0);
    b->n_slots = 0;
    b->bytes = 0;
    while (b->n_slots < slots && b->items->len < most && merge_plan_next(m->plan, &c, &local))
        add_cluster(m, b, &c, &stretch);
    submit_read(m, b, &stretch);
    if (local)
        g_propagate_error(error, local);
    return !local;
}

/* ---- Looking ---- */

/* Leave out what need not be said: the same bytes as below, zeros. */
static void look_at(const Merge *m, const Batch *b, Item *item)
{
    const guint8 *own = b->buffer + (gsize)item->slot * m->cluster;
    const guint8 *below = b->below + (gsize)item->slot * m->cluster;

    for (guint32 left = item->data; left; left &= left - 1) {
        guint n = (guint)__builtin_ctz(left);
        gboolean over = (item->below >> n) & 1;
        if (over && m->merge->drop_equal &&
            memcmp(own + n * m->sub, below + n * m->sub, m->sub) == 0)
            item->data &= ~(1u << n);
        else if ((!over || m->merge->drop_zeros) && digest_is_zero(own + n * m->sub, m->sub)) {
            item->data &= ~(1u << n);
            item->zero |= over ? 1u << n : 0;
        }
    }
}

/* ---- Writing ---- */

static void submit_write(Merge *m, Batch *b, Stretch *s)
{
    if (s->len)
        merge_io_write(m->io, &b->group, s->to, s->buffer, s->len);
    s->len = 0;
}

/* Sum up a cluster's blocks and write those that come from memory.  Zeros need not be written: the
 * file is new. */
static void write_cluster(Merge *m, Batch *b, const Item *item, Stretch *s)
{
    guint8 *from = b->buffer + (gsize)item->slot * m->cluster;

    for (guint64 at = 0; at < m->cluster; at += BLOCK) {
        guint32 mask = qcow2_sub_mask(m->sub, at, BLOCK);
        if (!(item->data & mask) || digest_block_is_zero(from + at))
            continue;
        if (m->look || (item->memory & mask))
            layer_writer_seen(m->writer, item->place + at, from + at, BLOCK);
        if (!(item->memory & mask))
            continue;
        if (!s->len || s->to + s->len != item->place + at || s->buffer + s->len != from + at) {
            submit_write(m, b, s);
            *s = (Stretch){ .to = item->place + at, .buffer = from + at };
        }
        s->len += BLOCK;
    }
}

/* What to do where the file system doesn't share after all. */
static gboolean copy_stretch(Merge *m, const Stretch *s, GError **error)
{
    g_autofree guint8 *raw = g_malloc(MIB + BLOCK);
    guint8 *buffer = raw + (BLOCK - (gsize)raw % BLOCK) % BLOCK;

    for (guint64 done = 0; done < s->len;) {
        guint64 n = MIN(MIB, s->len - done);
        if (!layer_pread(m->merge->run[s->layer], buffer, n, s->from + done, error) ||
            !durable_write(m->merge->to, buffer, n, s->to + done, error))
            return FALSE;
        done += n;
    }
    return TRUE;
}

static gboolean share_stretch(Merge *m, Stretch *s, GError **error)
{
    GError *local = NULL;

    if (s->len == 0 || durable_clone_range(m->merge->to, s->to, layer_fd(m->merge->run[s->layer]),
                                           s->from, s->len, &local)) {
        s->len = 0;
        return TRUE;
    }
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED)) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_clear_error(&local);
    m->can_share = FALSE; /* from the next batch on, through memory */
    gboolean ok = copy_stretch(m, s, error);
    s->len = 0;
    return ok;
}

/* Share what is still data of one piece. */
static gboolean share_piece(Merge *m, const Batch *b, const Share *share, Stretch *s,
                            GError **error)
{
    const Item *item = &g_array_index(b->items, Item, share->item);

    for (guint32 at = share->at; at < share->at + share->len; at += m->sub) {
        guint64 from = share->host_offset + (at - share->at), to = item->place + at;
        if (!((item->data >> (at / m->sub)) & 1))
            continue;
        if (!s->len || s->layer != share->layer || s->from + s->len != from ||
            s->to + s->len != to) {
            if (!share_stretch(m, s, error))
                return FALSE;
            *s = (Stretch){ .layer = share->layer, .from = from, .to = to };
        }
        s->len += m->sub;
    }
    return TRUE;
}

static gboolean place_items(Merge *m, Batch *b, GError **error)
{
    guint64 place, n = 0;

    for (guint i = 0; i < b->items->len; i++) {
        Item *item = &g_array_index(b->items, Item, i);
        if (m->look && item->slot >= 0)
            look_at(m, b, item);
        n += item->data != 0;
    }
    if (!layer_writer_reserve(m->writer, n, &place, error))
        return FALSE;
    for (guint i = 0; i < b->items->len; i++) {
        Item *item = &g_array_index(b->items, Item, i);
        if (item->data) {
            item->place = place;
            place += m->cluster;
        }
        if ((item->data | item->zero) &&
            !layer_writer_place(m->writer, item->index, item->place, item->data, item->zero, error))
            return FALSE;
    }
    return TRUE;
}

/* Once a batch is read: decide where it goes, and start to write. */
static gboolean finish_batch(Merge *m, Batch *b, GError **error)
{
    Stretch stretch = { 0 };

    if (!merge_io_wait(m->io, &b->group, error) || !place_items(m, b, error))
        return FALSE;
    for (guint i = 0; i < b->items->len; i++) {
        const Item *item = &g_array_index(b->items, Item, i);
        if (item->slot >= 0 && item->data)
            write_cluster(m, b, item, &stretch);
    }
    submit_write(m, b, &stretch);
    if (b->shares->len && !m->look)
        layer_writer_unseen(m->writer);
    for (guint i = 0; i < b->shares->len; i++)
        if (!share_piece(m, b, &g_array_index(b->shares, Share, i), &stretch, error))
            return FALSE;
    if (!share_stretch(m, &stretch, error))
        return FALSE;
    m->done += b->bytes;
    if (m->merge->progress)
        m->merge->progress(m->done, m->total, m->merge->data);
    return TRUE;
}

/* ---- All of it ---- */

static void merge_clear(Merge *m)
{
    merge_io_free(m->io); /* first: its tasks use all the rest */
    for (guint i = 0; i < N_BATCHES; i++) {
        free(m->batches[i].buffer);
        free(m->batches[i].below);
        if (m->batches[i].items)
            g_array_unref(m->batches[i].items);
        if (m->batches[i].shares)
            g_array_unref(m->batches[i].shares);
    }
    layer_writer_free(m->writer);
    merge_plan_free(m->plan);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Merge, merge_clear)

static gboolean merge_init(Merge *m, const LayerMerge *merge, GError **error)
{
    LayerMergeNeed need;

    struct stat st;

    if (fstat(merge->to, &st) < 0 || st.st_size != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a merge needs a new file");
        return FALSE;
    }
    m->merge = merge;
    m->look = merge->drop_equal || merge->drop_zeros;
    m->can_share = merge->can_reflink;
    if (merge->progress) {
        if (!layer_merge_reckon(merge, &need, error))
            return FALSE;
        m->total = need.data_bytes;
    }
    m->plan = merge_plan_new(merge, m->look, error);
    if (!m->plan)
        return FALSE;
    m->cluster = merge_plan_cluster(m->plan);
    m->sub = merge_plan_sub(m->plan);
    m->writer = layer_writer_new(merge->to, merge->spec, error);
    if (!m->writer)
        return FALSE;
    for (guint i = 0; i < N_BATCHES; i++) {
        Batch *b = &m->batches[i];
        b->buffer = aligned_alloc(BLOCK, MAX(BUFFER_BYTES, m->cluster));
        b->below = merge->drop_equal ? aligned_alloc(BLOCK, MAX(BUFFER_BYTES, m->cluster)) : NULL;
        b->items = g_array_new(FALSE, FALSE, sizeof(Item));
        b->shares = g_array_new(FALSE, FALSE, sizeof(Share));
    }
    m->io = merge_io_new(merge, m->plan);
    return TRUE;
}

gboolean layer_merge(const LayerMerge *merge, LayerSummary *ret_summary, GError **error)
{
    g_auto(Merge) m = { 0 };
    gboolean more = TRUE;

    if (!merge_init(&m, merge, error))
        return FALSE;
    for (guint filled = 0, finished = 0; more || finished < filled;) {
        if (more && filled - finished < N_AHEAD) {
            Batch *b = &m.batches[filled % N_BATCHES];
            if (!fill_batch(&m, b, error))
                return FALSE;
            more = b->items->len > 0;
            filled += more;
        } else if (!finish_batch(&m, &m.batches[finished++ % N_BATCHES], error)) {
            return FALSE;
        }
    }
    for (guint i = 0; i < N_BATCHES; i++)
        if (!merge_io_wait(m.io, &m.batches[i].group, error))
            return FALSE;
    return layer_writer_finish(m.writer, ret_summary, error);
}
