/* test_layer_pack.c: packed chains are sound to QEMU, read as the chain they came from, and depend
 * on what the guest reads alone. */
#include "tests/unit/image_fixture.h"

#include <sys/wait.h>

#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/cluster_runs.h"
#include "cow/layer_check.h"
#include "cow/layer_pack.h"
#include "imaged/base/durable.h"

#define MAX_DEPTH 4

static const struct {
    ImageSpec specs[MAX_DEPTH];
    guint n;
} chains[] = {
    { { { "cluster_size=64k", 0, 65536, 0, 0, 0 } }, 1 },
    { { { "cluster_size=64k", 512, 65536, 2, 0, 0 } }, 1 },
    { { { "cluster_size=512", 3 * MIB + 512, 512, 60, 0, 0 },
        { "cluster_size=512", 3 * MIB + 1536, 512, 60, 0, 0 } },
      2 },
    { { { "cluster_size=64k", 40 * MIB, 65536, 100, TRUE, 0 },
        { "cluster_size=128k,extended_l2=on", 40 * MIB, 131072, 80, 0, 0 },
        { "cluster_size=64k,compression_type=zstd", 48 * MIB + 512, 65536, 60, TRUE, 0 } },
      3 },
    { { { "cluster_size=2M", 40 * MIB, 2 * MIB, 12, TRUE, 0 },
        { "cluster_size=4k", 30 * MIB, 4096, 100, TRUE, 0 },
        { "cluster_size=128k,extended_l2=on", 36 * MIB + 512, 131072, 150, 0, 0 },
        { "cluster_size=16k,extended_l2=on", 50 * MIB, 16384, 150, 0, TRUE } },
      4 },
};

