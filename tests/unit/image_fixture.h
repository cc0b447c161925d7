/* image_fixture.h: images for the unit tests of cow/, made by QEMU's own tools in a folder of their
 * own, so that what we read is compared with what somebody else wrote and reads. */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "cow/layer.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define SECTOR 512u

static char *fixture_folder;

static inline void fixture_start(void)
{
    fixture_folder = g_dir_make_tmp("imaged-unit-XXXXXX", NULL);
    g_assert_nonnull(fixture_folder);
}

static inline void fixture_end(void)
{
    GDir *dir = g_dir_open(fixture_folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(fixture_folder, name, NULL);
        g_unlink(path);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_rmdir(fixture_folder);
    g_clear_pointer(&fixture_folder, g_free);
}

static inline char *fixture_path(const char *name)
{
    return g_build_filename(fixture_folder, name, NULL);
}

/* Run a command in the fixture's folder; its standard output (caller frees). */
static inline char *run_argv(GPtrArray *argv, gboolean must_succeed)
{
    g_autofree char *err = NULL;
    char *out = NULL;
    int status = -1;
    GError *error = NULL;

    g_ptr_array_add(argv, NULL);
    g_spawn_sync(fixture_folder, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out,
                 &err, &status, &error);
    g_assert_no_error(error);
    if (status != 0 && must_succeed)
        g_error("%s failed: %s%s", (char *)argv->pdata[0], out, err);
    return out;
}

/* Run a command line whose words are separated by blanks. */
static inline char *run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline char *run(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    g_auto(GStrv) words = g_strsplit(line, " ", 0);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    for (char **w = words; *w; w++)
        if (**w)
            g_ptr_array_add(argv, *w);
    return run_argv(argv, TRUE);
}

/* One command of qemu-io on an image. */
static inline void run_io(const char *name, const char *command)
{
    const char *words[] = { "qemu-io", "-f", "qcow2", "-c", command, name };
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        g_ptr_array_add(argv, (gpointer)words[i]);
    g_free(run_argv(argv, TRUE));
}

/* ---- Random contents ---- */

typedef struct {
    const char *options; /* of qemu-img create -o */
    guint64 size;        /* bytes, a multiple of 512 */
    guint cluster;       /* bytes: what options say */
    guint n_ops;         /* random changes */
    gboolean compressed; /* among them compressed writes */
    gboolean snapshot;   /* an internal snapshot after half of them */
} ImageSpec;

static inline guint64 rand_below(GRand *rand, guint64 n)
{
    guint64 r = (guint64)g_rand_int(rand) << 32 | g_rand_int(rand);
    return n ? r % n : 0;
}

static inline void random_op(GRand *rand, const ImageSpec *s, GPtrArray *argv)
{
    guint64 n_sectors = s->size / SECTOR, n_clusters = s->size / s->cluster;
    guint64 start = rand_below(rand, n_sectors) * SECTOR;
    guint64 length = (1 + rand_below(rand, 3 * (s->cluster / SECTOR) + 40)) * SECTOR;
    guint kind = g_rand_int_range(rand, 0, 10), pattern = g_rand_int_range(rand, 1, 255);
    char *c;

    if (kind >= 4 && g_rand_boolean(rand)) { /* whole clusters */
        start = start / s->cluster * s->cluster;
        length = (length + s->cluster - 1) / s->cluster * s->cluster;
    }
    length = MIN(length, s->size - start);
    if (kind < 3 && s->compressed && n_clusters)
        c = g_strdup_printf("write -q -c -P %u %" G_GUINT64_FORMAT " %u", pattern,
                            rand_below(rand, n_clusters) * s->cluster, s->cluster);
    else if (kind < 7)
        c = g_strdup_printf("write -q -P %u %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, pattern,
                            start, length);
    else if (kind < 9)
        c = g_strdup_printf("write -q -z %s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                            g_rand_boolean(rand) ? "-u" : "", start, length);
    else
        c = g_strdup_printf("discard -q %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, start, length);
    g_ptr_array_add(argv, g_strdup("-c"));
    g_ptr_array_add(argv, c);
}

static inline void random_ops(GRand *rand, const ImageSpec *s, const char *name, guint n)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    const char *head[] = { "qemu-io", "-f", "qcow2", "-d", "unmap", "-t", "unsafe" };

    for (guint i = 0; i < G_N_ELEMENTS(head); i++)
        g_ptr_array_add(argv, g_strdup(head[i]));
    for (guint i = 0; i < n; i++)
        random_op(rand, s, argv);
    g_ptr_array_add(argv, g_strdup(name));
    /* QEMU refuses a compressed write onto a cluster that is in use: such an op is then none. */
    g_free(run_argv(argv, FALSE));
}

/* Make the image called name over below (NULL for a base). */
static inline void make_image(const ImageSpec *s, const char *name, const char *below, guint seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autofree char *backing = below ? g_strdup_printf("-b %s -F qcow2", below) : g_strdup("");

    g_free(run("qemu-img create -q -f qcow2 -o %s %s %s %" G_GUINT64_FORMAT, s->options, backing,
               name, s->size));
    random_ops(rand, s, name, s->n_ops / 2);
    if (s->snapshot)
        g_free(run("qemu-img snapshot -c one %s", name));
    random_ops(rand, s, name, s->n_ops - s->n_ops / 2);
}

static inline Layer *open_image(const char *name, GError **error)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return layer_open_fd(fd, name, error);
}

/* Overwrite bytes of a file. */
static inline void patch_bytes(const char *name, guint64 offset, const void *data, gsize len)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, data, len, offset), ==, len);
    close(fd);
}

static inline void patch_be64(const char *name, guint64 offset, guint64 value)
{
    value = GUINT64_TO_BE(value);
    patch_bytes(name, offset, &value, sizeof value);
}
