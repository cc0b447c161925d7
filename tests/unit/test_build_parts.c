/* test_build_parts.c: what a build consists of beside its recipe: the disk as the helper sends it,
 * whatever it sends; a job's log and its bounds; packages and files for the guest. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/job/job_log.h"
#include "templates/disk_pieces.h"
#include "templates/guest_parts.h"
#include "templates/recipe.h"

/* ---- Pieces ---- */

typedef struct {
    guint n;
    guint64 bytes, last;
} Taken;

static gboolean take(guint64 offset, const void *data, guint64 len, gpointer user, GError **error)
{
    Taken *t = user;

    t->n++;
    t->bytes += len;
    t->last = offset;
    g_assert_cmpint(((const char *)data)[len - 1], ==, 'x');
    return TRUE;
}

static void add_head(GByteArray *out, guint64 offset, guint64 len)
{
    guint64 head[2] = { GUINT64_TO_LE(offset), GUINT64_TO_LE(len) };

    g_byte_array_append(out, (const guint8 *)head, sizeof head);
}

static void add_piece(GByteArray *out, guint64 offset, guint64 len)
{
    g_autofree char *data = g_malloc(len);

    memset(data, 'x', len);
    add_head(out, offset, len);
    g_byte_array_append(out, (const guint8 *)data, (guint)len);
}

/* However the stream is cut, the same comes out. */
static void test_pieces(void)
{
    static const gsize cuts[] = { 1, 7, 16, 17, 512, 4096, 1 << 20 };
    g_autoptr(GByteArray) stream = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    add_piece(stream, 0, 512);
    add_piece(stream, 4096, 65536);
    add_piece(stream, 1 << 20, 1024);
    add_head(stream, 2 << 20, 0);
    for (guint i = 0; i < G_N_ELEMENTS(cuts); i++) {
        Taken taken = { 0 };
        DiskPieceSink sink = { take, &taken };
        g_autoptr(DiskPieces) pieces = disk_pieces_new(&sink);
        for (gsize at = 0; at < stream->len; at += cuts[i]) {
            g_assert_false(disk_pieces_are_complete(pieces, 2 << 20, NULL));
            g_assert_true(disk_pieces_take(pieces, stream->data + at,
                                           MIN(cuts[i], stream->len - at), &error));
        }
        g_assert_true(disk_pieces_are_complete(pieces, 2 << 20, &error));
        g_assert_no_error(error);
        g_assert_false(disk_pieces_are_complete(pieces, 3 << 20, NULL));
        g_assert_cmpuint(taken.n, ==, 3);
        g_assert_cmpuint(taken.bytes, ==, 512 + 65536 + 1024);
        g_assert_cmpuint(taken.last, ==, 1 << 20);
    }
}

/* A helper that was taken over. */
static void test_bad_pieces(void)
{
    static const guint64 bad[][2] = {
        { 1, 512 },                 /* no sector */
        { 512, 100 },               /* no whole sectors */
        { 0, 2 << 20 },             /* too long */
        { 0, G_MAXUINT64 - 511 },   /* much too long */
        { G_MAXUINT64 - 511, 512 }, /* beyond any disk */
    };
    Taken taken = { 0 };
    DiskPieceSink sink = { take, &taken };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(DiskPieces) pieces = disk_pieces_new(&sink);
        g_autoptr(GByteArray) stream = g_byte_array_new();
        g_autoptr(GError) error = NULL;
        add_head(stream, bad[i][0], bad[i][1]);
        g_assert_false(disk_pieces_take(pieces, stream->data, stream->len, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    }
    g_assert_cmpuint(taken.n, ==, 0);
}

/* Backwards, over each other, behind the end, an end before the last piece. */
static void test_order(void)
{
    static const guint64 second[] = { 0, 512, 4096 - 512 };
    Taken taken = { 0 };
    DiskPieceSink sink = { take, &taken };

    for (guint i = 0; i < G_N_ELEMENTS(second); i++) {
        g_autoptr(DiskPieces) pieces = disk_pieces_new(&sink);
        g_autoptr(GByteArray) stream = g_byte_array_new();
        add_piece(stream, 0, 4096);
        add_piece(stream, second[i], 512);
        g_assert_false(disk_pieces_take(pieces, stream->data, stream->len, NULL));
    }
    g_autoptr(DiskPieces) pieces = disk_pieces_new(&sink);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    add_head(stream, 4096, 0);
    g_assert_true(disk_pieces_take(pieces, stream->data, stream->len, NULL));
    g_assert_false(disk_pieces_take(pieces, "x", 1, NULL));
}

/* ---- Logs ---- */

static void test_log(void)
{
    g_autofree char *state = g_dir_make_tmp("imaged-log.XXXXXX", NULL);
    Id id = id_new();
    guint64 next = 0;

    JobLog *log = job_log_open(state, id.s);
    g_assert_nonnull(log);
    job_log_line(log, "one");
    job_log_line(log, "two");
    job_log_close(log);
    log = job_log_open(state, id.s); /* after a restart it goes on */
    job_log_line(log, "three");
    g_autofree char *all = job_log_read(state, id.s, 0, 1000, &next);
    g_assert_cmpstr(all, ==, "one\ntwo\nthree\n");
    g_assert_cmpuint(next, ==, strlen(all));
    g_autofree char *none = job_log_read(state, id.s, next, 1000, &next);
    g_assert_cmpstr(none, ==, "");
    g_autofree char *part = job_log_read(state, id.s, 0, 6, &next); /* whole lines */
    g_assert_cmpstr(part, ==, "one\n");
    g_autofree char *rest = job_log_read(state, id.s, next, 1000, &next);
    g_assert_cmpstr(rest, ==, "two\nthree\n");
    g_autofree char *no_id = job_log_read(state, "../../etc/passwd", 0, 1000, &next);
    g_assert_cmpstr(no_id, ==, "");
    g_autofree char *beyond = job_log_read(state, id.s, G_MAXUINT64, 1000, &next);
    g_assert_cmpstr(beyond, ==, "");

    g_autofree char *line = g_strnfill(1000, 'y');
    for (guint i = 0; i < 2 * JOB_LOG_MAX / 1000; i++)
        job_log_line(log, line);
    job_log_close(log);
    g_autofree char *path = g_build_filename(state, "job-logs", id.s, NULL);
    GStatBuf st;
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, <, JOB_LOG_MAX + 2000);
    g_assert_cmpint(st.st_size, >=, JOB_LOG_MAX);
    job_log_line(NULL, "no log is no trouble");
    job_log_close(NULL);

    for (guint i = 0; i < JOB_LOGS_KEPT + 20; i++) {
        id = id_new();
        g_usleep(1000); /* ids go by the millisecond */
        job_log_close(job_log_open(state, id.s));
    }
    g_autofree char *folder = g_build_filename(state, "job-logs", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    guint n = 0;
    while (g_dir_read_name(dir))
        n++;
    g_assert_cmpuint(n, <=, JOB_LOGS_KEPT + 1);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS)); /* the oldest */
    const char *argv[] = { "rm", "-rf", "--", state, NULL };
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
}

