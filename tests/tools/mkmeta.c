/* mkmeta.c: make a qcow2 image that has metadata and no data, for benchmarks and report tests.
 *
 *   mkmeta --size 1T [--cluster 65536] [--extended] [--backing NAME]
 *          [--map-contiguous N | --map-scattered N [--seed S] | --map-range START LENGTH] FILE
 *   mkmeta --into [--map-...] FILE
 *
 * With --into FILE is an image that exists: its header (size, geometry, backing file, extensions)
 * stays, and what it mapped is replaced.
 *
 * The image is consistent (qemu-img check finds nothing); the data clusters are holes.  Without a
 * --map option every guest cluster is mapped.  --map-scattered takes N guest clusters at random and
 * gives them host clusters in random order, as random guest writes do.
 *
 * Layout: header | refcount table | refcount blocks | L1 | L2 tables | data.  All clusters of the
 * file are in use once, so every refcount is 1. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cow/qcow2.h"
#include "imaged/base/units.h"

#define WRITE_BYTES (4u << 20)
#define HEADER_LENGTH 112u

typedef struct {
    const char *file;
    const char *backing;
    gboolean is_into;
    guint8 *header; /* into: the first cluster of the file that exists */
    guint64 size, cluster, seed;
    gboolean is_extended;
    guint64 first, n_mapped; /* guest clusters */
    gboolean is_scattered;
    guint32 *guest, *host; /* scattered: sorted guest clusters, and the host's, both from 0 */
    /* The layout, in clusters. */
    guint64 per_l2, n_l1, n_l2, n_blocks, reftable_clusters, l1_clusters, n_total;
    guint64 l2_start, data_start;
    guint cluster_bits;
    int fd;
} Maker;

