/* layer_pack.c: the calling thread cuts the layer's clusters into jobs, hands them out, and writes
 * the results in the order of the guest; the workers read, find zeros and compress.  Jobs are slots
 * of a ring: a slot is the caller's, then a worker's, then the caller's again, so the lock guards
 * four numbers and a flag alone, and memory does not depend on the image.
 *
 * Each cluster becomes one zstd frame of its own with its own checksum, so that any reader notices
 * damage.  What does not compress becomes a frame of raw blocks, some 13 bytes longer than the
 * cluster: a plain cluster would have to begin at a cluster's boundary, and where such clusters
 * alternate with small ones the gaps cost more than that. */
#include "cow/layer_pack.h"

#include <string.h>
#include <zstd.h>

#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/cluster_runs.h"
#include "cow/digest.h"
#include "cow/pack_file.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define LEVEL 1
#define JOB_BYTES (512 * KIB) /* guest bytes that are read */
#define LEAST_BITS 12
#define MAX_CLUSTERS (JOB_BYTES >> LEAST_BITS)
#define MAX_RUNS 128
#define MAX_ZEROS (1u << 18) /* clusters of one run of zeros, so that cancelling does not wait */
#define MAX_THREADS 8
/* On a busy machine the caller may wait for a processor for some time slices: enough that the
 * workers need not wait for the caller meanwhile. */
#define N_JOBS 40
#define MAP_BUDGET (8 * MIB)
#define CACHE_BYTES (8 * MIB)

typedef struct {
    ClusterRun runs[MAX_RUNS];
    guint n_runs;
    guint32 lengths[MAX_CLUSTERS]; /* of the frames of the clusters read; 0 = all zeros */
    guint8 *out;                   /* the frames, one behind the other */
    gboolean is_done;              /* by lock */
    GError *error;
} Job;

typedef struct {
    const LayerPack *pack;
    guint64 size; /* guest bytes */
    guint32 bits;
    gsize cluster;   /* bytes */
    ChainMap *map;   /* what the guest reads */
    ChainMap *below; /* NULL for a base */
    ChainReader *reader;
    ClusterRuns *runs;
    ClusterRun rest; /* of the run that is being cut */
    PackFile *file;
    guint64 done_bytes, total_bytes, data_bytes;

    Job *jobs;
    guint n_jobs;
    GThread *threads[MAX_THREADS];
    guint n_threads;

    GMutex lock; /* what follows, and is_done */
    GCond given, done;
    guint64 n_given, n_taken, n_collected;
    gboolean stop;
} Packer;

/* ---- Workers ---- */

static gboolean is_zero(const guint8 *data, gsize len)
{
    for (gsize at = 0; at < len; at += DIGEST_BLOCK)
        if (!digest_block_is_zero(data + at))
            return FALSE;
    return TRUE;
}

static gboolean read_run(const Packer *p, const ClusterRun *run, guint8 *buffer, GError **error)
{
    guint64 offset = run->first << p->bits, len = run->n << p->bits;
    guint64 inside = MIN(len, p->size - offset);

    memset(buffer + inside, 0, len - inside);
    return chain_reader_pread(p->reader, buffer, inside, offset, error);
}

static gboolean do_job(const Packer *p, Job *job, ZSTD_CCtx *zstd, guint8 *buffer)
{
    gsize bound = ZSTD_compressBound(p->cluster), out = 0;
    guint k = 0;

    for (guint i = 0; i < job->n_runs; i++) {
        if (job->runs[i].is_zero)
            continue;
        if (!read_run(p, &job->runs[i], buffer, &job->error))
            return FALSE;
        for (guint64 c = 0; c < job->runs[i].n; c++, k++) {
            const guint8 *data = buffer + (c << p->bits);
            job->lengths[k] = 0;
            if (is_zero(data, p->cluster))
                continue;
            gsize len = ZSTD_compress2(zstd, job->out + out, bound + 8, data, p->cluster);
            if (ZSTD_isError(len)) {
                g_set_error(&job->error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "zstd: %s",
                            ZSTD_getErrorName(len));
                return FALSE;
            }
            job->lengths[k] = (guint32)len;
            out += len;
        }
    }
    return TRUE;
}

