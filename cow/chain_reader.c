/* chain_reader.c: walk the map and fill the buffer.
 *
 * A compressed cluster is decoded as a whole, into the caller's buffer if it wants all of it, else
 * into a buffer that is kept in a small LRU cache.  Decoding happens without the lock: two threads
 * may decode the same cluster at once, and the second one's result is dropped.
 *
 * zlib: qcow2 holds raw deflate data, written with a 4 KiB window but legal up to 32 KiB, so it is
 * inflated in one call with wbits -15.  zstd: one or more frames.  In both cases what follows the
 * stream inside its last sector is somebody else's, and the output must be exactly one cluster. */
#include "cow/chain_reader.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "imaged/base/error.h"

#define DEFAULT_CACHE (16ull << 20)

/* Where a compressed cluster lies.  The length counts: a malformed table may name one place twice
 * with different lengths, and only one of them need decode. */
typedef struct {
    guint64 host_offset;
    guint32 host_length;
    guint32 layer;
} Place;

typedef struct {
    Place place; /* first, so that a Cluster is its own key */
    gatomicrefcount refs;
    gsize size;
    GList lru;
    guint8 data[];
} Cluster;

struct ChainReader {
    ChainMap *map;
    guint64 cache_bytes;

    GMutex lock;          /* what follows */
    GHashTable *clusters; /* Cluster -> itself */
    GQueue lru;           /* the head was used last */
    guint64 cached;       /* bytes */
};

/* ---- Decoding ---- */

typedef struct {
    ZSTD_DCtx *zstd;
    guint8 *input;
    gsize input_size;
} Scratch;

static void scratch_free(gpointer data)
{
    Scratch *s = data;

    ZSTD_freeDCtx(s->zstd);
    g_free(s->input);
    g_free(s);
}

static Scratch *scratch_get(gsize input_size)
{
    static GPrivate scratch = G_PRIVATE_INIT(scratch_free);
    Scratch *s = g_private_get(&scratch);

    if (!s) {
        s = g_new0(Scratch, 1);
        g_private_set(&scratch, s);
    }
    if (s->input_size < input_size) {
        g_free(s->input);
        s->input = g_malloc(input_size);
        s->input_size = input_size;
    }
    return s;
}

static gboolean inflate_cluster(const guint8 *in, gsize in_len, guint8 *out, gsize out_len)
{
    z_stream stream = {
        .next_in = (Bytef *)in, .avail_in = in_len, .next_out = out, .avail_out = out_len
    };

    if (inflateInit2(&stream, -15) != Z_OK)
        return FALSE;
    int ret = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    /* A full buffer is enough: the end mark may be cut off, as QEMU allows. */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && stream.avail_out == 0;
}

/* Frame by frame with the one-shot call, which writes straight to the output and, unlike the
 * streaming one, allocates no window of a size that the frame claims. */
static gboolean unzstd_cluster(Scratch *s, gsize in_len, guint8 *out, gsize out_len)
{
    gsize in_at = 0, out_at = 0;

    if (!s->zstd)
        s->zstd = ZSTD_createDCtx();
    if (!s->zstd)
        return FALSE;
    while (out_at < out_len) {
        gsize frame = ZSTD_findFrameCompressedSize(s->input + in_at, in_len - in_at);
        if (ZSTD_isError(frame) || frame == 0)
            return FALSE;
        gsize n =
            ZSTD_decompressDCtx(s->zstd, out + out_at, out_len - out_at, s->input + in_at, frame);
        if (ZSTD_isError(n))
            return FALSE;
        in_at += frame;
        out_at += n;
    }
    return TRUE;
}

/* Decode the cluster at place into out, which takes one cluster of its layer. */
static gboolean decode(ChainReader *reader, const Place *place, guint8 *out, GError **error)
{
    const Layer *layer = chain_map_layer(reader->map, place->layer);
    const Qcow2Header *h = layer_header(layer);
    Scratch *s = scratch_get(place->host_length);

    if (!layer_pread(layer, s->input, place->host_length, place->host_offset, error))
        return FALSE;
    if (h->compression == QCOW2_ZSTD
            ? unzstd_cluster(s, place->host_length, out, qcow2_cluster_size(h))
            : inflate_cluster(s->input, place->host_length, out, qcow2_cluster_size(h)))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                "'%s': the compressed cluster at %" G_GUINT64_FORMAT
                " does not decode to exactly one cluster",
                layer_label(layer), place->host_offset);
    return FALSE;
}

/* ---- The cache ---- */

