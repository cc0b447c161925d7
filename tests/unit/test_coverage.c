/* test_coverage.c: sums over chains, compared with a walk over the map of the same chain, whose
 * contents test_chain.c compares with QEMU's. */
#include "cow/chain_map.h"
#include "cow/coverage.h"
#include "tests/unit/image_fixture.h"

#define DEPTH 6

static gboolean add_data(const MapExtent *e, gpointer data, GError **error)
{
    guint8 *sectors = data;

    if (e->kind == EXTENT_DATA || e->kind == EXTENT_COMPRESSED)
        memset(sectors + e->start / SECTOR, 1, e->length / SECTOR);
    return TRUE;
}

/* One byte per sector of the chain: is it data? */
static guint8 *walk(Layer **layers, guint n)
{
    guint64 size = layer_virtual_size(layers[n - 1]);
    guint8 *sectors = g_malloc0(size / SECTOR + 1);
    GError *error = NULL;
    g_autoptr(ChainMap) map = chain_map_new(layers, n, 0, &error);

    g_assert_no_error(error);
    g_assert_true(chain_map_walk(map, 0, size, add_data, sectors, &error));
    g_assert_no_error(error);
    return sectors;
}

static guint64 count(const guint8 *sectors, guint64 from, guint64 to)
{
    guint64 n = 0;

    for (guint64 i = from; i < to; i++)
        n += sectors[i];
    return n * SECTOR;
}

static void check_sums(const Coverage *c, const guint8 *sectors, guint64 size, GRand *rand)
{
    guint64 n = size / SECTOR;

    g_assert_cmpuint(coverage_total(c), ==, count(sectors, 0, n));
    g_assert_cmpuint(coverage_bytes_in(c, 0, G_MAXUINT64), ==, coverage_total(c));
    g_assert_cmpuint(coverage_bytes_in(c, size, G_MAXUINT64), ==, 0);
    for (guint i = 0; i < 300; i++) {
        guint64 from = rand_below(rand, n), to = from + rand_below(rand, n - from + 1);
        g_assert_cmpuint(coverage_bytes_in(c, from * SECTOR, (to - from) * SECTOR), ==,
                         count(sectors, from, to));
    }
}

/* Stand one layer after another on the chain and compare at each step. */
static void check_chain(Layer **layers, guint n, GRand *rand)
{
    g_autoptr(Coverage) below = NULL;
    GError *error = NULL;

    for (guint i = 0; i < n; i++) {
        g_autoptr(Coverage) c = coverage_of_layer(layers[i], below, &error);
        g_autofree guint8 *sectors = walk(layers, i + 1);
        guint64 size = layer_virtual_size(layers[i]);
        LayerCounts own;
        DiffCounts diff;

        g_assert_no_error(error);
        check_sums(c, sectors, size, rand);
        g_assert_true(coverage_count_diff(layers[i], below, &diff, &error));
        g_assert_true(layer_count(layers[i], &own, &error));
        g_assert_cmpmem(&diff.own, sizeof diff.own, &own, sizeof own);
        g_assert_cmpuint(diff.flattened_bytes, ==, coverage_total(c));
        coverage_unref(below);
        below = coverage_ref(c);
    }
}

static void test_chain(gconstpointer data)
{
    static const ImageSpec kinds[] = {
        { "cluster_size=64k", 12 * MIB + SECTOR, 65536, 60, TRUE },
        { "extended_l2=on,cluster_size=128k", 12 * MIB + SECTOR, 131072, 60 },
        { "cluster_size=512", 3 * MIB, 512, 60 },
        { "extended_l2=on,cluster_size=16k", 8 * MIB, 16384, 60, TRUE, TRUE },
        { "compat=0.10,cluster_size=4k", 5 * MIB + SECTOR, 4096, 60, TRUE },
        { "cluster_size=2M,compression_type=zstd", 20 * MIB, 2097152, 30, TRUE },
        { "cluster_size=64k", 12 * MIB, 65536, 0 },
    };
    guint seed = GPOINTER_TO_UINT(data);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    Layer *layers[DEPTH];
    g_autofree char *below = NULL;

    for (guint i = 0; i < DEPTH; i++) {
        const ImageSpec *s = &kinds[rand_below(rand, G_N_ELEMENTS(kinds))];
        char *name = g_strdup_printf("layer%u.qcow2", i);
        GError *error = NULL;

        make_image(s, name, below, 100 * seed + i);
        layers[i] = open_image(name, &error);
        g_assert_no_error(error);
        g_free(below);
        below = name;
    }
    check_chain(layers, DEPTH, rand);
    for (guint i = 0; i < DEPTH; i++)
        layer_free(layers[i]);
}

static void test_empty(void)
{
    DiffCounts diff;

    g_free(run("qemu-img create -q -f qcow2 empty.qcow2 1G"));
    g_autoptr(Layer) layer = open_image("empty.qcow2", NULL);
    g_autoptr(Coverage) none = coverage_of_layer(layer, NULL, NULL);
    g_autoptr(Coverage) still_none = coverage_of_layer(layer, none, NULL);
    g_assert_cmpuint(coverage_total(none), ==, 0);
    g_assert_cmpuint(coverage_bytes_in(none, 0, G_MAXUINT64), ==, 0);
    g_assert_cmpuint(coverage_total(still_none), ==, 0);
    g_assert_cmpuint(coverage_memory(none), <, KIB);
    g_assert_true(coverage_count_diff(layer, none, &diff, NULL));
    g_assert_cmpuint(diff.flattened_bytes, ==, 0);
    g_assert_cmpuint(diff.own.n_extents, ==, 0);
}

static void test_corrupt(void)
{
    g_autoptr(GError) error = NULL;
    DiffCounts diff;

    g_free(run("qemu-img create -q -f qcow2 bad.qcow2 1G"));
    run_io("bad.qcow2", "write -q 0 64k");
    g_autoptr(Layer) layer = open_image("bad.qcow2", NULL);
    patch_be64("bad.qcow2", layer_l1_entry(layer, 0) & QCOW2_OFFSET_MASK, 2);
    g_assert_null(coverage_of_layer(layer, NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_false(coverage_count_diff(layer, NULL, &diff, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint seed = 0; seed < 12; seed++) {
        g_autofree char *path = g_strdup_printf("/coverage/chain/%u", seed);
        g_test_add_data_func(path, GUINT_TO_POINTER(seed), test_chain);
    }
    g_test_add_func("/coverage/empty", test_empty);
    g_test_add_func("/coverage/corrupt", test_corrupt);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
