/* test_chain.c: what we read from chains, compared with what qemu-img convert makes of them. */
#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "tests/unit/image_fixture.h"

#define MAX_DEPTH 32
#define LEAST_BUDGET (256 * KIB) /* what the map makes of a smaller one */

/* A chain of images on the disk, the base first, opened. */
typedef struct {
    guint n;
    char *names[MAX_DEPTH];
    Layer *layers[MAX_DEPTH];
    guint64 size;     /* of the topmost */
    guint8 *expected; /* its bytes as QEMU reads them */
} Chain;

static void chain_add(Chain *c, const ImageSpec *s, guint seed)
{
    c->names[c->n] = g_strdup_printf("layer%u.qcow2", c->n);
    make_image(s, c->names[c->n], c->n ? c->names[c->n - 1] : NULL, seed);
    c->n++;
}

static void chain_open(Chain *c)
{
    const char *top = c->names[c->n - 1];
    g_autofree char *raw = fixture_path("expected.raw");
    GError *error = NULL;
    gsize length = 0;

    for (guint i = 0; i < c->n; i++) {
        c->layers[i] = open_image(c->names[i], &error);
        g_assert_no_error(error);
    }
    c->size = layer_virtual_size(c->layers[c->n - 1]);
    g_free(run("qemu-img convert -f qcow2 -O raw %s expected.raw", top));
    g_file_get_contents(raw, (char **)&c->expected, &length, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(length, ==, c->size);
}

static void chain_clear(Chain *c)
{
    for (guint i = 0; i < c->n; i++) {
        g_free(c->names[i]);
        layer_free(c->layers[i]);
    }
    g_free(c->expected);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Chain, chain_clear)

static void read_and_compare(const Chain *c, ChainReader *reader, guint64 offset, gsize len)
{
    g_autofree guint8 *buffer = g_malloc(len + 1);
    GError *error = NULL;

    buffer[len] = 0x5a;
    gboolean ok = chain_reader_pread(reader, buffer, len, offset, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    g_assert_cmpint(buffer[len], ==, 0x5a);
    if (memcmp(buffer, c->expected + offset, len) != 0)
        g_error("other bytes than QEMU reads in %" G_GSIZE_FORMAT " at %" G_GUINT64_FORMAT, len,
                offset);
}

static void read_randomly(const Chain *c, ChainReader *reader, GRand *rand, guint n)
{
    for (guint i = 0; i < n; i++) {
        guint64 offset = rand_below(rand, c->size);
        guint64 most = rand_below(rand, 8) ? 70000 : 3 * MIB;
        guint64 len = 1 + rand_below(rand, most);
        read_and_compare(c, reader, offset, MIN(len, c->size - offset));
    }
}

/* The map is sorted, has no gap and names only what is there. */
static gboolean check_next(const MapExtent *e, gpointer data, GError **error)
{
    guint64 *at = data;

    g_assert_cmpuint(e->start, ==, *at);
    g_assert_cmpuint(e->length, >, 0);
    g_assert_cmpint(e->kind, !=, EXTENT_UNALLOCATED);
    *at += e->length;
    return TRUE;
}

static void check_map(ChainMap *map, GRand *rand)
{
    guint64 size = chain_map_size(map), at = 0;
    GError *error = NULL;
    MapExtent e;

    g_assert_true(chain_map_walk(map, 0, G_MAXUINT64, check_next, &at, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(at, ==, size);
    for (guint i = 0; i < 200 && size; i++) {
        guint64 offset = rand_below(rand, size);
        g_assert_true(chain_map_find(map, offset, &e, &error));
        g_assert_no_error(error);
        g_assert_true(e.start <= offset && offset - e.start < e.length);
    }
    g_assert_false(chain_map_find(map, size, &e, &error));
    g_assert_no_error(error);
}

static void chain_check_budget(const Chain *c, guint64 budget, guint64 cache, guint seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(GError) error = NULL;
    g_autoptr(ChainMap) map = chain_map_new(c->layers, c->n, budget, &error);
    g_assert_no_error(error);
    g_autoptr(ChainReader) reader = chain_reader_new(map, cache);
    guint8 byte;

    check_map(map, rand);
    read_randomly(c, reader, rand, 200);
    read_and_compare(c, reader, 0, c->size);
    g_assert_cmpuint(chain_map_memory(map), <=, budget ? MAX(budget, LEAST_BUDGET) : 64 * MIB);

    g_assert_true(chain_reader_pread(reader, &byte, 0, c->size, &error));
    g_assert_false(chain_reader_pread(reader, &byte, 1, c->size, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(chain_reader_pread(reader, &byte, 1, G_MAXUINT64, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

static void chain_check(Chain *c, guint seed)
{
    chain_open(c);
    chain_check_budget(c, 0, 0, seed);
    chain_check_budget(c, 1, 100 * KIB, seed);
}

/* ---- Chains ---- */

#define SIZE (8 * MIB + 5 * SECTOR)
#define SMALL (3 * MIB + SECTOR)
#define LARGE (12 * MIB)

typedef struct {
    const char *what;
    ImageSpec layers[5];
} ChainSpec;

static const ChainSpec chains[] = {
    { "base-512", { { "cluster_size=512", SMALL, 512, 80, TRUE } } },
    { "base-v2", { { "compat=0.10,cluster_size=64k", SIZE, 65536, 60, TRUE, TRUE } } },
    { "base-zstd-2m",
      { { "cluster_size=2M,compression_type=zstd", 40 * MIB + SECTOR, 2097152, 60, TRUE } } },
    { "base-zlib-2m", { { "cluster_size=2M", 40 * MIB, 2097152, 60, TRUE } } },
    { "base-refcount-1", { { "cluster_size=4k,refcount_bits=1", SIZE, 4096, 90, TRUE } } },
    { "base-refcount-64", { { "cluster_size=4k,refcount_bits=64", SIZE, 4096, 90, TRUE, TRUE } } },
    { "two-default",
      { { "cluster_size=64k", SIZE, 65536, 60 },
        { "extended_l2=on,cluster_size=128k", SIZE, 131072, 60 } } },
    { "cluster-sizes",
      { { "cluster_size=2M", SIZE, 2097152, 40, TRUE },
        { "cluster_size=512", SIZE, 512, 60, TRUE },
        { "extended_l2=on,cluster_size=16k", SIZE, 16384, 60, TRUE, TRUE },
        { "cluster_size=128k,compression_type=zstd", SIZE, 131072, 40, TRUE },
        { "cluster_size=4k", SIZE, 4096, 60, TRUE } } },
    { "compressed-below",
      { { "cluster_size=2M,compression_type=zstd", LARGE, 2097152, 40, TRUE },
        { "cluster_size=512", LARGE, 512, 100 } } },
    { "top-larger",
      { { "cluster_size=64k", SMALL, 65536, 40, TRUE },
        { "cluster_size=4k", LARGE, 4096, 60, TRUE } } },
    { "top-smaller",
      { { "cluster_size=64k", LARGE, 65536, 60, TRUE },
        { "cluster_size=64k", SMALL, 65536, 20, TRUE } } },
    { "middle-smaller", /* hides the part of the base that lies beyond its end */
      { { "cluster_size=64k", LARGE, 65536, 90, TRUE },
        { "extended_l2=on,cluster_size=16k", SMALL, 16384, 30, TRUE },
        { "cluster_size=4k", SIZE, 4096, 40, TRUE } } },
    { "middle-larger",
      { { "compat=0.10,cluster_size=64k", SMALL, 65536, 30, TRUE },
        { "cluster_size=512", LARGE, 512, 60 },
        { "compat=0.10,cluster_size=4k", SIZE, 4096, 60, TRUE } } },
    { "empty-top",
      { { "cluster_size=64k", SIZE, 65536, 60 },
        { "extended_l2=on,cluster_size=128k", SIZE, 131072, 0 } } },
    { "prealloc-top",
      { { "cluster_size=64k", SIZE, 65536, 60 },
        { "extended_l2=on,cluster_size=64k,preallocation=metadata", SIZE, 65536, 20 } } },
};

static void test_chain(gconstpointer data)
{
    const ChainSpec *s = data;
    guint seed = 100 * (s - chains);
    g_auto(Chain) c = { 0 };

    for (guint i = 0; i < G_N_ELEMENTS(s->layers) && s->layers[i].size; i++)
        chain_add(&c, &s->layers[i], seed + i);
    chain_check(&c, seed);
}

static void test_depth_32(void)
{
    static const ImageSpec kinds[] = {
        { "extended_l2=on,cluster_size=128k", SIZE, 131072, 12, TRUE },
        { "cluster_size=64k", SIZE, 65536, 8 },
        { "cluster_size=4k,compression_type=zstd", SIZE, 4096, 12, TRUE },
    };
    g_auto(Chain) c = { 0 };

    for (guint i = 0; i < MAX_DEPTH; i++)
        chain_add(&c, &kinds[i % G_N_ELEMENTS(kinds)], 9000 + i);
    chain_check(&c, 32);
}

/* ---- Budget and threads ---- */

/* Every second 4 KiB holds data: as many extents as 4 KiB clusters. */
static void make_fragmented(const char *name, guint64 size)
{
    g_autofree char *raw = fixture_path("fragmented.raw");
    g_autofree char *data = g_malloc0(size);

    for (guint64 at = 0; at < size; at += 8192)
        memset(data + at, 1 + (at >> 13) % 250, 4096);
    g_assert_true(g_file_set_contents(raw, data, size, NULL));
    g_free(
        run("qemu-img convert -f raw -O qcow2 -o cluster_size=4k -S 4k fragmented.raw %s", name));
}

static void chain_open_fragmented(Chain *c)
{
    c->names[c->n++] = g_strdup("fragmented.qcow2");
    make_fragmented("fragmented.qcow2", 64 * MIB);
    c->names[c->n++] = g_strdup("over.qcow2");
    g_free(run("qemu-img create -q -f qcow2 -b fragmented.qcow2 -F qcow2 -o "
               "extended_l2=on,cluster_size=128k over.qcow2"));
    run_io("over.qcow2", "write -q -P 7 1M 300k");
    chain_open(c);
}

static gboolean watch_memory(const MapExtent *e, gpointer data, GError **error)
{
    g_assert_cmpuint(chain_map_memory(data), <=, LEAST_BUDGET);
    return TRUE;
}

static void test_budget(void)
{
    g_auto(Chain) c = { 0 };
    GError *error = NULL;

    chain_open_fragmented(&c);
    g_autoptr(ChainMap) map = chain_map_new(c.layers, c.n, LEAST_BUDGET, &error);
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    g_assert_true(chain_map_walk(map, 0, G_MAXUINT64, watch_memory, map, &error));
    for (guint i = 0; i < 300; i++) {
        MapExtent e;
        guint64 offset = rand_below(rand, c.size);
        g_assert_true(chain_map_find(map, offset, &e, &error));
        g_assert_true(e.start <= offset && offset - e.start < e.length);
        watch_memory(&e, map, &error);
    }
    /* All of it would take ten times the budget: the cache was really in use. */
    g_assert_cmpuint(c.size / 4096 * sizeof(MapExtent), >, 2 * LEAST_BUDGET);
    g_assert_cmpuint(chain_map_memory(map), >, LEAST_BUDGET / 2);
}

typedef struct {
    const Chain *chain;
    ChainReader *reader;
    guint seed;
} Job;

static gpointer read_in_thread(gpointer data)
{
    const Job *job = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(job->seed);

    read_randomly(job->chain, job->reader, rand, 400);
    return NULL;
}

static void read_from_threads(const Chain *c)
{
    g_autoptr(ChainMap) map = chain_map_new(c->layers, c->n, LEAST_BUDGET, NULL);
    g_autoptr(ChainReader) reader = chain_reader_new(map, 256 * KIB);
    GThread *threads[4];
    Job jobs[4];

    for (guint i = 0; i < 4; i++) {
        jobs[i] = (Job){ c, reader, i };
        threads[i] = g_thread_new("reader", read_in_thread, &jobs[i]);
    }
    for (guint i = 0; i < 4; i++)
        g_thread_join(threads[i]);
    g_assert_cmpuint(chain_map_memory(map), <=, LEAST_BUDGET);
}

static void test_threads_fragmented(void)
{
    g_auto(Chain) c = { 0 };

    chain_open_fragmented(&c);
    read_from_threads(&c);
}

static void test_threads_compressed(void)
{
    static const ImageSpec zstd = { "cluster_size=64k,compression_type=zstd", SIZE, 65536, 90,
                                    TRUE },
                           zlib = { "cluster_size=16k", SIZE, 16384, 90, TRUE };
    g_auto(Chain) c = { 0 };

    chain_add(&c, &zstd, 1);
    chain_add(&c, &zlib, 2);
    chain_open(&c);
    read_from_threads(&c);
}

/* ---- Sizes ---- */

/* A huge empty disk costs next to nothing. */
static void test_huge(void)
{
    g_auto(Chain) c = { 0 };
    GError *error = NULL;
    guint64 at = 0;

    for (guint i = 0; i < 2; i++) {
        c.names[i] = g_strdup_printf("huge%u.qcow2", i);
        g_free(run("qemu-img create -q -f qcow2 -o cluster_size=2M %s %uT", c.names[i], 900 + i));
        run_io(c.names[i], "write -q 800T 1M");
        c.layers[c.n++] = open_image(c.names[i], &error);
        g_assert_no_error(error);
    }
    g_autoptr(ChainMap) map = chain_map_new(c.layers, c.n, 0, &error);
    g_assert_true(chain_map_walk(map, 0, G_MAXUINT64, check_next, &at, &error));
    g_assert_cmpuint(at, ==, 901 * TIB);
    g_assert_cmpuint(chain_map_memory(map), <, 64 * KIB);
}

static void test_no_layers(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(chain_map_new(NULL, 0, 0, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

/* ---- Malformed ---- */

static guint64 first_l2_entry(const char *name, guint64 *ret_at)
{
    g_autoptr(Layer) layer = open_image(name, NULL);
    guint8 raw[8];

    *ret_at = layer_l1_entry(layer, 0) & QCOW2_OFFSET_MASK;
    g_assert_true(layer_pread(layer, raw, sizeof raw, *ret_at, NULL));
    return be64_at(raw);
}

/* The image refuses to be read at offset 0, with or without the whole cluster. */
static void check_corrupt(const char *name, gboolean map_too)
{
    g_autoptr(Layer) layer = open_image(name, NULL);
    g_autoptr(ChainMap) map = chain_map_new(&layer, 1, 0, NULL);
    g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
    g_autofree guint8 *buffer = g_malloc(65536);
    GError *error = NULL;
    MapExtent e;

    g_assert_true(chain_map_find(map, 0, &e, &error) == !map_too);
    g_clear_error(&error);
    for (guint len = 512; len <= 65536; len += 65024) {
        g_assert_false(chain_reader_pread(reader, buffer, len, 0, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
        g_clear_error(&error);
    }
}

static void test_bad_cluster(gconstpointer type)
{
    guint64 l2, entry, place, length;
    Qcow2Header h = { .cluster_bits = 16 };
    guint8 zeros[64] = { 0 };

    g_free(
        run("qemu-img create -q -f qcow2 -o compression_type=%s bad.qcow2 8M", (const char *)type));
    run_io("bad.qcow2", "write -q -c -P 1 0 64k");
    entry = first_l2_entry("bad.qcow2", &l2);
    qcow2_compressed_place(&h, entry, &place, &length);

    /* Outside of the file, then at a place that holds something else, then damaged. */
    patch_be64("bad.qcow2", l2, QCOW2_OFLAG_COMPRESSED | 1ull << 40);
    check_corrupt("bad.qcow2", TRUE);
    patch_be64("bad.qcow2", l2, (entry & ~0xfffffull) | 3);
    check_corrupt("bad.qcow2", FALSE);
    patch_be64("bad.qcow2", l2, entry);
    patch_bytes("bad.qcow2", place, zeros, sizeof zeros);
    check_corrupt("bad.qcow2", FALSE);
}

/* Each byte of a compressed cluster damaged in turn: an error or other bytes, never a crash. */
static void test_damaged_stream(gconstpointer type)
{
    guint64 l2, place, length;
    Qcow2Header h = { .cluster_bits = 16 };
    g_autofree guint8 *buffer = g_malloc(65536), *stream = NULL;
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    g_autofree char *raw = fixture_path("some.raw");

    for (guint i = 0; i < 65536; i++)
        buffer[i] = g_rand_int_range(rand, 0, 4);
    g_assert_true(g_file_set_contents(raw, (char *)buffer, 65536, NULL));
    g_free(run("qemu-img convert -c -f raw -O qcow2 -o compression_type=%s some.raw bad.qcow2",
               (const char *)type));
    qcow2_compressed_place(&h, first_l2_entry("bad.qcow2", &l2), &place, &length);
    g_autoptr(Layer) layer = open_image("bad.qcow2", NULL);
    g_autoptr(ChainMap) map = chain_map_new(&layer, 1, 0, NULL);
    stream = g_malloc(length);
    g_assert_true(layer_pread(layer, stream, length, place, NULL));
    for (guint i = 0; i < 300; i++) {
        guint64 at = i < 60 ? i : rand_below(rand, length);
        guint8 byte = stream[at] ^ (1 + rand_below(rand, 255));
        patch_bytes("bad.qcow2", place + at, &byte, 1);
        g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
        g_autoptr(GError) error = NULL;
        if (!chain_reader_pread(reader, buffer, 65536, 0, &error))
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
        patch_bytes("bad.qcow2", place + at, stream + at, 1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
        g_autofree char *path = g_strdup_printf("/chain/read/%s", chains[i].what);
        g_test_add_data_func(path, &chains[i], test_chain);
    }
    g_test_add_func("/chain/read/depth-32", test_depth_32);
    g_test_add_func("/chain/map/budget", test_budget);
    g_test_add_func("/chain/map/huge", test_huge);
    g_test_add_func("/chain/map/no-layers", test_no_layers);
    g_test_add_func("/chain/threads/fragmented", test_threads_fragmented);
    g_test_add_func("/chain/threads/compressed", test_threads_compressed);
    g_test_add_data_func("/chain/malformed/zlib", "zlib", test_bad_cluster);
    g_test_add_data_func("/chain/malformed/zstd", "zstd", test_bad_cluster);
    g_test_add_data_func("/chain/malformed/zlib-stream", "zlib", test_damaged_stream);
    g_test_add_data_func("/chain/malformed/zstd-stream", "zstd", test_damaged_stream);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
