/* test_blank.c: QEMU finds every blank layer sound and reads its geometry as we meant it. */
#include "tests/unit/image_fixture.h"

#include "cow/blank.h"
#include "imaged/base/durable.h"

typedef struct {
    guint64 size;
    guint32 bits;
    gboolean ext, has_backing, has_identity;
} Geometry;

static const Geometry matrix[] = {
    { 0, 16 },
    { 1, 16 },
    { 512, 9, FALSE, TRUE },
    { 2 * MIB, 9, FALSE, TRUE, TRUE },
    { MIB + 511, 12 },
    { 10 * GIB, 12, FALSE, TRUE, TRUE },
    { 40 * GIB, 16, FALSE, TRUE, TRUE },
    { 40 * GIB + 512, 16, FALSE, FALSE, TRUE },
    { 40 * GIB, 17, TRUE, TRUE, TRUE },
    { 16 * MIB, 14, TRUE, TRUE, TRUE },
    { 16 * GIB, 14, TRUE },
    { 2 * TIB, 17, TRUE, TRUE, TRUE },
    { 64 * TIB, 21, TRUE, TRUE, TRUE },
    { 64 * TIB, 21, FALSE, TRUE },
    { 8 * TIB, 16, FALSE, TRUE, TRUE },
};

#define IDENTITY "{\"who\":\"a layer\"}"

static void write_blank(const char *name, const Blank *b)
{
    g_autofree char *path = fixture_path(name);
    auto_fd fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpuint(b->header->len, <=, b->reftable_offset);
    g_assert_true(durable_write(fd, b->header->data, b->header->len, 0, NULL));
    g_assert_true(durable_write(fd, b->reftable, sizeof b->reftable, b->reftable_offset, NULL));
    g_assert_true(durable_write(fd, b->refblock->data, b->refblock->len, b->refblock_offset, NULL));
    g_assert_true(durable_truncate(fd, b->file_length, NULL));
}

static json_t *info_of(const char *name)
{
    g_autofree char *text = run("qemu-img info --output=json %s", name);
    json_t *info = json_loads(text, 0, NULL);

    g_assert_nonnull(info);
    return info;
}

static void check_info(const Geometry *g, const char *backing)
{
    json_t *info = info_of("blank.qcow2");
    json_t *own = json_object_get(json_object_get(info, "format-specific"), "data");

    g_assert_cmpint(json_integer_value(json_object_get(info, "virtual-size")), ==,
                    (g->size + 511) / 512 * 512);
    g_assert_cmpint(json_integer_value(json_object_get(info, "cluster-size")), ==, 1 << g->bits);
    g_assert_cmpstr(json_string_value(json_object_get(info, "format")), ==, "qcow2");
    g_assert_cmpstr(json_string_value(json_object_get(info, "backing-filename")), ==, backing);
    g_assert_cmpstr(json_string_value(json_object_get(info, "backing-filename-format")), ==,
                    backing ? "qcow2" : NULL);
    g_assert_cmpstr(json_string_value(json_object_get(own, "compat")), ==, "1.1");
    g_assert_cmpint(json_integer_value(json_object_get(own, "refcount-bits")), ==, 16);
    g_assert_true(json_is_true(json_object_get(own, "extended-l2")) == g->ext);
    g_assert_false(json_is_true(json_object_get(own, "corrupt")));
    json_decref(info);
}

static void test_geometry(gconstpointer data)
{
    const Geometry *g = data;
    const char *backing = g->has_backing ? "base.qcow2" : NULL;
    BlankSpec spec = { g->size, g->bits, g->ext, backing, g->has_identity ? IDENTITY : NULL };
    g_auto(Blank) blank = { 0 };
    g_autoptr(GError) error = NULL;

    g_free(run("qemu-img create -q -f qcow2 base.qcow2 64M"));
    g_assert_true(blank_build(&spec, &blank, &error));
    g_assert_no_error(error);
    write_blank("blank.qcow2", &blank);
    g_free(run("qemu-img check -q blank.qcow2"));
    check_info(g, backing);
    g_autoptr(Layer) layer = open_image("blank.qcow2", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(layer_header(layer)->identity, ==, spec.identity);
    g_assert_cmpstr(layer_header(layer)->backing_name, ==, backing);
    if (g->size < 64 * KIB)
        return;
    /* It can be written, at both ends, and is sound afterwards. */
    g_autofree char *last = g_strdup_printf("write -q -P 7 %" G_GUINT64_FORMAT " 512",
                                            (g->size + 511) / 512 * 512 - 512);
    run_io("blank.qcow2", "write -q -P 5 0 64k");
    run_io("blank.qcow2", last);
    run_io("blank.qcow2", "read -q -P 5 0 64k");
    g_free(run("qemu-img check -q blank.qcow2"));
}

static void test_refused(void)
{
    g_autofree char *long_name = g_strnfill(1000, 'n');
    const BlankSpec bad[] = {
        { GIB, 0 },
        { GIB, 8 },
        { GIB, 22 },
        { GIB, 63 },
        { GIB, 64 },
        { GIB, G_MAXUINT32 },
        { GIB, 13, TRUE },
        { GIB, 9, TRUE },
        { 64 * TIB + 1, 21 },
        { G_MAXUINT64, 16 },
        { G_MAXUINT64, 21, TRUE },
        { 64 * TIB, 9 },
        { TIB, 9 },
        { 8 * TIB, 12 }, /* one refcount block does not do for the L1 table */
        { MIB, 9, FALSE, long_name },
        { MIB, 9, FALSE, NULL, long_name },
    };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(Blank) blank = { 0 };
        g_autoptr(GError) error = NULL;
        if (blank_build(&bad[i], &blank, &error))
            g_test_fail_printf("number %u is not refused", i);
        else
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

/* Every geometry that is not refused is one that QEMU takes. */
static void test_limits(void)
{
    for (guint32 bits = 9; bits <= 21; bits += 3) {
        for (int ext = 0; ext < 2; ext++) {
            guint64 low = 0, high = 64 * TIB + 512;
            while (low + 512 < high) { /* the largest size that is taken */
                guint64 middle = (low + high) / 1024 * 512;
                BlankSpec spec = { middle, bits, ext };
                g_auto(Blank) blank = { 0 };
                if (blank_build(&spec, &blank, NULL))
                    low = middle;
                else
                    high = middle;
            }
            BlankSpec spec = { low, bits, ext };
            g_auto(Blank) blank = { 0 };
            if (!low || !blank_build(&spec, &blank, NULL))
                continue;
            write_blank("limit.qcow2", &blank);
            g_free(run("qemu-img check -q limit.qcow2"));
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    for (guint i = 0; i < G_N_ELEMENTS(matrix); i++) {
        g_autofree char *path =
            g_strdup_printf("/blank/%u:%u-%" G_GUINT64_FORMAT, i, matrix[i].bits, matrix[i].size);
        g_test_add_data_func(path, &matrix[i], test_geometry);
    }
    g_test_add_func("/blank/refused", test_refused);
    g_test_add_func("/blank/limits", test_limits);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