static gpointer worker(gpointer data)
{
    Packer *p = data;
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    g_autofree guint8 *buffer = g_malloc(JOB_BYTES);

    if (!zstd)
        g_error("out of memory");
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    g_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && p->n_taken == p->n_given)
            g_cond_wait(&p->given, &p->lock);
        if (p->stop)
            break;
        Job *job = &p->jobs[p->n_taken++ % p->n_jobs];
        g_mutex_unlock(&p->lock);
        do_job(p, job, zstd, buffer);
        g_mutex_lock(&p->lock);
        job->is_done = TRUE;
        g_cond_signal(&p->done);
    }
    g_mutex_unlock(&p->lock);
    ZSTD_freeCCtx(zstd);
    return NULL;
}

/* ---- The calling thread ---- */

/* Fill a job with the next clusters.  FALSE on an error; a job of no runs is the end. */
static gboolean plan_job(Packer *p, Job *job, GError **error)
{
    guint64 room = JOB_BYTES >> p->bits;
    GError *local = NULL;

    job->n_runs = 0;
    while (job->n_runs < MAX_RUNS && room > 0) {
        ClusterRun *rest = &p->rest, *last = job->n_runs ? &job->runs[job->n_runs - 1] : NULL;
        if (!rest->n && !cluster_runs_next(p->runs, p->pack->cancel, rest, &local))
            break;
        guint64 n = MIN(rest->n, rest->is_zero ? MAX_ZEROS : room);
        if (last && !last->is_zero && !rest->is_zero && last->first + last->n == rest->first)
            last->n += n; /* the guest's order, though not the file's: one read */
        else
            job->runs[job->n_runs++] = (ClusterRun){ rest->first, n, rest->is_zero };
        room -= rest->is_zero ? 0 : n;
        rest->first += n;
        rest->n -= n;
    }
    if (local)
        g_propagate_error(error, local);
    return !local;
}

static gboolean give_jobs(Packer *p, GError **error)
{
    while (p->n_given - p->n_collected < p->n_jobs) {
        Job *job = &p->jobs[p->n_given % p->n_jobs];
        if (!plan_job(p, job, error))
            return FALSE;
        if (job->n_runs == 0)
            break;
        g_mutex_lock(&p->lock);
        job->is_done = FALSE;
        p->n_given++;
        g_cond_signal(&p->given);
        g_mutex_unlock(&p->lock);
    }
    return TRUE;
}

static gboolean put_zero(Packer *p, guint64 cluster, GError **error)
{
    gint hides = cluster_runs_hides(p->below, cluster << p->bits, p->cluster, error);

    return hides >= 0 && (!hides || pack_file_zero(p->file, cluster, error));
}

static gboolean write_job(Packer *p, const Job *job, GError **error)
{
    const guint8 *frame = job->out;
    const guint32 *length = job->lengths;

    for (guint i = 0; i < job->n_runs; i++) {
        const ClusterRun *run = &job->runs[i];
        for (guint64 c = run->first; c < run->first + run->n; c++) {
            if (run->is_zero || *length == 0) {
                if (!(run->is_zero ? pack_file_zero(p->file, c, error) : put_zero(p, c, error)))
                    return FALSE;
                length += !run->is_zero;
                continue;
            }
            if (!pack_file_frame(p->file, c, frame, *length, error))
                return FALSE;
            frame += *length++;
            p->data_bytes += MIN(p->cluster, p->size - (c << p->bits));
        }
        p->done_bytes += run->is_zero ? 0 : run->n << p->bits;
    }
    return TRUE;
}

