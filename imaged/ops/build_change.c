/* build_change.c: see build_change.h.
 *
 *   READ (dpkg's status and the suite, off the disk) -> FETCH what is missing -> CUSTOMIZE */
#include "imaged/ops/build_change.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/ops/inspect_disk.h"
#include "templates/build.h"
#include "templates/guest_parts.h"

#define MAX_STATUS (12u << 20)     /* it travels in one line of the protocol */
#define LIMIT_MS (4 * 3600 * 1000) /* emulated */

typedef struct {
    BuildTalk talk;
    World *world;
    SpaceWatch watch;
    const char *what;
    GArray *fds;    /* int: of the disk */
    GArray *before; /* int: the same as it was before, to be read */
    const char *folder;
} Change;

static gboolean collect(gpointer user, const void *bytes, gsize n, GError **error)
{
    GByteArray *out = user;

    if (out->len + n > MAX_STATUS) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the base's list of packages is too long");
        return FALSE;
    }
    g_byte_array_append(out, bytes, (guint)n);
    return TRUE;
}

/* A small file off the disk.  Caller frees. */
static char *read_text(Change *c, const char *path, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    json_t *request = json_pack("{s:s,s:s}", "verb", "get", "path", path);
    GuestEvents events = { .data = collect, .user = bytes };
    InspectRun run = { .what = c->what,
                       .task = "files",
                       .fds = c->before,
                       .request = request,
                       .events = &events,
                       .cancel = job_cancel_flag(c->talk.job) };
    GError *local = NULL;
    json_t *result = inspect_run(c->world, &run, FALSE, &local);

    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED)) {
        g_clear_error(&local);
        g_byte_array_set_size(bytes, 0);
        result = inspect_run(c->world, &run, TRUE, &local);
    }
    json_decref(request);
    json_decref(result);
    if (local) {
        g_propagate_prefixed_error(error, local, "the base cannot be read: ");
        return NULL;
    }
    return g_utf8_make_valid((const char *)bytes->data, (gssize)bytes->len);
}

/* "bookworm", of /etc/os-release. */
static char *suite_of(const char *os_release, GError **error)
{
    const char *at = strstr(os_release, "VERSION_CODENAME=");

    if (at) {
        at += strlen("VERSION_CODENAME=");
        g_autofree char *suite = g_strndup(at, strcspn(at, "\n"));
        g_strstrip(g_strdelimit(suite, "\"'", ' '));
        if (g_regex_match_simple("^[a-z][a-z0-9-]{0,31}$", suite, 0, 0))
            return g_steal_pointer(&suite);
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "packages can be added to a Debian, which the base does not seem to be");
    return NULL;
}

/* Nothing to fetch is no error. */
static gboolean fetch(Change *c, json_t *recipe, const json_t *packages, GError **error)
{
    if (json_array_size(packages) == 0)
        return TRUE;
    g_autofree char *release = read_text(c, "/usr/lib/os-release", error);
    g_autofree char *suite = release ? suite_of(release, error) : NULL;
    g_autofree char *status = suite ? read_text(c, "/var/lib/dpkg/status", error) : NULL;
    if (!status)
        return FALSE;
    json_object_set_new(json_object_get(recipe, "base"), "suite", json_string(suite));
    json_t *fetched =
        template_build_fetch(&c->talk, c->world, c->folder, recipe, packages, status, error);
    json_decref(fetched);
    return fetched != NULL;
}

static gboolean customize(Change *c, const json_t *recipe, const json_t *packages, GError **error)
{
    GuestDisk disk = { .fds = (const int *)(void *)c->fds->data,
                       .n_fds = c->fds->len,
                       .is_read_write = TRUE };
    json_t *request = json_pack("{s:O, s:O}", "recipe", recipe, "packages", packages);
    GuestRun run = { .role = GUEST_ROLE_GUEST,
                     .task = "customize",
                     .what = c->what,
                     .request = request,
                     .disks = &disk,
                     .n_disks = 1,
                     .folder = c->folder,
                     .needs_appliance = TRUE,
                     .limit_ms = LIMIT_MS,
                     .cancel = job_cancel_flag(c->talk.job),
                     .events = { .progress = build_talk_progress,
                                 .log = build_talk_log,
                                 .warning = build_talk_log,
                                 .user = c },
                     .look = world_watch_space,
                     .look_user = &c->watch };
    json_t *result = guest_run(c->world->guest, &run, error);

    json_decref(request);
    json_decref(result);
    return result != NULL;
}

static gboolean change(Change *c, int fd, GError **error)
{
    json_t *recipe = json_deep_copy(json_object_get(job_plan(c->talk.job), "spec"));
    json_t *packages = guest_parts_more_packages(recipe);
    gboolean ok = fetch(c, recipe, packages, error) && customize(c, recipe, packages, error) &&
                  durable_sync(fd, error);

    json_decref(packages);
    json_decref(recipe);
    return ok;
}

gboolean build_change(Job *job, World *world, Store *store, Layer *const *below, guint n, int fd,
                      GError **error)
{
    g_autoptr(JobLog) log = job_log_open(world->state_dir, job_id(job));
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_autoptr(GArray) before = g_array_new(FALSE, FALSE, sizeof(int));
    auto_fd again = durable_open_again(fd, O_RDONLY); /* the store opened it with O_DIRECT */
    g_autofree char *folder = guest_folder_make(world->guest, error);
    Change c = { .talk = { job, log },
                 .world = world,
                 .watch = { .world = world, .store = store },
                 .what = json_string_value(json_object_get(job_plan(job), "name")),
                 .fds = fds,
                 .before = before,
                 .folder = folder };

    if (!folder)
        return FALSE;
    job_progress(job, 0, 0); /* what was to be copied is: from here on words tell more */
    if (again < 0) {
        imaged_error_set_errno(error, errno, "cannot read the new layer");
        guest_folder_remove(world->guest, folder, NULL);
        return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        int layer = layer_fd(below[i]);
        g_array_append_val(fds, layer);
        g_array_append_val(before, layer);
    }
    g_array_append_val(fds, fd);
    if (!n) /* a copy; else there is nothing in it yet */
        g_array_append_val(before, again);
    GError *local = NULL;
    gboolean ok = change(&c, fd, &local);
    guest_folder_remove(world->guest, folder, NULL); /* else the next start does */
    if (local) {
        g_autofree char *why = imaged_error_message(local);
        job_log_line(log, why);
        g_propagate_error(error, local);
    }
    return ok;
}
