/* limit_read_meta.c: read all metadata of one image, and look at none of it.
 *
 *   limit_read_meta FILE
 *
 * Header, refcount table and blocks, L1 and L2 tables, in file order, with preads as large as what
 * is adjacent allows (up to 4 MiB).  Prints milliseconds and bytes. */
#include <fcntl.h>

#include "cow/qcow2.h"
#include "imaged/base/units.h"
#include "tests/bench/bench.h"

#define READ_BYTES (4 * MIB)

static int compare_u64(const void *a, const void *b)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    return x < y ? -1 : x > y;
}

/* Add the clusters that a table of 8-byte entries names. */
static void add_table(GArray *clusters, int fd, guint64 offset, gsize bytes)
{
    g_autofree guint8 *table = g_malloc(bytes);

    bench_read(fd, table, bytes, offset);
    for (gsize i = 0; i + 8 <= bytes; i += 8) {
        guint64 at = be64_at(table + i) & QCOW2_OFFSET_MASK;
        if (at)
            g_array_append_val(clusters, at);
    }
}

int main(int argc, char **argv)
{
    g_autoptr(GArray) clusters = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autofree guint8 *buffer = g_malloc(READ_BYTES);
    guint64 n_bytes = 0;
    guint8 h[104];

    g_set_prgname("limit_read_meta");
    if (argc != 2)
        die("usage: limit_read_meta FILE");
    double start = bench_now_ms();
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open '%s': %s", argv[1], g_strerror(errno));
    bench_read(fd, h, sizeof h, 0);
    if (be32_at(h) != QCOW2_MAGIC || be32_at(h + 20) > QCOW2_MAX_CLUSTER_BITS ||
        be32_at(h + 36) > QCOW2_MAX_L1_BYTES / 8)
        die("'%s' is no qcow2 image", argv[1]);
    guint64 cluster = 1ull << be32_at(h + 20);
    add_table(clusters, fd, be64_at(h + 48), be32_at(h + 56) * cluster);
    add_table(clusters, fd, be64_at(h + 40), 8ull * be32_at(h + 36));
    qsort(clusters->data, clusters->len, sizeof(guint64), compare_u64);
    for (guint i = 0; i < clusters->len;) {
        guint64 first = g_array_index(clusters, guint64, i), len = 0;
        while (i < clusters->len && len + cluster <= READ_BYTES &&
               g_array_index(clusters, guint64, i) == first + len) {
            len += cluster;
            i++;
        }
        bench_read(fd, buffer, len, first);
        n_bytes += len;
    }
    printf("%.3f %" G_GUINT64_FORMAT "\n", bench_now_ms() - start, n_bytes);
    close(fd);
    return 0;
}
