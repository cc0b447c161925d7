/* fill_overlays.c: let blank layers look as if a guest had written to them.
 *
 *   fill_overlays (--contiguous N | --scattered N) [--seed S] [--data] < LIST-OF-FILES
 *
 * Each file is a blank qcow2 layer (no mapping yet, one cluster of refcount table) and keeps its
 * header and with it its identity.  N guest clusters get host clusters behind the end of the file:
 * the first N in order, or N at random in random order, as random guest writes do.  L2 tables are
 * written as a whole, as QEMU does; the data are holes, or random bytes with --data.  qemu-img
 * check finds nothing wrong afterwards. */
#include <fcntl.h>

#include "cow/qcow2.h"
#include "imaged/base/units.h"
#include "tests/bench/bench.h"

#define WRITE_BYTES (4 * MIB)

typedef struct {
    guint64 n;    /* guest clusters to map */
    guint64 seed; /* of the next file */
    gboolean is_scattered;
    gboolean has_data;
    guint32 *guest, *host; /* sorted guest clusters; host clusters from 0 */
    guint64 room;          /* clusters that guest and host hold */
} Fill;

typedef struct {
    const char *path;
    int fd;
    Qcow2Header h;
    guint64 cluster, end; /* bytes of one, and the file's length, in clusters */
} Image;

static void open_image(Image *image, const char *path)
{
    g_autoptr(GError) error = NULL;
    guint8 first[4096];
    gsize need = 0;

    *image = (Image){ .path = path, .fd = open(path, O_RDWR | O_CLOEXEC) };
    if (image->fd < 0)
        die("cannot open '%s': %s", path, g_strerror(errno));
    guint64 length = (guint64)lseek(image->fd, 0, SEEK_END);
    bench_read(image->fd, first, sizeof first, 0);
    if (!qcow2_header_parse(first, sizeof first, length, &image->h, &need, &error))
        die("'%s': %s", path, error ? error->message : "its header is too long");
    image->cluster = qcow2_cluster_size(&image->h);
    image->end = (length + image->cluster - 1) / image->cluster;
    if (image->h.n_reftable_clusters != 1 || image->h.refcount_order != 4)
        die("'%s' is not a blank layer", path);
}

static int compare_u32(const void *a, const void *b)
{
    guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;

    return x < y ? -1 : x > y;
}

/* Choose the guest clusters among total, and their host clusters. */
static void choose(Fill *f, guint64 total)
{
    guint64 state = f->seed++;
    g_autofree guint64 *taken = g_new0(guint64, total / 64 + 1);

    if (f->n > total || total > G_MAXUINT32)
        die("a disk has only %" G_GUINT64_FORMAT " clusters", total);
    if (f->room < f->n) {
        f->guest = g_renew(guint32, f->guest, f->n);
        f->host = g_renew(guint32, f->host, f->n);
        f->room = f->n;
    }
    for (guint64 i = 0; i < f->n;) {
        guint64 g = f->is_scattered ? bench_random(&state) % total : i;
        if (taken[g / 64] >> (g % 64) & 1)
            continue;
        taken[g / 64] |= 1ull << (g % 64);
        guint64 j = f->is_scattered ? bench_random(&state) % (i + 1) : i;
        f->guest[i] = (guint32)g;
        f->host[i] = f->host[j];
        f->host[j] = (guint32)i;
        i++;
    }
    qsort(f->guest, f->n, sizeof *f->guest, compare_u32);
}

/* Count clusters [first, last) as used once.  The refcount blocks that lack stand from new_block
 * on. */
static void write_refcounts(const Image *image, guint64 first, guint64 last, guint64 new_block)
{
    guint64 per_block = image->cluster / 2;
    g_autofree guint8 *table = g_malloc(image->cluster), *block = g_malloc(image->cluster);

    bench_read(image->fd, table, image->cluster, image->h.reftable_offset);
    for (guint64 b = first / per_block; b * per_block < last; b++) {
        guint64 offset = be64_at(table + 8 * b);
        if (offset) {
            bench_read(image->fd, block, image->cluster, offset);
        } else {
            memset(block, 0, image->cluster);
            offset = new_block++ * image->cluster;
            put_be64(table + 8 * b, offset);
        }
        for (guint64 i = MAX(first, b * per_block); i < MIN(last, (b + 1) * per_block); i++)
            put_be16(block + 2 * (i % per_block), 1);
        bench_write(image->fd, block, image->cluster, offset);
    }
    bench_write(image->fd, table, image->cluster, image->h.reftable_offset);
}