/* ---- Guest parts ---- */

static gboolean has(const json_t *list, const char *name)
{
    size_t i;
    json_t *item;

    json_array_foreach (list, i, item) {
        if (g_strcmp0(json_string_value(item), name) == 0)
            return TRUE;
    }
    return FALSE;
}

static json_t *packages_of(const char *more)
{
    g_autofree char *text =
        g_strconcat("version: 1\nbase: {suite: bookworm}\nsize: 4G\n", more, NULL);
    json_t *recipe = recipe_parse(text, strlen(text), NULL, NULL, NULL);
    json_t *list = guest_parts_packages(recipe);

    json_decref(recipe);
    return list;
}

static void test_packages(void)
{
    json_t *list = packages_of("");
    g_assert_true(has(list, "qemu-guest-agent") && has(list, "linux-image-cloud-amd64"));
    g_assert_false(has(list, "xserver-xorg-core") || has(list, "spice-vdagent"));
    json_decref(list);
    list = packages_of("desktop: xfce\npackages: [vim, init]\n");
    g_assert_true(has(list, "xfce4-panel") && has(list, "spice-vdagent") && has(list, "vim") &&
                  has(list, "spice-webdavd") && has(list, "xserver-xorg-video-qxl") &&
                  has(list, "linux-image-amd64") && has(list, "firefox-esr"));
    json_decref(list);
    list = packages_of("desktop: {environment: xfce, browser: none}\nhardware: {video: virtio}\n"
                       "guest: {agent: no, webdav: no, spice_agent: no}\n"
                       "packages: [linux-image-rt-amd64]\n");
    g_assert_false(has(list, "spice-vdagent") || has(list, "spice-webdavd") ||
                   has(list, "qemu-guest-agent") || has(list, "firefox-esr") ||
                   has(list, "xserver-xorg-video-qxl") || has(list, "linux-image-amd64"));
    g_assert_false(has(list, "adcli"));
    json_decref(list);
    list = packages_of("identity: {domain: ad.example.org}\n");
    g_assert_true(has(list, "adcli") && has(list, "sssd-ad") && has(list, "libpam-sss"));
    json_decref(list);
}

static gboolean has_link(const json_t *links, const char *path)
{
    size_t i;
    json_t *item;

    json_array_foreach (links, i, item) {
        if (g_strcmp0(json_string_value(json_object_get(item, "path")), path) == 0)
            return TRUE;
    }
    return FALSE;
}

/* Units are enabled as their [Install] sections say; log-in waits for the data disk. */
static void test_units(void)
{
    json_t *recipe = json_object(), *files = NULL, *links = NULL;

    g_assert_true(guest_parts_files(recipe, &files, &links, NULL));
    g_assert_true(has_link(
        links, "/etc/systemd/system/sysinit.target.wants/imaged-firstboot-system.service"));
    g_assert_true(
        has_link(links, "/etc/systemd/system/local-fs.target.wants/imaged-data-disk.service"));
    g_assert_true(has_link(
        links, "/etc/systemd/system/display-manager.service.requires/imaged-data-disk.service"));
    g_assert_true(has_link(
        links, "/etc/systemd/system/getty@tty1.service.requires/imaged-data-disk.service"));
    json_decref(files);
    json_decref(links);
    json_decref(recipe);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/build/pieces", test_pieces);
    g_test_add_func("/build/pieces/bad", test_bad_pieces);
    g_test_add_func("/build/pieces/order", test_order);
    g_test_add_func("/build/log", test_log);
    g_test_add_func("/build/packages", test_packages);
    g_test_add_func("/build/units", test_units);
    return g_test_run();
}