static int create_file(const char *name)
{
    g_autofree char *path = fixture_path(name);
    g_unlink(path);
    int fd = durable_create(AT_FDCWD, path, 0, 0600, NULL);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void pack_file(const char *name, Layer *layer, Layer *const *below, guint n_below,
                      const char *backing, guint n_threads, PackSummary *ret)
{
    g_autoptr(GError) error = NULL;
    auto_fd to = create_file(name);
    LayerPack pack = { layer, below, n_below, backing, to, n_threads, NULL, NULL, NULL };

    gboolean ok = layer_pack(&pack, ret, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    g_assert_cmpint(lseek(to, 0, SEEK_END), ==, ret->file_length);
}

static void check_packed(const char *name, const PackSummary *sum)
{
    g_auto(LayerCheck) check = { 0 };
    g_autoptr(GError) error = NULL;
    g_autofree char *line =
        g_strdup_printf("(tail -c +4097 '%s'; head -c 4096 '%s') | b2sum -l 256", name, name);
    char *const words[] = { "sh", "-c", line };
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        g_ptr_array_add(argv, words[i]);
    g_autofree char *hash = run_argv(argv, TRUE);

    hash[PACK_DIGEST_TEXT] = '\0';
    g_assert_cmpstr(hash, ==, sum->digest);
    g_free(run("qemu-img check -q -f qcow2 %s", name));
    g_autoptr(Layer) layer = open_image(name, &error);
    g_assert_no_error(error);
    g_assert_true(layer_check(layer, NULL, NULL, NULL, &check, &error));
    g_assert_cmpuint(check.n_errors + check.n_leaks, ==, 0);
    g_assert_null(layer_header(layer)->identity);
    g_assert_cmpint(layer_header(layer)->compression, ==, QCOW2_ZSTD);
}

/* Our reader's bytes of the chain, as a new file. */
static void read_chain(Layer *const *layers, guint n, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ChainMap) map = chain_map_new(layers, n, 0, &error);
    g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
    gsize size = chain_map_size(map);
    g_autofree char *bytes = g_malloc(size + 1), *path = fixture_path(name);

    g_assert_true(chain_reader_pread(reader, bytes, size, 0, &error));
    g_assert_true(g_file_set_contents(path, bytes, (gssize)size, &error));
}

static void test_chain(gconstpointer data)
{
    guint number = GPOINTER_TO_UINT(data), n = chains[number].n;
    Layer *layers[MAX_DEPTH], *packed[MAX_DEPTH];
    g_autofree char *below = NULL;
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("l%u", i), *parent = g_strdup_printf("l%u", i - 1);
        make_image(&chains[number].specs[i], name, i ? parent : NULL, 100 * number + i);
        layers[i] = open_image(name, &error);
        g_assert_no_error(error);

        PackSummary one, four;
        pack_file("p1", layers[i], layers, i, below, 1, &one);
        pack_file("p4", layers[i], layers, i, below, 4, &four);
        g_assert_cmpstr(one.digest, ==, four.digest);
        g_autofree char *file = g_strdup_printf("%s.qcow2", one.digest);
        g_autofree char *from = fixture_path("p1"), *to = fixture_path(file);
        g_assert_cmpint(g_rename(from, to), ==, 0);
        check_packed(file, &one);
        g_free(run("qemu-img compare -q -f qcow2 -F qcow2 %s %s", file, name));
        packed[i] = open_image(file, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(layer_header(packed[i])->backing_name, ==, below);
        g_assert_cmpstr(layer_header(packed[i])->backing_format, ==, below ? "qcow2" : NULL);
        read_chain(layers, i + 1, "a.raw");
        read_chain(packed, i + 1, "b.raw");
        g_free(run("cmp a.raw b.raw"));
        g_free(below);
        below = g_steal_pointer(&file);
    }
    for (guint i = 0; i < n; i++) {
        layer_free(layers[i]);
        layer_free(packed[i]);
    }
}

/* A base packs to the same bytes, whatever file it lies in. */
static void test_layouts(void)
{
    static const char *const layouts[] = { "cluster_size=64k", "cluster_size=128k,extended_l2=on",
                                           "cluster_size=4k", "cluster_size=2M" };
    ImageSpec spec = { "cluster_size=64k", 30 * MIB + 512, 65536, 120, FALSE, FALSE };
    PackSummary first, sum;

    make_image(&spec, "one", NULL, 7);
    for (guint i = 0; i < 2 * G_N_ELEMENTS(layouts); i++) {
        /* -S 0 writes zeros as data */
        g_free(run("qemu-img convert %s %s -O qcow2 -o %s one other", i % 2 ? "-S 0" : "",
                   i == 2 ? "-c" : "", layouts[i / 2]));
        g_autoptr(Layer) layer = open_image("other", NULL);
        pack_file("p", layer, NULL, 0, NULL, 2, i ? &sum : &first);
        if (i) {
            g_assert_cmpstr(sum.digest, ==, first.digest);
            g_assert_cmpuint(sum.data_bytes, ==, first.data_bytes);
        }
    }
}

static const struct {
    const char *name, *options, *commands[4];
    guint bits;
} choices[] = {
    { "empty", "cluster_size=64k", { 0 }, 16 },
    { "sequential", "cluster_size=128k,extended_l2=on", { "write -q 4k 8M" }, 16 },
    { "one-block", "cluster_size=128k,extended_l2=on", { "write -q 8k 4k" }, 12 },
    { "16k", "cluster_size=128k,extended_l2=on", { "write -q 1M 16k", "write -q 4M 16k" }, 14 },
    { "zeros-whole", "cluster_size=128k,extended_l2=on", { "write -q -z 4M 8M" }, 16 },
    { "zeros-dont-dilute",
      "cluster_size=128k,extended_l2=on",
      { "write -q -z 4M 8M", "write -q 20k 4k", "write -q 1M 4k" },
      12 },
    { "four-small", "cluster_size=4k", { "write -q 128k 64k", "write -q 256k 56k" }, 16 },
};

static void test_choice(gconstpointer data)
{
    guint i = GPOINTER_TO_UINT(data), bits = 0;
    guint64 bytes;
    g_autoptr(GError) error = NULL;

    g_free(run("qemu-img create -q -f qcow2 -o cluster_size=64k below 32M"));
    g_free(run("qemu-img create -q -f qcow2 -b below -F qcow2 -o %s top 32M", choices[i].options));
    for (guint k = 0; k < 4 && choices[i].commands[k]; k++)
        run_io("top", choices[i].commands[k]);
    g_autoptr(Layer) layer = open_image("top", NULL);
    g_assert_true(cluster_runs_choose(layer, FALSE, NULL, &bits, &bytes, &error));
    g_assert_cmpuint(bits, ==, choices[i].bits);
    g_assert_true(cluster_runs_choose(layer, TRUE, NULL, &bits, &bytes, &error));
    g_assert_cmpuint(bits, ==, 16);
}

/* Zeros stay zeros over data, and take nothing where nothing is below. */
static void test_zeros(void)
{
    PackSummary sum;

    g_free(run("qemu-img create -q -f qcow2 below 32M"));
    run_io("below", "write -q -P 5 1M 1M");
    g_free(run("qemu-img create -q -f qcow2 -b below -F qcow2 top 32M"));
    run_io("top", "write -q -z 0 8M");
    run_io("top", "write -q -P 0 20M 1M");
    Layer *layers[] = { open_image("below", NULL), open_image("top", NULL) };
    pack_file("pb", layers[0], NULL, 0, NULL, 2, &sum);
    pack_file("pt", layers[1], layers, 1, "pb", 2, &sum);
    g_assert_cmpuint(sum.data_bytes, ==, 0);
    g_free(run("qemu-img compare -q pt top"));
    g_autoptr(Layer) packed = open_image("pt", NULL);
    LayerCounts counts;
    g_assert_true(layer_count(packed, &counts, NULL));
    g_assert_cmpuint(counts.zero_bytes, ==, MIB);
    layer_free(layers[0]);
    layer_free(layers[1]);
}

/* An image of random bytes, which are worse than not compressible in any way. */
static void make_random(const char *name, guint64 size)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    g_autofree guint32 *bytes = g_malloc(size);
    g_autofree char *raw = fixture_path("random.raw");

    for (guint64 i = 0; i < size / 4; i++)
        bytes[i] = g_rand_int(rand);
    g_assert_true(g_file_set_contents(raw, (char *)bytes, (gssize)size, NULL));
    g_free(run("qemu-img convert -f raw -O qcow2 random.raw %s", name));
}

