/* block_digest.c: see block_digest.h.
 *
 * The layer's tables are walked by one thread, which cuts what they say into tasks of at most 1 MiB
 * and gives each its place in the file; a batch of tasks is then worked off by all processors.  So
 * memory does not depend on the layer, and one big layer is read as fast as many small ones. */
#include "cow/block_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cow/block_digest_file.h"
#include "cow/chain_reader.h"
#include "cow/digest.h"
#include "cow/xxh.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define BLOCK BLOCK_DIGEST_BLOCK
#define PIECE ((gsize)BLOCK_DIGEST_RUN * BLOCK)
#define CACHED (128 * KIB) /* what is read from memory at once stays in the processor's cache */
#define N_TASKS 1024u      /* in a batch */
#define MAX_THREADS 8u
#define LEAST_THREADED 8u /* tasks; fewer are not worth a thread */

/* One record. */
typedef struct {
    guint64 first; /* block */
    guint32 n;
    BlockKind kind;
    gboolean is_compressed;
    guint64 host_offset; /* of uncompressed data */
    guint64 place;       /* of the record in the file */
} Task;

typedef struct {
    const BlockDigestMake *m;
    ChainMap *map; /* of this layer alone, for what is compressed */
    ChainReader *reader;
    int direct; /* the layer's file, past the page cache; or -1 */
    Task *tasks;
    guint n_tasks;
    guint64 place;        /* where the next record goes */
    guint64 last_partial; /* block, or G_MAXUINT64 */
    BlockCounts counts;   /* n_zero_data is added up by the threads */
    gint next;            /* atomic: the task that a thread takes */
    gint has_failed;      /* atomic */
    GMutex lock;          /* guards error */
    GError *error;        /* the first one */
} Make;

BlockHash block_hash(const void *block)
{
    if (digest_block_is_zero(block))
        return (BlockHash){ 0, 0 };
    XXH128_hash_t hash = XXH3_128bits(block, BLOCK);
    BlockHash out = { hash.low64, hash.high64 };
    out.low += block_hash_is_zero(&out);
    return out;
}

/* ---- In the threads ---- */

