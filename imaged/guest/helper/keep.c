/* keep.c: carry chosen files from a desktop's former disk into its new one.
 *
 *   disks: the former (read-only), the new (to be written); {"paths": ["/home/alice"]}
 *   {"n_files", "bytes", "elapsed_ms", "copy_ms", "paths": [{path, n_files, bytes}]}
 *
 * What was in such a path of the new disk is replaced as a whole: a file that its user deleted
 * stays deleted.  cp -a of the appliance copies owners, modes, times, xattrs, ACLs, holes and the
 * hard links of one path; it copies links as links. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/guest/helper/guest_disk.h"
#include "imaged/guest/helper/ntfs_acl.h"
#include "imaged/guest/helper/tasks.h"

typedef struct {
    Task *task;
    guestfs_h *g;
    GuestDisk old, new;
    guint64 n_files, bytes;
} Keep;

/* ---- Paths ---- */

/* Absolute, no "." or "..", and not the whole disk. */
static char *clean_path(const char *path, GError **error)
{
    g_autofree char *shown = text_for_message(path, 200);
    g_autofree char *slashes = g_strdup(path);

    /* C:\Users\alice is /Users/alice on its disk. */
    g_strdelimit(slashes, "\\", '/');
    const char *rest = g_ascii_isalpha(*slashes) && slashes[1] == ':' ? slashes + 2 : slashes;
    g_auto(GStrv) parts = g_strsplit(rest, "/", -1);
    g_autoptr(GString) out = g_string_new(NULL);
    gboolean ok = *rest == '/' && strlen(rest) < 4096;

    for (guint i = 0; ok && parts[i]; i++) {
        ok = strcmp(parts[i], ".") != 0 && strcmp(parts[i], "..") != 0 && strlen(parts[i]) < 256;
        if (*parts[i])
            g_string_append_printf(out, "/%s", parts[i]);
    }
    if (ok && out->len > 0)
        return g_strdup(out->str);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' cannot be kept: a path is absolute, without . and .., and below /", shown);
    return NULL;
}

/* How Windows writes the name: its letters' case is not ours to guess. */
static char *real_case(const GuestDisk *disk, char *path)
{
    g_autofree char *full = g_strconcat(disk->at, path, NULL);
    char *found = disk->is_windows ? guestfs_case_sensitive_path(disk->g, full) : NULL;

    if (!found)
        return path;
    char *out = g_strdup(found + strlen(disk->at));
    free(found);
    g_free(path);
    return out;
}

/* ---- Counting ---- */

/* The names below a folder, counted in a file that the appliance fills. */
static gint64 count_files(Keep *k, const char *path)
{
    g_autofree char *name = g_build_filename(task_tmp(k->task), "names", NULL);
    gint64 n = 1;
    char bytes[65536];
    ssize_t got;

    if (guestfs_is_dir(k->g, path) != 1 || guestfs_find0(k->g, path, name) < 0)
        return n;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (got = read(fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            n += bytes[i] == '\0';
    }
    if (fd >= 0)
        close(fd);
    unlink(name);
    return n;
}

/* ---- One path ---- */

/* The folders that lead to path, made as they were on the old disk where the new one lacks them. */
static gboolean make_parents(Keep *k, const char *path, GError **error)
{
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        g_autofree char *folder = g_strndup(path, (gsize)(slash - path));
        g_autofree char *from = guest_disk_path(&k->old, folder, error);
        g_autofree char *to = from ? guest_disk_path(&k->new, folder, error) : NULL;
        if (!to)
            return FALSE;
        if (guestfs_is_dir(k->g, to) == 1)
            continue;
        if (guestfs_mkdir(k->g, to) < 0 ||
            guestfs_copy_attributes(k->g, from, to, GUESTFS_COPY_ATTRIBUTES_ALL, 1, -1) < 0) {
            appliance_error(k->g, error, "'%s' cannot be made", folder);
            return FALSE;
        }
    }
    return TRUE;
}

/* All in a folder that cannot be removed itself. */
static gboolean empty_folder(Keep *k, const char *folder)
{
    char **names = guestfs_ls(k->g, folder);
    gboolean ok = names != NULL;

    for (guint i = 0; ok && names[i]; i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        ok = guestfs_rm_rf(k->g, path) == 0;
    }
    g_strfreev(names);
    return ok;
}

