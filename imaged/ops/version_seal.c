/* version_seal.c: see version_seal.h. */
#include "imaged/ops/version_seal.h"

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "templates/new_version.h"

#define MAX_NUMBER (G_GINT64_CONSTANT(1) << 53) /* exact in every reader of JSON */
#define MAX_TEXT 200
#define MAX_TEXTS 100
#define MAX_OPERATIONS 64
#define SEAL_LIMIT_MS (20 * 60 * 1000) /* an emulated appliance with a large disk to trim */

static void show_progress(gpointer job, guint64 done, guint64 total, const char *message)
{
    job_message(job, "sealing: %s", message);
}

static void show_warning(gpointer job, const char *text)
{
    job_message(job, "sealing: %s", text);
}

/* ---- What the helper reports, which is as hostile as the disk that it read ---- */

static void copy_number(json_t *out, const json_t *from, const char *key)
{
    gint64 n = json_integer_value(json_object_get(from, key));

    json_object_set_new(out, key, json_integer(CLAMP(n, 0, MAX_NUMBER)));
}

static void copy_text(json_t *out, const json_t *from, const char *key)
{
    const char *text = json_string_value(json_object_get(from, key));
    g_autofree char *shown = text_for_message(text ? text : "", MAX_TEXT);

    json_object_set_new(out, key, json_string(shown));
}

static void copy_texts(json_t *out, const json_t *from, const char *key)
{
    const json_t *texts = json_object_get(from, key);
    json_t *copy = json_array();

    for (size_t i = 0; i < MIN(json_array_size(texts), MAX_TEXTS); i++) {
        const char *text = json_string_value(json_array_get(texts, i));
        g_autofree char *shown = text_for_message(text ? text : "", MAX_TEXT);
        json_array_append_new(copy, json_string(shown));
    }
    json_object_set_new(out, key, copy);
}

static json_t *copy_operations(const json_t *operations)
{
    json_t *copy = json_array();

    for (size_t i = 0; i < MIN(json_array_size(operations), MAX_OPERATIONS); i++) {
        const json_t *from = json_array_get(operations, i);
        json_t *out = json_object();
        copy_text(out, from, "name");
        copy_number(out, from, "n_removed");
        copy_number(out, from, "bytes");
        copy_texts(out, from, "paths");
        json_array_append_new(copy, out);
    }
    return copy;
}

json_t *version_seal_report(const json_t *said)
{
    static const char *const of_os[] = { "type", "distro", "product" };
    json_t *out = json_object(), *os = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(of_os); i++)
        copy_text(os, json_object_get(said, "os"), of_os[i]);
    json_object_set_new(out, "os", os);
    json_object_set_new(out, "operations", copy_operations(json_object_get(said, "operations")));
    copy_number(out, said, "n_removed");
    copy_number(out, said, "bytes");
    copy_texts(out, said, "trimmed");
    copy_number(out, said, "elapsed_ms");
    return out;
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
    json_t *report = version_seal_report(said);
    json_decref(said);
    if (!durable_sync(fd, error)) {
        json_decref(report);
        return FALSE;
    }
    *ret_line = new_version_seal_line(report);
    *ret_report = report;
    return TRUE;
}
