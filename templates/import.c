/* import.c: a new version from an NBD source.
 *
 *   BUILD (a layer of our own making in tmp/) -> PUBLISH (frozen, into its slot) -> FACTS
 *
 * Nothing of the foreign file but its guest data survives.  When it fails or is cancelled, all of
 * its space is given back; after a stop it begins again, unless the layer was in its slot already.
 */
#include "templates/template.h"

#include <string.h>

#include "cow/identity.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/plan.h"
#include "templates/nbd_source.h"
#include "templates/new_version.h"

#define SPACE_CHECK_EVERY (256 * MIB)

static char *join_notes(const json_t *notes, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    size_t i;
    json_t *note;

    json_array_foreach((json_t *)notes, i, note) {
        if (!json_is_string(note) || i >= 100 ||
            !text_check("note", json_string_value(note), 500, error)) {
            if (error && !*error)
                g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the notes are not texts");
            return NULL;
        }
        g_string_append_printf(out, "%s%s", i ? "\n" : "", json_string_value(note));
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

gboolean template_check_source(const char *uri, GError **error)
{
    if (g_str_has_prefix(uri, "nbd://") || g_str_has_prefix(uri, "nbd+unix://") ||
        g_str_has_prefix(uri, "nbds://"))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the source is not an NBD URI");
    imaged_error_hint(error, "imagectl template import serves a local file that way");
    return FALSE;
}

static gboolean check_import(const TemplateImport *import, GError **error)
{
    if (!name_check("template", import->name, error) ||
        !text_check("OS", import->os, 256, error) ||
        !text_check("description", import->description, 2000, error) ||
        !text_check("source's name", import->source_name, 1000, error) ||
        !template_check_source(import->source, error))
        return FALSE;
    if (import->cpus < 1 || import->cpus > 1024 || import->memory_bytes < (gint64)MIB ||
        import->memory_bytes > (gint64)(64 * TIB)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the hardware defaults are out of range");
        return FALSE;
    }
    if (import->firmware && !g_str_equal(import->firmware, "bios") &&
        !g_str_equal(import->firmware, "uefi")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'firmware' is bios or uefi");
        return FALSE;
    }
    return TRUE;
}

static json_t *make_plan(World *world, Db *db, json_t *claims, gpointer data, GError **error)
{
    const TemplateImport *import = data;
    g_autofree char *notes = join_notes(import->notes, error);
    g_autofree char *store_id = notes ? store_set_find(world->stores, import->store, error) : NULL;
    Id version_id = id_new(), layer_id = id_new();

    if (!store_id)
        return NULL;
    json_t *plan = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:s,s:s}", "name", import->name, "source",
        import->source, "source_name", import->source_name, "store_id", store_id, "version_id",
        version_id.s, "layer_id", layer_id.s, "cpus", (json_int_t)import->cpus, "memory_bytes",
        (json_int_t)import->memory_bytes, "os", import->os, "description", import->description,
        "notes", notes, "state", import->is_draft ? "draft" : "published");
    if (import->firmware)
        json_object_set_new(plan, "firmware", json_string(import->firmware));
    if (!new_version_plan(db, import->name, plan, claims, error))
        g_clear_pointer(&plan, json_decref);
    return plan;
}

gboolean template_plan_import(World *world, const TemplateImport *import, JobRequest *ret,
                              GError **error)
{
    return check_import(import, error) &&
           plan_make(world, &template_import_job, make_plan, (gpointer)import, ret, error);
}

typedef struct {
    Job *job;
    World *world;
    Store *store;
    LayerWriter *writer;
    guint64 size, next_check;
} Import;

static gboolean take_data(guint64 offset, const void *data, guint64 len, gpointer user,
                          GError **error)
{
    Import *import = user;

    return layer_writer_data(import->writer, offset, data, len, error);
}

static gboolean take_progress(guint64 offset, gpointer user, GError **error)
{
    Import *import = user;

    job_progress(import->job, MIN(offset, import->size), import->size);
    if (offset >= import->next_check) { /* stop before the store is full, not after */
        import->next_check = offset + SPACE_CHECK_EVERY;
        if (!world_check_space(import->world, import->store,
                               MIN(SPACE_CHECK_EVERY, import->size - MIN(offset, import->size)),
                               error))
            return FALSE;
    }
    return job_check(import->job, error);
}

static const char *plan_text(Job *job, const char *key)
{
    return json_string_value(json_object_get(job_plan(job), key));
}

static gint64 plan_int(Job *job, const char *key)
{
    return json_integer_value(json_object_get(job_plan(job), key));
}

gboolean template_read_source(Job *job, World *world, Store *store, const char *uri,
                              BlankSpec *spec, int fd, LayerSummary *ret, GError **error)
{
    g_autoptr(NbdSource) source = nbd_source_open(uri, error);
    Import import = { .job = job, .world = world, .store = store };
    NbdSink sink = { take_data, take_progress, &import };

    if (!source)
        return FALSE;
    spec->virtual_size = import.size = nbd_source_size(source);
    g_autoptr(LayerWriter) writer = layer_writer_new(fd, spec, error);
    import.writer = writer;
    return writer && nbd_source_read_all(source, &sink, error) &&
           layer_writer_finish(writer, ret, error);
}

static gboolean build(Import *import, gint64 now, LayerSummary *ret, GError **error)
{
    Identity identity = { .id = (char *)plan_text(import->job, "layer_id"),
                          .owner_kind = "template",
                          .owner_id = (char *)plan_text(import->job, "version_id"),
                          .owner_name = (char *)plan_text(import->job, "name"),
                          .generation = plan_int(import->job, "number"), .created_at = now };
    g_autofree char *text = identity_to_json(&identity);
    BlankSpec spec = { .identity = text };

    store_geometry(import->store, &spec.cluster_bits, &spec.has_subclusters);
    auto_fd fd = import->store->ops->create_tmp(import->store, identity.id, error);
    if (fd < 0)
        return FALSE;
    gboolean ok = template_read_source(import->job, import->world, import->store,
                                       plan_text(import->job, "source"), &spec, fd, ret, error) &&
                  import->store->ops->publish_tmp(import->store, identity.id, TRUE, error);
    import->size = spec.virtual_size;
    if (!ok)
        import->store->ops->discard(import->store, STORE_TMP, (const char *const *)&identity.id, 1,
                                    NULL);
    return ok;
}

/* After a stop the layer may be in its slot already. */
static gboolean find_or_build(Import *import, gint64 now, LayerSummary *ret, GError **error)
{
    gboolean found;

    return new_version_find_layer(import->job, import->store, plan_text(import->job, "layer_id"),
                                  &found, &import->size, ret->digest, error) &&
           (found || build(import, now, ret, error));
}

static gboolean run_import(Job *job, gpointer data, GError **error)
{
    World *world = data;
    Import import = { .job = job, .world = world };
    LayerSummary summary = { 0 };
    gint64 now = units_now_ms();
    g_autoptr(Store) store = store_set_get(world->stores, plan_text(job, "store_id"), error);

    if (!store || new_version_was_committed(job, world, error))
        return store != NULL;
    if (error && *error)
        return FALSE;
    import.store = store;
    if (!find_or_build(&import, now, &summary, error))
        return FALSE;
    NewVersion made = { .virtual_size = (gint64)import.size, .checksum = summary.digest };
    g_autofree char *words = g_strdup_printf("imported from %s", plan_text(job, "source_name"));
    if (new_version_commit(job, &made, "template.import", words, NULL, error))
        return TRUE;
    new_version_discard(job, world);
    return FALSE;
}

const JobType template_import_job = { "template.import", JOB_BULK, "bytes", run_import };
