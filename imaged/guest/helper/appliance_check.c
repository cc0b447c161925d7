/* appliance_check.c: does the appliance run here, and how fast does it start? */
#include "imaged/base/error.h"
#include "imaged/guest/helper/appliance.h"
#include "imaged/guest/helper/tasks.h"

json_t *task_appliance_check(Task *task, GError **error)
{
    gint64 begin = g_get_monotonic_time();
    guestfs_h *g = appliance_open(task, error);

    if (!g)
        return NULL;
    gint64 launch_ms = (g_get_monotonic_time() - begin) / 1000;
    json_t *devices = json_array();
    char **list = guestfs_list_devices(g);
    for (guint i = 0; list && list[i]; i++)
        json_array_append_new(devices, json_string(list[i]));
    g_strfreev(list); /* libguestfs uses malloc, as GLib does */
    struct guestfs_version *v = guestfs_version(g);
    g_autofree char *version =
        v ? g_strdup_printf("%d.%d.%d", (int)v->major, (int)v->minor, (int)v->release) : NULL;
    guestfs_free_version(v);
    if (appliance_close(g, error))
        return json_pack("{s:I, s:o, s:s*}", "launch_ms", (json_int_t)launch_ms, "devices", devices,
                         "libguestfs", version);
    json_decref(devices);
    return NULL;
}
