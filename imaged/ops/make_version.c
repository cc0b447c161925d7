/* make_version.c: see make_version.h.
 *
 *   BUILD (the desktop's own layers merged into one, tmp/) -> PUBLISH (frozen, its slot) -> FACTS
 *
 * The new layer stands on what the source's own layers stand on, so only these are copied (or
 * shared by reflink); with flat it stands on nothing.  The source stays what it is. */
#include "imaged/ops/make_version.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cow/identity.h"
#include "cow/layer_merge.h"
#include "cow/layer_whole.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/inspect.h"
#include "imaged/ops/build_change.h"
#include "imaged/ops/version_seal.h"
#include "snapshot/chain.h"
#include "templates/new_version.h"
#include "templates/template.h"

typedef struct {
    Job *job;
    World *world;
    Store *store;
    LookupRows rows; /* the chain of the source, the base first */
    GPtrArray *layers;
    guint first; /* of the rows that become the new layer */
    ImageLock lock;
    NewVersion made;
    LayerSummary summary;
    json_t *report; /* of the sealing, or NULL */
    char *line;
} Work;

static void work_clear(Work *w)
{
    image_lock_release(&w->lock);
    g_clear_pointer(&w->layers, g_ptr_array_unref);
    lookup_rows_clear(&w->rows);
    g_clear_pointer(&w->store, store_unref);
    g_clear_pointer(&w->report, json_decref);
    g_clear_pointer(&w->line, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static const char *plan_text(const Work *w, const char *key)
{
    return json_string_value(json_object_get(job_plan(w->job), key));
}

/* An image that somebody serves is copied whole. */
static gboolean open_image(Work *w, GError **error)
{
    w->rows = (LookupRows){ ROW_LAYER, g_ptr_array_new() };
    w->layers = g_ptr_array_new();
    w->store = store_set_get(w->world->stores, plan_text(w, "store_id"), error);
    return w->store != NULL;
}

static gboolean open_source(Work *w, GError **error)
{
    if (plan_text(w, "source"))
        return open_image(w, error);
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = chain_rows(db, plan_text(w, "source_layer"), &w->rows, error);

    catalog_read_end(w->world->catalog, db);
    if (!ok)
        return FALSE;
    const LayerRow *top = w->rows.rows->pdata[w->rows.rows->len - 1];
    w->store = store_set_get(w->world->stores, top->store_id, error);
    if (!w->store)
        return FALSE;
    if (json_is_true(json_object_get(job_plan(w->job), "is_active")) &&
        !store_lock_layer(w->store, top->slot, &w->lock, error)) {
        g_prefix_error(error, "'%s': ", plan_text(w, "source_name"));
        return FALSE;
    }
    if (!(w->layers = chain_open(w->world, &w->rows, error)))
        return FALSE;
    w->first = w->rows.rows->len;
    /* A stand-in base is no version: nothing may be made on it. */
    while (w->first &&
           !g_str_equal(((LayerRow *)w->rows.rows->pdata[w->first - 1])->owner_kind, "template"))
        w->first--;
    if (json_is_true(json_object_get(job_plan(w->job), "flat")))
        w->first = 0;
    w->made.virtual_size = top->virtual_size;
    if (w->first)
        w->made.parent_id = ((LayerRow *)w->rows.rows->pdata[w->first - 1])->id;
    return TRUE;
}

static void show_progress(guint64 done, guint64 total, gpointer job)
{
    job_progress(job, done, total);
}

static gboolean write_nothing(Work *w, int fd, const BlankSpec *spec, GError **error)
{
    g_autoptr(LayerWriter) writer = layer_writer_new(fd, spec, error);

    return writer && layer_writer_finish(writer, &w->summary, error);
}

/* Let the helper do what a recipe says, and remove what belongs to one machine; what QEMU wrote is
 * summed up anew. */
static gboolean change(Work *w, int fd, GError **error)
{
    const json_t *options = json_object_get(job_plan(w->job), "seal");
    const json_t *recipe = json_object_get(job_plan(w->job), "spec");
    Layer *const *below = (Layer *const *)w->layers->pdata;
    Digest digest;

    if (!options && !recipe)
        return TRUE;
    if (recipe && !build_change(w->job, w->world, w->store, below, w->first, fd, error))
        return FALSE;
    if (options && !version_seal(w->job, w->world, w->store, below, w->first, fd, options,
                                 &w->report, &w->line, error))
        return FALSE;
    if (!layer_whole(fd, job_cancel_flag(w->job), error))
        return FALSE;
    auto_fd again = durable_open_again(fd, O_RDONLY); /* the store opened it with O_DIRECT */
    if (again < 0) {
        imaged_error_set_errno(error, errno, "cannot read the new layer");
        return FALSE;
    }
    if (!digest_file(again, job_cancel_flag(w->job), NULL, NULL, &digest, error))
        return FALSE;
    g_autofree char *text = digest_to_text(&digest);
    g_strlcpy(w->summary.digest, text, sizeof w->summary.digest);
    return TRUE;
}

/* The source's own bytes, or none if it is a version, which the new layer then stands on. */
static gboolean write_content(Work *w, BlankSpec *spec, int fd, GError **error)
{
    Layer *const *all = (Layer *const *)w->layers->pdata;
    LayerMergeNeed need = { 0 };
    LayerMerge merge = { .run = all + w->first,
                         .n_run = w->layers->len - w->first,
                         .below = all,
                         .n_below = w->first,
                         .can_reflink = w->store->features.has_reflink,
                         .to = fd,
                         .spec = spec,
                         .cancel = job_cancel_flag(w->job),
                         .progress = show_progress,
                         .data = w->job };

    if (plan_text(w, "source")) {
        gboolean ok = template_read_source(w->job, w->world, w->store, plan_text(w, "source"), spec,
                                           fd, &w->summary, error);
        w->made.virtual_size = (gint64)spec->virtual_size;
        return ok;
    }
    if (!merge.n_run)
        return world_check_space(w->world, w->store, 0, error) && write_nothing(w, fd, spec, error);
    return layer_merge_reckon(&merge, &need, error) &&
           world_check_space(w->world, w->store, need.new_bytes, error) &&
           layer_merge(&merge, &w->summary, error);
}

static gboolean write_layer(Work *w, BlankSpec *spec, GError **error)
{
    const char *slot = plan_text(w, "layer_id");
    auto_fd fd = w->store->ops->create_tmp(w->store, slot, error);

    if (fd >= 0 && write_content(w, spec, fd, error) && change(w, fd, error) &&
        w->store->ops->publish_tmp(w->store, slot, TRUE, error))
        return TRUE;
    w->store->ops->discard(w->store, STORE_TMP, &slot, 1, NULL);
    return FALSE;
}

static gboolean build(Work *w, GError **error)
{
    const LayerRow *below = w->first ? w->rows.rows->pdata[w->first - 1] : NULL;
    g_autofree char *backing = below ? g_strdup_printf("../layers/%s", below->slot) : NULL;
    Identity identity = { .id = (char *)plan_text(w, "layer_id"),
                          .parent = (char *)w->made.parent_id,
                          .owner_kind = "template",
                          .owner_id = (char *)plan_text(w, "version_id"),
                          .owner_name = (char *)plan_text(w, "name"),
                          .generation =
                              json_integer_value(json_object_get(job_plan(w->job), "number")),
                          .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    BlankSpec spec = { .virtual_size = (guint64)w->made.virtual_size,
                       .backing_name = backing,
                       .identity = text };

    store_geometry(w->store, &spec.cluster_bits, &spec.has_subclusters);
    return write_layer(w, &spec, error);
}

/* The layer in its slot, durable there.  After a stop it may be there already: then it was whole.
 */
static gboolean make_layer(Work *w, GError **error)
{
    if (!open_source(w, error))
        return FALSE;
    guint64 size;
    gboolean found;
    if (!new_version_find_layer(w->job, w->store, plan_text(w, "layer_id"), &found, &size,
                                w->summary.digest, error))
        return FALSE;
    if (!found)
        return build(w, error);
    w->made.virtual_size = (gint64)size;
    return TRUE;
}

static gboolean run_make_version(Job *job, gpointer world, GError **error)
{
    g_auto(Work) w = { .job = job, .world = world, .lock = IMAGE_LOCK_INIT };
    g_autoptr(GError) local = NULL;

    if (new_version_was_committed(job, world, &local))
        return TRUE;
    g_autofree char *words = g_strdup_printf("made from %s", plan_text(&w, "source_name"));
    if (!local && make_layer(&w, &local)) {
        if (*w.summary.digest)
            w.made.checksum = w.summary.digest;
        /* A layer that a stop left in its slot was sealed before it got there. */
        w.made.sealed_at = json_object_get(job_plan(job), "seal") ? units_now_ms() : 0;
        w.made.report = w.report;
        w.made.more_notes = w.line;
        if (new_version_commit(job, &w.made, job_type_kind(job), words, NULL, &local)) {
            inspect_new_version(world, plan_text(&w, "version_id"), job_owner(job));
            return TRUE;
        }
    }
    new_version_discard(job, world);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

const JobType publish_job = { "template.publish", JOB_BULK, "bytes", run_make_version };
const JobType seal_job = { "template.seal", JOB_BULK, "bytes", run_make_version };
const JobType create_from_job = { "template.create-from", JOB_BULK, "bytes", run_make_version };
const JobType build_on_job = { "template.build-on", JOB_BULK, "bytes", run_make_version };