static gboolean replace_path(Keep *k, const char *path, const char *from, const char *to)
{
    if (!guest_disk_is_mount_point(&k->new, path))
        return guestfs_rm_rf(k->g, to) == 0 && guestfs_cp_a(k->g, from, to) == 0;
    g_autofree char *content = g_strconcat(from, "/.", NULL);
    return empty_folder(k, to) && guestfs_cp_a(k->g, content, to) == 0;
}

static gboolean exists(guestfs_h *g, const char *path)
{
    struct guestfs_statns *st = guestfs_lstatns(g, path);
    gboolean is_there = st != NULL;

    guestfs_free_statns(st);
    return is_there;
}

static json_t *keep_path(Keep *k, const char *path, GError **error)
{
    g_autofree char *from = guest_disk_path(&k->old, path, error);

    if (!from)
        return NULL;
    if (!exists(k->g, from)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it has no '%s'", path);
        imaged_error_hint(error, "see: imagectl desktop files ls");
        return NULL;
    }
    if (!make_parents(k, path, error))
        return NULL;
    g_autofree char *to = guest_disk_path(&k->new, path, error);
    if (!to)
        return NULL;
    gint64 bytes = MAX(guestfs_du(k->g, from), 0) * 1024, n = count_files(k, from);
    g_autofree char *size = units_format_size((guint64)bytes);
    task_progress(k->task, k->bytes, k->bytes + (guint64)bytes, "copying %s (%s)", path, size);
    if (!replace_path(k, path, from, to)) {
        appliance_error(k->g, error, "'%s' cannot be copied", path);
        return NULL;
    }
    if (k->new.is_windows && !ntfs_acl_copy(k->task, k->g, from, to, error))
        return NULL;
    k->n_files += (guint64)n;
    k->bytes += (guint64)bytes;
    return json_pack("{s:s, s:I, s:I}", "path", path, "n_files", (json_int_t)n, "bytes",
                     (json_int_t)bytes);
}

/* ---- All ---- */

static json_t *keep_paths(Keep *k, GError **error)
{
    const json_t *paths = json_object_get(task_request(k->task), "paths");
    json_t *out = json_array(), *value;
    size_t i;

    json_array_foreach ((json_t *)paths, i, value) {
        const char *text = json_string_value(value);
        char *clean = clean_path(text ? text : "", error);
        g_autofree char *path = clean ? real_case(&k->old, clean) : NULL;
        json_t *one = path ? keep_path(k, path, error) : NULL;
        if (!one) {
            json_decref(out);
            return NULL;
        }
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *keep_all(Keep *k, gint64 begin, GError **error)
{
    if (!guest_disk_mount(&k->old, error)) {
        g_prefix_error(error, "the present disk: ");
        return NULL;
    }
    if (!guest_disk_mount(&k->new, error)) {
        g_prefix_error(error, "the new disk: ");
        return NULL;
    }
    if (k->old.is_windows != k->new.is_windows) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "files cannot be kept between Windows and Linux");
        return NULL;
    }
    gint64 copy_begin = g_get_monotonic_time();
    json_t *paths = keep_paths(k, error);
    if (!paths)
        return NULL;
    if (guestfs_sync(k->g) < 0) {
        appliance_error(k->g, error, "the new disk cannot be flushed");
        json_decref(paths);
        return NULL;
    }
    gint64 now = g_get_monotonic_time();
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "n_files", (json_int_t)k->n_files, "bytes",
                     (json_int_t)k->bytes, "elapsed_ms", (json_int_t)((now - begin) / 1000),
                     "copy_ms", (json_int_t)((now - copy_begin) / 1000), "paths", paths);
}

json_t *task_keep(Task *task, GError **error)
{
    gint64 begin = g_get_monotonic_time();

    if (task_n_disks(task) != 2 || !task_disk_is_read_only(task, 0) ||
        task_disk_is_read_only(task, 1) ||
        json_array_size(json_object_get(task_request(task), "paths")) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "keeping files needs a disk to read, one to write, and paths");
        return NULL;
    }
    guestfs_h *g = appliance_open(task, error);
    if (!g)
        return NULL;
    Keep k = { .task = task,
               .g = g,
               .old = { g, (char *)"/dev/sda", (char *)"/old", .is_read_only = TRUE },
               .new = { g, (char *)"/dev/sdb", (char *)"/new", .is_read_only = FALSE } };
    json_t *result = keep_all(&k, begin, error);
    guest_disk_clear(&k.old);
    guest_disk_clear(&k.new);
    if (!appliance_close(g, result ? error : NULL))
        g_clear_pointer(&result, json_decref);
    return result;
}
