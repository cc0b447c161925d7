/* version_seal.c: see version_seal.h. */
#include "imaged/ops/version_seal.h"

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "templates/seal_report.h"

#define SEAL_LIMIT_MS (20 * 60 * 1000) /* an emulated appliance with a large disk to trim */

static void show_progress(gpointer job, guint64 done, guint64 total, const char *message)
{
    job_message(job, "sealing: %s", message);
}

static void show_warning(gpointer job, const char *text)
{
    job_message(job, "sealing: %s", text);
}

gboolean version_seal(Job *job, World *world, Store *store, Layer *const *below, guint n, int fd,
                      const json_t *options, json_t **ret_report, char **ret_line, GError **error)
{
    g_autofree int *fds = g_new(int, n + 1);
    const char *what = json_string_value(json_object_get(job_plan(job), "source_name"));
    SpaceWatch watch = { .world = world, .store = store };
    GuestDisk disk = { .fds = fds, .n_fds = n + 1, .is_read_write = TRUE };
    GuestRun run = { .role = GUEST_ROLE_GUEST,
                     .task = "seal",
                     .what = what,
                     .request = options,
                     .disks = &disk,
                     .n_disks = 1,
                     .needs_appliance = TRUE,
                     .limit_ms = SEAL_LIMIT_MS,
                     .cancel = job_cancel_flag(job),
                     .events = { .progress = show_progress, .warning = show_warning, .user = job },
                     .look = world_watch_space,
                     .look_user = &watch };

    for (guint i = 0; i < n; i++)
        fds[i] = layer_fd(below[i]);
    fds[n] = fd;
    json_t *said = guest_run(world->guest, &run, error);
    if (!said)
        return FALSE;
    json_t *report = seal_report(said);
    json_decref(said);
    if (!durable_sync(fd, error)) {
        json_decref(report);
        return FALSE;
    }
    *ret_line = seal_report_line(report);
    *ret_report = report;
    return TRUE;
}
