/* source_check.c: see source_check.h.  qcow2 is judged by our own parser, which never follows a
 * name that stands in the file; of the other formats qemu-img tells whether they need further
 * files. */
#include "imaged/cli/source_check.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/layer.h"
#include "cow/layer_check.h"
#include "imaged/base/error.h"
#include "imaged/cli/nbd_serve.h"

#define MAX_FINDINGS 3 /* in a message */

/* QEMU's lock bytes (its block/file-posix.c): whoever may write holds 100 + 1, whoever may resize
 * 100 + 3. */
#define QEMU_WRITES 101
#define QEMU_RESIZES 103

static gboolean check_kind(int fd, const char *format, const char *label, GError **error)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot read '%s'", label);
        return FALSE;
    }
    if (S_ISREG(st.st_mode) || (S_ISBLK(st.st_mode) && g_str_equal(format, "raw")))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is %s", label,
                S_ISDIR(st.st_mode)   ? "a folder, not an image"
                : S_ISBLK(st.st_mode) ? "a block device, which can only be imported as raw"
                                      : "not a regular file");
    return FALSE;
}

/* A QEMU that writes the image now would give us half of each of two states.  qemu-nbd refuses that
 * for most formats, but not for raw. */
static gboolean check_unused(int fd, const char *label, GError **error)
{
    static const off_t bytes[] = { QEMU_WRITES, QEMU_RESIZES };

    for (guint i = 0; i < G_N_ELEMENTS(bytes); i++) {
        struct flock lock = { .l_type = F_WRLCK, .l_start = bytes[i], .l_len = 1 };
        /* A file system without locks cannot tell; then nobody can. */
        if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "'%s' is in use: QEMU writes to it",
                        label);
            imaged_error_hint(error, "shut the machine down first");
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- qcow2 ---- */

static void set_corrupt(const LayerCheck *check, const char *label, GError **error)
{
    GString *findings = g_string_new(NULL);

    for (guint i = 0; i < check->messages->len && i < MAX_FINDINGS; i++)
        g_string_append_printf(findings, "%s%s", i ? "; " : "", (char *)check->messages->pdata[i]);
    if (check->messages->len > MAX_FINDINGS)
        g_string_append(findings, "; ...");
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                "'%s' is corrupt (%" G_GUINT64_FORMAT " errors): %s", label, check->n_errors,
                findings->str);
    imaged_error_hint(error, "'qemu-img check' tells more; what it repairs may have lost data");
    g_string_free(findings, TRUE);
}

static gboolean check_qcow2(int fd, const char *label, GPtrArray *notes, GError **error)
{
    g_auto(LayerCheck) check = { 0 };
    int own = dup(fd);

    if (own < 0) {
        imaged_error_set_errno(error, errno, "cannot read '%s'", label);
        return FALSE;
    }
    g_autoptr(Layer) layer = layer_open_fd(own, label, error);
    if (!layer)
        return FALSE;
    if (!qcow2_header_check_foreign(layer_header(layer), error)) {
        g_prefix_error(error, "'%s': ", label);
        return FALSE;
    }
    if (!layer_check(layer, NULL, NULL, NULL, &check, error))
        return FALSE;
    if (check.n_errors) {
        set_corrupt(&check, label, error);
        return FALSE;
    }
    if (check.is_dirty)
        g_ptr_array_add(notes, g_strdup("the source was not closed cleanly (dirty bit)"));
    if (check.n_leaks)
        g_ptr_array_add(notes, g_strdup_printf("the source has %" G_GUINT64_FORMAT
                                               " leaked clusters, which are not imported",
                                               check.n_leaks));
    return TRUE;
}

/* ---- The other formats ---- */

static gboolean refuse(const char *label, const char *why, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "'%s' %s", label, why);
    imaged_error_hint(error, "make one whole image of it first: qemu-img convert -O qcow2 OLD NEW");
    return FALSE;
}

/* A VMDK may be a mere description with its data in other files. */
static gboolean check_extents(const json_t *info, const char *label, GError **error)
{
    const json_t *specific = json_object_get(json_object_get(info, "format-specific"), "data");
    const json_t *extents = json_object_get(specific, "extents"), *extent;
    gsize i;

    json_array_foreach (extents, i, extent) {
        const char *name = json_string_value(json_object_get(extent, "filename"));
        if (g_strcmp0(name, NBD_SERVE_FD_PATH) != 0)
            return refuse(label, "keeps its data in other files", error);
    }
    return TRUE;
}

/* What "qemu-img info" says of the descriptor, or NULL. */
static json_t *ask_qemu_img(int fd, const char *format, const char *label, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autofree char *name = g_strdup_printf("json:{\"driver\":\"%s\",\"file\":{\"driver\":\"file\","
                                            "\"filename\":\"" NBD_SERVE_FD_PATH "\"}}",
                                            format);
    g_autofree char *out = NULL, *err = NULL;
    GError *local = NULL;

    g_subprocess_launcher_take_fd(launcher, dup(fd), NBD_SERVE_FD);
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C", TRUE);
    g_autoptr(GSubprocess) child = g_subprocess_launcher_spawn(launcher, &local, "qemu-img", "info",
                                                               "--output=json", name, NULL);
    if (!child || !g_subprocess_communicate_utf8(child, NULL, NULL, &out, &err, &local)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot run qemu-img: %s",
                    local->message);
        imaged_error_hint(error, "it is in the Debian package qemu-utils");
        g_error_free(local);
        return NULL;
    }
    json_auto_t *info = g_subprocess_get_successful(child) ? json_loads(out, 0, NULL) : NULL;
    if (info)
        return g_steal_pointer(&info);
    g_strstrip(err);
    const char *colon = strrchr(err, ':');
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "'%s' cannot be read as %s: %s", label,
                format, colon ? colon + 2 : err);
    imaged_error_hint(error, "it must be sound, and one whole image in one file");
    return NULL;
}

static gboolean check_other(int fd, const char *format, const char *label, GError **error)
{
    json_auto_t *info = ask_qemu_img(fd, format, label, error);

    if (!info)
        return FALSE;
    if (json_object_get(info, "backing-filename") || json_object_get(info, "full-backing-filename"))
        return refuse(label, "has a backing file", error);
    if (json_is_true(json_object_get(info, "encrypted")))
        return refuse(label, "is encrypted", error);
    return check_extents(info, label, error);
}

gboolean source_check(int fd, const char *format, const char *label, GPtrArray *notes,
                      GError **error)
{
    if (!check_kind(fd, format, label, error) || !check_unused(fd, label, error))
        return FALSE;
    if (g_str_equal(format, "raw"))
        return TRUE;
    if (g_str_equal(format, "qcow2"))
        return check_qcow2(fd, label, notes, error);
    return check_other(fd, format, label, error);
}
