/* test_digest.c: the checksum depends on what a file holds and where, and on nothing else. */
#include "tests/unit/image_fixture.h"

#include "cow/digest.h"
#include "imaged/base/durable.h"

#define N_BLOCKS 600u

static int new_file(const char *name)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static char *digest_fd(int fd)
{
    g_autoptr(GError) error = NULL;
    Digest digest;

    digest_file(fd, NULL, NULL, NULL, &digest, &error);
    g_assert_no_error(error);
    return digest_to_text(&digest);
}

static guint8 *random_blocks(guint seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    guint8 *data = g_malloc0(N_BLOCKS * DIGEST_BLOCK);

    for (guint i = 0; i < N_BLOCKS; i++) {
        if (g_rand_int_range(rand, 0, 3) == 0)
            continue; /* zeros */
        for (guint k = 0; k < DIGEST_BLOCK; k += 64)
            data[i * DIGEST_BLOCK + k] = g_rand_int_range(rand, 0, 256);
        data[i * DIGEST_BLOCK + 5] = 1;
    }
    return data;
}

static void test_order(void)
{
    g_autofree guint8 *data = random_blocks(1);
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    guint order[N_BLOCKS];
    Digest whole = { 0 }, mixed = { 0 }, pieces = { 0 };

    digest_add(&whole, 0, data, N_BLOCKS * DIGEST_BLOCK);
    for (guint i = 0; i < N_BLOCKS; i++)
        order[i] = i;
    for (guint i = N_BLOCKS - 1; i > 0; i--) {
        guint k = g_rand_int_range(rand, 0, i + 1), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    for (guint i = 0; i < N_BLOCKS; i++)
        digest_add_block(&mixed, order[i], data + order[i] * DIGEST_BLOCK);
    for (guint i = 0; i < N_BLOCKS; i += 100)
        digest_add(&pieces, (N_BLOCKS - 100 - i) * DIGEST_BLOCK,
                   data + (N_BLOCKS - 100 - i) * DIGEST_BLOCK, 100 * DIGEST_BLOCK);
    g_assert_true(whole.sum == mixed.sum && whole.sum == pieces.sum && whole.sum != 0);
    g_autofree char *text = digest_to_text(&whole);
    g_assert_cmpuint(strlen(text), ==, DIGEST_TEXT);
    g_assert_cmpuint(strspn(text, "0123456789abcdef"), ==, DIGEST_TEXT);
}

static void test_holes(void)
{
    g_autofree guint8 *data = random_blocks(3), *zero = g_malloc0(DIGEST_BLOCK);
    auto_fd full = new_file("full"), sparse = new_file("sparse");
    gsize len = N_BLOCKS * DIGEST_BLOCK;
    Digest sum = { 0 };

    g_assert_cmpint(pwrite(full, data, len, 0), ==, len);
    for (guint i = 0; i < N_BLOCKS; i++) {
        if (memcmp(data + i * DIGEST_BLOCK, zero, DIGEST_BLOCK) != 0)
            g_assert_cmpint(pwrite(sparse, data + i * DIGEST_BLOCK, DIGEST_BLOCK, i * DIGEST_BLOCK),
                            ==, DIGEST_BLOCK);
    }
    digest_add(&sum, 0, data, len);
    g_autofree char *want = digest_to_text(&sum), *one = digest_fd(full);
    g_autofree char *two = digest_fd(sparse);
    g_assert_cmpstr(one, ==, want);
    g_assert_cmpstr(two, ==, want);
    g_assert_cmpint(ftruncate(sparse, 10 * GIB), ==, 0); /* a hole at the end adds nothing */
    g_autofree char *longer = digest_fd(sparse);
    g_assert_cmpstr(longer, ==, want);
}

static void test_flips(void)
{
    g_autofree guint8 *data = random_blocks(4);
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    auto_fd fd = new_file("flip");
    gsize len = N_BLOCKS * DIGEST_BLOCK - 100; /* a last block that is not whole */

    g_assert_cmpint(pwrite(fd, data, len, 0), ==, len);
    g_autofree char *before = digest_fd(fd);
    for (guint i = 0; i < 40; i++) {
        gsize at = i == 0 ? 0 : i == 1 ? len - 1 : rand_below(rand, len);
        guint8 byte = data[at] ^ (1u << i % 8);
        g_assert_cmpint(pwrite(fd, &byte, 1, (off_t)at), ==, 1);
        g_autofree char *after = digest_fd(fd);
        g_assert_cmpstr(after, !=, before);
        g_assert_cmpint(pwrite(fd, &data[at], 1, (off_t)at), ==, 1);
    }
    /* Two blocks that change places are two errors, not none. */
    for (guint i = 0; i < 2; i++) {
        Digest a = { 0 }, b = { 0 };
        digest_add_block(&a, 10, data);
        digest_add_block(&b, 10 + i, data);
        g_assert_true((a.sum == b.sum) == !i || digest_block_is_zero(data));
    }
    g_autofree char *same = digest_fd(fd);
    g_assert_cmpstr(same, ==, before);
}

static void test_zero_blocks(void)
{
    g_autofree guint8 *block = g_malloc0(DIGEST_BLOCK);

    g_assert_true(digest_block_is_zero(block));
    for (guint i = 0; i < DIGEST_BLOCK; i++) {
        block[i] = 0x80;
        g_assert_false(digest_block_is_zero(block));
        block[i] = 0;
    }
}

static void count_calls(guint64 bytes, gpointer data)
{
    guint64 *last = data;

    g_assert_cmpuint(bytes, >=, *last);
    *last = bytes;
}

static void test_ends(void)
{
    auto_fd fd = new_file("ends");
    static const gint cancel = 1;
    guint64 last = 0;
    g_autoptr(GError) error = NULL;
    Digest digest;

    g_autofree char *empty = digest_fd(fd);
    g_assert_cmpstr(empty, ==, "00000000000000000000000000000000");
    g_assert_cmpint(pwrite(fd, "x", 1, 3 * MIB), ==, 1);
    g_assert_true(digest_file(fd, NULL, count_calls, &last, &digest, &error));
    g_assert_cmpuint(last, ==, 1);
    g_assert_false(digest_file(fd, &cancel, NULL, NULL, &digest, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_false(digest_file(-1, NULL, NULL, NULL, &digest, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    g_test_add_func("/digest/order", test_order);
    g_test_add_func("/digest/holes", test_holes);
    g_test_add_func("/digest/flips", test_flips);
    g_test_add_func("/digest/zero-blocks", test_zero_blocks);
    g_test_add_func("/digest/ends", test_ends);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
