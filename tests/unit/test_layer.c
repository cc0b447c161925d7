/* test_layer.c: the tables of one layer, compared with qemu-img map; and malformed ones. */
#include "tests/unit/image_fixture.h"

#define MIXED (24 * MIB + 3 * SECTOR)

static const ImageSpec matrix[] = {
    { "compat=0.10,cluster_size=512", 2 * MIB + SECTOR, 512, 120 },
    { "compat=0.10,cluster_size=4k", MIXED, 4096, 120, TRUE },
    { "compat=0.10,cluster_size=64k", MIXED, 65536, 120, TRUE, TRUE },
    { "compat=1.1,cluster_size=512", 2 * MIB + SECTOR, 512, 120, TRUE },
    { "compat=1.1,cluster_size=4k", MIXED, 4096, 160, TRUE, TRUE },
    { "compat=1.1,cluster_size=64k", MIXED, 65536, 160, TRUE },
    { "compat=1.1,cluster_size=128k,refcount_bits=64", MIXED, 131072, 100, TRUE, TRUE },
    { "compat=1.1,cluster_size=2M", 90 * MIB + SECTOR, 2097152, 80, TRUE },
    { "compat=1.1,cluster_size=64k,refcount_bits=1", MIXED, 65536, 80, TRUE },
    { "compat=1.1,cluster_size=64k,refcount_bits=2", MIXED, 65536, 80, TRUE },
    { "compat=1.1,cluster_size=64k,refcount_bits=8", MIXED, 65536, 80, TRUE, TRUE },
    { "compat=1.1,cluster_size=64k,refcount_bits=32", MIXED, 65536, 80, TRUE, TRUE },
    { "compat=1.1,cluster_size=64k,compression_type=zstd", MIXED, 65536, 120, TRUE },
    { "compat=1.1,cluster_size=64k,lazy_refcounts=on", MIXED, 65536, 80 },
    { "extended_l2=on,cluster_size=16k", MIXED, 16384, 160, TRUE },
    { "extended_l2=on,cluster_size=64k", MIXED, 65536, 160, TRUE, TRUE },
    { "extended_l2=on,cluster_size=128k", MIXED, 131072, 160, TRUE },
    { "extended_l2=on,cluster_size=128k,compression_type=zstd", MIXED, 131072, 160, TRUE, TRUE },
    { "extended_l2=on,cluster_size=2M", 90 * MIB, 2097152, 160, TRUE },
    { "preallocation=metadata,cluster_size=64k", MIXED, 65536, 60 },
    { "preallocation=metadata,extended_l2=on,cluster_size=64k", MIXED, 65536, 60 },
    { "cluster_size=64k", 0, 65536, 0 },
};

static ExtentKind kind_of_entry(json_t *entry)
{
    if (json_integer_value(json_object_get(entry, "depth")) != 0 ||
        !json_is_true(json_object_get(entry, "present")))
        return EXTENT_UNALLOCATED;
    return json_is_true(json_object_get(entry, "data")) ? EXTENT_DATA : EXTENT_ZERO;
}

/* Two maps are compared sector by sector: kind and host offset. */
typedef struct {
    guint8 kind;
    guint64 host;
} Sector;

static Sector *qemu_sectors(const char *name, guint64 size)
{
    g_autofree char *text = run("qemu-img map --output=json -f qcow2 %s", name);
    Sector *sectors = g_new0(Sector, size / SECTOR + 1);
    json_t *map = json_loads(text, 0, NULL), *entry;
    size_t i;

    g_assert_true(json_is_array(map));
    json_array_foreach (map, i, entry) {
        guint64 start = json_integer_value(json_object_get(entry, "start"));
        guint64 length = json_integer_value(json_object_get(entry, "length"));
        json_t *host = json_object_get(entry, "offset");
        for (guint64 at = 0; at < length; at += SECTOR) {
            Sector *s = &sectors[(start + at) / SECTOR];
            s->kind = kind_of_entry(entry);
            /* QEMU gives no offset for compressed clusters. */
            s->host = s->kind == EXTENT_DATA && host ? json_integer_value(host) + at : 0;
        }
    }
    json_decref(map);
    return sectors;
}

