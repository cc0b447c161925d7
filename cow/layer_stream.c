/* layer_stream.c: three passes over the layer's extents, so that no table is ever in memory.
 *
 * The first pass counts data clusters and marks the L2 tables that are needed (one bit each), from
 * which the place of everything follows; all refcounts are 1.  The second makes the L2 tables while
 * they are streamed, the third reads the data.  Only tables are looked at for zeros: data that is
 * zeros stays data, since looking would mean reading everything twice (archivers store a chunk of
 * zeros once anyhow).  Clusters have 4 KiB, or the least size at which L1 and refcount table keep
 * to QEMU's limits (32 MiB, 8 MiB). */
#include "cow/layer_stream.h"

#include <string.h>

#include "cow/blank.h"
#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/cluster_runs.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define LEAST_BITS 12
#define MOST_BITS 16
#define BUFFER_BYTES (1 * MIB)
#define MAP_BUDGET (8 * MIB)
#define CACHE_BYTES (8 * MIB)

/* The file in its order, each part whole clusters. */
enum { PART_HEADER, PART_TABLE, PART_BLOCKS, PART_L1, PART_L2, PART_DATA, N_PARTS };

struct LayerStream {
    const Layer *layer;
    char *backing_name;
    guint64 size; /* guest bytes */
    guint32 bits;
    guint64 cluster; /* bytes */
    ChainMap *map, *below;
    ChainReader *reader;

    guint64 n_l1;       /* entries */
    guint8 *l1_used;    /* one bit for each: there is an L2 table */
    guint64 n[N_PARTS]; /* clusters of each part */
    guint64 from[N_PARTS + 1];

    guint8 *buffer; /* bytes made and not yet handed out: [taken, made) */
    gsize taken, made;
    guint part;
    guint64 at;        /* the next cluster of this part */
    guint64 l1_at;     /* the next L1 entry, in the parts L1 and L2 */
    guint64 n_tables;  /* L2 tables named in L1 so far */
    guint64 n_data;    /* data clusters named in L2 tables so far */
    ClusterRuns *runs; /* of the second or third pass */
    ClusterRun rest;   /* of the current run */
    gboolean is_broken;
};

static gboolean used(const LayerStream *s, guint64 index)
{
    return (s->l1_used[index / 8] >> (index % 8)) & 1;
}

static gboolean changed(const LayerStream *s, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "'%s' has changed while it was read",
                layer_label(s->layer));
    return FALSE;
}

/* Make sure that rest is not empty, if there is one more run. */
static gboolean next_run(LayerStream *s, GError **error)
{
    GError *local = NULL;

    if (s->rest.n || cluster_runs_next(s->runs, NULL, &s->rest, &local))
        return TRUE;
    s->rest = (ClusterRun){ 0 };
    if (local)
        g_propagate_error(error, local);
    return !local;
}

static void begin_pass(LayerStream *s)
{
    cluster_runs_free(s->runs);
    s->runs = cluster_runs_new(s->layer, s->below, s->bits);
    s->rest = (ClusterRun){ 0 };
}

/* ---- The plan ---- */

/* Count what there is with clusters of 1 << bits bytes. */
static gboolean count(LayerStream *s, GError **error)
{
    guint64 per_l2 = s->cluster / 8;

    s->n[PART_L2] = s->n[PART_DATA] = 0;
    g_free(s->l1_used);
    s->l1_used = g_malloc0(s->n_l1 / 8 + 1);
    begin_pass(s);
    for (;;) {
        if (!next_run(s, error))
            return FALSE;
        if (!s->rest.n)
            break;
        guint64 last = (s->rest.first + s->rest.n - 1) / per_l2;
        if (last >= s->n_l1)
            return changed(s, error);
        for (guint64 i = s->rest.first / per_l2; i <= last; i++) {
            s->n[PART_L2] += !used(s, i);
            s->l1_used[i / 8] |= (guint8)(1u << (i % 8));
        }
        s->n[PART_DATA] += s->rest.is_zero ? 0 : s->rest.n;
        s->rest.n = 0;
    }
    begin_pass(s); /* the second */
    return TRUE;
}

