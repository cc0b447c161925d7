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

static gint by_length(gconstpointer a, gconstpointer b)
{
    gsize x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);

    return x < y ? -1 : x > y;
}

gboolean mounted_os_mount(Task *task, guestfs_h *g, MountedOs *os, GError **error)
{
    char **list = guestfs_inspect_get_mountpoints(g, os->root); /* point, device, ... */
    g_autoptr(GHashTable) devices = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) points = g_ptr_array_new();
    gboolean ok = list != NULL;

    for (guint i = 0; list && list[i] && list[i + 1]; i += 2) {
        g_hash_table_insert(devices, list[i], list[i + 1]);
        g_ptr_array_add(points, list[i]);
    }
    g_ptr_array_sort(points, by_length);
    for (guint i = 0; ok && i < points->len; i++) {
        const char *point = points->pdata[i];
        const char *device = g_hash_table_lookup(devices, point);
        if (guestfs_mount(g, device, point) == 0) {
            g_ptr_array_add(os->points, g_strdup(point));
        } else if (strcmp(point, "/") == 0) {
            ok = FALSE;
        } else {
            task_warning(task, "'%s' (%s) cannot be mounted: %s", point, device,
                         guestfs_last_error(g));
        }
    }
    if (!ok || os->points->len == 0) {
        appliance_error(g, error, "the root file system (%s) cannot be mounted", os->root);
        ok = FALSE;
    }
    g_strfreev(list);
    return ok;
}