/* At 4 KiB, a refcount block counts 8 MiB: several of them amid the data. */
static void test_random_bytes(void)
{
    PackSummary sum;

    make_random("noise", 40 * MIB);
    g_autoptr(Layer) noise = open_image("noise", NULL);
    pack_file("p", noise, NULL, 0, NULL, 2, &sum);
    check_packed("p", &sum);
    g_free(run("qemu-img compare -q p noise"));
    g_assert_cmpuint(sum.file_length, <, 40 * MIB + 640 * KIB);

    g_free(run("qemu-img create -q -f qcow2 empty 100M"));
    g_free(run("qemu-img create -q -f qcow2 -o cluster_size=4k -b empty -F qcow2 top 100M"));
    g_autoptr(GString) script = g_string_new(NULL);
    g_autofree char *path = fixture_path("script"), *raw = fixture_path("random.raw");
    for (guint i = 0; i < 3000; i++)
        g_string_append_printf(script, "write -q -s %s %uk 4k\n", raw, 32 * i);
    g_assert_true(g_file_set_contents(path, script->str, -1, NULL));
    const char *words[] = { "sh", "-c", "qemu-io -f qcow2 -t unsafe top <script" };
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        g_ptr_array_add(argv, (gpointer)words[i]);
    g_free(run_argv(argv, TRUE));
    Layer *layers[] = { open_image("empty", NULL), open_image("top", NULL) };
    pack_file("empty.p", layers[0], NULL, 0, NULL, 2, &sum);
    pack_file("top.p", layers[1], layers, 1, "empty.p", 2, &sum);
    check_packed("top.p", &sum);
    g_assert_cmpuint(sum.data_bytes, ==, 3000 * 4096);
    g_assert_cmpuint(sum.file_length, >, 8 * MIB);
    g_free(run("qemu-img compare -q top.p top"));
    layer_free(layers[0]);
    layer_free(layers[1]);
}

/* A byte that flips anywhere changes the digest; one in a frame is noticed by every reader. */
static void test_flipped_bytes(void)
{
    PackSummary sum;
    g_autoptr(GError) error = NULL;

    make_random("noise", 4 * MIB);
    g_autoptr(Layer) noise = open_image("noise", NULL);
    pack_file("p", noise, NULL, 0, NULL, 2, &sum);
    for (guint64 at = 5; at < sum.file_length; at += sum.file_length / 9) {
        char digest[PACK_DIGEST_TEXT + 1];
        guint8 byte;
        g_autofree char *path = fixture_path("p");
        auto_fd fd = open(path, O_RDWR | O_CLOEXEC);
        g_assert_cmpint(pread(fd, &byte, 1, (off_t)at), ==, 1);
        byte ^= 0x10;
        patch_bytes("p", at, &byte, 1);
        g_assert_true(pack_digest(fd, NULL, NULL, NULL, digest, &error));
        g_assert_cmpstr(digest, !=, sum.digest);
        if (at > MIB && at < 3 * MIB) {
            g_autoptr(Layer) layer = open_image("p", &error);
            g_autoptr(ChainMap) map = chain_map_new(&layer, 1, 0, &error);
            g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
            g_autofree char *bytes = g_malloc(4 * MIB);
            g_assert_false(chain_reader_pread(reader, bytes, 4 * MIB, 0, &error));
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
            g_clear_error(&error);
        }
        byte ^= 0x10;
        patch_bytes("p", at, &byte, 1);
    }
}