/* Place everything; FALSE without an error if the refcount table would be too large. */
static gboolean place(LayerStream *s)
{
    guint64 per_block = s->cluster / 2, per_table = s->cluster / 8, *n = s->n;

    n[PART_HEADER] = 1;
    n[PART_TABLE] = n[PART_BLOCKS] = 0;
    n[PART_L1] = (s->n_l1 * 8 + s->cluster - 1) / s->cluster;
    for (;;) { /* the blocks count themselves and the table */
        for (guint i = 0; i < N_PARTS; i++)
            s->from[i + 1] = s->from[i] + n[i];
        guint64 blocks = (s->from[N_PARTS] + per_block - 1) / per_block;
        guint64 table = (blocks + per_table - 1) / per_table;
        if (blocks == n[PART_BLOCKS] && table == n[PART_TABLE])
            return table * s->cluster <= QCOW2_MAX_REFTABLE_BYTES;
        n[PART_BLOCKS] = blocks;
        n[PART_TABLE] = table;
    }
}

static gboolean plan(LayerStream *s, GError **error)
{
    for (s->bits = LEAST_BITS; s->bits <= MOST_BITS; s->bits++) {
        BlankSpec spec = { s->size, s->bits, FALSE, NULL, NULL };
        s->cluster = 1ull << s->bits;
        s->n_l1 = s->size <= G_MAXINT64 ? blank_n_l1(&spec) : G_MAXUINT64;
        if (s->n_l1 > QCOW2_MAX_L1_BYTES / 8)
            continue;
        if (!count(s, error))
            return FALSE;
        if (place(s))
            return TRUE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "a disk of %" G_GUINT64_FORMAT " bytes is too large to be streamed", s->size);
    return FALSE;
}

/* ---- Making the parts: each fills n clusters at to, the part's clusters from s->at on ---- */

static gboolean make_header(LayerStream *s, guint8 *to, guint64 n, GError **error)
{
    BlankSpec spec = { s->size, s->bits, FALSE, s->backing_name, NULL };
    g_autoptr(GByteArray) header =
        blank_header(&spec, (guint32)s->n_l1, s->from[PART_L1] << s->bits,
                     s->from[PART_TABLE] << s->bits, (guint32)s->n[PART_TABLE]);

    if (header->len > s->cluster) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the backing name is too long");
        return FALSE;
    }
    memset(to, 0, n << s->bits);
    memcpy(to, header->data, header->len);
    return TRUE;
}

static gboolean make_table(LayerStream *s, guint8 *to, guint64 n, GError **error)
{
    guint64 first = s->at * (s->cluster / 8);

    memset(to, 0, n << s->bits);
    for (guint64 i = 0; i < n * (s->cluster / 8) && first + i < s->n[PART_BLOCKS]; i++)
        put_be64(to + i * 8, (s->from[PART_BLOCKS] + first + i) << s->bits);
    return TRUE;
}

static gboolean make_blocks(LayerStream *s, guint8 *to, guint64 n, GError **error)
{
    guint64 first = s->at * (s->cluster / 2);

    memset(to, 0, n << s->bits);
    for (guint64 i = 0; i < n * (s->cluster / 2) && first + i < s->from[N_PARTS]; i++)
        to[2 * i + 1] = 1;
    return TRUE;
}

static gboolean make_l1(LayerStream *s, guint8 *to, guint64 n, GError **error)
{
    memset(to, 0, n << s->bits);
    for (guint64 i = 0; i < n * (s->cluster / 8) && s->l1_at < s->n_l1; i++, s->l1_at++)
        if (used(s, s->l1_at))
            put_be64(to + i * 8,
                     ((s->from[PART_L2] + s->n_tables++) << s->bits) | QCOW2_OFLAG_COPIED);
    return TRUE;
}

/* The entries of the table s->l1_at. */
static gboolean make_one_l2(LayerStream *s, guint8 *to, GError **error)
{
    guint64 per_l2 = s->cluster / 8, begin = s->l1_at * per_l2, end = begin + per_l2;

    memset(to, 0, s->cluster);
    for (;;) {
        if (!next_run(s, error))
            return FALSE;
        if (!s->rest.n || s->rest.first >= end)
            return TRUE;
        if (s->rest.first < begin)
            return changed(s, error);
        for (; s->rest.n && s->rest.first < end; s->rest.n--, s->rest.first++) {
            guint64 entry = QCOW2_OFLAG_ZERO;
            if (!s->rest.is_zero)
                entry = ((s->from[PART_DATA] + s->n_data++) << s->bits) | QCOW2_OFLAG_COPIED;
            put_be64(to + (s->rest.first - begin) * 8, entry);
        }
    }
}

