/* seal_ops.c: the table (seal_table.c), in the appliance.
 *
 * A log is emptied and not deleted, because its owner and mode were somebody's choice; rotated ones
 * are deleted.  Whatever fails is an error: a template that says it is sealed is. */
#include "imaged/guest/helper/seal_ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/seal_table.h"

#define MAX_PATHS 50u /* of an operation in the report */

typedef struct {
    Seal *seal;
    const char *name;
    json_t *paths;
    guint64 n_removed, bytes;
} Operation;

/* ---- One thing ---- */

static void note(Operation *op, const char *path, gint64 bytes)
{
    g_autofree char *valid = g_utf8_make_valid(path, -1);

    op->n_removed++;
    op->bytes += (guint64)MAX(bytes, 0);
    if (json_array_size(op->paths) < MAX_PATHS)
        json_array_append_new(op->paths, json_string(valid));
}

static gboolean failed(Operation *op, const char *what, const char *path)
{
    if (!op->seal->error)
        appliance_error(op->seal->g, &op->seal->error, "%s: '%s' cannot be %s", op->name, path,
                        what);
    return FALSE;
}

typedef struct {
    gint64 bytes; /* of a folder: of all in it */
    gboolean is_dir, is_file;
} Thing;

/* Nothing there is nothing: neither of both. */
static gboolean look_at(Operation *op, const char *path, Thing *ret)
{
    guestfs_h *g = op->seal->g;
    struct guestfs_statns *st = guestfs_lstatns(g, path);

    *ret = (Thing){ 0 };
    if (!st)
        return guestfs_last_errno(g) == ENOENT || failed(op, "looked at", path);
    ret->bytes = st->st_size;
    ret->is_dir = (st->st_mode & 0170000) == 0040000;
    ret->is_file = (st->st_mode & 0170000) == 0100000;
    guestfs_free_statns(st);
    if (ret->is_dir)
        ret->bytes = guestfs_du(g, path) * 1024;
    return TRUE;
}

static gboolean remove_path(Operation *op, const char *path)
{
    Thing thing;

    if (!look_at(op, path, &thing))
        return FALSE;
    if (guestfs_rm_rf(op->seal->g, path) < 0)
        return failed(op, "removed", path);
    note(op, path, thing.bytes);
    return TRUE;
}

static gboolean empty_file(Operation *op, const char *path)
{
    Thing thing;

    if (!look_at(op, path, &thing))
        return FALSE;
    if (!thing.is_file || thing.bytes == 0)
        return TRUE;
    if (guestfs_truncate(op->seal->g, path) < 0)
        return failed(op, "emptied", path);
    note(op, path, thing.bytes);
    return TRUE;
}

/* A folder with more in it than the appliance can name is made anew. */
static gboolean empty_folder(Operation *op, const char *folder)
{
    guestfs_h *g = op->seal->g;
    char *path = guestfs_realpath(g, folder);
    g_autofree char *new_path = g_strconcat(path ? path : "", ".imaged-new", NULL);
    gint64 bytes = path ? guestfs_du(g, path) * 1024 : 0;
    gboolean ok =
        path && guestfs_mkdir(g, new_path) == 0 &&
        guestfs_copy_attributes(g, path, new_path, GUESTFS_COPY_ATTRIBUTES_ALL, 1, -1) == 0 &&
        guestfs_rm_rf(g, path) == 0 && guestfs_mv(g, new_path, path) == 0;

    free(path);
    if (!ok)
        return failed(op, "emptied", folder);
    note(op, folder, bytes);
    return TRUE;
}

/* No match is an empty list; none at all is an error, as that of an answer which is too long. */
static gboolean remove_pattern(Operation *op, const char *pattern)
{
    char **list = guestfs_glob_expand_opts(op->seal->g, pattern,
                                           GUESTFS_GLOB_EXPAND_OPTS_DIRECTORYSLASH, 0, -1);
    gboolean ok = TRUE;

    if (!list) {
        g_autofree char *folder = g_path_get_dirname(pattern);
        gboolean is_all = g_str_has_suffix(pattern, "/*") || g_str_has_suffix(pattern, "/.*");
        return is_all && !strpbrk(folder, "*?[") ? empty_folder(op, folder)
                                                 : failed(op, "looked for", pattern);
    }
    for (guint i = 0; list[i] && ok; i++) {
        const char *base = strrchr(list[i], '/');
        if (base && strcmp(base, "/.") != 0 && strcmp(base, "/..") != 0)
            ok = remove_path(op, list[i]);
    }
    g_strfreev(list);
    return ok;
}

