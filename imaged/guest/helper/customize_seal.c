/* customize_seal.c: a fresh build has not run yet, so little of it belongs to one machine: what the
 * packages' scripts and the recipe's commands left.  The table is that of the task "seal".
 *
 * As there, whatever fails is an error: a template that says it is sealed is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/helper/customize.h"
#include "imaged/guest/helper/in_root.h"
#include "imaged/guest/helper/seal_table.h"

#define MAX_PATHS 50u /* of an operation in the report */
#define MAX_DEPTH 64  /* of folders below /var/log */
#define MAX_REPORT (1 << 20)

typedef struct {
    const char *name;
    json_t *paths;
    json_int_t n_removed, bytes;
} Operation;

/* ---- One thing ---- */

static void note(Operation *op, const char *path, const struct stat *st)
{
    g_autofree char *valid = g_utf8_make_valid(path, -1);

    op->n_removed++;
    op->bytes += S_ISREG(st->st_mode) ? (json_int_t)st->st_size : 0;
    if (json_array_size(op->paths) < MAX_PATHS)
        json_array_append_new(op->paths, json_string(valid));
}

/* TRUE if it is only that there is no such thing. */
static gboolean failed(const Operation *op, const char *path, const char *what, GError **error)
{
    if (errno == ENOENT)
        return TRUE;
    imaged_error_set_errno(error, errno, "sealing (%s): '%s' cannot be %s", op->name, path, what);
    return FALSE;
}

static gboolean remove_at(Operation *op, int dirfd, const char *name, const char *path,
                          GError **error);

static gboolean remove_folder(Operation *op, int dirfd, const char *name, const char *path,
                              GError **error)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    gboolean ok = TRUE;

    if (!dir)
        return failed(op, path, "opened", error);
    while (ok && (entry = readdir(dir))) {
        g_autofree char *below = g_build_filename(path, entry->d_name, NULL);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = remove_at(op, fd, entry->d_name, below, error);
    }
    closedir(dir);
    return ok && (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || failed(op, path, "removed", error));
}

static gboolean remove_at(Operation *op, int dirfd, const char *name, const char *path,
                          GError **error)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(op, path, "looked at", error);
    if (S_ISDIR(st.st_mode))
        return remove_folder(op, dirfd, name, path, error);
    if (unlinkat(dirfd, name, 0) < 0)
        return failed(op, path, "removed", error);
    note(op, path, &st);
    return TRUE;
}

/* ---- Patterns and logs ---- */

static gboolean remove_pattern(Operation *op, const char *pattern, GError **error)
{
    glob_t found;
    int code = glob(pattern, GLOB_NOSORT, NULL, &found);
    gboolean ok = code == 0 || code == GLOB_NOMATCH;

    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "sealing (%s): '%s' cannot be looked for", op->name, pattern);
    for (size_t i = 0; code == 0 && ok && i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i], *base = strrchr(path, '/') + 1;
        if (strcmp(base, ".") != 0 && strcmp(base, "..") != 0)
            ok = remove_at(op, AT_FDCWD, path, path, error);
    }
    globfree(&found);
    return ok;
}

/* Logs are emptied, not deleted: their owners and modes are what the packages made. */
static gboolean empty_logs(Operation *op, const char *folder, guint depth, GError **error)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    gboolean ok = TRUE;
    struct stat st;

    if (!dir)
        return failed(op, folder, "opened", error);
    while (ok && (entry = readdir(dir))) {
        g_autofree char *path = g_build_filename(folder, entry->d_name, NULL);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (lstat(path, &st) < 0) {
            ok = failed(op, path, "looked at", error);
        } else if (S_ISDIR(st.st_mode)) {
            errno = ELOOP;
            ok = depth < MAX_DEPTH ? empty_logs(op, path, depth + 1, error)
                                   : failed(op, path, "reached", error);
        } else if (S_ISREG(st.st_mode) && seal_is_rotated(entry->d_name)) {
            ok = remove_at(op, AT_FDCWD, path, path, error);
        } else if (S_ISREG(st.st_mode) && st.st_size > 0) {
            if (truncate(path, 0) == 0)
                note(op, path, &st);
            else
                ok = failed(op, path, "emptied", error);
        }
    }
    closedir(dir);
    return ok;
}

