/* test_merge_onto.c: runs of layers that change what they stand on (layer_merge.h, n_new): the
 * result reads as the run did, as QEMU and our own compare say; and that compare itself. */
#include "tests/unit/merge_fixture.h"

#include "cow/chain_compare.h"

/* base, what the run is to stand on besides, and the run */
static const struct {
    ImageSpec base, onto, run[2];
    guint bits; /* of the result */
    gboolean has_subclusters;
} cases[] = {
    { { EXTENDED "128k", 6 * MIB, 131072, 40, FALSE, FALSE },
      { EXTENDED "128k", 6 * MIB, 131072, 40, FALSE, FALSE },
      { { EXTENDED "128k", 6 * MIB, 131072, 30, FALSE, FALSE },
        { EXTENDED "128k", 6 * MIB, 131072, 30, FALSE, FALSE } },
      17,
      TRUE },
    { { "cluster_size=64k", 5 * MIB, 65536, 60, TRUE, FALSE },
      { EXTENDED "128k", 5 * MIB, 131072, 60, FALSE, FALSE },
      { { EXTENDED "16k", 5 * MIB, 16384, 30, FALSE, FALSE } },
      17,
      TRUE },
    { { "cluster_size=64k", 5 * MIB + 512, 65536, 60, TRUE, FALSE },
      { "cluster_size=64k", 5 * MIB + 512, 65536, 30, TRUE, FALSE },
      { { "cluster_size=4k", 7 * MIB, 4096, 30, FALSE, FALSE },
        { EXTENDED "64k", 8 * MIB + 1536, 65536, 30, TRUE, FALSE } },
      16,
      FALSE },
};

static gboolean is_same(Layer *const *a, guint n_a, Layer *const *b, guint n_b, guint64 *at)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ChainMap) left = chain_map_new(a, n_a, 0, &error);
    g_autoptr(ChainMap) right = chain_map_new(b, n_b, 0, &error);
    gboolean same = FALSE;

    chain_compare(&(ChainCompare){ .a = left, .b = right }, &same, at, &error);
    g_assert_no_error(error);
    return same;
}

static void merge_onto(Layer *const *run_layers, guint n_run, Layer *const *below, guint which,
                       LayerSummary *sum)
{
    g_autoptr(GError) error = NULL;
    auto_fd to = new_file("m", 0);
    BlankSpec spec = { layer_virtual_size(run_layers[n_run - 1]), cases[which].bits,
                       cases[which].has_subclusters, "onto", "{\"v\":1}" };
    LayerMerge merge = { .run = run_layers,
                         .n_run = n_run,
                         .below = below,
                         .n_below = 2,
                         .n_new = 1,
                         .drop_equal = TRUE,
                         .drop_zeros = TRUE,
                         .to = to,
                         .spec = &spec };
    LayerMergeNeed need;
    struct stat st;

    g_assert_true(layer_merge_reckon(&merge, &need, &error));
    g_assert_true(layer_merge(&merge, sum, &error));
    g_assert_no_error(error);
    g_assert_cmpint(fstat(to, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_blocks * 512, <=, need.file_bytes);
}

static void test_onto(gconstpointer data)
{
    guint which = GPOINTER_TO_UINT(data) % G_N_ELEMENTS(cases), n = 1;
    guint seed = GPOINTER_TO_UINT(data) * 10;
    g_autoptr(GError) error = NULL;
    Layer *old[3], *new[3];
    LayerSummary sum;
    guint64 at = 0;

    make_image(&cases[which].base, "l0", NULL, seed);
    make_image(&cases[which].onto, "onto", "l0", seed + 1);
    for (; n < 3 && cases[which].run[n - 1].size; n++) {
        g_autofree char *name = g_strdup_printf("l%u", n);
        make_image(&cases[which].run[n - 1], name, n == 2 ? "l1" : "l0", seed + 1 + n);
    }
    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("l%u", i);
        old[i] = open_image(name, &error);
    }
    new[0] = old[0];
    new[1] = open_image("onto", &error);
    merge_onto(old + 1, n - 1, new, which, &sum);
    g_free(run("qemu-img check -q m"));
    g_free(run("qemu-img compare -q -f qcow2 -F qcow2 m l%u", n - 1));
    new[2] = open_image("m", &error);
    g_assert_no_error(error);
    g_assert_true(is_same(old, n, new, 3, &at));
    g_assert_false(is_same(old, 1, new, 2, &at)); /* the one below is another content */
    layer_free(new[1]);
    layer_free(new[2]);
    for (guint i = 0; i < n; i++)
        layer_free(old[i]);
}