typedef struct {
    gint cancel;
    guint64 last, total;
    guint n;
    gboolean wants_cancel;
} Watch;

static void watch(guint64 done, guint64 total, gpointer data)
{
    Watch *w = data;

    g_assert_cmpuint(done, >=, w->last);
    g_assert_cmpuint(done, <=, total);
    w->last = done;
    w->total = total;
    w->n++;
    if (w->wants_cancel)
        g_atomic_int_set(&w->cancel, 1);
}

static void test_progress_and_cancel(void)
{
    g_autoptr(GError) error = NULL;
    Watch w = { 0 };
    PackSummary sum;

    make_random("noise", 20 * MIB);
    g_autoptr(Layer) noise = open_image("noise", NULL);
    auto_fd to = create_file("p");
    LayerPack pack = { noise, NULL, 0, NULL, to, 2, &w.cancel, watch, &w };
    g_assert_true(layer_pack(&pack, &sum, &error));
    g_assert_cmpuint(w.last, ==, 20 * MIB);
    g_assert_cmpuint(w.total, ==, 20 * MIB);
    g_assert_cmpuint(w.n, >, 10);

    auto_fd second = create_file("p");
    w = (Watch){ .wants_cancel = TRUE };
    pack.to = second;
    g_assert_false(layer_pack(&pack, &sum, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
    g_assert_cmpuint(w.n, ==, 1);
    g_autoptr(Layer) half = open_image("p", NULL);
    g_assert_null(half); /* no header: no image */
}

static void test_refused(void)
{
    g_autoptr(GError) error = NULL;
    PackSummary sum;

    g_free(run("qemu-img create -q -f qcow2 one 1M"));
    Layer *layer = open_image("one", NULL);
    auto_fd to = create_file("p");
    LayerPack named = { layer, NULL, 0, "name", to, 1, NULL, NULL, NULL };
    LayerPack nameless = { layer, &layer, 1, NULL, to, 1, NULL, NULL, NULL };
    g_assert_false(layer_pack(&named, &sum, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(layer_pack(&nameless, &sum, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    layer_free(layer);
}

/* ---- Faults: the fault is read once in a process, so each is a child (main, --fault) ---- */

static int fault_child(const char *folder)
{
    g_autoptr(GError) error = NULL;
    PackSummary sum;

    fixture_folder = g_strdup(folder);
    g_autoptr(Layer) noise = open_image("noise", NULL);
    g_autofree char *path = fixture_path("fault");
    g_unlink(path);
    auto_fd to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    LayerPack pack = { noise, NULL, 0, NULL, to, 2, NULL, NULL, NULL };
    if (layer_pack(&pack, &sum, &error))
        return 0;
    return error->code == IMAGED_ERROR_NO_SPACE      ? 10
           : error->code == IMAGED_ERROR_UNAVAILABLE ? 11
                                                     : 12;
}

static void test_faults(gconstpointer data)
{
    static const struct {
        const char *name;
        int code;
    } kinds[] = { { "enospc", 10 }, { "eio", 11 } };
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);

    make_random("noise", 6 * MIB);
    for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
        int code = -1;
        guint n = 0;
        while (code != 0) {
            g_autofree char *fault = g_strdup_printf("IMAGED_FAULT=%s:%u", kinds[k].name, ++n);
            char *argv[] = { "env", fault, self, "--fault", fixture_folder, NULL };
            int status = -1;
            g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                                       NULL, &status, NULL));
            g_assert_true(WIFEXITED(status));
            code = WEXITSTATUS(status);
            if (code != 0)
                g_assert_cmpint(code, ==, kinds[k].code);
        }
        g_assert_cmpuint(n, >, 5); /* writes, flush, header, flush: each has failed once */
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], "--fault"))
        return fault_child(argv[2]);
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
        g_autofree char *path = g_strdup_printf("/layer-pack/chain/%u", i);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_chain);
    }
    for (guint i = 0; i < G_N_ELEMENTS(choices); i++) {
        g_autofree char *path = g_strdup_printf("/layer-pack/choice/%s", choices[i].name);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_choice);
    }
    g_test_add_func("/layer-pack/layouts", test_layouts);
    g_test_add_func("/layer-pack/zeros", test_zeros);
    g_test_add_func("/layer-pack/random-bytes", test_random_bytes);
    g_test_add_func("/layer-pack/flipped-bytes", test_flipped_bytes);
    g_test_add_func("/layer-pack/progress-and-cancel", test_progress_and_cancel);
    g_test_add_func("/layer-pack/refused", test_refused);
    g_test_add_data_func("/layer-pack/faults", NULL, test_faults);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
