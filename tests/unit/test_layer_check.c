/* test_layer_check.c: the consistency check, with qemu-img check as the second opinion.
 *
 * Images made by qemu-img are copied into memory, patched (layer_patches.h), written and judged by
 * both. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cow/layer_check.h"
#include "imaged/base/units.h"
#include "tests/unit/layer_patches.h"

static char *folder;

static char *path_of(const char *name)
{
    return g_strdup_printf("%s/%s.qcow2", folder, name);
}

/* Run a command line of the shell in the folder, quietly; its exit status. */
static int run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static int run(const char *format, ...)
{
    va_list args;
    int status = -1;

    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *line = g_strdup_printf("cd %s && { %s; } >>log 2>&1", folder, command);
    const char *argv[] = { "sh", "-c", line, NULL };
    g_autoptr(GError) error = NULL;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                 &error);
    g_assert_no_error(error);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static Verdict qemu_verdict(const char *name)
{
    int status = run("qemu-img check --output=json -f qcow2 %s.qcow2", name);

    return status == 0 ? CLEAN : status == 3 ? LEAKS : CORRUPT;
}

static Verdict our_verdict_fd(int fd, LayerCheck *ret_check)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Layer) layer = layer_open_fd(fd, "image", &error);

    if (!layer)
        return CORRUPT;
    g_assert_true(layer_check(layer, NULL, NULL, NULL, ret_check, &error));
    return ret_check->n_errors ? CORRUPT : ret_check->n_leaks ? LEAKS : CLEAN;
}

static Verdict our_verdict(const char *name)
{
    g_autofree char *path = path_of(name);
    g_auto(LayerCheck) check = { 0 };
    Verdict verdict = our_verdict_fd(open(path, O_RDONLY | O_CLOEXEC), &check);

    g_test_message("%s: %d", name, verdict);
    for (guint i = 0; check.messages && i < MIN(check.messages->len, 3); i++)
        g_test_message("%s: %s", name, (char *)g_ptr_array_index(check.messages, i));
    return verdict;
}

/* ---- Sound images ---- */

#define WRITES                                                                                     \
    "qemu-io -f qcow2 -c 'write -P 17 0 200k' -c 'write -P 34 3M 70k' "                            \
    "-c 'write -P 51 7M 128k'"
#define RAW                                                                                        \
    "{ yes imaged | head -c 700000; head -c 200000 /dev/urandom; } > raw; truncate -s 1M raw; "
#define CONVERT RAW "qemu-img convert -O qcow2 -c -o "

/* clang-format off */
static const struct {
    const char *name, *make; /* $F is the file */
} seeds[] = {
    { "plain", "qemu-img create -f qcow2 $F 8M && " WRITES " -c 'write -z 1M 128k' $F" },
    { "v2", "qemu-img create -f qcow2 -o compat=0.10 $F 8M && " WRITES " $F" },
    { "c512", "qemu-img create -f qcow2 -o cluster_size=512 $F 8M && " WRITES " $F" },
    { "c4k", "qemu-img create -f qcow2 -o cluster_size=4k $F 64M && " WRITES " $F" },
    { "c2m", "qemu-img create -f qcow2 -o cluster_size=2M $F 64M && " WRITES " $F" },
    { "r1", "qemu-img create -f qcow2 -o refcount_bits=1 $F 8M && " WRITES " $F" },
    { "r2", "qemu-img create -f qcow2 -o refcount_bits=2,cluster_size=512 $F 8M && " WRITES " $F" },
    { "r4", "qemu-img create -f qcow2 -o refcount_bits=4 $F 8M && " WRITES " $F" },
    { "r8", "qemu-img create -f qcow2 -o refcount_bits=8 $F 8M && " WRITES " $F" },
    { "r32", "qemu-img create -f qcow2 -o refcount_bits=32 $F 8M && " WRITES " $F" },
    { "r64", "qemu-img create -f qcow2 -o refcount_bits=64,cluster_size=512 $F 8M && "
             WRITES " $F" },
    { "ext", "qemu-img create -f qcow2 -o extended_l2=on $F 8M && " WRITES " -c 'write 5M 4k' $F" },
    { "ext128", "qemu-img create -f qcow2 -o extended_l2=on,cluster_size=128k $F 64M && "
                WRITES " $F" },
    { "falloc", "qemu-img create -f qcow2 -o preallocation=metadata $F 8M" },
    { "zlib", CONVERT "compression_type=zlib raw $F" },
    { "zstd", CONVERT "compression_type=zstd raw $F" },
    { "zlib512", CONVERT "cluster_size=512 raw $F" },
    { "zlib2m", CONVERT "cluster_size=2M,refcount_bits=64 raw $F" },
    { "extzlib", CONVERT "extended_l2=on raw $F" },
    { "snap", "qemu-img create -f qcow2 $F 8M && " WRITES " $F && qemu-img snapshot -c one $F && "
              WRITES " $F && qemu-img snapshot -c two $F" },
    { "snapc", CONVERT "cluster_size=4k raw $F && qemu-img snapshot -c one $F && "
               "qemu-io -f qcow2 -c 'write 64k 100k' $F" },
    { "bitmap", "qemu-img create -f qcow2 $F 8M && qemu-img bitmap --add $F one && "
                WRITES " $F && qemu-img bitmap --add -g 512 $F two" },
    { "lazy", "qemu-img create -f qcow2 -o lazy_refcounts=on $F 8M && " WRITES " $F" },
    { "zero", "qemu-img create -f qcow2 $F 8M && qemu-io -f qcow2 -c 'write -z 0 1M' $F" },
    { "empty", "qemu-img create -f qcow2 $F 0" },
};