static gboolean pack_clusters(Packer *p, GError **error)
{
    for (;;) {
        if (!give_jobs(p, error))
            return FALSE;
        if (p->n_collected == p->n_given)
            return TRUE;
        Job *job = &p->jobs[p->n_collected % p->n_jobs];
        g_mutex_lock(&p->lock);
        while (!job->is_done)
            g_cond_wait(&p->done, &p->lock);
        g_mutex_unlock(&p->lock);
        if (job->error) {
            g_propagate_error(error, g_steal_pointer(&job->error));
            return FALSE;
        }
        if (p->pack->cancel && g_atomic_int_get(p->pack->cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        if (!write_job(p, job, error))
            return FALSE;
        p->n_collected++;
        if (p->pack->progress)
            p->pack->progress(MIN(p->done_bytes, p->total_bytes), p->total_bytes, p->pack->data);
    }
}

/* ---- Setting up ---- */

static gboolean open_maps(Packer *p, GError **error)
{
    const LayerPack *pack = p->pack;
    g_autofree Layer **all = g_new(Layer *, pack->n_below + 1);

    for (guint i = 0; i < pack->n_below; i++)
        all[i] = pack->below[i];
    all[pack->n_below] = pack->layer;
    p->map = chain_map_new(all, pack->n_below + 1, MAP_BUDGET, error);
    if (!p->map)
        return FALSE;
    p->reader = chain_reader_new(p->map, CACHE_BYTES);
    if (pack->n_below)
        p->below = chain_map_new(pack->below, pack->n_below, MAP_BUDGET, error);
    return !pack->n_below || p->below;
}

static gboolean start_workers(Packer *p, GError **error)
{
    guint wanted = p->pack->n_threads ? p->pack->n_threads : g_get_num_processors();
    gsize job_out = (JOB_BYTES >> p->bits) * (ZSTD_compressBound(p->cluster) + 8);

    wanted = CLAMP(wanted, 1, MAX_THREADS);
    p->n_jobs = N_JOBS;
    p->jobs = g_new0(Job, p->n_jobs);
    for (guint i = 0; i < p->n_jobs; i++)
        p->jobs[i].out = g_malloc(job_out);
    for (; p->n_threads < wanted; p->n_threads++) {
        GThread *thread = g_thread_try_new("pack", worker, p, p->n_threads ? NULL : error);
        if (!thread)
            break; /* fewer do it too */
        p->threads[p->n_threads] = thread;
    }
    return p->n_threads > 0;
}

static void stop_workers(Packer *p)
{
    g_mutex_lock(&p->lock);
    p->stop = TRUE;
    g_cond_broadcast(&p->given);
    g_mutex_unlock(&p->lock);
    for (guint i = 0; i < p->n_threads; i++)
        g_thread_join(p->threads[i]);
    p->n_threads = 0;
}

static void packer_clear(Packer *p)
{
    stop_workers(p);
    for (guint i = 0; i < p->n_jobs; i++) {
        g_free(p->jobs[i].out);
        g_clear_error(&p->jobs[i].error);
    }
    g_free(p->jobs);
    pack_file_free(p->file);
    cluster_runs_free(p->runs);
    chain_reader_free(p->reader);
    chain_map_free(p->map);
    chain_map_free(p->below);
    g_mutex_clear(&p->lock);
    g_cond_clear(&p->given);
    g_cond_clear(&p->done);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Packer, packer_clear)

static gboolean finish(Packer *p, PackSummary *ret, GError **error)
{
    if (!pack_file_finish(p->file, &ret->file_length, ret->digest, error))
        return FALSE;
    ret->data_bytes = p->data_bytes;
    return TRUE;
}

gboolean layer_pack(const LayerPack *pack, PackSummary *ret, GError **error)
{
    g_auto(Packer) p = { .pack = pack, .size = layer_virtual_size(pack->layer) };

    g_mutex_init(&p.lock);
    g_cond_init(&p.given);
    g_cond_init(&p.done);
    if (!pack->n_below != !pack->backing_name) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a packed layer has a parent's name if and only if it has a parent");
        return FALSE;
    }
    if (!cluster_runs_choose(pack->layer, !pack->n_below, pack->cancel, &p.bits, &p.total_bytes,
                             error) ||
        !open_maps(&p, error))
        return FALSE;
    BlankSpec spec = { p.size, p.bits, FALSE, pack->backing_name, NULL };
    p.cluster = (gsize)1 << p.bits;
    p.file = pack_file_new(pack->to, &spec, error);
    if (!p.file)
        return FALSE;
    p.runs = cluster_runs_new(pack->layer, p.below, p.bits);
    if (!start_workers(&p, error) || !pack_clusters(&p, error))
        return FALSE;
    stop_workers(&p);
    return finish(&p, ret, error);
}
