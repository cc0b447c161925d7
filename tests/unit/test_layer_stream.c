/* test_layer_stream.c: a stream is a sound image to QEMU that reads as the layer did, has the
 * length it said, its tables first and its data in guest order, however it is read. */
#include "tests/unit/image_fixture.h"

#include "cow/layer_check.h"
#include "cow/layer_stream.h"

#define MAX_DEPTH 3

static const struct {
    ImageSpec specs[MAX_DEPTH];
    guint n;
} chains[] = {
    { { { "cluster_size=64k", 0, 65536, 0, 0, 0 } }, 1 },
    { { { "cluster_size=64k", 1536, 65536, 3, 0, 0 } }, 1 },
    { { { "cluster_size=512", 3 * MIB + 512, 512, 60, 0, 0 },
        { "cluster_size=512", 3 * MIB + 1536, 512, 60, 0, 0 } },
      2 },
    { { { "cluster_size=2M", 40 * MIB, 2 * MIB, 12, TRUE, 0 },
        { "cluster_size=128k,extended_l2=on", 36 * MIB + 512, 131072, 150, 0, 0 },
        { "cluster_size=16k,extended_l2=on", 50 * MIB, 16384, 150, 0, TRUE } },
      3 },
};

/* Read the stream in random pieces of up to most bytes into a new file; its length. */
static guint64 save_stream(LayerStream *stream, const char *name, guint most)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(most);
    g_autofree guint8 *buffer = g_malloc(most);
    g_autofree char *path = fixture_path(name);
    g_autoptr(GError) error = NULL;
    FILE *file = fopen(path, "we");
    guint64 sum = 0;
    gssize got;

    g_assert_nonnull(file);
    do {
        gsize wanted = 1 + rand_below(rand, most);
        got = layer_stream_read(stream, buffer, wanted, &error);
        g_assert_no_error(error);
        g_assert_cmpint(got, >=, 0);
        g_assert_cmpint(fwrite(buffer, 1, (gsize)got, file), ==, got);
        sum += (guint64)got;
    } while (got > 0);
    g_assert_cmpint(layer_stream_read(stream, buffer, 1, &error), ==, 0);
    g_assert_cmpint(fclose(file), ==, 0);
    g_assert_cmpuint(sum, ==, layer_stream_length(stream));
    return sum;
}

static void stream_file(const char *name, Layer *const *layers, guint i, const char *backing,
                        guint most)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(LayerStream) stream = layer_stream_new(layers[i], layers, i, backing, &error);

    g_assert_no_error(error);
    save_stream(stream, name, most);
}

/* Sound, and data lies behind all tables, in guest order. */
static void check_streamed(const char *name, guint64 cluster)
{
    g_auto(LayerCheck) check = { 0 };
    g_autoptr(GError) error = NULL;
    Extent e;
    guint64 next = 0;

    g_free(run("qemu-img check -q -f qcow2 %s", name));
    g_autoptr(Layer) layer = open_image(name, &error);
    g_assert_no_error(error);
    g_assert_true(layer_check(layer, NULL, NULL, NULL, &check, &error));
    g_assert_cmpuint(check.n_errors + check.n_leaks, ==, 0);
    g_assert_cmpuint(qcow2_cluster_size(layer_header(layer)), ==, cluster);
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    while (layer_extents_next(extents, &e, &error)) {
        if (e.kind != EXTENT_DATA)
            continue;
        if (next)
            g_assert_cmpuint(e.host_offset, ==, next);
        next = e.host_offset + ((e.length + cluster - 1) & ~(cluster - 1));
    }
    g_assert_no_error(error);
    g_assert_true(!next || next == layer_file_size(layer));
}