static guint place_hash(gconstpointer key)
{
    const Place *p = key;
    guint64 x = (p->host_offset ^ ((guint64)p->layer << 48)) * 0x9e3779b97f4a7c15ull;

    return x >> 32;
}

static gboolean place_equal(gconstpointer a, gconstpointer b)
{
    const Place *p = a, *q = b;

    return p->host_offset == q->host_offset && p->host_length == q->host_length &&
           p->layer == q->layer;
}

static void cluster_unref(gpointer data)
{
    Cluster *c = data;

    if (c && g_atomic_ref_count_dec(&c->refs))
        g_free(c);
}

/* A new reference to the cached cluster, or NULL. */
static Cluster *cache_get(ChainReader *reader, const Place *place)
{
    g_mutex_lock(&reader->lock);
    Cluster *c = g_hash_table_lookup(reader->clusters, place);
    if (c) {
        g_queue_unlink(&reader->lru, &c->lru);
        g_queue_push_head_link(&reader->lru, &c->lru);
        g_atomic_ref_count_inc(&c->refs);
    }
    g_mutex_unlock(&reader->lock);
    return c;
}

static void cache_put(ChainReader *reader, Cluster *c)
{
    if (c->size > reader->cache_bytes)
        return;
    g_mutex_lock(&reader->lock);
    if (!g_hash_table_contains(reader->clusters, c)) {
        while (reader->lru.tail && reader->cached + c->size > reader->cache_bytes) {
            Cluster *oldest = reader->lru.tail->data;
            g_queue_unlink(&reader->lru, &oldest->lru);
            reader->cached -= oldest->size;
            g_hash_table_remove(reader->clusters, oldest);
        }
        g_atomic_ref_count_inc(&c->refs);
        g_hash_table_add(reader->clusters, c);
        g_queue_push_head_link(&reader->lru, &c->lru);
        reader->cached += c->size;
    }
    g_mutex_unlock(&reader->lock);
}

static gboolean read_compressed(ChainReader *reader, const MapExtent *e, guint8 *to, GError **error)
{
    const Qcow2Header *h = layer_header(chain_map_layer(reader->map, e->layer));
    Place place = { e->host_offset, e->host_length, e->layer };
    gsize size = qcow2_cluster_size(h);
    Cluster *c = cache_get(reader, &place);

    if (!c && e->length == size)
        return decode(reader, &place, to, error);
    if (!c) {
        c = g_malloc(sizeof(Cluster) + size);
        *c = (Cluster){ .place = place, .size = size };
        g_atomic_ref_count_init(&c->refs);
        c->lru.data = c;
        if (!decode(reader, &place, c->data, error)) {
            cluster_unref(c);
            return FALSE;
        }
        cache_put(reader, c);
    }
    memcpy(to, c->data + e->skip, e->length);
    cluster_unref(c);
    return TRUE;
}

/* ---- The interface ---- */

ChainReader *chain_reader_new(ChainMap *map, guint64 cache_bytes)
{
    ChainReader *reader = g_new0(ChainReader, 1);

    reader->map = map;
    reader->cache_bytes = cache_bytes ? cache_bytes : DEFAULT_CACHE;
    reader->clusters = g_hash_table_new_full(place_hash, place_equal, cluster_unref, NULL);
    g_mutex_init(&reader->lock);
    return reader;
}

void chain_reader_free(ChainReader *reader)
{
    if (!reader)
        return;
    g_hash_table_unref(reader->clusters);
    g_mutex_clear(&reader->lock);
    g_free(reader);
}

typedef struct {
    ChainReader *reader;
    guint8 *buffer;
    guint64 offset; /* guest offset of the buffer's first byte */
} Request;

static gboolean read_extent(const MapExtent *e, gpointer data, GError **error)
{
    Request *r = data;
    guint8 *to = r->buffer + (e->start - r->offset);

    switch (e->kind) {
    case EXTENT_DATA:
        return layer_pread_data(chain_map_layer(r->reader->map, e->layer), to, e->length,
                                e->host_offset, error);
    case EXTENT_COMPRESSED:
        return read_compressed(r->reader, e, to, error);
    default:
        memset(to, 0, e->length);
        return TRUE;
    }
}

gboolean chain_reader_pread(ChainReader *reader, void *buffer, gsize len, guint64 offset,
                            GError **error)
{
    Request request = { reader, buffer, offset };
    guint64 size = chain_map_size(reader->map);

    if (offset > size || len > size - offset) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "%" G_GSIZE_FORMAT " bytes at %" G_GUINT64_FORMAT
                    " lie beyond the end of the disk",
                    len, offset);
        return FALSE;
    }
    return chain_map_walk(reader->map, offset, offset + len, read_extent, &request, error);
}
