/* files_appliance.c: the appliance resolves paths inside of the mounted guest alone. */
#include "imaged/guest/helper/files_appliance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "imaged/base/error.h"
#include "imaged/base/escape.h"
#include "imaged/guest/helper/appliance.h"
#include "imaged/guest/helper/appliance_mount.h"
#include "imaged/guest/helper/texts.h"

#define PIECE (1u << 20)
#define NAMES_MAX (1u << 20)

typedef struct {
    ApplianceMount mount;
    GByteArray *users, *groups;
    char *path; /* absolute, in bytes */
} Look;

static void look_clear(Look *l)
{
    appliance_mount_clear(&l->mount);
    g_clear_pointer(&l->users, g_byte_array_unref);
    g_clear_pointer(&l->groups, g_byte_array_unref);
    g_free(l->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Look, look_clear)

static gboolean look_open(Look *l, Task *task, const char *path, GError **error)
{
    g_autofree char *bytes = escape_undo(path, error);

    if (!bytes || !appliance_mount(&l->mount, task, error))
        return FALSE;
    l->path = g_strconcat(*bytes == '/' ? "" : "/", bytes, NULL);
    if (l->mount.is_windows) { /* where names differ by more than their letters' case */
        char *found = guestfs_case_sensitive_path(l->mount.g, l->path);
        if (found) {
            g_free(l->path);
            l->path = g_strdup(found);
        }
        free(found);
    }
    l->users = appliance_mount_read(&l->mount, "/etc/passwd", NAMES_MAX);
    l->groups = appliance_mount_read(&l->mount, "/etc/group", NAMES_MAX);
    return TRUE;
}

static struct guestfs_statns *look_at(Look *l, const char *path, GError **error)
{
    struct guestfs_statns *s = guestfs_lstatns(l->mount.g, l->path);

    if (s)
        return s;
    if (guestfs_last_errno(l->mount.g) == ENOENT || guestfs_last_errno(l->mount.g) == ENOTDIR)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "'%s': no such file or folder",
                    path);
    else
        appliance_error(l->mount.g, error, "'%s'", path);
    return NULL;
}

static char *name_of(const GByteArray *text, gint64 id)
{
    char *name = text ? id_name_parse((const char *)text->data, text->len, (guint32)id) : NULL;

    return name ? name : g_strdup_printf("%u", (guint32)id);
}

static json_t *describe(Look *l, const char *name, const struct guestfs_statns *s,
                        const char *target)
{
    g_autofree char *owner = name_of(l->users, s->st_uid), *group = name_of(l->groups, s->st_gid);
    g_autoptr(GBytes) bytes = target && *target ? g_bytes_new(target, strlen(target)) : NULL;
    FilesEntry e = { .name = name,
                     .name_len = strlen(name),
                     .mode = (guint32)s->st_mode,
                     .uid = (guint32)s->st_uid,
                     .gid = (guint32)s->st_gid,
                     .size = (guint64)s->st_size,
                     .mtime_s = s->st_mtime_sec,
                     .target = bytes };

    return files_entry_json(&e, owner, group);
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static json_t *list_folder(Look *l, gboolean *ret_cut, GError **error)
{
    char **names = guestfs_ls(l->mount.g, l->path);
    struct guestfs_statns_list *stats =
        names ? guestfs_lstatnslist(l->mount.g, l->path, names) : NULL;
    char **targets = stats ? guestfs_readlinklist(l->mount.g, l->path, names) : NULL;
    json_t *out = targets ? json_array() : NULL;
    guint n = names ? g_strv_length(names) : 0, n_targets = targets ? g_strv_length(targets) : 0;

    if (!out)
        appliance_error(l->mount.g, error, "cannot list the folder");
    *ret_cut = n > FILES_MAX;
    for (guint i = 0; out && i < MIN(n, FILES_MAX) && i < stats->len; i++) {
        if (stats->val[i].st_ino != -1) /* gone, or not readable */
            json_array_append_new(
                out, describe(l, names[i], &stats->val[i], i < n_targets ? targets[i] : NULL));
    }
    if (stats)
        guestfs_free_statns_list(stats);
    for (guint i = 0; i < n; i++)
        free(names[i]);
    for (guint i = 0; i < n_targets; i++)
        free(targets[i]);
    free(names);
    free(targets);
    return out;
}

json_t *files_list_appliance(Task *task, const char *path, GError **error)
{
    g_auto(Look) l = { 0 };
    json_t *entries;
    gboolean is_cut = FALSE;

    if (!look_open(&l, task, path, error))
        return NULL;
    struct guestfs_statns *s = look_at(&l, path, error);
    if (!s)
        return NULL;
    if (S_ISDIR(s->st_mode)) {
        entries = list_folder(&l, &is_cut, error);
    } else {
        char *target = S_ISLNK(s->st_mode) ? guestfs_readlink(l.mount.g, l.path) : NULL;
        entries = json_array();
        json_array_append_new(entries, describe(&l, last_name(l.path), s, target));
        free(target);
    }
    guestfs_free_statns(s);
    return entries ? json_pack("{s:o,s:b}", "entries", entries, "cut", is_cut) : NULL;
}

static gboolean copy(Look *l, guint64 size, FilesData data, gpointer user, GError **error)
{
    for (guint64 at = 0; at < size;) {
        size_t n = 0;
        char *piece =
            guestfs_pread(l->mount.g, l->path, (int)MIN(PIECE, size - at), (gint64)at, &n);
        gboolean ok = piece && n && data(user, piece, n, error);
        if (!piece || !n)
            appliance_error(l->mount.g, error, "cannot read the file");
        free(piece);
        if (!ok)
            return FALSE;
        at += n;
    }
    return TRUE;
}

json_t *files_get_appliance(Task *task, const char *path, FilesData data, gpointer user,
                            GError **error)
{
    g_auto(Look) l = { 0 };
    json_t *out = NULL;

    if (!look_open(&l, task, path, error))
        return NULL;
    struct guestfs_statns *s = look_at(&l, path, error);
    if (!s)
        return NULL;
    char *target = S_ISLNK(s->st_mode) ? guestfs_readlink(l.mount.g, l.path) : NULL;
    g_autoptr(GBytes) bytes = target ? g_bytes_new(target, strlen(target)) : NULL;
    if (files_check_is_file((guint32)s->st_mode, path, bytes, error) &&
        copy(&l, (guint64)s->st_size, data, user, error))
        out = describe(&l, last_name(l.path), s, NULL);
    free(target);
    guestfs_free_statns(s);
    return out;
}
