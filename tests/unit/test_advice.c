/* test_advice.c: the advisor's parts that need no daemon: records spread over parts and sorted;
 * several layers' digests seen as one. */
#include "tests/unit/image_fixture.h"

#include <stdlib.h>

#include "cow/block_digest.h"
#include "imaged/base/durable.h"
#include "snapshot/advice_sort.h"
#include "snapshot/advice_view.h"

#define EXTENDED "extended_l2=on,cluster_size="
#define ID "0123456789abcdef0123456789abcdef"

static int new_file(const char *name)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* ---- Sorting ---- */

static AdviceRecord random_record(GRand *rand, guint i)
{
    return (AdviceRecord){ .hash = { g_rand_int_range(rand, 0, 3),
                                     (guint64)g_rand_int_range(rand, 0, 500) << 54 },
                           .block = g_rand_int_range(rand, 0, 50),
                           .owner = i };
}

static gint order(const AdviceRecord *a, const AdviceRecord *b)
{
    const guint64 x[] = { a->hash.high, a->hash.low, a->block, a->owner };
    const guint64 y[] = { b->hash.high, b->hash.low, b->block, b->owner };

    for (guint i = 0; i < 4; i++) {
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

/* Every record comes back once, in order, over all parts (they are cut by the first bits). */
static void test_sort(gconstpointer expected)
{
    const guint n = 700000;
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autoptr(AdviceSort) sort = advice_sort_new(new_file("scratch"), GPOINTER_TO_SIZE(expected));
    g_autofree guint8 *seen = g_malloc0(n);
    AdviceRecord last = { 0 };
    guint n_seen = 0;

    for (guint i = 0; i < n; i++) {
        AdviceRecord r = random_record(rand, i);
        g_assert_true(advice_sort_add(sort, &r, NULL));
    }
    for (guint part = 0; part < advice_sort_n_parts(sort); part++) {
        gsize n_part;
        g_autofree AdviceRecord *all = advice_sort_part(sort, part, &n_part, NULL);
        g_assert_nonnull(all);
        for (gsize i = 0; i < n_part; i++, n_seen++) {
            g_assert_cmpint(order(&last, &all[i]), <=, 0);
            g_assert_cmpuint(seen[all[i].owner]++, ==, 0);
            last = all[i];
        }
    }
    g_assert_cmpuint(n_seen, ==, n);
}

static void test_parts(void)
{
    g_autoptr(AdviceSort) one = advice_sort_new(new_file("a"), 1000);
    g_autoptr(AdviceSort) many = advice_sort_new(new_file("b"), 4000000);
    g_autoptr(AdviceSort) most = advice_sort_new(new_file("c"), 1ull << 40);

    g_assert_cmpuint(advice_sort_n_parts(one), ==, 1);
    g_assert_cmpuint(advice_sort_n_parts(many), ==, 4);
    g_assert_cmpuint(advice_sort_n_parts(most), ==, 256);
}

/* ---- Several layers as one ---- */

static BlockDigest *digest_of(const char *image)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Layer) layer = open_image(image, &error);
    g_autofree char *name = g_strconcat(image, ".digest", NULL);
    int fd = new_file(name);
    BlockDigestMake make = { .layer = layer, .id = ID, .to = fd };
    BlockStamp stamp = { 0 };

    g_assert_true(block_digest_make(&make, &error));
    BlockDigest *digest = block_digest_open(fd, ID, &stamp, &error);
    g_assert_no_error(error);
    return digest;
}

/* What one digest says, per block: its kind and hash. */
typedef struct {
    gboolean is_said;
    BlockKind kind;
    BlockHash hash;
} Said;

static void note(const BlockRun *run, Said *said)
{
    for (guint32 i = 0; i < run->n; i++) {
        Said *s = &said[run->first + i];
        *s = (Said){ .is_said = TRUE, .kind = run->kind };
        if (run->kind == BLOCK_DATA)
            s->hash = run->hashes[i];
    }
}

static void test_view(gconstpointer seed)
{
    const ImageSpec spec = { EXTENDED "128k", 8 * MIB, 131072, 40, FALSE, FALSE };
    const guint n = 3, n_blocks = 8 * MIB / 4096;
    g_autofree Said *expected = g_new0(Said, n_blocks), *found = g_new0(Said, n_blocks);
    g_autoptr(GError) error = NULL;
    BlockDigest *digests[3];
    guint64 n_data = 0, next = 0;
    BlockRun run;

    for (guint i = 0; i < n; i++) { /* the uppermost says it last */
        g_autofree char *name = g_strdup_printf("l%u", i);
        make_image(&spec, name, NULL, GPOINTER_TO_UINT(seed) * 10 + i);
        g_autoptr(BlockDigest) digest = digest_of(name);
        while (block_digest_next(digest, &run, &error))
            note(&run, expected);
        n_data += block_digest_counts(digest)->n_data;
        digests[i] = digest_of(name);
    }
    g_autoptr(AdviceView) view = advice_view_new(digests, n);
    g_assert_cmpuint(advice_view_n_data(view), ==, n_data);
    while (advice_view_next(view, &run, &error)) {
        g_assert_cmpuint(run.first, >=, next);
        next = run.first + run.n;
        note(&run, found);
    }
    g_assert_no_error(error);
    for (guint i = 0; i < n_blocks; i++) {
        g_assert_cmpint(found[i].is_said, ==, expected[i].is_said);
        g_assert_cmpint(found[i].kind, ==, expected[i].kind);
        g_assert_cmpmem(&found[i].hash, sizeof(BlockHash), &expected[i].hash, sizeof(BlockHash));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    g_test_add_func("/advice/parts", test_parts);
    g_test_add_data_func("/advice/sort/one", GSIZE_TO_POINTER(1000), test_sort);
    g_test_add_data_func("/advice/sort/many", GSIZE_TO_POINTER(100000000), test_sort);
    for (guint i = 0; i < 4; i++) {
        g_autofree char *path = g_strdup_printf("/advice/view/%u", i);
        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_view);
    }
    int ret = g_test_run();
    fixture_end();
    return ret;
}
