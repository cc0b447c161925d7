/* limit_tables.c: read the mapping of many images and count the entries in use, bare.
 *
 *   limit_tables N_THREADS < LIST-OF-FILES
 *
 * Header, L1 table and each L2 table with one pread() each; an entry is looked at only to see
 * whether it is zero.  Prints milliseconds and the number of entries in use. */
#include <fcntl.h>

#include "cow/qcow2.h"
#include "tests/bench/bench.h"

typedef struct {
    GPtrArray *paths;
    gint next;        /* atomic */
    gint64 n_entries; /* under lock */
    GMutex lock;
} Work;

/* Buffers of one thread, reused. */
typedef struct {
    guint8 l1[QCOW2_MAX_L1_BYTES];
    guint8 l2[1u << QCOW2_MAX_CLUSTER_BITS];
} Buffers;

static gint64 count_table(const guint8 *table, gsize bytes, gsize entry_size)
{
    const guint64 *words = (const guint64 *)table;
    gint64 n = 0;

    for (gsize i = 0; i < bytes / 8; i += entry_size / 8)
        n += words[i] != 0;
    return n;
}

static gint64 count_file(const char *path, Buffers *b)
{
    guint8 h[104];
    gint64 n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die("cannot open '%s': %s", path, g_strerror(errno));
    bench_read(fd, h, sizeof h, 0);
    if (be32_at(h) != QCOW2_MAGIC || be32_at(h + 20) > QCOW2_MAX_CLUSTER_BITS ||
        be32_at(h + 36) > QCOW2_MAX_L1_BYTES / 8)
        die("'%s' is no qcow2 image", path);
    gsize cluster = (gsize)1 << be32_at(h + 20), n_l1 = be32_at(h + 36);
    gsize entry_size = be64_at(h + 72) & QCOW2_INCOMPAT_EXTENDED_L2 ? 16 : 8;
    bench_read(fd, b->l1, 8 * n_l1, be64_at(h + 40));
    for (gsize i = 0; i < n_l1; i++) {
        guint64 offset = be64_at(b->l1 + 8 * i) & QCOW2_OFFSET_MASK;
        if (!offset)
            continue;
        bench_read(fd, b->l2, cluster, offset);
        n += count_table(b->l2, cluster, entry_size);
    }
    close(fd);
    return n;
}

static gpointer count_some(gpointer data)
{
    Work *work = data;
    Buffers *buffers = g_new(Buffers, 1);
    gint64 n = 0;

    for (guint i; (i = (guint)g_atomic_int_add(&work->next, 1)) < work->paths->len;)
        n += count_file(work->paths->pdata[i], buffers);
    g_free(buffers);
    g_mutex_lock(&work->lock);
    work->n_entries += n;
    g_mutex_unlock(&work->lock);
    return NULL;
}

int main(int argc, char **argv)
{
    Work work = { .paths = bench_lines() };
    GThread *threads[256];
    guint64 n_threads = bench_number(argc == 2 ? argv[1] : NULL);

    g_set_prgname("limit_tables");
    n_threads = CLAMP(n_threads, 1, G_N_ELEMENTS(threads));
    g_mutex_init(&work.lock);
    double start = bench_now_ms();
    for (guint64 i = 0; i + 1 < n_threads; i++)
        threads[i] = g_thread_new("count", count_some, &work);
    count_some(&work);
    for (guint64 i = 0; i + 1 < n_threads; i++)
        g_thread_join(threads[i]);
    printf("%.3f %" G_GINT64_FORMAT "\n", bench_now_ms() - start, work.n_entries);
    g_ptr_array_unref(work.paths);
    return 0;
}
