/* test_layer_merge.c: runs of chains that QEMU made are merged into layers that QEMU finds sound
 * and that read as the run did, alone and below others; what can be left out is; nothing that was
 * there changes; a merge that fails leaves no image. */
#include "tests/unit/image_fixture.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "cow/chain_map.h"
#include "cow/digest.h"
#include "cow/layer_merge.h"
#include "imaged/base/durable.h"

#define MAX_LAYERS 5
#define EXTENDED "extended_l2=on,cluster_size="

static const char *self;

/* ---- Chains of images l0, l1, ... ---- */

typedef struct {
    Layer *layers[MAX_LAYERS];
    guint n;
} Chain;

static void chain_open(Chain *c, guint n)
{
    g_autoptr(GError) error = NULL;

    for (c->n = 0; c->n < n; c->n++) {
        g_autofree char *name = g_strdup_printf("l%u", c->n);
        c->layers[c->n] = open_image(name, &error);
        g_assert_no_error(error);
    }
}

static void chain_clear(Chain *c)
{
    for (guint i = 0; i < c->n; i++)
        layer_free(c->layers[i]);
    c->n = 0;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Chain, chain_clear)

typedef struct {
    guint32 cluster_bits;
    gboolean has_subclusters, drop_equal, drop_zeros, direct, can_reflink;
} Way;

static const Way ways[] = {
    { 17, TRUE, FALSE, FALSE, TRUE, FALSE },  { 16, FALSE, FALSE, FALSE, FALSE, FALSE },
    { 17, TRUE, TRUE, TRUE, FALSE, FALSE },   { 14, TRUE, FALSE, TRUE, TRUE, FALSE },
    { 12, FALSE, TRUE, FALSE, FALSE, FALSE }, { 21, FALSE, FALSE, TRUE, TRUE, FALSE },
    { 16, TRUE, TRUE, FALSE, TRUE, FALSE },   { 16, FALSE, TRUE, TRUE, TRUE, TRUE },
    { 17, TRUE, FALSE, FALSE, TRUE, TRUE }, /* /tmp rarely shares blocks: the way back is taken */
    { 21, TRUE, TRUE, TRUE, FALSE, FALSE },   { 14, TRUE, TRUE, FALSE, FALSE, TRUE },
};

static int new_file(const char *name, int flags)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static char *digest_of(const char *name)
{
    g_autofree char *path = fixture_path(name);
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    Digest digest;

    g_assert_true(digest_file(fd, NULL, NULL, NULL, &digest, NULL));
    return digest_to_text(&digest);
}