static void check_extent(const Extent *e, const Sector *sectors)
{
    for (guint64 at = 0; at < e->length; at += SECTOR) {
        const Sector *s = &sectors[(e->start + at) / SECTOR];
        g_assert_cmpint(s->kind, ==, e->kind == EXTENT_COMPRESSED ? EXTENT_DATA : e->kind);
        if (s->kind == EXTENT_DATA)
            g_assert_cmpuint(s->host, ==, e->kind == EXTENT_COMPRESSED ? 0 : e->host_offset + at);
    }
}

/* Walk [from, to), check each extent and add it up; FALSE never comes back. */
static LayerCounts walk(const Layer *layer, guint64 from, guint64 to, const Sector *sectors)
{
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, from, to);
    guint64 at = from, end = MIN(to, layer_virtual_size(layer));
    LayerCounts counts = { 0 };
    GError *error = NULL;
    Extent e, last = { .kind = 99 };

    while (layer_extents_next(extents, &e, &error)) {
        g_assert_cmpuint(e.start, ==, at);
        g_assert_cmpuint(e.length, >, 0);
        check_extent(&e, sectors);
        if (e.kind == last.kind && e.kind <= EXTENT_ZERO)
            g_test_fail_printf("two alike extents at %" G_GUINT64_FORMAT, e.start);
        layer_counts_add(&counts, &e);
        at += e.length;
        last = e;
    }
    g_assert_no_error(error);
    g_assert_cmpuint(at, ==, MAX(end, from));
    return counts;
}