static void test_chain(gconstpointer data)
{
    guint number = GPOINTER_TO_UINT(data), n = chains[number].n;
    Layer *layers[MAX_DEPTH];
    g_autofree char *below = NULL;

    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("l%u", i), *parent = g_strdup_printf("l%u", i - 1);
        g_autofree char *made = g_strdup_printf("s%u.qcow2", i);
        make_image(&chains[number].specs[i], name, i ? parent : NULL, 500 * number + i);
        layers[i] = open_image(name, NULL);
        stream_file(made, layers, i, below, 3 * MIB);
        stream_file("again", layers, i, below, 70000);
        g_free(run("cmp again %s", made));
        check_streamed(made, 4096);
        g_free(run("qemu-img compare -q -f qcow2 -F qcow2 %s %s", made, name));
        g_free(below);
        below = g_steal_pointer(&made);
    }
    for (guint i = 0; i < n; i++)
        layer_free(layers[i]);
}

/* The same guest makes the same stream, whatever the size of the file's clusters was. */
static void test_layouts(void)
{
    static const char *const layouts[] = { "cluster_size=64k", "cluster_size=128k,extended_l2=on",
                                           "cluster_size=2M" };
    g_autofree char *first = NULL;

    g_free(run("qemu-img create -q -f qcow2 one 30M"));
    run_io("one", "write -q -P 9 0 2M");
    run_io("one", "write -q -P 7 20M 4M");
    for (guint i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_free(run("qemu-img convert %s -O qcow2 -o %s one other", i == 1 ? "-c" : "", layouts[i]));
        Layer *layer = open_image("other", NULL);
        stream_file("stream", &layer, 0, NULL, MIB);
        g_autofree char *hash = run("b2sum stream");
        if (i)
            g_assert_cmpstr(hash, ==, first);
        else
            first = g_steal_pointer(&hash);
        layer_free(layer);
    }
}

/* Beyond 8 TiB the L1 table of 4 KiB clusters would be too large for QEMU. */
static void test_large(void)
{
    static const struct {
        const char *size;
        guint64 cluster;
    } sizes[] = { { "8T", 4096 }, { "9T", 8192 }, { "63T", 16384 } };

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_free(run("qemu-img create -q -f qcow2 -o cluster_size=2M big %s", sizes[i].size));
        run_io("big", "write -q -P 3 7T 64k");
        run_io("big", "write -q -P 4 1M 3M");
        Layer *layer = open_image("big", NULL);
        stream_file("big.s", &layer, 0, NULL, MIB);
        check_streamed("big.s", sizes[i].cluster);
        g_free(run("qemu-img compare -q big big.s"));
        layer_free(layer);
    }
}

/* Damage below shows as an error, again and again, never as an end. */
static void test_damage(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *buffer = g_malloc(MIB);
    gssize got = 1;
    Extent e;

    g_free(run("qemu-img create -q -f qcow2 plain 8M"));
    run_io("plain", "write -q -P 3 1M 2M");
    g_free(run("qemu-img convert -c -O qcow2 -o compression_type=zstd plain zip"));
    g_autoptr(Layer) layer = open_image("zip", NULL);
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    while (layer_extents_next(extents, &e, NULL) && e.kind != EXTENT_COMPRESSED)
        ;
    patch_bytes("zip", e.host_offset, "broken", 6);
    g_autoptr(LayerStream) stream = layer_stream_new(layer, NULL, 0, NULL, &error);
    g_assert_no_error(error);
    while (got > 0)
        got = layer_stream_read(stream, buffer, 10000, &error);
    g_assert_cmpint(got, ==, -1);
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_cmpint(layer_stream_read(stream, buffer, 10000, &error), ==, -1);
    g_assert_nonnull(error);
}

static void test_refused(void)
{
    g_autoptr(GError) error = NULL;

    g_free(run("qemu-img create -q -f qcow2 one 1M"));
    Layer *layer = open_image("one", NULL);
    g_assert_null(layer_stream_new(layer, &layer, 1, NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_null(layer_stream_new(layer, NULL, 0, "name", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    layer_free(layer);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
        g_autofree char *path = g_strdup_printf("/layer-stream/chain/%u", i);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_chain);
    }
    g_test_add_func("/layer-stream/layouts", test_layouts);
    g_test_add_func("/layer-stream/large", test_large);
    g_test_add_func("/layer-stream/damage", test_damage);
    g_test_add_func("/layer-stream/refused", test_refused);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