/* ---- More than patterns ---- */

static gboolean clear_homes(Operation *op, GError **error)
{
    static const char *const homes[] = { "/root", "/home/*" };

    for (guint i = 0; i < G_N_ELEMENTS(homes); i++) {
        for (guint k = 0; seal_home_names[k]; k++) {
            g_autofree char *pattern = g_build_filename(homes[i], seal_home_names[k], NULL);
            if (!remove_pattern(op, pattern, error))
                return FALSE;
        }
    }
    return TRUE;
}

/* Empty, not missing: systemd then makes one at the boot, and does not take it for a first boot of
 * an unconfigured system. */
static gboolean clear_machine_id(Operation *op, GError **error)
{
    static const char other[] = "/var/lib/dbus/machine-id"; /* mostly a link to the former */
    struct stat st;

    if (lstat("/etc/machine-id", &st) == 0 && st.st_size > 0)
        note(op, "/etc/machine-id", &st);
    if (lstat(other, &st) == 0 && S_ISREG(st.st_mode) &&
        !remove_at(op, AT_FDCWD, other, other, error))
        return FALSE;
    return customize_put_text("/etc/machine-id", "", 0444, error);
}

/* ---- In the root, and out of it ---- */

static gboolean run(Operation *op, const SealEntry *entry, GError **error)
{
    gboolean ok = entry->kind == SEAL_MACHINE_ID ? clear_machine_id(op, error)
                  : entry->kind == SEAL_HOMES    ? clear_homes(op, error)
                                                 : TRUE;

    for (guint i = 0; ok && entry->patterns[i]; i++)
        ok = remove_pattern(op, entry->patterns[i], error);
    return ok && (entry->kind != SEAL_LOGS || empty_logs(op, "/var/log", 0, error));
}

static gboolean seal_all(json_t *list, json_int_t *n, json_int_t *bytes, GError **error)
{
    for (const SealEntry *entry = seal_table; entry->name; entry++) {
        Operation op = { .name = entry->name, .paths = json_array() };
        gboolean ok = run(&op, entry, error);
        *n += op.n_removed;
        *bytes += op.bytes;
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:o}", "name", op.name, "n_removed",
                                              op.n_removed, "bytes", op.bytes, "paths", op.paths));
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

/* In a process of its own: the report goes into the file *data. */
static gboolean seal_in_root(gpointer data, GError **error)
{
    json_t *list = json_array();
    json_int_t n = 0, bytes = 0;

    if (!seal_all(list, &n, &bytes, error)) {
        json_decref(list);
        return FALSE;
    }
    json_t *report =
        json_pack("{s:o, s:I, s:I}", "operations", list, "n_removed", n, "bytes", bytes);
    gboolean ok = json_dumpfd(report, *(const int *)data, JSON_COMPACT) == 0;
    json_decref(report);
    if (!ok)
        imaged_error_set_errno(error, errno, "cannot report what was removed");
    return ok;
}

json_t *customize_seal(Task *task, const char *root, GError **error)
{
    auto_fd fd = memfd_create("sealed", MFD_CLOEXEC);
    g_autofree char *text = g_malloc0(MAX_REPORT + 1);
    gsize len;

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot report what is removed");
        return NULL;
    }
    if (!in_root(root, seal_in_root, &fd, error))
        return NULL;
    json_t *report =
        durable_pread(fd, text, MAX_REPORT, 0, &len) ? json_loadb(text, len, 0, NULL) : NULL;
    if (!report) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot read what was removed");
        return NULL;
    }
    g_autofree char *words =
        g_strdup_printf("sealed: %" JSON_INTEGER_FORMAT " files removed or emptied",
                        json_integer_value(json_object_get(report, "n_removed")));
    task_log(task, words);
    return report;
}