static void check_seek(const Layer *layer, const Sector *sectors, GRand *rand)
{
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    guint64 size = layer_virtual_size(layer), at = 0;
    GError *error = NULL;
    Extent e;

    while (at < size) {
        layer_extents_seek(extents, at);
        g_assert_true(layer_extents_next(extents, &e, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(e.start, ==, at);
        check_extent(&e, sectors);
        at += e.length + rand_below(rand, size / SECTOR / 20) * SECTOR;
    }
    layer_extents_seek(extents, at);
    g_assert_false(layer_extents_next(extents, &e, &error));
    g_assert_no_error(error);
}

static void check_layer(const char *name, GRand *rand)
{
    GError *error = NULL;
    g_autoptr(Layer) layer = open_image(name, &error);
    LayerCounts counts;

    g_assert_no_error(error);
    guint64 size = layer_virtual_size(layer);
    g_autofree Sector *sectors = qemu_sectors(name, size);
    LayerCounts sums = walk(layer, 0, G_MAXUINT64, sectors);
    g_assert_true(layer_count(layer, &counts, &error));
    g_assert_no_error(error);
    g_assert_cmpmem(&counts, sizeof counts, &sums, sizeof sums);
    for (guint i = 0; i < 40 && size; i++) {
        guint64 from = rand_below(rand, size / SECTOR) * SECTOR;
        walk(layer, from, from + (1 + rand_below(rand, size / SECTOR)) * SECTOR, sectors);
    }
    check_seek(layer, sectors, rand);
}

static void test_matrix(gconstpointer data)
{
    const ImageSpec *s = data;
    guint seed = s - matrix;
    ImageSpec below = { "cluster_size=64k", s->size, 65536, 30 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    make_image(s, "base.qcow2", NULL, seed);
    check_layer("base.qcow2", rand);
    if (s->size && !strstr(s->options, "preallocation")) {
        make_image(&below, "below.qcow2", NULL, seed + 1000);
        make_image(s, "over.qcow2", "below.qcow2", seed + 2000);
        check_layer("over.qcow2", rand);
    }
}

/* ---- Malformed tables ---- */

static const char V2[] = "compat=0.10,cluster_size=64k", V3[] = "compat=1.1,cluster_size=64k",
                  EXT[] = "extended_l2=on,cluster_size=64k";
#define COPIED QCOW2_OFLAG_COPIED
#define PACKED QCOW2_OFLAG_COMPRESSED
#define FAR (1ull << 40)

typedef struct {
    const char *what, *options;
    gboolean in_l1;
    guint64 keep, set; /* entry = (entry & keep) | set */
    guint64 bitmap;    /* EXT: the second word, 0 to leave it alone */
    gboolean is_fine;
} BadEntry;

static const BadEntry bad_entries[] = {
    { "sound", V3, FALSE, ~0ull, 0, 0, TRUE },
    { "zero-flag-with-offset", V3, FALSE, ~0ull, 1, 0, TRUE },
    { "zero-flag-without-offset", V3, FALSE, 0, 1, 0, TRUE },
    { "zero-subcluster-without-offset", EXT, FALSE, 0, 0, 1ull << 32, TRUE },
    { "l1-low-reserved", V3, TRUE, ~0ull, 1 },
    { "l1-high-reserved", V3, TRUE, ~0ull, 1ull << 56 },
    { "l1-bit-62", V3, TRUE, ~0ull, 1ull << 62 },
    { "l1-misaligned", V3, TRUE, ~0ull, 512 },
    { "l1-far", V3, TRUE, 0, FAR | COPIED },
    { "l1-flag-alone", V3, TRUE, 0, COPIED },
    { "v2-zero-flag", V2, FALSE, ~0ull, 1 },
    { "ext-zero-flag", EXT, FALSE, ~0ull, 1 },
    { "reserved-1", V3, FALSE, ~0ull, 2 },
    { "reserved-8", V3, FALSE, ~0ull, 256 },
    { "reserved-56", V3, FALSE, ~0ull, 1ull << 56 },
    { "reserved-61", V2, FALSE, ~0ull, 1ull << 61 },
    { "misaligned", V3, FALSE, ~0ull, 512 },
    { "misaligned-zero", V3, FALSE, ~0ull, 512 | 1 },
    { "far", V3, FALSE, 0, FAR | COPIED },
    { "far-zero", V3, FALSE, 0, FAR | COPIED | 1 },
    { "copied-without-offset", V3, FALSE, 0, COPIED },
    { "both-bits", EXT, FALSE, ~0ull, 0, 0x1ffffffffull },
    { "data-bit-without-offset", EXT, FALSE, 0, 0, 1 },
    { "packed-with-bitmap", EXT, FALSE, 0, PACKED | 0x50000, 1 },
    { "packed-far", V3, FALSE, 0, PACKED | FAR },
    { "packed-copied", V3, FALSE, 0, PACKED | COPIED | 0x50000 },
};

static void check_refused(const char *name, gboolean is_fine)
{
    GError *error = NULL;
    g_autoptr(Layer) layer = open_image(name, &error);
    LayerCounts counts;
    Extent e;

    g_assert_no_error(error);
    g_assert_true(layer_count(layer, &counts, &error) == is_fine);
    if (is_fine) {
        g_assert_no_error(error);
        return;
    }
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_clear_error(&error);
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    while (layer_extents_next(extents, &e, &error))
        ;
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_clear_error(&error);
    /* The end is never mistaken for an error that went by. */
    g_assert_false(layer_extents_next(extents, &e, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_clear_error(&error);
}

static void first_table(const char *name, guint64 *ret_l1, guint64 *ret_l2)
{
    g_autoptr(Layer) layer = open_image(name, NULL);

    *ret_l1 = layer_header(layer)->l1_offset;
    *ret_l2 = layer_l1_entry(layer, 0) & QCOW2_OFFSET_MASK;
}

static void test_bad_entry(gconstpointer data)
{
    const BadEntry *b = data;
    guint64 l1, l2, entry;
    guint8 raw[8];

    g_free(run("qemu-img create -q -f qcow2 -o %s bad.qcow2 8M", b->options));
    run_io("bad.qcow2", "write -q 0 128k");

    first_table("bad.qcow2", &l1, &l2);
    g_autoptr(Layer) layer = open_image("bad.qcow2", NULL);
    g_assert_true(layer_pread(layer, raw, sizeof raw, b->in_l1 ? l1 : l2, NULL));
    entry = (be64_at(raw) & b->keep) | b->set;
    patch_be64("bad.qcow2", b->in_l1 ? l1 : l2, entry);
    if (b->bitmap)
        patch_be64("bad.qcow2", l2 + 8, b->bitmap);
    check_refused("bad.qcow2", b->is_fine);
}

/* One table named by a million L1 entries must not cost a million reads. */
static void test_shared_table(void)
{
    guint64 l1, l2;

    g_free(run("qemu-img create -q -f qcow2 -o cluster_size=512 many.qcow2 1G"));
    run_io("many.qcow2", "write -q 0 512");
    first_table("many.qcow2", &l1, &l2);
    for (guint i = 0; i < 32768; i++)
        patch_be64("many.qcow2", l1 + 8 * i, l2 | COPIED);
    check_refused("many.qcow2", FALSE);
}

/* Random bytes in the tables: an error or not, but never a crash or an extent out of range. */
static void test_random_damage(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (guint round = 0; round < 8; round++) {
        const ImageSpec *s = &matrix[round % 2 ? 15 : 5];
        make_image(s, "damaged.qcow2", NULL, round);
        guint64 l1, l2;
        first_table("damaged.qcow2", &l1, &l2);
        for (guint i = 0; i < 60; i++) {
            guint8 byte = g_rand_int_range(rand, 0, 256);
            guint64 at = g_rand_int_range(rand, 0, 2048);
            patch_bytes("damaged.qcow2", l2 + at, &byte, 1);

            g_autoptr(Layer) layer = open_image("damaged.qcow2", NULL);
            g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
            g_autoptr(GError) error = NULL;
            guint64 end = 0;
            Extent e;
            while (layer_extents_next(extents, &e, &error)) {
                g_assert_cmpuint(e.start, ==, end);
                end += e.length;
            }
            g_assert_cmpuint(end, <=, s->size);
            if (error)
                g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
            else
                g_assert_cmpuint(end, ==, s->size);
        }
    }
}

/* The last data cluster may be cut off by the end of the file, but not be beyond it. */
static void test_short_file(void)
{
    g_autofree char *path = fixture_path("bad.qcow2");
    guint64 l1, l2;
    guint8 raw[8];

    g_free(run("qemu-img create -q -f qcow2 -o %s bad.qcow2 8M", V3));
    run_io("bad.qcow2", "write -q 0 64k");
    first_table("bad.qcow2", &l1, &l2);
    g_autoptr(Layer) layer = open_image("bad.qcow2", NULL);
    g_assert_true(layer_pread(layer, raw, sizeof raw, l2, NULL));
    guint64 data = be64_at(raw) & QCOW2_OFFSET_MASK;
    g_assert_cmpint(truncate(path, data + 1), ==, 0);
    check_refused("bad.qcow2", TRUE);
    g_assert_cmpint(truncate(path, data), ==, 0);
    check_refused("bad.qcow2", FALSE);
}

/* A running desktop's layer grows behind our back: what lies beyond the size that we saw is fine.
 */
static void test_growing_file(void)
{
    LayerCounts counts;
    GError *error = NULL;

    g_free(run("qemu-img create -q -f qcow2 -o %s grows.qcow2 8M", V3));
    run_io("grows.qcow2", "write -q 0 64k");
    g_autoptr(Layer) layer = open_image("grows.qcow2", &error);
    run_io("grows.qcow2", "write -q 1M 2M");
    g_assert_true(layer_count(layer, &counts, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(counts.data_bytes, ==, 2 * MIB + 64 * KIB);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(matrix); i++) {
        g_autofree char *path = g_strdup_printf("/layer/map/%u:%s", i, matrix[i].options);
        g_test_add_data_func(path, &matrix[i], test_matrix);
    }
    for (guint i = 0; i < G_N_ELEMENTS(bad_entries); i++) {
        g_autofree char *path = g_strdup_printf("/layer/malformed/%s", bad_entries[i].what);
        g_test_add_data_func(path, &bad_entries[i], test_bad_entry);
    }
    g_test_add_func("/layer/malformed/shared-table", test_shared_table);
    g_test_add_func("/layer/malformed/random-damage", test_random_damage);
    g_test_add_func("/layer/malformed/short-file", test_short_file);
    g_test_add_func("/layer/growing-file", test_growing_file);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
