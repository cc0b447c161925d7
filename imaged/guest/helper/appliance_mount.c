/* appliance_mount.c: see appliance_mount.h. */
#include "imaged/guest/helper/appliance_mount.h"

#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/appliance.h"
#include "imaged/guest/helper/mounted.h"

void appliance_mount_clear(ApplianceMount *m)
{
    if (m->g)
        guestfs_close(m->g); /* nothing was written: no need to shut it down well */
    g_free(m->root);
    if (m->mounts)
        g_ptr_array_unref(m->mounts);
    *m = (ApplianceMount){ 0 };
}

static void free_list(char **list)
{
    for (guint i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

static gboolean mount_one(ApplianceMount *m, const char *where, const char *device)
{
    if (guestfs_mount_ro(m->g, device, where) != 0)
        return FALSE;
    g_ptr_array_add(m->mounts, g_strdup(where));
    g_ptr_array_add(m->mounts, g_strdup(device));
    return TRUE;
}

static gboolean mount_system(ApplianceMount *m, Task *task, GError **error)
{
    if (mounted_points(task, m->g, m->root, TRUE, m->mounts, error))
        return TRUE;
    if (error && *error)
        (*error)->code = IMAGED_ERROR_CORRUPT;
    return FALSE;
}

/* Without a system: the first file system that lets itself be mounted. */
static gboolean mount_any(ApplianceMount *m, GError **error)
{
    char **list = guestfs_list_filesystems(m->g);
    gboolean is_mounted = FALSE;

    for (guint i = 0; list && list[i] && list[i + 1] && !is_mounted; i += 2)
        is_mounted = strcmp(list[i + 1], "swap") != 0 && strcmp(list[i + 1], "unknown") != 0 &&
                     mount_one(m, "/", list[i]);
    free_list(list);
    if (!is_mounted)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "the disk has no file system that can be mounted");
    return is_mounted;
}

gboolean appliance_mount(ApplianceMount *m, Task *task, GError **error)
{
    m->mounts = g_ptr_array_new_with_free_func(g_free);
    if (!(m->g = appliance_open(task, error)))
        return FALSE;
    task_progress(task, 0, 0, "looking for a system");
    char **roots = guestfs_inspect_os(m->g);
    m->root = roots && roots[0] ? g_strdup(roots[0]) : NULL;
    free_list(roots);
    if (!m->root)
        return mount_any(m, error);
    char *type = guestfs_inspect_get_type(m->g, m->root);
    m->is_windows = g_strcmp0(type, "windows") == 0;
    free(type);
    return mount_system(m, task, error);
}

GByteArray *appliance_mount_read(const ApplianceMount *m, const char *path, gsize max)
{
    size_t n = 0;
    gint64 size = guestfs_is_file_opts(m->g, path, GUESTFS_IS_FILE_OPTS_FOLLOWSYMLINKS, 1, -1) == 1
                      ? guestfs_filesize(m->g, path)
                      : -1;
    char *bytes = size >= 0 && (guint64)size <= max ? guestfs_read_file(m->g, path, &n) : NULL;

    if (!bytes)
        return NULL;
    GByteArray *out = g_byte_array_append(g_byte_array_new(), (const guint8 *)bytes, (guint)n);
    free(bytes);
    return out;
}