/* Merge layers first to last of c into m; with the base, m stands on nothing. */
static gboolean merge_run(const Chain *c, guint first, guint last, const Way *way,
                          LayerSummary *sum, GError **error)
{
    g_autofree char *below = first ? g_strdup_printf("l%u", first - 1) : NULL;
    auto_fd to = new_file("m", way->direct ? O_DIRECT : 0);
    BlankSpec spec = { layer_virtual_size(c->layers[last]), way->cluster_bits, way->has_subclusters,
                       below, "{\"v\":1}" };
    LayerMerge merge = { .run = c->layers + first,
                         .n_run = last - first + 1,
                         .below = c->layers,
                         .n_below = first,
                         .drop_equal = way->drop_equal,
                         .drop_zeros = way->drop_zeros,
                         .can_reflink = way->can_reflink,
                         .to = to,
                         .spec = &spec };
    LayerMergeNeed need;
    struct stat st;

    if (!layer_merge_reckon(&merge, &need, error) || !layer_merge(&merge, sum, error))
        return FALSE;
    g_assert_cmpint(fstat(to, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_blocks * 512, <=, need.file_bytes);
    g_assert_cmpuint(sum->data_bytes, <=, need.data_bytes);
    g_assert_cmpuint(need.new_bytes, <=, need.file_bytes);
    g_assert_cmpuint(sum->file_length, ==, st.st_size);
    return TRUE;
}

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

/* The chain of the tests below: 20 MiB, each layer with data. */
static void make_chain(void)
{
    g_free(run("qemu-img create -q -f qcow2 l0 32M"));
    g_free(run("qemu-img create -q -f qcow2 -o %s128k -b l0 -F qcow2 l1 32M", EXTENDED));
    g_free(run("qemu-img create -q -f qcow2 -o %s128k -b l1 -F qcow2 l2 32M", EXTENDED));
    run_io("l0", "write -q -P 1 0 20M");
    run_io("l1", "write -q -P 2 1M 9M");
    run_io("l2", "write -q -P 3 6M 10M");
    run_io("l2", "write -q -P 4 20M 4k");
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

typedef struct {
    gint cancel;
    gboolean cancel_at_first; /* batch */
    guint64 done, total;
} Watch;

static void watch(guint64 done, guint64 total, gpointer data)
{
    Watch *w = data;

    g_assert_cmpuint(done, >=, w->done);
    g_assert_cmpuint(done, <=, total);
    w->done = done;
    w->total = total;
    if (w->cancel_at_first)
        g_atomic_int_set(&w->cancel, 1);
}

static void test_cancel(void)
{
    static const Watch before[] = { { .cancel = 1 }, { .cancel_at_first = TRUE }, { 0 } };
    g_auto(Chain) c = { 0 };

    make_chain();
    chain_open(&c, 3);
    for (guint i = 0; i < G_N_ELEMENTS(before); i++) {
        g_autoptr(GError) error = NULL;
        auto_fd to = new_file("m", O_DIRECT);
        BlankSpec spec = { 32 * MIB, 17, TRUE, "l0", NULL };
        Watch w = before[i];
        LayerMerge merge = { .run = c.layers + 1,
                             .n_run = 2,
                             .below = c.layers,
                             .n_below = 1,
                             .to = to,
                             .spec = &spec,
                             .cancel = &w.cancel,
                             .progress = watch,
                             .data = &w };
        LayerSummary sum;
        if (layer_merge(&merge, &sum, &error)) {
            g_assert_cmpint(w.cancel, ==, 0);
            g_assert_cmpuint(w.done, ==, w.total);
            g_assert_cmpuint(w.total, ==, 15 * MIB + 4096);
            continue;
        }
        g_assert_cmpint(w.cancel, ==, 1);
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
        g_assert_null(open_image("m", NULL));
    }
}

static void test_refused(void)
{
    g_auto(Chain) c = { 0 };
    BlankSpec good = { 32 * MIB, 17, TRUE, "l0", NULL }, flat = { 32 * MIB, 17, TRUE, NULL, NULL },
              size = { 31 * MIB, 17, TRUE, "l0", NULL }, tiny = { 32 * MIB, 9, FALSE, "l0", NULL };
    LayerSummary sum;

    make_chain();
    chain_open(&c, 3);
    const LayerMerge bad[] = {
        { .run = c.layers, .n_run = 0, .spec = &flat },
        { .run = c.layers + 1, .n_run = 2, .spec = &good },
        { .run = c.layers + 1, .n_run = 2, .below = c.layers, .n_below = 1, .spec = &flat },
        { .run = c.layers + 1, .n_run = 2, .below = c.layers, .n_below = 1, .spec = &size },
        { .run = c.layers + 1, .n_run = 2, .below = c.layers, .n_below = 1, .spec = &tiny },
    };
    for (guint i = 0; i <= G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        auto_fd to = new_file("m", 0);
        LayerMerge merge = bad[i % G_N_ELEMENTS(bad)];
        merge.to = to;
        if (i == G_N_ELEMENTS(bad)) { /* nothing wrong but the file */
            merge = (LayerMerge){ .run = c.layers, .n_run = 3, .spec = &flat, .to = to };
            g_assert_cmpint(write(to, "x", 1), ==, 1);
        }
        g_assert_false(layer_merge(&merge, &sum, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

/* An entry that points outside of the file, a compressed cluster that is damaged. */
static void test_corrupt(void)
{
    static const Way way = { 17, TRUE, FALSE, FALSE, TRUE, FALSE };
    guint8 noise[65536];
    LayerSummary sum;

    memset(noise, 0xff, sizeof noise);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        g_auto(Chain) c = { 0 };
        Extent e;
        make_chain();
        if (i)
            run_io("l1", "write -q -c -P 7 30M 128k");
        chain_open(&c, 3);
        g_autoptr(LayerExtents) x = layer_extents_new(c.layers[1], 0, G_MAXUINT64);
        while (i && layer_extents_next(x, &e, NULL))
            if (e.kind == EXTENT_COMPRESSED)
                patch_bytes("l1", e.host_offset, noise, e.host_length);
        if (!i) {
            guint64 l2 = layer_l1_entry(c.layers[1], 0) & QCOW2_OFFSET_MASK;
            patch_be64("l1", l2 + 16 * 16, (1ull << 63) | (1ull << 40));
        }
        g_assert_false(merge_run(&c, 1, 2, &way, &sum, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    }
}

/* ---- Faults: this program runs itself with IMAGED_FAULT ---- */

static int work(void)
{
    static const Way way = { 17, TRUE, FALSE, FALSE, TRUE, FALSE };
    g_auto(Chain) c = { 0 };
    g_autoptr(GError) error = NULL;
    LayerSummary sum;

    chain_open(&c, 3);
    if (merge_run(&c, 1, 2, &way, &sum, &error))
        g_print("done %u", (guint)durable_n_changes());
    else
        g_print("%s", imaged_error_name(error->code));
    return 0;
}

static int run_child(const char *fault, char **ret_out)
{
    const char *argv[] = { self, "--work", fixture_folder, NULL };
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "IMAGED_FAULT", fault, TRUE);
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_sync(NULL, (char **)argv, env, 0, NULL, NULL, ret_out, NULL, &status, &error);
    g_assert_no_error(error);
    return status;
}

static void test_faults(void)
{
    static const struct {
        const char *action, *said;
    } faults[] = { { "eio", "unavailable" }, { "enospc", "no_space" }, { "kill", "" } };
    g_autofree char *calm = NULL, *l1 = NULL, *l2 = NULL;

    make_chain();
    l1 = digest_of("l1");
    l2 = digest_of("l2");
    g_assert_cmpint(run_child("", &calm), ==, 0);
    g_assert_true(g_str_has_prefix(calm, "done "));
    guint n = (guint)atoi(calm + 5);
    g_assert_cmpuint(n, >, 10);
    for (guint i = 0; i < G_N_ELEMENTS(faults) * n; i++) {
        guint at = i % n + 1;
        g_autofree char *out = NULL;
        g_autofree char *fault = g_strdup_printf("%s:%u", faults[i / n].action, at);
        int status = run_child(fault, &out);
        g_assert_cmpint(WIFSIGNALED(status), ==, i / n == 2);
        g_assert_cmpstr(out, ==, faults[i / n].said);
        g_autoptr(Layer) layer = open_image("m", NULL);
        g_assert_cmpint(layer != NULL, ==,
                        at == n); /* only the last flush comes behind the header */
    }
    g_autofree char *l1_after = digest_of("l1"), *l2_after = digest_of("l2");
    g_assert_cmpstr(l1_after, ==, l1);
    g_assert_cmpstr(l2_after, ==, l2);
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], "--work")) {
        fixture_folder = argv[2];
        return work();
    }
    self = argv[0];
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
    g_test_add_func("/layer-merge/cancel", test_cancel);
    g_test_add_func("/layer-merge/refused", test_refused);
    g_test_add_func("/layer-merge/corrupt", test_corrupt);
    g_test_add_func("/layer-merge/faults", test_faults);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