/* clang-format on */

static void make_seed(const char *name)
{
    g_autofree char *path = path_of(name);

    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(seeds); i++) {
        if (!strcmp(seeds[i].name, name))
            g_assert_cmpint(run("F=%s.qcow2; %s", name, seeds[i].make), ==, 0);
    }
}

static guint64 json_number(const char *json, const char *key)
{
    g_autofree char *quoted = g_strdup_printf("\"%s\": ", key);
    const char *at = strstr(json, quoted);

    return at ? g_ascii_strtoull(at + strlen(quoted), NULL, 10) : 0;
}

static void test_sound(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(seeds); i++) {
        const char *name = seeds[i].name;
        g_autofree char *path = path_of(name), *json = NULL, *json_path = NULL;
        g_auto(LayerCheck) check = { 0 };

        make_seed(name);
        g_test_message("%s", name);
        g_assert_cmpint(qemu_verdict(name), ==, CLEAN);
        g_assert_cmpint(our_verdict(name), ==, CLEAN);
        our_verdict_fd(open(path, O_RDONLY | O_CLOEXEC), &check);
        g_assert_cmpint(run("qemu-img check --output=json %s.qcow2 > json", name), ==, 0);
        json_path = g_strdup_printf("%s/json", folder);
        g_assert_true(g_file_get_contents(json_path, &json, NULL, NULL));
        g_assert_cmpuint(check.n_allocated, ==, json_number(json, "allocated-clusters"));
        g_assert_cmpuint(check.n_compressed, ==, json_number(json, "compressed-clusters"));
        g_assert_cmpuint(check.image_end_offset, ==, json_number(json, "image-end-offset"));
    }
}

/* ---- Patches ---- */

static void test_patch(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data), need;
    g_autofree char *seed = NULL, *path = path_of("patched");
    g_autoptr(GError) error = NULL;
    Image image = { 0 };

    make_seed(layer_patches[i].seed);
    seed = path_of(layer_patches[i].seed);
    g_assert_true(g_file_get_contents(seed, &image.bytes, &image.len, NULL));
    g_assert_true(
        qcow2_header_parse((guint8 *)image.bytes, image.len, image.len, &image.h, &need, &error));
    layer_patches[i].patch(&image);
    g_unlink(path);
    g_assert_true(g_file_set_contents(path, image.bytes, (gssize)image.len, NULL));
    g_assert_cmpint(our_verdict("patched"), ==, layer_patches[i].ours);
    g_assert_cmpint(qemu_verdict("patched"), ==, layer_patches[i].theirs);
    qcow2_header_clear(&image.h);
    g_free(image.bytes);
}

/* ---- Hostile files ---- */

static int copy_to_memfd(const char *name)
{
    g_autofree char *path = path_of(name), *bytes = NULL;
    gsize len;
    int fd = memfd_create("image", MFD_CLOEXEC);

    make_seed(name);
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    g_assert_cmpint(pwrite(fd, bytes, len, 0), ==, len);
    return fd;
}