/* ---- Operations that are more than patterns ---- */

static gboolean clear_machine_id(Operation *op)
{
    Thing other;

    /* Empty and not absent: systemd then fills it in at the first boot without taking it for a
     * system that was never set up. */
    if (!empty_file(op, "/etc/machine-id"))
        return FALSE;
    if (!look_at(op, "/var/lib/dbus/machine-id", &other)) /* mostly a link to the former */
        return FALSE;
    return !other.is_file || remove_path(op, "/var/lib/dbus/machine-id");
}

/* One folder's entries, by their kinds; names is what guestfs_ls() gave. */
static gboolean clear_log_folder(Operation *op, const char *folder, char **names, GQueue *folders)
{
    struct guestfs_statns_list *stats = guestfs_lstatnslist(op->seal->g, folder, names);
    gboolean ok = stats != NULL;

    if (!ok)
        return failed(op, "listed", folder);
    for (guint i = 0; ok && names[i] && i < stats->len; i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        gint64 mode = stats->val[i].st_mode & 0170000;
        if (mode == 0040000)
            g_queue_push_tail(folders, g_steal_pointer(&path));
        else if (mode == 0100000 && seal_is_rotated(names[i]))
            ok = remove_path(op, path);
        else if (mode == 0100000 && stats->val[i].st_size > 0)
            ok = empty_file(op, path);
    }
    guestfs_free_statns_list(stats);
    return ok;
}

static gboolean clear_logs(Operation *op)
{
    GQueue folders = G_QUEUE_INIT;
    gboolean ok = TRUE;

    g_queue_push_tail(&folders, g_strdup("/var/log"));
    while (ok && !g_queue_is_empty(&folders)) {
        g_autofree char *folder = g_queue_pop_head(&folders);
        Thing thing;
        ok = look_at(op, folder, &thing);
        char **names = thing.is_dir ? guestfs_ls(op->seal->g, folder) : NULL;
        if (thing.is_dir && !names)
            ok = failed(op, "listed", folder);
        if (names && names[0])
            ok = clear_log_folder(op, folder, names, &folders);
        g_strfreev(names);
    }
    g_queue_clear_full(&folders, g_free);
    return ok;
}

/* Homes: root's and those that the guest's passwd names below /home. */
static gboolean find_homes(Operation *op, GPtrArray *homes)
{
    guestfs_h *g = op->seal->g;
    char **lines = guestfs_read_lines(g, "/etc/passwd");
    gboolean ok = lines || guestfs_last_errno(g) == ENOENT || failed(op, "read", "/etc/passwd");

    g_ptr_array_add(homes, g_strdup("/root"));
    for (guint i = 0; ok && lines && lines[i]; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], ":", 8);
        Thing thing = { 0 };
        if (g_strv_length(fields) >= 7 && g_str_has_prefix(fields[5], "/home/") &&
            !strchr(fields[5] + 6, '*'))
            ok = look_at(op, fields[5], &thing);
        if (thing.is_dir)
            g_ptr_array_add(homes, g_strdup(fields[5]));
    }
    g_strfreev(lines);
    return ok;
}

static gboolean clear_histories(Operation *op)
{
    g_autoptr(GPtrArray) homes = g_ptr_array_new_with_free_func(g_free);
    gboolean ok = find_homes(op, homes);

    for (guint i = 0; ok && i < homes->len; i++) {
        for (guint k = 0; ok && seal_home_names[k]; k++) {
            g_autofree char *pattern = g_build_filename(homes->pdata[i], seal_home_names[k], NULL);
            ok = remove_pattern(op, pattern);
        }
    }
    return ok;
}

/* ---- All of them ---- */

static void finish(Operation *op)
{
    op->seal->n_removed += op->n_removed;
    op->seal->bytes += op->bytes;
    json_array_append_new(op->seal->operations,
                          json_pack("{s:s, s:I, s:I, s:o}", "name", op->name, "n_removed",
                                    (json_int_t)op->n_removed, "bytes", (json_int_t)op->bytes,
                                    "paths", op->paths));
}

