/* test_layer_merge.c: runs of chains that QEMU made are merged into layers that QEMU finds sound
 * and that read as the run did, alone and below others; what can be left out is; nothing that was
 * there changes.  What goes wrong is in test_layer_merge_trouble.c. */
#include "tests/unit/merge_fixture.h"

#include "cow/chain_map.h"

static const Way ways[] = {
    { 17, TRUE, FALSE, FALSE, TRUE, FALSE },  { 16, FALSE, FALSE, FALSE, FALSE, FALSE },
    { 17, TRUE, TRUE, TRUE, FALSE, FALSE },   { 14, TRUE, FALSE, TRUE, TRUE, FALSE },
    { 12, FALSE, TRUE, FALSE, FALSE, FALSE }, { 21, FALSE, FALSE, TRUE, TRUE, FALSE },
    { 16, TRUE, TRUE, FALSE, TRUE, FALSE },   { 16, FALSE, TRUE, TRUE, TRUE, TRUE },
    { 17, TRUE, FALSE, FALSE, TRUE, TRUE }, /* /tmp rarely shares blocks: the way back is taken */
    { 21, TRUE, TRUE, TRUE, FALSE, FALSE },   { 14, TRUE, TRUE, FALSE, FALSE, TRUE },
};

/* What QEMU thinks of m, which stands for layers up to last. */
static void check_merged(const Chain *c, guint last, const LayerSummary *sum)
{
    g_autofree char *digest = digest_of("m");

    g_free(run("qemu-img check -q m"));
    g_free(run("qemu-img compare -q -f qcow2 -F qcow2 m l%u", last));
    if (*sum->digest)
        g_assert_cmpstr(sum->digest, ==, digest);
    if (last + 1 < c->n) { /* read through what stands on it */
        g_free(run("cp l%u above", last + 1));
        g_free(run("qemu-img rebase -u -f qcow2 -F qcow2 -b m above"));
        g_free(run("qemu-img compare -q -f qcow2 -F qcow2 above l%u", last + 1));
    }
}

/* ---- Random chains, every run of them ---- */

static const struct {
    ImageSpec layers[MAX_LAYERS]; /* size 0 ends it */
} chains[] = {
    { { { EXTENDED "128k", 6 * MIB, 131072, 40, FALSE, FALSE },
        { EXTENDED "128k", 6 * MIB, 131072, 30, FALSE, FALSE },
        { EXTENDED "128k", 6 * MIB, 131072, 30, FALSE, FALSE },
        { EXTENDED "128k", 6 * MIB, 131072, 30, FALSE, FALSE } } },
    { { { "cluster_size=64k,compression_type=zstd", 5 * MIB + 512, 65536, 40, TRUE, FALSE },
        { EXTENDED "128k", 5 * MIB + 512, 131072, 40, TRUE, FALSE },
        { EXTENDED "16k", 7 * MIB, 16384, 40, FALSE, FALSE },
        { "cluster_size=512", 3 * MIB + 1024, 512, 30, FALSE, FALSE } } },
    { { { "cluster_size=4k", 8 * MIB, 4096, 60, FALSE, FALSE }, /* longer than what is above */
        { EXTENDED "64k", 3 * MIB + 1536, 65536, 30, TRUE, TRUE },
        { "cluster_size=2M", 9 * MIB - 512, 2 * MIB, 4, FALSE, FALSE },
        { EXTENDED "128k", 9 * MIB - 512, 131072, 30, FALSE, FALSE } } },
    { { { EXTENDED "128k", 4 * MIB, 131072, 40, FALSE, FALSE }, /* grown twice */
        { EXTENDED "128k", 6 * MIB + 512, 131072, 10, FALSE, FALSE },
        { EXTENDED "128k", 9 * MIB + 1536, 131072, 30, FALSE, FALSE } } },
    { { { "compat=0.10,cluster_size=64k", 4 * MIB, 65536, 40, TRUE, FALSE },
        { "cluster_size=64k", 2 * MIB + 512, 65536, 20, FALSE, FALSE },
        { "cluster_size=1k", 4 * MIB, 1024, 60, TRUE, FALSE } } },
};

