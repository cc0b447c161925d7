/* appliance.c: see appliance.h. */
#include "imaged/guest/helper/appliance.h"

#include <string.h>

#include "imaged/base/error.h"

#define MEMORY_MB 768

static void on_message(guestfs_h *g, void *opaque, uint64_t event, int handle, int flags,
                       const char *buf, size_t n, const uint64_t *array, size_t array_n)
{
    g_autofree char *line = g_strndup(buf, n);

    g_strchomp(line);
    if (*line)
        task_log(opaque, line);
}

void appliance_error(guestfs_h *g, GError **error, const char *format, ...)
{
    const char *why = guestfs_last_error(g);
    gint err = guestfs_last_errno(g);
    va_list args;

    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *first = g_strdup(why ? why : "no reason given");
    first[strcspn(first, "\n")] = '\0'; /* what follows is advice on debugging libguestfs */
    g_set_error(error, IMAGED_ERROR, err == ENOSPC ? IMAGED_ERROR_NO_SPACE : IMAGED_ERROR_FAILED,
                "%s: %s", what, first);
}

static gboolean add_disk(Task *task, guestfs_h *g, guint i)
{
    g_autofree char *server = g_strconcat("unix:", task_disk_socket(task, i), NULL);
    char *servers[] = { server, NULL };

    return guestfs_add_drive_opts(
               g, "", GUESTFS_ADD_DRIVE_OPTS_READONLY, task_disk_is_read_only(task, i),
               GUESTFS_ADD_DRIVE_OPTS_FORMAT, "raw", GUESTFS_ADD_DRIVE_OPTS_PROTOCOL, "nbd",
               GUESTFS_ADD_DRIVE_OPTS_SERVER, servers, GUESTFS_ADD_DRIVE_OPTS_DISCARD,
               task_disk_is_read_only(task, i) ? "disable" : "besteffort", -1) == 0;
}

static gboolean launch(Task *task, guestfs_h *g, GError **error)
{
    const char *tmp = task_tmp(task);
    gboolean is_kvm = strcmp(task_accelerator(task), "kvm") == 0;
    gboolean ok = guestfs_set_backend(g, "direct") == 0 &&
                  (is_kvm || guestfs_set_backend_setting(g, "force_tcg", "1") == 0) &&
                  guestfs_set_path(g, task_appliance(task)) == 0 &&
                  guestfs_set_tmpdir(g, tmp) == 0 && guestfs_set_cachedir(g, tmp) == 0 &&
                  guestfs_set_network(g, 0) == 0 && guestfs_set_memsize(g, MEMORY_MB) == 0 &&
                  guestfs_set_recovery_proc(g, 0) == 0 && guestfs_set_autosync(g, 1) == 0;

    for (guint i = 0; ok && i < task_n_disks(task); i++)
        ok = add_disk(task, g, i);
    if (ok && guestfs_launch(g) == 0)
        return TRUE;
    appliance_error(g, error, "the appliance does not start");
    if (error && *error)
        (*error)->code = IMAGED_ERROR_UNAVAILABLE;
    return FALSE;
}

guestfs_h *appliance_open(Task *task, GError **error)
{
    guestfs_h *g = NULL;

    if (!task_appliance(task)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "there is no appliance");
        return NULL;
    }
    task_progress(task, 0, 0, "starting the appliance");
    g = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
    if (!g) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "libguestfs does not start");
        return NULL;
    }
    guestfs_set_error_handler(g, NULL, NULL);
    gboolean is_verbose = json_is_true(json_object_get(task_request(task), "verbose"));
    guestfs_set_verbose(g, is_verbose);
    guestfs_set_event_callback(g, on_message,
                               is_verbose ? GUESTFS_EVENT_WARNING | GUESTFS_EVENT_APPLIANCE |
                                                GUESTFS_EVENT_LIBRARY
                                          : GUESTFS_EVENT_WARNING,
                               0, task);
    if (launch(task, g, error))
        return g;
    guestfs_close(g);
    return NULL;
}

gboolean appliance_close(guestfs_h *g, GError **error)
{
    gboolean ok = guestfs_umount_all(g) == 0 && guestfs_sync(g) == 0 && guestfs_shutdown(g) == 0;

    if (!ok)
        appliance_error(g, error, "the appliance did not shut down well");
    guestfs_close(g);
    return ok;
}