static gboolean read_direct(const Make *k, const Task *t, guint8 *buffer)
{
    gsize done = 0, len = (gsize)t->n * BLOCK;

    while (done < len) {
        gssize n = pread(k->direct, buffer + done, len - done, (off_t)(t->host_offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || n % BLOCK)
            return FALSE; /* the other way knows what to do */
        done += (gsize)n;
    }
    return TRUE;
}

/* Read on at the offset done of a task: all the rest, or a part. */
static gsize read_task(Make *k, const Task *t, gsize done, guint8 *buffer, GError **error)
{
    gsize len = (gsize)t->n * BLOCK - done, part = MIN(len, CACHED);

    if (t->is_compressed)
        return chain_reader_pread(k->reader, buffer, len, t->first * BLOCK + done, error) ? len : 0;
    if (done == 0 && k->direct >= 0 && len >= 64 * KIB && t->host_offset % BLOCK == 0 &&
        read_direct(k, t, buffer))
        return len;
    return layer_pread_data(k->m->layer, buffer, part, t->host_offset + done, error) ? part : 0;
}

static gboolean hash_task(Make *k, const Task *t, guint8 *buffer, BlockHash *hashes,
                          guint64 *n_zero, GError **error)
{
    gsize len = (gsize)t->n * BLOCK, n;

    for (gsize done = 0; done < len; done += n) {
        n = read_task(k, t, done, buffer, error);
        if (n == 0)
            return FALSE;
        for (gsize at = 0; at < n; at += BLOCK) {
            *hashes = block_hash(buffer + at);
            *n_zero += block_hash_is_zero(hashes++);
        }
    }
    if (k->m->progress)
        k->m->progress(len, k->m->data);
    return TRUE;
}

typedef struct {
    DigestRecord record;
    BlockHash hashes[BLOCK_DIGEST_RUN];
} RecordBuffer;

static gboolean do_task(Make *k, const Task *t, guint8 *buffer, guint64 *n_zero, GError **error)
{
    RecordBuffer out = { .record = { t->first, t->n, t->kind } };
    gsize len = sizeof out.record;

    if (t->kind == BLOCK_DATA) {
        if (!hash_task(k, t, buffer, out.hashes, n_zero, error))
            return FALSE;
        len += t->n * sizeof *out.hashes;
    }
    return durable_write(k->m->to, &out, len, t->place, error);
}

static void fail(Make *k, GError *error)
{
    g_mutex_lock(&k->lock);
    if (k->error)
        g_error_free(error);
    else
        k->error = error;
    g_mutex_unlock(&k->lock);
    g_atomic_int_set(&k->has_failed, 1);
}

static gpointer work(gpointer data)
{
    Make *k = data;
    guint8 *buffer = aligned_alloc(BLOCK, PIECE);
    guint64 n_zero = 0;

    for (;;) {
        guint i = (guint)g_atomic_int_add(&k->next, 1);
        GError *error = NULL;
        if (i >= k->n_tasks || g_atomic_int_get(&k->has_failed))
            break;
        if (k->m->cancel && g_atomic_int_get(k->m->cancel))
            g_set_error(&error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        else
            do_task(k, &k->tasks[i], buffer, &n_zero, &error);
        if (error)
            fail(k, error);
    }
    free(buffer);
    g_mutex_lock(&k->lock);
    k->counts.n_zero_data += n_zero;
    g_mutex_unlock(&k->lock);
    return NULL;
}

/* Work off the tasks that were gathered. */
static gboolean run_batch(Make *k, GError **error)
{
    GThread *threads[MAX_THREADS];
    guint wanted = k->m->n_threads ? k->m->n_threads : g_get_num_processors();
    guint n = k->n_tasks < LEAST_THREADED ? 1 : MIN(wanted, MAX_THREADS);

    k->next = 0;
    for (guint i = 0; i + 1 < n; i++)
        threads[i] = g_thread_new("digest", work, k);
    work(k);
    for (guint i = 0; i + 1 < n; i++)
        g_thread_join(threads[i]);
    k->n_tasks = 0;
    if (k->error)
        g_propagate_error(error, g_steal_pointer(&k->error));
    return !k->has_failed;
}

/* ---- The layer's tables ---- */

static gboolean add_task(Make *k, const Task *task, GError **error)
{
    if (k->n_tasks == N_TASKS && !run_batch(k, error))
        return FALSE;
    Task *t = &k->tasks[k->n_tasks++];
    *t = *task;
    t->place = k->place;
    k->place += sizeof(DigestRecord) + (t->kind == BLOCK_DATA ? t->n * sizeof(BlockHash) : 0);
    k->counts.n_data += t->kind == BLOCK_DATA ? t->n : 0;
    k->counts.n_zero += t->kind == BLOCK_ZERO ? t->n : 0;
    k->counts.n_partial += t->kind == BLOCK_PARTIAL ? t->n : 0;
    return TRUE;
}

/* A block of which an extent covers a part. */
static gboolean add_partial(Make *k, guint64 block, GError **error)
{
    if (k->last_partial == block)
        return TRUE;
    k->last_partial = block;
    return add_task(k, &(Task){ .first = block, .n = 1, .kind = BLOCK_PARTIAL }, error);
}

static gboolean add_whole(Make *k, const Extent *e, guint64 first, guint64 end, GError **error)
{
    guint64 most = e->kind == EXTENT_ZERO ? G_MAXUINT32 : BLOCK_DIGEST_RUN;

    while (first < end) {
        Task t = { .first = first,
                   .n = (guint32)MIN(end - first, most),
                   .kind = e->kind == EXTENT_ZERO ? BLOCK_ZERO : BLOCK_DATA,
                   .is_compressed = e->kind == EXTENT_COMPRESSED,
                   .host_offset = e->host_offset + (first * BLOCK - e->start) };
        if (!add_task(k, &t, error))
            return FALSE;
        first += t.n;
    }
    return TRUE;
}

static gboolean add_extent(Make *k, const Extent *e, GError **error)
{
    guint64 end = e->start + e->length;
    guint64 first = (e->start + BLOCK - 1) / BLOCK, last = end / BLOCK;

    if (e->start % BLOCK && !add_partial(k, e->start / BLOCK, error))
        return FALSE;
    if (!add_whole(k, e, first, last, error))
        return FALSE;
    return end % BLOCK == 0 || end / BLOCK < first || add_partial(k, end / BLOCK, error);
}

static gboolean walk(Make *k, GError **error)
{
    const Layer *layer = k->m->layer;
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, layer_virtual_size(layer));
    GError *local = NULL;
    Extent e;

    while (layer_extents_next(extents, &e, &local)) {
        if (e.kind != EXTENT_UNALLOCATED && !add_extent(k, &e, &local))
            break;
    }
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    return run_batch(k, error);
}

static gboolean make_init(Make *k, const BlockDigestMake *m, GError **error)
{
    Layer *layer = (Layer *)m->layer;
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", layer_fd(layer));

    *k = (Make){ .m = m, .place = sizeof(DigestHeader), .last_partial = G_MAXUINT64 };
    g_mutex_init(&k->lock);
    k->direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    k->tasks = g_new(Task, N_TASKS);
    k->map = chain_map_new_partial(&layer, 1, 0, error);
    if (!k->map)
        return FALSE;
    k->reader = chain_reader_new(k->map, 0);
    return TRUE;
}

static void make_clear(Make *k)
{
    chain_reader_free(k->reader);
    chain_map_free(k->map);
    durable_close(&k->direct);
    g_free(k->tasks);
    g_clear_error(&k->error);
    g_mutex_clear(&k->lock);
}

gboolean block_digest_make(const BlockDigestMake *m, GError **error)
{
    Make k;
    gboolean ok = make_init(&k, m, error) && walk(&k, error) &&
                  digest_file_finish(m->to, m->id, &m->stamp, &k.counts, k.place, error);

    make_clear(&k);
    return ok;
}
