/* test_block_digest.c: digests of layers that QEMU made say, block by block, what a reader of the
 * layer finds; damaged ones, and those of another content, are refused. */
#include "tests/unit/image_fixture.h"

#include "cow/block_digest.h"
#include "cow/chain_reader.h"
#include <sys/stat.h>

#include "imaged/base/durable.h"

#define EXTENDED "extended_l2=on,cluster_size="
#define ID "0123456789abcdef0123456789abcdef"

static const ImageSpec specs[] = {
    { EXTENDED "128k", 6 * MIB, 131072, 60, FALSE, FALSE },
    { EXTENDED "16k", 5 * MIB, 16384, 80, FALSE, FALSE }, /* subclusters of 512 bytes */
    { "cluster_size=64k,compression_type=zstd", 7 * MIB + 512, 65536, 40, TRUE, FALSE },
    { "cluster_size=512", 3 * MIB + 1024, 512, 60, FALSE, FALSE },
    { "cluster_size=2M", 300 * MIB, 2 * MIB, 60, FALSE, FALSE },
};

static const BlockStamp stamp = { 1, 2, 3, 4 };

static int open_file(const char *name, int flags)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static gboolean make(const Layer *layer, guint n_threads, const gint *cancel, GError **error)
{
    auto_fd to = open_file("digest", O_CREAT | O_TRUNC);
    BlockDigestMake m = {
        .layer = layer, .id = ID, .stamp = stamp, .to = to, .n_threads = n_threads, .cancel = cancel
    };

    return block_digest_make(&m, error);
}

/* What the layer holds of this block: 0 nothing, 1 all of it as data, 2 zeros, 3 a part. */
static guint held(ChainMap *map, guint64 block)
{
    guint64 at = block * 4096, end = at + 4096, n[4] = { 0 };
    MapExtent e;

    for (; at < MIN(end, chain_map_size(map)); at = e.start + e.length) {
        g_assert_true(chain_map_find(map, at, &e, NULL));
        guint kind = e.kind == EXTENT_UNALLOCATED ? 0 : e.kind == EXTENT_ZERO ? 2 : 1;
        n[kind] += MIN(end, e.start + e.length) - at;
    }
    return n[1] == 4096 ? 1 : n[2] == 4096 ? 2 : n[1] + n[2] ? 3 : 0;
}

static void test_contents(gconstpointer data)
{
    guint which = GPOINTER_TO_UINT(data);
    g_autoptr(GError) error = NULL;
    guint8 block[4096];
    BlockCounts sum = { 0 };
    BlockRun run = { 0 };
    guint64 next = 0;

    make_image(&specs[which], "l", NULL, which);
    g_autoptr(Layer) layer = open_image("l", &error);
    g_assert_true(make(layer, which % 3, NULL, &error));
    g_assert_no_error(error);
    g_autoptr(ChainMap) map = chain_map_new_partial(&layer, 1, 0, &error);
    g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
    g_autoptr(BlockDigest) digest = block_digest_open(open_file("digest", 0), ID, &stamp, &error);
    g_assert_no_error(error);
    while (block_digest_next(digest, &run, &error)) {
        for (; next < run.first; next++)
            g_assert_cmpuint(held(map, next), ==, 0);
        for (guint32 i = 0; i < run.n; i++, next++) {
            guint kind = held(map, next);
            if (run.kind == BLOCK_PARTIAL) {
                g_assert_cmpuint(kind, !=, 0);
                continue;
            }
            g_assert_cmpuint(kind, ==, run.kind == BLOCK_DATA ? 1 : 2);
            if (run.kind != BLOCK_DATA)
                continue;
            g_assert_true(chain_reader_pread(reader, block, 4096, next * 4096, &error));
            BlockHash hash = block_hash(block);
            g_assert_cmpmem(&hash, sizeof hash, &run.hashes[i], sizeof hash);
            sum.n_zero_data += block_hash_is_zero(&hash);
        }
        *(run.kind == BLOCK_DATA   ? &sum.n_data
          : run.kind == BLOCK_ZERO ? &sum.n_zero
                                   : &sum.n_partial) += run.n;
    }
    g_assert_no_error(error);
    for (; next * 4096 < layer_virtual_size(layer); next++)
        g_assert_cmpuint(held(map, next), ==, 0);
    g_assert_cmpmem(&sum, sizeof sum, block_digest_counts(digest), sizeof sum);
    g_assert_cmpuint(sum.n_data, >, 0);
}

static void test_damaged(void)
{
    g_autoptr(GError) error = NULL;
    BlockStamp other = stamp;
    struct stat st;

    make_image(&specs[0], "l", NULL, 7);
    g_autoptr(Layer) layer = open_image("l", &error);
    g_assert_true(make(layer, 0, NULL, &error));
    other.ctime_ns++;
    g_assert_null(block_digest_open(open_file("digest", 0), ID, &other, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_null(block_digest_open(open_file("digest", 0), "f" ID, &stamp, NULL));
    auto_fd fd = open_file("digest", 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    for (off_t at = 0; at < st.st_size; at += at < 400 ? 1 : 97) {
        guint8 byte, wrong;
        g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
        wrong = byte ^ (1u << (at % 8));
        patch_bytes("digest", (guint64)at, &wrong, 1);
        g_assert_null(block_digest_open(open_file("digest", 0), ID, &stamp, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
        g_clear_error(&error);
        patch_bytes("digest", (guint64)at, &byte, 1);
    }
    g_assert_cmpint(ftruncate(fd, st.st_size - 16), ==, 0);
    g_assert_null(block_digest_open(open_file("digest", 0), ID, &stamp, NULL));
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    g_assert_null(block_digest_open(open_file("digest", 0), ID, &stamp, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

static void test_cancelled(void)
{
    g_autoptr(GError) error = NULL;
    gint cancel = 1;

    make_image(&specs[0], "l", NULL, 8);
    g_autoptr(Layer) layer = open_image("l", &error);
    g_assert_false(make(layer, 0, &cancel, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
    g_assert_null(block_digest_open(open_file("digest", 0), ID, &stamp, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(specs); i++) {
        g_autofree char *path = g_strdup_printf("/block-digest/contents/%u", i);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_contents);
    }
    g_test_add_func("/block-digest/damaged", test_damaged);
    g_test_add_func("/block-digest/cancelled", test_cancelled);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
