/* build.c: see build.h.
 *
 * The disk comes back as pieces, "offset, length" and bytes, through the helper's socket, and goes
 * into a layer of our making: nothing that the helper wrote is opened by us.  When it fails or is
 * cancelled nothing of it is left but its log; after a stop it begins again, unless the layer was
 * in its slot already. */
#include "templates/build.h"

#include <string.h>
#include <sys/statvfs.h>

#include "cow/identity.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/plan.h"
#include "templates/disk_pieces.h"
#include "templates/guest_parts.h"
#include "templates/new_version.h"
#include "templates/seal_report.h"

#define STEP_LIMIT_MS (4 * 3600 * 1000) /* a desktop under load, on a slow machine */
#define SANDBOX_LIMIT_MS 60000
#define CACHE_BYTES (8 * GIB)
#define SPACE_CHECK_EVERY (256 * MIB)
#define MAX_COUNTED 100000 /* more are bytes, or GUEST_SHARE */
#define FETCHED 25         /* percent of the work; how much it is depends on the network */
#define STORED 98

typedef struct {
    BuildTalk talk; /* first: it is what the events get */
    World *world;
    Store *store;
    DiskPieces *pieces;
    LayerWriter *writer;
    guint64 size, next_check;
    json_t *report; /* of the sealing, or NULL */
} Build;

static const char *plan_text(Job *job, const char *key)
{
    return json_string_value(json_object_get(job_plan(job), key));
}

/* Whole MiB, as partitions are. */
static guint64 disk_size(const json_t *recipe)
{
    guint64 bytes = (guint64)json_integer_value(json_object_get(recipe, "size_bytes"));

    return (bytes + MIB - 1) / MIB * MIB;
}

/* ---- Planning ---- */

json_t *template_build_plan(const TemplateBuild *build, const char *store_id)
{
    const json_t *hardware = json_object_get(build->recipe, "hardware");
    const char *os = json_string_value(json_object_get(build->recipe, "os"));
    const char *about = json_string_value(json_object_get(build->recipe, "description"));
    Id version_id = id_new(), layer_id = id_new();
    json_t *plan =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "name", build->name, "source_name",
                  "a recipe", "store_id", store_id, "version_id", version_id.s, "layer_id",
                  layer_id.s, "notes", "", "state", build->is_draft ? "draft" : "published",
                  "recipe", build->text, "description", about ? about : "");

    json_object_set_new(plan, "os", json_string(os ? os : ""));
    json_object_set(plan, "cpus", json_object_get(hardware, "cpus"));
    json_object_set(plan, "memory_bytes", json_object_get(hardware, "memory_bytes"));
    json_object_set(plan, "firmware", json_object_get(hardware, "firmware"));
    json_object_set(plan, "video", json_object_get(hardware, "video"));
    if (build->identity)
        json_object_set_new(plan, "identity", json_string(build->identity));
    json_object_set(plan, "spec", (json_t *)build->recipe);
    return plan;
}

static json_t *make_plan(World *world, Db *db, json_t *claims, gpointer data, GError **error)
{
    const TemplateBuild *build = data;
    g_autofree char *store_id = store_set_find(world->stores, build->store, error);

    if (!store_id)
        return NULL;
    json_t *plan = template_build_plan(build, store_id);
    if (!new_version_plan(db, build->name, plan, claims, error))
        g_clear_pointer(&plan, json_decref);
    return plan;
}

gboolean template_plan_build(World *world, const TemplateBuild *build, JobRequest *ret,
                             GError **error)
{
    return name_check("template", build->name, error) &&
           (build->is_check ? plan_look : plan_make)(world, &template_build_job, make_plan,
                                                     (gpointer)build, ret, error);
}

/* ---- What the helper says ---- */

void build_talk_progress(gpointer data, guint64 done, guint64 total, const char *message)
{
    BuildTalk *talk = data;

    if (talk->to && total)
        job_progress(talk->job,
                     talk->from + (guint)((gdouble)(talk->to - talk->from) *
                                          (gdouble)MIN(done, total) / (gdouble)total),
                     100);
    if (!message)
        return;
    /* Files fetched of all, commands run of all: the job's own numbers are others. */
    if (total > 1 && total <= MAX_COUNTED && done <= total)
        job_message(talk->job, "%s (%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ")", message, done,
                    total);
    else
        job_message(talk->job, "%s", message);
}

void build_talk_log(gpointer data, const char *text)
{
    BuildTalk *talk = data;

    job_log_line(talk->log, text);
    job_message(talk->job, "%s", text);
}

/* ---- Fetching ---- */

