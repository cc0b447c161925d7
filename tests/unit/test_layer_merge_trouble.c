/* test_layer_merge_trouble.c: merges that are cancelled, refused, that find damage or fail at any
 * change leave no image, and what was there as it was. */
#include "tests/unit/merge_fixture.h"

#include <stdlib.h>
#include <sys/wait.h>

static const char *self;

/* The chain of all tests: 20 MiB, each layer with data. */
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
    g_test_add_func("/layer-merge/cancel", test_cancel);
    g_test_add_func("/layer-merge/refused", test_refused);
    g_test_add_func("/layer-merge/corrupt", test_corrupt);
    g_test_add_func("/layer-merge/faults", test_faults);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