static void test_random(gconstpointer data)
{
    guint which = GPOINTER_TO_UINT(data), n = 0, way = which;
    g_auto(Chain) c = { 0 };
    char *before[MAX_LAYERS];
    LayerSummary sum;

    for (; n < MAX_LAYERS && chains[which].layers[n].size; n++) {
        g_autofree char *name = g_strdup_printf("l%u", n);
        g_autofree char *below = n ? g_strdup_printf("l%u", n - 1) : NULL;
        make_image(&chains[which].layers[n], name, below, which * 100 + n);
        before[n] = digest_of(name);
    }
    chain_open(&c, n);
    for (guint first = 0; first < n; first++) {
        for (guint last = first; last < n; last++) {
            g_autoptr(GError) error = NULL;
            const Way *w = &ways[way++ % G_N_ELEMENTS(ways)];
            g_test_message("%u to %u, cluster_bits %u", first, last, w->cluster_bits);
            merge_run(&c, first, last, w, &sum, &error);
            g_assert_no_error(error);
            check_merged(&c, last, &sum);
        }
    }
    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("l%u", i), *after = digest_of(name);
        g_assert_cmpstr(after, ==, before[i]);
        g_free(before[i]);
    }
}

/* ---- One thing at a time ---- */

/* What each column did to l0, l1, l2 (empty for nothing), how it is merged, and what is to come out
 * of merging l1 and l2. */
static const struct {
    const char *name, *ops[3];
    gint size[3]; /* KiB */
    Way way;
    guint64 data, zero; /* bytes */
} cases[] = {
#define EXT                                                                                        \
    {                                                                                              \
        17, TRUE, FALSE, FALSE, FALSE, FALSE                                                       \
    }
#define PLAIN                                                                                      \
    {                                                                                              \
        16, FALSE, FALSE, FALSE, TRUE, FALSE                                                       \
    }
#define EQUAL                                                                                      \
    {                                                                                              \
        17, TRUE, TRUE, FALSE, FALSE, FALSE                                                        \
    }
#define ZEROS                                                                                      \
    {                                                                                              \
        17, TRUE, FALSE, TRUE, TRUE, FALSE                                                         \
    }
#define SHARE                                                                                      \
    {                                                                                              \
        17, TRUE, FALSE, FALSE, TRUE, TRUE                                                         \
    }
    { "nothing", { "", "", "" }, { 1024, 1024, 1024 }, EXT, 0, 0 },
    { "data", { "", "write -P 1 0 8k", "write -P 2 4k 8k" }, { 1024, 1024, 1024 }, EXT, 12288, 0 },
    { "shared",
      { "", "write -P 1 0 8k", "write -P 2 4k 8k" },
      { 1024, 1024, 1024 },
      SHARE,
      12288,
      0 },
    { "filled",
      { "write -P 9 0 1M", "write -P 1 4k 4k", "" },
      { 1024, 1024, 1024 },
      PLAIN,
      65536,
      0 },
    { "zeros",
      { "write -P 9 0 1M", "write -P 1 0 64k", "write -z 0 64k" },
      { 1024, 1024, 1024 },
      EXT,
      0,
      65536 },
    { "zeros-plain",
      { "write -P 9 0 1M", "write -P 1 0 64k", "write -z 0 64k" },
      { 1024, 1024, 1024 },
      PLAIN,
      0,
      65536 },
    { "zeros-part",
      { "write -P 9 0 1M", "write -P 1 0 64k", "write -z 0 32k" },
      { 1024, 1024, 1024 },
      PLAIN,
      65536,
      0 },
    { "zeros-filled",
      { "write -P 9 0 1M", "", "write -z 0 4k" },
      { 1024, 1024, 1024 },
      PLAIN,
      65536,
      0 },
    { "zeros-idle",
      { "write -P 9 0 64k", "write -P 1 512k 64k", "write -z 512k 64k" },
      { 1024, 1024, 1024 },
      EXT,
      0,
      0 },
    { "equal",
      { "write -P 9 0 1M", "write -P 9 0 64k", "write -P 8 32k 8k" },
      { 1024, 1024, 1024 },
      EQUAL,
      8192,
      0 },
    { "equal-zeros",
      { "write -P 9 0 64k", "write -P 0 512k 64k", "write -P 0 0 4k" },
      { 1024, 1024, 1024 },
      EQUAL,
      4096,
      0 },
    { "found-zeros",
      { "write -P 9 0 64k", "write -P 0 512k 64k", "write -P 0 0 4k" },
      { 1024, 1024, 1024 },
      ZEROS,
      0,
      4096 },
    { "unseen-zeros",
      { "write -P 9 0 64k", "write -P 0 512k 64k", "write -P 0 0 4k" },
      { 1024, 1024, 1024 },
      EXT,
      69632,
      0 },
    { "short-run", { "write -P 9 0 1M", "", "" }, { 1024, 512, 1024 }, EXT, 0, 524288 },
    { "short-top",
      { "write -P 9 0 1M", "write -P 1 0 1M", "" },
      { 1024, 1024, 512 },
      EXT,
      524288,
      0 },
    { "short-base", { "write -P 9 0 512k", "", "" }, { 512, 1024, 2048 }, EXT, 0, 0 },
    { "odd-end",
      { "write -P 9 0 1M", "write -P 1 510k 2k", "" },
      { 1024, 513, 1024 },
      EXT,
      8192,
      520192 },
    { "compressed",
      { "write -P 9 0 1M", "write -c -P 1 0 128k", "write -P 2 4k 4k" },
      { 1024, 1024, 1024 },
      EXT,
      131072,
      0 },
};