/* Equal blocks are freed, zeros and the base's bytes that the new layer hides are said. */
static void test_exact(void)
{
    static const guint8 zeros[4096];
    g_autoptr(GError) error = NULL;
    Layer *old[2], *new[2];
    LayerSummary sum;

    g_free(run("qemu-img create -q -f qcow2 l0 1M"));
    run_io("l0", "write -q -P 1 0 256k");
    g_free(run("qemu-img create -q -f qcow2 -o " EXTENDED "128k -b l0 -F qcow2 onto"));
    g_free(run("qemu-img create -q -f qcow2 -o " EXTENDED "128k -b l0 -F qcow2 l1"));
    run_io("onto", "write -q -P 2 0 64k"); /* the run has the same: nothing is left of it */
    run_io("l1", "write -q -P 2 0 64k");
    run_io("onto", "write -q -P 3 64k 8k");  /* the run shows the base: 2 blocks must be said */
    run_io("onto", "write -q -P 3 300k 4k"); /* and nothing: zeros must be said */
    run_io("l1", "write -q -P 4 500k 12k");  /* its own: stays */
    run_io("l1", "write -q -P 1 128k 16k");  /* the base's bytes: goes */
    old[0] = new[0] = open_image("l0", &error);
    old[1] = open_image("l1", &error);
    new[1] = open_image("onto", &error);
    g_assert_no_error(error);
    merge_onto(old + 1, 1, new, 0, &sum);
    g_assert_cmpuint(sum.data_bytes, ==, (2 + 3) * 4096);
    g_free(run("qemu-img compare -q -f qcow2 -F qcow2 m l1"));
    Layer *m = open_image("m", &error);
    LayerCounts counts;
    g_assert_true(layer_count(m, &counts, &error));
    g_assert_cmpuint(counts.zero_bytes, ==, 4096);
    layer_free(m);
    layer_free(old[0]);
    layer_free(old[1]);
    layer_free(new[1]);
    patch_bytes("m", 0, zeros, 4); /* no image any more: the last of this folder's users */
}

static void test_refused(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Chain) c = { 0 };
    auto_fd to = new_file("m", 0);
    BlankSpec spec = { MIB, 17, TRUE, "l0", NULL };
    LayerMergeNeed need;

    g_free(run("qemu-img create -q -f qcow2 l0 1M"));
    g_free(run("qemu-img create -q -f qcow2 -b l0 -F qcow2 l1 1M"));
    chain_open(&c, 2);
    LayerMerge merge = { .run = c.layers + 1,
                         .n_run = 1,
                         .below = c.layers,
                         .n_below = 1,
                         .n_new = 1,
                         .drop_equal = TRUE,
                         .to = to,
                         .spec = &spec };
    g_assert_false(layer_merge_reckon(&merge, &need, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

/* ---- Is there anything to compact? ---- */

static gboolean gains(guint n)
{
    g_autoptr(GError) error = NULL;
    g_auto(Chain) c = { 0 };
    gboolean ret = FALSE;

    chain_open(&c, n);
    BlankSpec spec = { layer_virtual_size(c.layers[n - 1]), 17, TRUE, n > 1 ? "l0" : NULL, NULL };
    LayerMerge merge = { .run = c.layers + n - 1,
                         .n_run = 1,
                         .below = c.layers,
                         .n_below = n - 1,
                         .drop_equal = n > 1,
                         .drop_zeros = TRUE,
                         .to = -1,
                         .spec = &spec };
    g_assert_true(layer_merge_gains(&merge, &ret, &error));
    g_assert_no_error(error);
    return ret;
}

static void test_gains(void)
{
    g_free(run("qemu-img create -q -f qcow2 l0 4M"));
    g_assert_false(gains(1));
    run_io("l0", "write -q -P 1 0 2M");
    g_assert_false(gains(1));
    g_free(run("qemu-img create -q -f qcow2 -o " EXTENDED "128k -b l0 -F qcow2 l1"));
    g_assert_false(gains(2));
    run_io("l1", "write -q -P 2 1020k 2M");
    run_io("l1", "write -q -z 3500k 64k");
    g_assert_false(gains(2));
    run_io("l1", "write -q -P 1 64k 4k");
    g_assert_true(gains(2));
    run_io("l1", "write -q -P 3 64k 4k");
    g_assert_false(gains(2));
    run_io("l1", "write -q -P 0 2M 4k");
    g_assert_true(gains(2));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < 4 * G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/merge-onto/random/%u", i);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_onto);
    }
    g_test_add_func("/merge-onto/exact", test_exact);
    g_test_add_func("/merge-onto/refused", test_refused);
    g_test_add_func("/merge-onto/gains", test_gains);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