static void die(const char *format, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;
static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("mkmeta: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static guint64 parse(const char *text)
{
    GError *error = NULL;
    guint64 n = 0;

    if (!text)
        die("an option lacks its argument");
    if (!units_parse_size(text, &n, &error))
        die("%s", error->message);
    return n;
}

static guint64 div_up(guint64 a, guint64 b)
{
    return a / b + (a % b != 0);
}

/* Take size and geometry from the file that exists. */
static void open_existing(Maker *m)
{
    guint8 first[104];

    m->fd = open(m->file, O_RDWR | O_CLOEXEC);
    if (m->fd < 0 || pread(m->fd, first, sizeof first, 0) != sizeof first ||
        be32_at(first) != QCOW2_MAGIC || be32_at(first + 4) != 3)
        die("'%s' is not a qcow2 file of version 3", m->file);
    guint32 bits = be32_at(first + 20);
    if (bits < 9 || bits > 21)
        die("'%s' has clusters of a strange size", m->file);
    m->cluster = 1ull << bits;
    m->size = be64_at(first + 24);
    m->is_extended = (be64_at(first + 72) & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    m->header = g_malloc0(m->cluster);
    if (pread(m->fd, m->header, m->cluster, 0) <= 0 || ftruncate(m->fd, 0) < 0)
        die("cannot read '%s': %s", m->file, g_strerror(errno));
}

static void parse_arguments(Maker *m, int argc, char **argv)
{
    guint64 range_start = 0, range_length = G_MAXUINT64, n = G_MAXUINT64;

    m->cluster = 65536;
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *next = argv[i + 1];

        if (!strcmp(option, "--extended")) {
            m->is_extended = TRUE;
            continue;
        } else if (!strcmp(option, "--into")) {
            m->is_into = TRUE;
            continue;
        } else if (option[0] != '-') {
            m->file = option;
            continue;
        }
        i++;
        if (!strcmp(option, "--size")) {
            m->size = parse(next);
        } else if (!strcmp(option, "--cluster")) {
            m->cluster = parse(next);
        } else if (!strcmp(option, "--backing")) {
            m->backing = next;
        } else if (!strcmp(option, "--seed")) {
            m->seed = parse(next);
        } else if (!strcmp(option, "--map-contiguous") || !strcmp(option, "--map-scattered")) {
            n = parse(next);
            m->is_scattered = !strcmp(option, "--map-scattered");
        } else if (!strcmp(option, "--map-range")) {
            range_start = parse(next);
            range_length = parse(next ? argv[++i] : NULL);
        } else {
            die("unknown option '%s'", option);
        }
    }
    if (m->is_into && m->file)
        open_existing(m);
    if (!m->file || m->size == 0 || m->size % 512 || m->size > 1ull << 50 || m->cluster < 512 ||
        m->cluster > 2 * MIB || (m->cluster & (m->cluster - 1)) ||
        (m->is_extended && m->cluster < 16384) ||
        (m->backing && strlen(m->backing) > MIN(1023, m->cluster - 256)))
        die("usage: mkmeta --size SIZE [--cluster BYTES] [--extended] [--backing NAME] "
            "[--map-contiguous N | --map-scattered N [--seed S] | --map-range START LENGTH] FILE");
    m->cluster_bits = (guint)__builtin_ctzll(m->cluster);
    guint64 total = div_up(m->size, m->cluster);
    m->first = MIN(range_start / m->cluster, total);
    guint64 end = range_length < m->size - MIN(range_start, m->size)
                      ? div_up(range_start + range_length, m->cluster)
                      : total;
    m->n_mapped = MIN(n, end - m->first);
}

/* A small, good generator (splitmix64): the same seed gives the same image everywhere. */
static guint64 next_random(guint64 *state)
{
    guint64 z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static int compare_u32(const void *a, const void *b)
{
    guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;

    return x < y ? -1 : x > y;
}

/* Choose n_mapped distinct guest clusters, and a random order of host clusters for them. */
static void scatter(Maker *m)
{
    guint64 total = div_up(m->size, m->cluster), state = m->seed;
    g_autofree guint64 *taken = g_new0(guint64, total / 64 + 1);

    if (total > G_MAXUINT32)
        die("too many clusters to scatter");
    m->guest = g_new(guint32, m->n_mapped + 1);
    m->host = g_new(guint32, m->n_mapped + 1);
    for (guint64 i = 0; i < m->n_mapped;) {
        guint64 g = next_random(&state) % total;
        if (taken[g / 64] >> (g % 64) & 1)
            continue;
        taken[g / 64] |= 1ull << (g % 64);
        m->guest[i] = (guint32)g;
        guint64 j = next_random(&state) % (i + 1);
        m->host[i] = m->host[j];
        m->host[j] = (guint32)i;
        i++;
    }
    qsort(m->guest, m->n_mapped, sizeof *m->guest, compare_u32);
}

static guint64 guest_cluster(const Maker *m, guint64 i)
{
    return m->is_scattered ? m->guest[i] : m->first + i;
}

static void lay_out(Maker *m)
{
    guint64 per_block = m->cluster / 2, last = G_MAXUINT64;

    m->per_l2 = m->cluster / (m->is_extended ? 16 : 8);
    m->n_l1 = div_up(div_up(m->size, m->cluster), m->per_l2);
    if (m->n_l1 * 8 > QCOW2_MAX_L1_BYTES)
        die("clusters of this size cannot map so large an image");
    m->l1_clusters = div_up(8 * m->n_l1, m->cluster);
    if (m->is_scattered) {
        for (guint64 i = 0; i < m->n_mapped; i++) {
            m->n_l2 += m->guest[i] / m->per_l2 != last;
            last = m->guest[i] / m->per_l2;
        }
    } else if (m->n_mapped) {
        m->n_l2 = (m->first + m->n_mapped - 1) / m->per_l2 - m->first / m->per_l2 + 1;
    }
    for (guint64 before = G_MAXUINT64; before != m->n_total;) {
        before = m->n_total;
        m->n_blocks = div_up(MAX(m->n_total, 1), per_block);
        m->reftable_clusters = div_up(8 * m->n_blocks, m->cluster);
        m->l2_start = 1 + m->reftable_clusters + m->n_blocks + m->l1_clusters;
        m->data_start = m->l2_start + m->n_l2;
        m->n_total = m->data_start + m->n_mapped;
    }
    if (m->reftable_clusters * m->cluster > QCOW2_MAX_REFTABLE_BYTES)
        die("clusters of this size cannot hold so large an image");
}

static void write_at(const Maker *m, const void *data, gsize len, guint64 offset)
{
    const guint8 *at = data;

    while (len > 0) {
        gssize n = pwrite(m->fd, at, len, (off_t)offset);
        if (n <= 0)
            die("cannot write '%s': %s", m->file, g_strerror(errno));
        at += n;
        len -= n;
        offset += n;
    }
}

static void write_header(const Maker *m)
{
    g_autofree guint8 *h = m->header ? g_memdup2(m->header, m->cluster) : g_malloc0(m->cluster);

    if (m->header) {
        put_be32(h + 36, (guint32)m->n_l1);
        put_be64(h + 40, (1 + m->reftable_clusters + m->n_blocks) * m->cluster);
        put_be64(h + 48, m->cluster);
        put_be32(h + 56, (guint32)m->reftable_clusters);
        write_at(m, h, m->cluster, 0);
        return;
    }
    put_be32(h, QCOW2_MAGIC);
    put_be32(h + 4, 3);
    put_be32(h + 20, m->cluster_bits);
    put_be64(h + 24, m->size);
    put_be32(h + 36, (guint32)m->n_l1);
    put_be64(h + 40, (1 + m->reftable_clusters + m->n_blocks) * m->cluster);
    put_be64(h + 48, m->cluster);
    put_be32(h + 56, (guint32)m->reftable_clusters);
    put_be64(h + 72, m->is_extended ? QCOW2_INCOMPAT_EXTENDED_L2 : 0);
    put_be32(h + 96, 4);
    put_be32(h + 100, HEADER_LENGTH);
    if (m->backing) {
        gsize at = HEADER_LENGTH, len = strlen(m->backing);
        put_be32(h + at, QCOW2_EXT_BACKING_FORMAT);
        put_be32(h + at + 4, 5);
        memcpy(h + at + 8, "qcow2", 5);
        at += 24; /* with the end mark, which is zeros */
        put_be64(h + 8, at);
        put_be32(h + 16, (guint32)len);
        memcpy(h + at, m->backing, len);
    }
    write_at(m, h, m->cluster, 0);
}

static void write_refcounts(const Maker *m)
{
    guint64 len = m->n_blocks * m->cluster, start = 1 + m->reftable_clusters;
    g_autofree guint8 *table = g_malloc0(m->reftable_clusters * m->cluster);
    g_autofree guint8 *blocks = g_malloc0(len);

    for (guint64 i = 0; i < m->n_blocks; i++)
        put_be64(table + 8 * i, (start + i) * m->cluster);
    for (guint64 i = 0; i < m->n_total; i++)
        put_be16(blocks + 2 * i, 1);
    write_at(m, table, m->reftable_clusters * m->cluster, m->cluster);
    write_at(m, blocks, len, start * m->cluster);
}

static void write_mapping(const Maker *m)
{
    guint64 batch = MAX(1, WRITE_BYTES / m->cluster), n_tables = 0, last = G_MAXUINT64;
    g_autofree guint8 *l1 = g_malloc0(m->l1_clusters * m->cluster);
    g_autofree guint8 *buffer = g_malloc0(batch * m->cluster);

    for (guint64 i = 0; i < m->n_mapped; i++) {
        guint64 g = guest_cluster(m, i), host = m->data_start + (m->host ? m->host[i] : i);

        if (g / m->per_l2 != last) {
            if (n_tables > 0 && n_tables % batch == 0) {
                write_at(m, buffer, batch * m->cluster,
                         (m->l2_start + n_tables - batch) * m->cluster);
                memset(buffer, 0, batch * m->cluster);
            }
            last = g / m->per_l2;
            put_be64(l1 + 8 * last, ((m->l2_start + n_tables) * m->cluster) | QCOW2_OFLAG_COPIED);
            n_tables++;
        }
        guint8 *entry = buffer + (n_tables - 1) % batch * m->cluster +
                        g % m->per_l2 * (m->is_extended ? 16 : 8);
        put_be64(entry, (host * m->cluster) | QCOW2_OFLAG_COPIED);
        if (m->is_extended)
            put_be64(entry + 8, 0xffffffffu); /* all subclusters hold data */
    }
    guint64 rest = n_tables ? (n_tables - 1) % batch + 1 : 0;
    write_at(m, buffer, rest * m->cluster, (m->l2_start + n_tables - rest) * m->cluster);
    write_at(m, l1, m->l1_clusters * m->cluster,
             (1 + m->reftable_clusters + m->n_blocks) * m->cluster);
}

int main(int argc, char **argv)
{
    Maker m = { 0 };

    parse_arguments(&m, argc, argv);
    if (!m.is_into)
        m.fd = open(m.file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (m.fd < 0)
        die("cannot create '%s': %s", m.file, g_strerror(errno));
    if (m.is_scattered)
        scatter(&m);
    lay_out(&m);
    write_header(&m);
    write_refcounts(&m);
    write_mapping(&m);
    if (ftruncate(m.fd, (off_t)(m.n_total * m.cluster)) < 0)
        die("cannot extend '%s': %s", m.file, g_strerror(errno));
    close(m.fd);
    g_free(m.guest);
    g_free(m.host);
    g_free(m.header);
    return 0;
}