static void test_case(gconstpointer data)
{
    guint which = GPOINTER_TO_UINT(data);
    g_autoptr(GError) error = NULL;
    g_auto(Chain) c = { 0 };
    LayerSummary sum;
    LayerCounts counts;

    for (guint i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("l%u", i);
        g_autofree char *backing = i ? g_strdup_printf("-b l%u -F qcow2", i - 1) : g_strdup("");
        g_free(run("qemu-img create -q -f qcow2 -o %s128k %s %s %dk", EXTENDED, backing, name,
                   cases[which].size[i]));
        if (*cases[which].ops[i])
            run_io(name, cases[which].ops[i]);
    }
    chain_open(&c, 3);
    merge_run(&c, 1, 2, &cases[which].way, &sum, &error);
    g_assert_no_error(error);
    check_merged(&c, 2, &sum);
    g_assert_cmpuint(sum.data_bytes, ==, cases[which].data);
    g_autoptr(Layer) merged = open_image("m", &error);
    g_assert_no_error(error);
    g_assert_true(layer_count(merged, &counts, &error));
    g_assert_cmpuint(counts.zero_bytes, ==, cases[which].zero);
    merge_run(&c, 0, 2, &cases[which].way, &sum, &error); /* and flat */
    g_assert_no_error(error);
    check_merged(&c, 2, &sum);
}

static void test_partial_map(void)
{
    static const struct {
        guint64 start, length;
        ExtentKind kind;
    } expected[] = { { 0, 65536, EXTENT_DATA },
                     { 65536, 65536, EXTENT_UNALLOCATED },
                     { 131072, 65536, EXTENT_ZERO },
                     { 196608, 2 * MIB - 196608, EXTENT_UNALLOCATED },
                     { 2 * MIB, 2 * MIB, EXTENT_ZERO } };
    g_autoptr(GError) error = NULL;
    g_auto(Chain) c = { 0 };
    MapExtent e;

    g_free(run("qemu-img create -q -f qcow2 l0 4M"));
    g_free(run("qemu-img create -q -f qcow2 -b l0 -F qcow2 l1 2M"));
    g_free(run("qemu-img create -q -f qcow2 -b l1 -F qcow2 l2 4M"));
    run_io("l0", "write -q -P 1 0 4M");
    run_io("l2", "write -q -P 1 0 64k");
    run_io("l1", "write -q -z 128k 64k");
    chain_open(&c, 3);
    for (guint partial = 0; partial < 2; partial++) {
        g_autoptr(ChainMap) map = partial ? chain_map_new_partial(c.layers + 1, 2, 0, &error)
                                          : chain_map_new(c.layers + 1, 2, 0, &error);
        for (guint i = 0; i < G_N_ELEMENTS(expected); i++) {
            g_assert_true(chain_map_find(map, expected[i].start, &e, &error));
            if (!partial) {
                g_assert_cmpint(e.kind, ==, i ? EXTENT_ZERO : EXTENT_DATA);
                continue;
            }
            g_assert_cmpint(e.kind, ==, expected[i].kind);
            g_assert_cmpuint(e.start, ==, expected[i].start);
            g_assert_cmpuint(e.length, ==, expected[i].length);
        }
    }
    g_assert_null(chain_map_new_partial(c.layers, 0, 0, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    g_test_add_func("/layer-merge/partial-map", test_partial_map);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/layer-merge/case/%s", cases[i].name);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_case);
    }
    for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
        g_autofree char *path = g_strdup_printf("/layer-merge/random/%u", i);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_random);
    }
    int ret = g_test_run();
    fixture_end();
    return ret;
}