guint64 template_build_reserve(const World *world)
{
    struct statvfs fs;
    guint64 percent = world->settings.low_space_percent;

    if (statvfs(world->state_dir, &fs) < 0)
        return world->settings.low_space_bytes;
    return MAX(world->settings.low_space_bytes, (guint64)fs.f_blocks * fs.f_frsize / 100 * percent);
}

json_t *template_build_fetch(BuildTalk *talk, World *world, const char *folder,
                             const json_t *recipe, const json_t *packages, const char *status,
                             GError **error)
{
    const json_t *base = json_object_get(recipe, "base");
    g_autofree char *cache = guest_cache_folder(world->guest, "packages", error);
    json_t *request = json_pack(
        "{s:O, s:O, s:O, s:O, s:O, s:I, s:I}", "suite", json_object_get(base, "suite"), "mirror",
        json_object_get(base, "mirror"), "components", json_object_get(base, "components"),
        "packages", packages, "recommends", json_object_get(recipe, "recommends"), "cache_bytes",
        (json_int_t)CACHE_BYTES, "reserve_bytes", (json_int_t)template_build_reserve(world));
    GuestRun run = { .role = GUEST_ROLE_FETCH,
                     .task = "fetch",
                     .what = plan_text(talk->job, "name"),
                     .request = request,
                     .folder = folder,
                     .limit_ms = STEP_LIMIT_MS,
                     .cancel = job_cancel_flag(talk->job),
                     .events = { .progress = build_talk_progress,
                                 .log = build_talk_log,
                                 .warning = build_talk_log,
                                 .user = talk } };

    if (status)
        json_object_set_new(request, "status", json_string(status));
    json_object_set_new(request, "cache", json_string(cache ? cache : ""));
    json_t *result = cache ? guest_run(world->guest, &run, error) : NULL;
    json_decref(request);
    return result;
}

/* ---- Building ---- */

static gboolean take_piece(guint64 offset, const void *data, guint64 len, gpointer user,
                           GError **error)
{
    Build *b = user;

    if (offset >= b->next_check) { /* stop before the store is full, not after */
        b->next_check = offset + SPACE_CHECK_EVERY;
        if (!world_check_space(b->world, b->store, SPACE_CHECK_EVERY, error))
            return FALSE;
    }
    return job_check(b->talk.job, error) && layer_writer_data(b->writer, offset, data, len, error);
}

static gboolean take_data(gpointer user, const void *bytes, gsize n, GError **error)
{
    return disk_pieces_take(((Build *)user)->pieces, bytes, n, error);
}

static json_t *build_request(Build *b, const json_t *recipe, const json_t *packages,
                             const json_t *fetched, GError **error)
{
    json_t *files = NULL, *links = NULL;

    if (!guest_parts_files(recipe, &files, &links, error))
        return NULL;
    return json_pack("{s:O, s:O, s:O, s:O, s:o, s:o, s:I, s:I}", "recipe", recipe, "packages",
                     packages, "suite", json_object_get(json_object_get(recipe, "base"), "suite"),
                     "sources", json_object_get(fetched, "sources"), "guest_files", files,
                     "guest_links", links, "size_bytes", (json_int_t)b->size, "reserve_bytes",
                     (json_int_t)template_build_reserve(b->world));
}

/* Can there be a build here at all?  Asked before anything is fetched: the helper goes into its
 * namespaces, and comes back. */
static gboolean check_sandbox(Build *b, const char *folder, GError **error)
{
    GuestRun run = { .role = GUEST_ROLE_BUILD,
                     .task = "ping",
                     .what = plan_text(b->talk.job, "name"),
                     .folder = folder,
                     .limit_ms = SANDBOX_LIMIT_MS,
                     .cancel = job_cancel_flag(b->talk.job) };
    json_t *result = guest_run(b->world->guest, &run, error);

    json_decref(result);
    return result != NULL;
}

static gboolean make_disk(Build *b, const char *folder, GError **error)
{
    const json_t *recipe = json_object_get(job_plan(b->talk.job), "spec");
    json_t *packages = guest_parts_packages(recipe), *wanted = json_deep_copy(packages);

    json_array_append_new(wanted, json_string("?essential"));
    json_array_append_new(wanted, json_string("apt"));
    json_t *fetched = NULL;
    if (check_sandbox(b, folder, error))
        fetched = template_build_fetch(&b->talk, b->world, folder, recipe, wanted, NULL, error);
    json_t *request = fetched ? build_request(b, recipe, packages, fetched, error) : NULL;
    GuestRun run = { .role = GUEST_ROLE_BUILD,
                     .task = "build",
                     .what = plan_text(b->talk.job, "name"),
                     .request = request,
                     .folder = folder,
                     .limit_ms = STEP_LIMIT_MS,
                     .cancel = job_cancel_flag(b->talk.job),
                     .events = { .progress = build_talk_progress,
                                 .log = build_talk_log,
                                 .warning = build_talk_log,
                                 .data = take_data,
                                 .user = b } };
    b->talk.from = FETCHED;
    b->talk.to = STORED;
    json_t *result = request ? guest_run(b->world->guest, &run, error) : NULL;
    gboolean ok = result && disk_pieces_are_complete(b->pieces, b->size, error);
    if (ok && json_is_object(json_object_get(result, "sealed")))
        b->report = seal_report(json_object_get(result, "sealed"));
    json_decref(result);
    json_decref(request);
    json_decref(fetched);
    json_decref(wanted);
    json_decref(packages);
    return ok;
}

