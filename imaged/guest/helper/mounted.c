/* mounted.c: see mounted.h. */
#include "imaged/guest/helper/mounted.h"

#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"

static char *take(char *text)
{
    char *out = g_strdup(text ? text : "unknown");

    free(text);
    return out;
}

void mounted_os_clear(MountedOs *os)
{
    g_free(os->root);
    g_free(os->type);
    g_free(os->distro);
    g_free(os->product);
    if (os->points)
        g_ptr_array_unref(os->points);
    *os = (MountedOs){ 0 };
}

gboolean mounted_os_find(guestfs_h *g, MountedOs *ret, GError **error)
{
    char **roots = guestfs_inspect_os(g);
    guint n = roots ? g_strv_length(roots) : 0;

    if (!roots) {
        appliance_error(g, error, "the disk cannot be looked at");
        return FALSE;
    }
    if (n == 1) {
        ret->root = g_strdup(roots[0]);
        ret->type = take(guestfs_inspect_get_type(g, roots[0]));
        ret->distro = take(guestfs_inspect_get_distro(g, roots[0]));
        ret->product = take(guestfs_inspect_get_product_name(g, roots[0]));
        ret->points = g_ptr_array_new_with_free_func(g_free);
    } else if (n == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "no operating system was found on the disk");
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "there are %u operating systems on the disk: which one is meant cannot be told",
                    n);
    }
    g_strfreev(roots);
    return n == 1;
}

typedef struct {
    const char *where, *device;
} Point;

static gint by_length(gconstpointer a, gconstpointer b)
{
    return (gint)strlen(((const Point *)a)->where) - (gint)strlen(((const Point *)b)->where);
}

gboolean mounted_points(Task *task, guestfs_h *g, const char *root, gboolean is_read_only,
                        GPtrArray *mounts, GError **error)
{
    char **list = guestfs_inspect_get_mountpoints(g, root); /* point, device, ... */
    g_autoptr(GArray) points = g_array_new(FALSE, FALSE, sizeof(Point));
    gboolean ok = list != NULL;

    for (guint i = 0; list && list[i] && list[i + 1]; i += 2) {
        Point point = { list[i], list[i + 1] };
        g_array_append_val(points, point);
    }
    g_array_sort(points, by_length); /* so that each has its folder */
    for (guint i = 0; ok && i < points->len; i++) {
        const Point *p = &g_array_index(points, Point, i);
        if ((is_read_only ? guestfs_mount_ro : guestfs_mount)(g, p->device, p->where) == 0) {
            g_ptr_array_add(mounts, g_strdup(p->where));
            g_ptr_array_add(mounts, g_strdup(p->device));
        } else if (strcmp(p->where, "/") == 0) {
            ok = FALSE;
        } else {
            task_warning(task, "'%s' (%s) cannot be mounted: %s", p->where, p->device,
                         guestfs_last_error(g));
        }
    }
    if (!ok || mounts->len == 0) {
        appliance_error(g, error, "the root file system (%s) cannot be mounted", root);
        ok = FALSE;
    }
    g_strfreev(list);
    return ok;
}

gboolean mounted_os_mount(Task *task, guestfs_h *g, MountedOs *os, GError **error)
{
    g_autoptr(GPtrArray) mounts = g_ptr_array_new_with_free_func(g_free);

    if (!mounted_points(task, g, os->root, FALSE, mounts, error))
        return FALSE;
    for (guint i = 0; i < mounts->len; i += 2)
        g_ptr_array_add(os->points, g_strdup(mounts->pdata[i]));
    return TRUE;
}
