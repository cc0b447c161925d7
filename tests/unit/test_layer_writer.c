/* test_layer_writer.c: random streams of extents give images that QEMU finds sound and reads as it
 * should; zeros take no space; what is out of order is refused. */
#include "tests/unit/image_fixture.h"

#include "cow/digest.h"
#include "cow/layer_writer.h"
#include "imaged/base/durable.h"

#define IDENTITY "{\"v\":1}"

typedef struct {
    guint64 size;
    guint32 cluster_bits;
    gboolean has_subclusters, has_backing;
    guint n_pieces;
} WriterSpec;

static const WriterSpec matrix[] = {
    { 0, 16, FALSE, FALSE, 0 },
    { 512, 12, FALSE, FALSE, 1 },
    { 8 * MIB, 12, FALSE, FALSE, 60 },
    { 8 * MIB + 512, 16, FALSE, FALSE, 40 },
    { 24 * MIB + 3 * 512, 17, TRUE, FALSE, 60 },
    { 20 * MIB, 21, TRUE, FALSE, 20 },
    { 20 * MIB + 7 * 512, 21, FALSE, FALSE, 20 },
    { 8 * MIB, 14, TRUE, FALSE, 60 },
    { 8 * MIB, 12, FALSE, TRUE, 60 },
    { 8 * MIB + 512, 16, FALSE, TRUE, 40 },
    { 24 * MIB + 3 * 512, 17, TRUE, TRUE, 80 },
    { 8 * MIB, 14, TRUE, TRUE, 120 },
    { 20 * MIB + 512, 21, TRUE, TRUE, 40 },
    { 40 * MIB + 512, 12, FALSE, TRUE, 60 }, /* many L2 tables */
    { 50 * MIB, 14, TRUE, FALSE, 200 },
};

static guint64 sub_of(const WriterSpec *s)
{
    return (1ull << s->cluster_bits) / (s->has_subclusters ? 32 : 1);
}

static int create_file(const char *name, int flags)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* Bytes that hold a few zeros of every size, so that finding those matters. */
static void fill(GRand *rand, guint8 *data, guint64 len)
{
    for (guint64 at = 0; at < len; at += 512) {
        gboolean zero = g_rand_int_range(rand, 0, 4) == 0;
        memset(data + at, zero ? 0 : g_rand_int_range(rand, 1, 256), 512);
    }
}

/* Feed random pieces to the writer; image becomes what the guest must see. */
static void feed(const WriterSpec *s, LayerWriter *w, GRand *rand, guint8 *image)
{
    guint64 unit = s->has_backing ? sub_of(s) : 512, at = 0;
    guint64 mean = MAX(s->size / MAX(s->n_pieces, 1) / unit, 1);

    for (guint i = 0; i < s->n_pieces && at < s->size; i++) {
        g_autoptr(GError) error = NULL;
        guint kind = g_rand_int_range(rand, 0, 5);
        guint64 len = (1 + rand_below(rand, 2 * mean)) * unit;
        if (g_rand_boolean(rand))
            at += rand_below(rand, mean) * unit; /* a hole */
        if (at >= s->size)
            break;
        len = MIN(len, s->size - at);
        if (kind == 0) {
            layer_writer_zero(w, at, len, &error);
            memset(image + at, 0, len);
        } else {
            if (kind == 1)
                memset(image + at, 0, len);
            else
                fill(rand, image + at, len);
            layer_writer_data(w, at, image + at, len, &error);
        }
        g_assert_no_error(error);
        at += len;
    }
}

static void compare(const char *name, const guint8 *image, guint64 size)
{
    gsize got;
    g_autofree char *path = fixture_path("out.raw"), *raw = NULL;

    g_free(run("qemu-img convert -O raw %s out.raw", name));
    g_assert_true(g_file_get_contents(path, &raw, &got, NULL));
    g_assert_cmpuint(got, ==, size);
    for (guint64 at = 0; at < size; at += 512) {
        if (memcmp(raw + at, image + at, 512) != 0) {
            g_test_fail_printf("%s differs at %" G_GUINT64_FORMAT, name, at);
            return;
        }
    }
}

/* What must be allocated: subclusters with any byte that is not zero. */
static guint64 count_data(const WriterSpec *s, const guint8 *image)
{
    guint64 sub = sub_of(s), sum = 0;

    for (guint64 at = 0; at < s->size; at += sub) {
        guint64 len = MIN(sub, s->size - at);
        sum += image[at] || memcmp(image + at, image + at + 1, len - 1) ? sub : 0;
    }
    return sum;
}

static void check_file(const WriterSpec *s, int fd, const LayerSummary *sum, const guint8 *image)
{
    g_autoptr(GError) error = NULL;
    Digest digest;

    g_free(run("qemu-img check -q made.qcow2"));
    compare("made.qcow2", image, s->size);
    g_assert_true(digest_file(fd, NULL, NULL, NULL, &digest, &error));
    g_autofree char *text = digest_to_text(&digest);
    g_assert_cmpstr(text, ==, sum->digest);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, sum->file_length);
    g_autoptr(Layer) layer = open_image("made.qcow2", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(layer_virtual_size(layer), ==, s->size);
    LayerCounts counts;
    g_assert_true(layer_count(layer, &counts, &error));
    g_assert_no_error(error);
    if (s->size % sub_of(s) == 0)
        g_assert_cmpuint(counts.data_bytes, ==, sum->data_bytes);
    if (!s->has_backing)
        g_assert_cmpuint(sum->data_bytes, ==, count_data(s, image));
}

