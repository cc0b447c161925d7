/* test_version_seal.c: what a job takes over of a helper's report, and which layer that another
 * program wrote it takes. */
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cow/blank.h"
#include "cow/layer_whole.h"
#include "cow/layer_writer.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "templates/seal_report.h"

static void test_report(void)
{
    json_t *said =
        json_pack("{s:{s:s,s:i}, s:[{s:s,s:i,s:[s,i]}, i], s:i, s:s, s:s}", "os", "type", "linux",
                  "distro", 7, "operations", "name", "logs", "n_removed", 3, "paths", "/var/log/a",
                  5, 9, "n_removed", -5, "bytes", "many", "evil", "thing");
    json_t *wanted =
        json_pack("{s:{s:s,s:s,s:s}, s:[{s:s,s:i,s:i,s:[s,s]}, {s:s,s:i,s:i,s:[]}], s:i, s:i,"
                  " s:[], s:i}",
                  "os", "type", "linux", "distro", "", "product", "", "operations", "name", "logs",
                  "n_removed", 3, "bytes", 0, "paths", "/var/log/a", "", "name", "", "n_removed", 0,
                  "bytes", 0, "paths", "n_removed", 0, "bytes", 0, "trimmed", "elapsed_ms", 0);
    json_t *report = seal_report(said);

    g_assert_nonnull(wanted);
    g_assert_true(json_equal(report, wanted));
    json_decref(said);
    json_decref(wanted);
    json_decref(report);
}

static void test_report_bounds(void)
{
    g_autofree char *many = g_strnfill(100000, 'x');
    json_t *said = json_object(), *operations = json_array();

    json_object_set_new(said, "trimmed", json_array());
    for (guint i = 0; i < 5000; i++) {
        json_array_append_new(json_object_get(said, "trimmed"), json_string(many));
        json_array_append_new(operations, json_pack("{s:s}", "name", many));
    }
    json_object_set_new(said, "operations", operations);
    json_object_set_new(said, "bytes", json_integer(G_MAXINT64));
    json_t *report = seal_report(said);
    g_assert_cmpuint(json_dumpb(report, NULL, 0, 0), <, 64 * 1024);
    g_assert_cmpint(json_integer_value(json_object_get(report, "bytes")), <=, 1ll << 53);
    json_decref(report);
    json_decref(said);
}

static void test_whole(void)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "imaged-whole-XXXXXX", NULL);
    int fd = g_mkstemp(path);
    const BlankSpec spec = { .virtual_size = 1 << 24, .cluster_bits = 16 };
    g_autoptr(GError) error = NULL;
    LayerSummary summary;

    g_assert_cmpint(fd, >=, 0);
    g_autoptr(LayerWriter) writer = layer_writer_new(fd, &spec, &error);
    g_assert_no_error(error);
    g_assert_true(layer_writer_finish(writer, &summary, &error));
    g_assert_true(layer_whole(fd, NULL, &error));
    g_assert_no_error(error);

    /* The header's pointer to the L1 table, and in it one to nowhere. */
    guint8 text[8];
    g_assert_cmpint(pread(fd, text, 8, 40), ==, 8);
    guint64 l1 = 0;
    for (guint i = 0; i < 8; i++)
        l1 = l1 << 8 | text[i];
    static const guint8 wild[8] = { 0x80, 0, 0, 0x7f, 0xff, 0xff, 0, 0 };
    g_assert_cmpint(pwrite(fd, wild, 8, (off_t)l1), ==, 8);
    g_assert_false(layer_whole(fd, NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    durable_close(&fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (sodium_init() < 0)
        return 1;
    g_test_add_func("/version-seal/report", test_report);
    g_test_add_func("/version-seal/bounds", test_report_bounds);
    g_test_add_func("/version-seal/whole", test_whole);
    return g_test_run();
}