static guint64 blocks_for(const Image *image, guint64 last)
{
    guint64 per_block = image->cluster / 2;

    return (last + per_block - 1) / per_block;
}

/* The L2 tables from cluster l2 on, and the L1 table.  Returns how many tables there are. */
static guint64 write_mapping(const Fill *f, const Image *image, guint64 l2, guint64 data)
{
    guint64 per_l2 = qcow2_n_l2(&image->h), entry_size = qcow2_l2_entry_size(&image->h);
    guint64 n_tables = 0;
    g_autofree guint8 *l1 = g_malloc0(8 * image->h.n_l1), *table = g_malloc(image->cluster);

    bench_read(image->fd, l1, 8 * image->h.n_l1, image->h.l1_offset);
    for (guint64 i = 0; i < f->n; n_tables++) {
        guint64 t = f->guest[i] / per_l2, at = (l2 + n_tables) * image->cluster;
        if (be64_at(l1 + 8 * t))
            die("'%s' has a mapping already", image->path);
        put_be64(l1 + 8 * t, at | QCOW2_OFLAG_COPIED);
        memset(table, 0, image->cluster);
        for (; i < f->n && f->guest[i] / per_l2 == t; i++) {
            guint8 *entry = table + f->guest[i] % per_l2 * entry_size;
            put_be64(entry, ((data + f->host[i]) * image->cluster) | QCOW2_OFLAG_COPIED);
            if (image->h.is_extended_l2)
                put_be64(entry + 8, 0xffffffffu);
        }
        bench_write(image->fd, table, image->cluster, at);
    }
    bench_write(image->fd, l1, 8 * image->h.n_l1, image->h.l1_offset);
    return n_tables;
}

static void write_data(guint64 *seed, const Image *image, guint64 start, guint64 length)
{
    g_autofree guint64 *buffer = g_malloc(WRITE_BYTES);

    for (guint64 i = 0; i < WRITE_BYTES / 8; i++)
        buffer[i] = bench_random(seed);
    for (guint64 done = 0; done < length; done += WRITE_BYTES) {
        buffer[0] = bench_random(seed);
        bench_write(image->fd, buffer, MIN(WRITE_BYTES, length - done), start + done);
    }
    if (fdatasync(image->fd) < 0)
        die("cannot flush '%s': %s", image->path, g_strerror(errno));
}

static guint64 count_tables(const Fill *f, const Image *image)
{
    guint64 per_l2 = qcow2_n_l2(&image->h), n = 0, last = G_MAXUINT64;

    for (guint64 i = 0; i < f->n; i++) {
        n += f->guest[i] / per_l2 != last;
        last = f->guest[i] / per_l2;
    }
    return n;
}

static void fill(Fill *f, const char *path)
{
    Image image;

    open_image(&image, path);
    choose(f, (image.h.virtual_size + image.cluster - 1) / image.cluster);
    /* Behind the end: refcount blocks, L2 tables, data. */
    guint64 have = blocks_for(&image, image.end), need = have;
    guint64 n_tables = count_tables(f, &image), total = 0;
    for (guint64 before = G_MAXUINT64; before != need;) {
        before = need;
        total = image.end + (need - have) + n_tables + f->n;
        need = blocks_for(&image, total);
    }
    guint64 l2 = image.end + (need - have), data = l2 + n_tables;
    write_refcounts(&image, image.end, total, image.end);
    write_mapping(f, &image, l2, data);
    if (f->has_data)
        write_data(&f->seed, &image, data * image.cluster, f->n * image.cluster);
    else if (ftruncate(image.fd, (off_t)(total * image.cluster)) < 0)
        die("cannot extend '%s': %s", path, g_strerror(errno));
    close(image.fd);
    qcow2_header_clear(&image.h);
}

int main(int argc, char **argv)
{
    Fill f = { 0 };

    g_set_prgname("fill_overlays");
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--data")) {
            f.has_data = TRUE;
        } else if (!strcmp(argv[i], "--seed")) {
            f.seed = bench_number(argv[++i]);
        } else if (!strcmp(argv[i], "--contiguous") || !strcmp(argv[i], "--scattered")) {
            f.is_scattered = !strcmp(argv[i], "--scattered");
            f.n = bench_number(argv[++i]);
        } else {
            die("unknown option '%s'", argv[i]);
        }
    }
    g_autoptr(GPtrArray) paths = bench_lines();
    if (!f.n || !paths->len)
        die("usage: fill_overlays (--contiguous N | --scattered N) [--seed S] [--data] < FILES");
    for (guint i = 0; i < paths->len; i++)
        fill(&f, paths->pdata[i]);
    g_free(f.guest);
    g_free(f.host);
    return 0;
}