static void test_matrix(gconstpointer data)
{
    const WriterSpec *s = data;
    guint seed = (guint)(s - matrix);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autofree guint8 *image = g_malloc0(s->size + 1);
    g_autoptr(GError) error = NULL;
    LayerSummary sum;
    BlankSpec spec = { s->size, s->cluster_bits, s->has_subclusters,
                       s->has_backing ? "below.raw.qcow2" : NULL, IDENTITY };

    if (s->has_backing) {
        g_autofree char *path = fixture_path("below.raw");
        fill(rand, image, s->size);
        g_assert_true(g_file_set_contents(path, (char *)image, (gssize)s->size, NULL));
        g_free(run("qemu-img convert -f raw -O qcow2 below.raw below.raw.qcow2"));
    }
    auto_fd fd = create_file("made.qcow2", seed % 2 ? O_DIRECT : 0);
    g_autoptr(LayerWriter) w = layer_writer_new(fd, &spec, &error);
    g_assert_no_error(error);
    feed(s, w, rand, image);
    g_assert_true(layer_writer_finish(w, &sum, &error));
    g_assert_no_error(error);
    g_autofree char *path = fixture_path("made.qcow2");
    auto_fd plain = open(path, O_RDONLY | O_CLOEXEC); /* reading takes no aligned buffers */
    check_file(s, plain, &sum, image);
}

/* A piece of nothing but zeros makes a file no larger than one without it. */
static void test_zeros_left_out(void)
{
    g_autofree guint8 *zeros = g_malloc0(16 * MIB);
    guint64 lengths[2];

    for (guint i = 0; i < 2; i++) {
        BlankSpec spec = { 16 * MIB, 17, TRUE, NULL, IDENTITY };
        auto_fd fd = create_file("zeros.qcow2", 0);
        g_autoptr(LayerWriter) w = layer_writer_new(fd, &spec, NULL);
        LayerSummary sum;
        if (i)
            g_assert_true(layer_writer_data(w, 0, zeros, 16 * MIB, NULL));
        g_assert_true(layer_writer_finish(w, &sum, NULL));
        g_assert_cmpuint(sum.data_bytes, ==, 0);
        lengths[i] = sum.file_length;
    }
    g_assert_cmpuint(lengths[0], ==, lengths[1]);
}

static void test_refused(void)
{
    static const struct {
        guint64 offset, len;
    } bad[] = {
        { 0, 512 },
        { 65536 - 512, 512 },
        { MIB, 512 },
        { MIB - 512, 1024 },
        { 70000, 512 },
        { 131072, 100 },
        { 2 * MIB, 0 },
        { G_MAXUINT64 - 511, 512 },
        { 131072, G_MAXUINT64 - 511 },
        { 512ull << 40, 512 },
    };
    g_autofree guint8 *data = g_malloc0(MIB);
    BlankSpec specs[] = { { MIB, 9, FALSE, NULL, NULL },
                          { MIB, 13, TRUE, NULL, NULL },
                          { MIB, 22, FALSE, NULL, NULL },
                          { G_MAXUINT64, 16, FALSE, NULL, NULL } };
    auto_fd fd = create_file("bad.qcow2", 0);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(specs); i++) {
        g_assert_null(layer_writer_new(fd, &specs[i], &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_clear_error(&error);
    }
    for (guint backing = 0; backing < 2; backing++) {
        BlankSpec spec = { MIB, 16, FALSE, backing ? "below" : NULL, NULL };
        g_autoptr(LayerWriter) w = layer_writer_new(fd, &spec, NULL);
        g_assert_true(layer_writer_data(w, 0, data, 65536, NULL));
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
            g_assert_false(layer_writer_data(w, bad[i].offset, data, bad[i].len, &error));
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
            g_clear_error(&error);
            g_assert_true(layer_writer_zero(w, bad[i].offset, bad[i].len, NULL) == !backing);
        }
        g_assert_true(layer_writer_data(w, MIB - 65536, data, 65536, NULL));
    }
}

/* A file whose writing was given up is no image: nobody takes it for one. */
static void test_given_up(void)
{
    g_autofree guint8 *data = g_malloc(4 * MIB);
    BlankSpec spec = { 16 * MIB, 16, FALSE, NULL, IDENTITY };
    g_autoptr(GError) error = NULL;
    auto_fd fd = create_file("half.qcow2", 0);
    LayerWriter *w = layer_writer_new(fd, &spec, NULL);

    memset(data, 7, 4 * MIB);
    g_assert_true(layer_writer_data(w, 0, data, 4 * MIB, NULL));
    layer_writer_free(w);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), >, 0);
    g_autoptr(Layer) layer = open_image("half.qcow2", &error);
    g_assert_null(layer);
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(matrix); i++) {
        const WriterSpec *s = &matrix[i];
        g_autofree char *path = g_strdup_printf(
            "/layer-writer/%u:%u-%" G_GUINT64_FORMAT "%s%s", i, s->cluster_bits, s->size,
            s->has_subclusters ? "-ext" : "", s->has_backing ? "-over" : "");
        g_test_add_data_func(path, s, test_matrix);
    }
    g_test_add_func("/layer-writer/zeros-left-out", test_zeros_left_out);
    g_test_add_func("/layer-writer/refused", test_refused);
    g_test_add_func("/layer-writer/given-up", test_given_up);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