static gboolean run(Operation *op, const SealEntry *entry)
{
    gboolean ok = entry->kind == SEAL_MACHINE_ID ? clear_machine_id(op)
                  : entry->kind == SEAL_HOMES    ? clear_histories(op)
                                                 : TRUE;

    for (guint i = 0; ok && entry->patterns[i]; i++)
        ok = remove_pattern(op, entry->patterns[i]);
    return ok && (entry->kind != SEAL_LOGS || clear_logs(op));
}

gboolean seal_linux(Seal *seal, GError **error)
{
    guint n = 0;

    while (seal_table[n].name)
        n++;
    for (guint i = 0; i < n; i++) {
        Operation op = { .seal = seal, .name = seal_table[i].name, .paths = json_array() };
        task_progress(seal->task, i, n, "removing %s", op.name);
        gboolean ok = run(&op, &seal_table[i]);
        finish(&op);
        if (!ok) {
            g_propagate_error(error, g_steal_pointer(&seal->error));
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- Root's password ---- */

/* The shadow file with root's password locked; *ret_is_empty if it has none. */
static char *lock_root(const char *text, gboolean *ret_is_empty, gboolean *ret_is_changed)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    *ret_is_empty = *ret_is_changed = FALSE;
    for (guint i = 0; lines[i]; i++) {
        if (!g_str_has_prefix(lines[i], "root:"))
            continue;
        const char *rest = lines[i] + strlen("root:");
        *ret_is_empty = *rest == ':' || *rest == '\0';
        if (*rest == '!' || *rest == '*')
            continue;
        char *locked = g_strconcat("root:!", rest, NULL);
        g_free(lines[i]);
        lines[i] = locked;
        *ret_is_changed = TRUE;
    }
    return g_strjoinv("\n", lines);
}

gboolean seal_root_password(Seal *seal, const char *policy, GError **error)
{
    gboolean is_lock = strcmp(policy, "lock") == 0, is_empty, is_changed;
    Operation op = { .seal = seal, .name = "root-password", .paths = json_array() };
    size_t size = 0;
    char *text = guestfs_read_file(seal->g, "/etc/shadow", &size);
    g_autofree char *copy = g_strndup(text ? text : "", text ? size : 0);
    g_autofree char *locked = lock_root(copy, &is_empty, &is_changed);
    gboolean ok =
        text || guestfs_last_errno(seal->g) == ENOENT || failed(&op, "read", "/etc/shadow");

    free(text);
    if (ok && is_lock && is_changed) {
        ok = guestfs_write(seal->g, "/etc/shadow", locked, strlen(locked)) == 0;
        if (ok)
            note(&op, "/etc/shadow", 0);
        else
            failed(&op, "written", "/etc/shadow");
    } else if (ok && is_empty) {
        g_set_error(&seal->error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "root's password is empty: anybody could log in to every clone as root");
        imaged_error_hint(&seal->error, "seal with --root-password lock, or set one first");
        ok = FALSE;
    }
    finish(&op);
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&seal->error));
    return ok;
}

/* ---- Swap ---- */

static gboolean renew_swap(Operation *op, const char *device)
{
    guestfs_h *g = op->seal->g;
    char *uuid = guestfs_vfs_uuid(g, device), *label = guestfs_vfs_label(g, device);
    gint64 bytes = guestfs_blockdev_getsize64(g, device);
    const gboolean has_label = label && *label;
    gboolean ok = uuid && guestfs_blkdiscard(g, device) == 0;

    ok =
        ok && (has_label ? guestfs_mkswap_opts(g, device, GUESTFS_MKSWAP_OPTS_UUID, uuid,
                                               GUESTFS_MKSWAP_OPTS_LABEL, label, -1)
                         : guestfs_mkswap_opts(g, device, GUESTFS_MKSWAP_OPTS_UUID, uuid, -1)) == 0;
    free(uuid);
    free(label);
    if (!ok)
        return failed(op, "made anew", device);
    note(op, device, bytes);
    return TRUE;
}

gboolean seal_swap(Seal *seal, GError **error)
{
    Operation op = { .seal = seal, .name = "swap", .paths = json_array() };
    char **list = guestfs_list_filesystems(seal->g); /* device, type, ... */
    gboolean ok = list || failed(&op, "listed", "file systems");

    for (guint i = 0; ok && list[i] && list[i + 1]; i += 2) {
        if (strcmp(list[i + 1], "swap") == 0)
            ok = renew_swap(&op, list[i]);
    }
    g_strfreev(list);
    finish(&op);
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&seal->error));
    return ok;
}