static guint64 memory_bytes(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (guint64)usage.ru_maxrss * 1024;
}

static void put_fd(int fd, guint64 offset, guint64 value)
{
    guint8 bytes[8];

    put_be64(bytes, value);
    g_assert_cmpint(pwrite(fd, bytes, 8, (off_t)offset), ==, 8);
}

/* A file of 4 EiB, all of it a hole but a few tables whose entries point all over it. */
static void test_huge_sparse(void)
{
    int fd = copy_to_memfd("c512");
    guint64 n = 4096, base = 1ull << 40, before = memory_bytes();
    gint64 start = units_boottime_ms();
    g_auto(LayerCheck) check = { 0 };

    g_assert_cmpint(ftruncate(fd, (off_t)(1ull << 62)), ==, 0);
    put_fd(fd, 48, base); /* a refcount table of 8 MiB that names a million blocks in holes */
    put_fd(fd, 56, (16384ull << 32));
    for (guint64 i = 0; i < n; i++)
        put_fd(fd, base + 8 * i, base + (64 << 20) + 512 * i);
    put_fd(fd, 40, base + (32 << 20));
    guint8 l1_size[4];
    put_be32(l1_size, 1u << 20);
    g_assert_cmpint(pwrite(fd, l1_size, 4, 36), ==, 4);
    for (guint64 i = 0; i < n; i++)
        put_fd(fd, base + (32 << 20) + 8 * i, (1ull << 50) + (i << 20));
    g_assert_cmpint(our_verdict_fd(fd, &check), ==, CORRUPT);
    g_assert_cmpuint(memory_bytes() - before, <, 400 * MIB);
    g_assert_cmpint(units_boottime_ms() - start, <, 30000);
}

/* An L1 table of 32 MiB whose entries all name the same L2 table. */
static void test_one_l2(void)
{
    int fd = copy_to_memfd("plain");
    guint64 n = 4ull << 20, offset = 64 * MIB;
    g_autofree guint8 *l1 = g_malloc(n * 8);
    guint8 number[4];
    gint64 start = units_boottime_ms();
    g_auto(LayerCheck) check = { 0 };

    guint8 first[8];
    g_assert_cmpint(pread(fd, first, 8, 40), ==, 8);
    g_assert_cmpint(pread(fd, first, 8, (off_t)be64_at(first)), ==, 8);
    for (guint64 i = 0; i < n; i++)
        memcpy(l1 + 8 * i, first, 8);
    g_assert_cmpint(pwrite(fd, l1, n * 8, (off_t)offset), ==, n * 8);
    put_fd(fd, 40, offset);
    put_be32(number, (guint32)n);
    g_assert_cmpint(pwrite(fd, number, 4, 36), ==, 4);
    g_assert_cmpint(our_verdict_fd(fd, &check), ==, CORRUPT);
    g_assert_cmpuint(check.messages->len, <=, 100);
    g_assert_cmpint(units_boottime_ms() - start, <, 30000);
}

static void count_progress(guint64 done, guint64 total, gpointer data)
{
    g_assert_cmpuint(done, <=, total);
    (*(guint *)data)++;
}

static void test_cancel(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Layer) layer = layer_open_fd(copy_to_memfd("plain"), "image", &error);
    g_auto(LayerCheck) check = { 0 };
    gint cancel = 0;
    guint n = 0;

    g_assert_true(layer_check(layer, &cancel, count_progress, &n, &check, &error));
    g_assert_cmpuint(n, >, 0);
    layer_check_clear(&check);
    cancel = 1;
    g_assert_false(layer_check(layer, &cancel, NULL, NULL, &check, &error));
    g_assert_nonnull(error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("layer-check-XXXXXX", NULL);
    g_assert_nonnull(folder);
    g_test_add_func("/layer_check/sound", test_sound);
    for (gsize i = 0; i < G_N_ELEMENTS(layer_patches); i++) {
        g_autofree char *name = g_strdup_printf("/layer_check/patch/%s/%s", layer_patches[i].seed,
                                                layer_patches[i].name);
        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_patch);
    }
    g_test_add_func("/layer_check/huge-sparse", test_huge_sparse);
    g_test_add_func("/layer_check/one-l2", test_one_l2);
    g_test_add_func("/layer_check/cancel", test_cancel);
    int status = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", folder);
    if (status == 0)
        status = run("%s", remove);
    return status;
}