static gboolean make_in_folder(Build *b, GError **error)
{
    g_autofree char *folder = guest_folder_make(b->world->guest, error);
    gboolean ok = folder && make_disk(b, folder, error);

    if (folder)
        guest_folder_remove(b->world->guest, folder, NULL); /* else the next start does */
    return ok;
}

static gboolean make_layer(Build *b, LayerSummary *ret, GError **error)
{
    Job *job = b->talk.job;
    Identity identity = { .id = (char *)plan_text(job, "layer_id"),
                          .owner_kind = "template",
                          .owner_id = (char *)plan_text(job, "version_id"),
                          .owner_name = (char *)plan_text(job, "name"),
                          .generation =
                              json_integer_value(json_object_get(job_plan(job), "number")),
                          .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    BlankSpec spec = { .identity = text, .virtual_size = b->size };
    DiskPieceSink sink = { take_piece, b };

    store_geometry(b->store, &spec.cluster_bits, &spec.has_subclusters);
    auto_fd fd = b->store->ops->create_tmp(b->store, identity.id, error);
    if (fd < 0)
        return FALSE;
    b->writer = layer_writer_new(fd, &spec, error);
    b->pieces = disk_pieces_new(&sink);
    gboolean ok = b->writer && make_in_folder(b, error);
    if (ok)
        job_message(job, "putting the layer into its place");
    ok = ok && layer_writer_finish(b->writer, ret, error) &&
                  b->store->ops->publish_tmp(b->store, identity.id, TRUE, error);
    g_clear_pointer(&b->writer, layer_writer_free);
    g_clear_pointer(&b->pieces, disk_pieces_free);
    durable_close(&fd);
    if (!ok)
        b->store->ops->discard(b->store, STORE_TMP, (const char *const *)&identity.id, 1, NULL);
    return ok;
}

/* After a stop the layer may be in its slot already. */
static gboolean find_or_make(Build *b, LayerSummary *ret, GError **error)
{
    gboolean found;

    return new_version_find_layer(b->talk.job, b->store, plan_text(b->talk.job, "layer_id"), &found,
                                  &b->size, ret->digest, error) &&
           (found || make_layer(b, ret, error));
}

static gboolean run_build(Job *job, gpointer data, GError **error)
{
    World *world = data;
    g_autoptr(JobLog) log = job_log_open(world->state_dir, job_id(job));
    const json_t *recipe = json_object_get(job_plan(job), "spec");
    Build b = { .talk = { job, log, 0, FETCHED }, .world = world, .size = disk_size(recipe) };
    LayerSummary summary = { 0 };
    g_autoptr(GError) local = NULL;
    g_autoptr(Store) store = store_set_get(world->stores, plan_text(job, "store_id"), error);

    if (!store)
        return FALSE;
    if (new_version_was_committed(job, world, &local))
        return TRUE;
    b.store = store;
    job_progress(job, 0, 100);
    if (!local && find_or_make(&b, &summary, &local)) {
        gboolean is_sealed = json_is_true(json_object_get(recipe, "seal"));
        g_autofree char *line = b.report ? seal_report_line(b.report) : NULL;
        NewVersion made = { .virtual_size = (gint64)b.size,
                            .checksum = summary.digest,
                            .more_notes = line,
                            .report = b.report,
                            .sealed_at = is_sealed ? units_now_ms() : 0 };
        job_progress(job, 100, 100);
        gboolean ok = new_version_commit(job, &made, "template.build", "built from a recipe", NULL,
                                         &local);
        g_clear_pointer(&b.report, json_decref);
        if (ok)
            return TRUE;
    }
    json_decref(b.report);
    g_autofree char *why = imaged_error_message(local);
    job_log_line(log, why);
    new_version_discard(job, world);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

const JobType template_build_job = { "template.build", JOB_BULK, "percent", run_build };