static gboolean make_l2(LayerStream *s, guint8 *to, guint64 n, GError **error)
{
    if (s->at == 0)
        s->l1_at = 0;
    for (guint64 i = 0; i < n; i++, s->l1_at++) {
        while (s->l1_at < s->n_l1 && !used(s, s->l1_at))
            s->l1_at++;
        if (s->l1_at >= s->n_l1 || !make_one_l2(s, to + (i << s->bits), error))
            return error && *error ? FALSE : changed(s, error);
    }
    if (s->at + n == s->n[PART_L2] && s->n_data != s->n[PART_DATA])
        return changed(s, error);
    return TRUE;
}

static gboolean make_data(LayerStream *s, guint8 *to, guint64 n, GError **error)
{
    if (s->at == 0)
        begin_pass(s); /* the third */
    while (n > 0) {
        if (!next_run(s, error))
            return FALSE;
        if (!s->rest.n)
            return changed(s, error);
        guint64 now = s->rest.is_zero ? s->rest.n : MIN(n, s->rest.n);
        if (!s->rest.is_zero) {
            guint64 offset = s->rest.first << s->bits, len = now << s->bits;
            guint64 inside = MIN(len, s->size - offset);
            memset(to + inside, 0, len - inside);
            if (!chain_reader_pread(s->reader, to, inside, offset, error))
                return FALSE;
            to += len;
            n -= now;
        }
        s->rest.first += now;
        s->rest.n -= now;
    }
    return TRUE;
}

static gboolean (*const makers[N_PARTS])(LayerStream *, guint8 *, guint64, GError **) = {
    [PART_HEADER] = make_header, [PART_TABLE] = make_table, [PART_BLOCKS] = make_blocks,
    [PART_L1] = make_l1,         [PART_L2] = make_l2,       [PART_DATA] = make_data,
};

/* ---- The interface ---- */

LayerStream *layer_stream_new(Layer *layer, Layer *const *below, guint n_below,
                              const char *backing_name, GError **error)
{
    g_autoptr(LayerStream) s = g_new0(LayerStream, 1);
    g_autofree Layer **all = g_new(Layer *, n_below + 1);

    if (!n_below != !backing_name) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a streamed layer has a parent's name if and only if it has a parent");
        return NULL;
    }
    for (guint i = 0; i < n_below; i++)
        all[i] = below[i];
    all[n_below] = layer;
    s->layer = layer;
    s->backing_name = g_strdup(backing_name);
    s->size = layer_virtual_size(layer);
    s->map = chain_map_new(all, n_below + 1, MAP_BUDGET, error);
    if (!s->map)
        return NULL;
    s->reader = chain_reader_new(s->map, CACHE_BYTES);
    if (n_below && !(s->below = chain_map_new(below, n_below, MAP_BUDGET, error)))
        return NULL;
    if (!plan(s, error))
        return NULL;
    s->buffer = g_malloc(BUFFER_BYTES);
    return g_steal_pointer(&s);
}

void layer_stream_free(LayerStream *s)
{
    if (!s)
        return;
    cluster_runs_free(s->runs);
    chain_reader_free(s->reader);
    chain_map_free(s->map);
    chain_map_free(s->below);
    g_free(s->l1_used);
    g_free(s->buffer);
    g_free(s->backing_name);
    g_free(s);
}

guint64 layer_stream_length(const LayerStream *s)
{
    return s->from[N_PARTS] << s->bits;
}

/* Fill the buffer with the next clusters; made stays 0 at the end. */
static gboolean make_more(LayerStream *s, GError **error)
{
    s->taken = s->made = 0;
    while (s->part < N_PARTS && s->at == s->n[s->part]) {
        s->part++;
        s->at = 0;
    }
    if (s->part == N_PARTS)
        return TRUE;
    guint64 n = MIN(BUFFER_BYTES >> s->bits, s->n[s->part] - s->at);
    if (!makers[s->part](s, s->buffer, n, error))
        return FALSE;
    s->at += n;
    s->made = (gsize)(n << s->bits);
    return TRUE;
}

gssize layer_stream_read(LayerStream *s, void *buffer, gsize max, GError **error)
{
    gsize done = 0;

    if (s->is_broken) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the stream has failed before");
        return -1;
    }
    while (done < max) {
        if (s->taken == s->made && !make_more(s, error)) {
            s->is_broken = TRUE;
            return -1;
        }
        if (s->made == 0)
            break;
        gsize n = MIN(max - done, s->made - s->taken);
        memcpy((guint8 *)buffer + done, s->buffer + s->taken, n);
        s->taken += n;
        done += n;
    }
    return (gssize)done;
}
