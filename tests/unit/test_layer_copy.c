/* test_layer_copy.c: a copied layer has a new identity and backing name, the same guest bytes, and
 * a checksum that fits; a flipped byte is found. */
#include "tests/unit/image_fixture.h"

#include "cow/layer_copy.h"
#include "imaged/base/durable.h"

#define IDENTITY "{\"v\":1,\"id\":\"new\"}"

static const ImageSpec matrix[] = {
    { "compat=0.10,cluster_size=4k", 4 * MIB, 4096, 40, TRUE },
    { "compat=1.1,cluster_size=64k", 12 * MIB + SECTOR, 65536, 60, TRUE, TRUE },
    { "compat=1.1,cluster_size=2M", 20 * MIB, 2097152, 20 },
    { "extended_l2=on,cluster_size=128k", 12 * MIB, 131072, 60 },
    { "compat=1.1,cluster_size=512", MIB, 512, 30 },
};

static int open_file(const char *name, int flags)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, flags | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static char *digest_of(const char *name)
{
    auto_fd fd = open_file(name, O_RDONLY);
    Digest digest;

    g_assert_true(digest_file(fd, NULL, NULL, NULL, &digest, NULL));
    return digest_to_text(&digest);
}

static void note_progress(guint64 bytes, gpointer data)
{
    guint64 *last = data;

    g_assert_cmpuint(bytes, >, *last);
    *last = bytes;
}

/* Copy from.qcow2 to copy.qcow2; FALSE with error. */
static gboolean copy(const char *from, const char *backing, const char *checksum,
                     const gint *cancel, int to_flags, char ret[33], GError **error)
{
    auto_fd in = open_file(from, O_RDONLY);
    auto_fd out = open_file("copy.qcow2", O_RDWR | O_CREAT | O_TRUNC | to_flags);
    guint64 last = 0;
    LayerCopy c = { in, out, IDENTITY, backing, checksum, cancel, note_progress, &last };

    return layer_copy(&c, ret, error);
}

static void check_copy(const char *from, const char *backing, int flags)
{
    g_autofree char *before = digest_of(from);
    g_autoptr(GError) error = NULL;
    char checksum[33];

    g_assert_true(copy(from, backing, before, NULL, flags, checksum, &error));
    g_assert_no_error(error);
    g_autofree char *after = digest_of("copy.qcow2");
    g_assert_cmpstr(after, ==, checksum);
    g_assert_cmpstr(after, !=, before);
    g_free(run("qemu-img check -q copy.qcow2"));
    g_free(run("qemu-img compare -q %s copy.qcow2", from));
    g_autoptr(Layer) layer = open_image("copy.qcow2", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(layer_header(layer)->backing_name, ==, backing);
    g_assert_cmpstr(layer_header(layer)->identity, ==, IDENTITY);
    g_autofree char *info = run("qemu-img info copy.qcow2");
    g_assert_true(!backing || strstr(info, "backing file format: qcow2"));
}

static void test_matrix(gconstpointer data)
{
    const ImageSpec *s = data;
    guint seed = (guint)(s - matrix);

    make_image(s, "from.qcow2", NULL, seed);
    check_copy("from.qcow2", NULL, 0);
    make_image(s, "over.qcow2", "from.qcow2", seed + 100);
    g_free(run("cp from.qcow2 another-name-for-the-same-base.qcow2"));
    check_copy("over.qcow2", "another-name-for-the-same-base.qcow2", O_DIRECT);
    check_copy("over.qcow2", "from.qcow2", 0);
    g_free(run("cp copy.qcow2 again.qcow2")); /* its old identity goes away */
    check_copy("again.qcow2", "./from.qcow2", 0);
}

static void refuse(const char *from, const char *backing, const char *checksum, const gint *cancel,
                   int code)
{
    g_autoptr(GError) error = NULL;
    char unused[33];

    g_assert_false(copy(from, backing, checksum, cancel, 0, unused, &error));
    g_assert_error(error, IMAGED_ERROR, code);
}

static void test_refused(void)
{
    static const gint cancel = 1;
    g_autofree char *big = g_strnfill(600, 'b'), *noise = g_strnfill(70000, 'n');
    g_autofree char *noise_path = fixture_path("noise.qcow2");
    guint64 size;

    make_image(&matrix[1], "from.qcow2", NULL, 1);
    g_autofree char *sum = digest_of("from.qcow2");
    refuse("from.qcow2", NULL, NULL, &cancel, IMAGED_ERROR_CANCELLED);
    refuse("from.qcow2", "a-parent-it-never-had", NULL, NULL, IMAGED_ERROR_CORRUPT);
    g_assert_true(g_file_set_contents(noise_path, noise, 70000, NULL));
    refuse("noise.qcow2", NULL, NULL, NULL, IMAGED_ERROR_CORRUPT);
    g_free(
        run("qemu-img create -q -f qcow2 -o cluster_size=512 -b from.qcow2 -F qcow2 small.qcow2"));
    refuse("small.qcow2", big, NULL, NULL, IMAGED_ERROR_CORRUPT); /* no room in its header */

    auto_fd fd = open_file("from.qcow2", O_RDWR);
    size = (guint64)lseek(fd, 0, SEEK_END);
    for (guint64 at = 0; at < size; at += size / 7) {
        guint8 byte;
        g_assert_cmpint(pread(fd, &byte, 1, (off_t)at), ==, 1);
        byte ^= 4;
        patch_bytes("from.qcow2", at, &byte, 1);
        refuse("from.qcow2", NULL, sum, NULL, IMAGED_ERROR_CORRUPT);
        byte ^= 4;
        patch_bytes("from.qcow2", at, &byte, 1);
    }
    check_copy("from.qcow2", NULL, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(matrix); i++) {
        g_autofree char *path = g_strdup_printf("/layer-copy/%s", matrix[i].options);
        g_test_add_data_func(path, &matrix[i], test_matrix);
    }
    g_test_add_func("/layer-copy/refused", test_refused);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
