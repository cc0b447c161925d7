/* create_from.c: a new template version out of a desktop's disk or one of its snapshots.
 *
 *   BUILD (the desktop's own layers merged into one, tmp/) -> PUBLISH (frozen, its slot) -> FACTS
 *
 * It stands on the template version that the desktop stands on, so only the desktop's own bytes are
 * copied (or shared by reflink); with flat it stands on nothing.  The desktop stays what it is. */
#include "imaged/ops/create_from.h"

#include <string.h>

#include "cow/identity.h"
#include "cow/layer_merge.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/submit.h"
#include "snapshot/chain.h"
#include "templates/new_version.h"

/* DESKTOP or DESKTOP@SNAPSHOT. */
static gboolean find_source(Db *db, const char *ref, DesktopRow *desktop, SnapshotRow *snapshot,
                            GError **error)
{
    const char *at = strchr(ref, '@');
    g_autofree char *name = at ? g_strndup(ref, (gsize)(at - ref)) : g_strdup(ref);

    return lookup_desktop(db, name, desktop, error) &&
           (!at || lookup_snapshot(db, desktop->id, at + 1, snapshot, error));
}

/* What the new version takes over from the one that the desktop stands on, unless told otherwise.
 */
static gboolean add_hardware(OpsCall *call, Db *db, const char *version_id, json_t *plan,
                             GError **error)
{
    g_auto(VersionRow) version = { 0 };
    gint64 cpus, memory;

    if (!lookup_version_by_id(db, version_id, &version, error) ||
        !args_int(call, "cpus", version.cpus, 1, 1024, &cpus, error) ||
        !args_int(call, "memory_bytes", version.memory_bytes, (gint64)MIB, (gint64)(64 * TIB),
                  &memory, error))
        return FALSE;
    const char *os = args_text(call, "os", FALSE, NULL);
    const char *description = args_text(call, "description", FALSE, NULL);
    if (!text_check("OS", os ? os : "", 256, error) ||
        !text_check("description", description ? description : "", 2000, error))
        return FALSE;
    json_object_set_new(plan, "cpus", json_integer(cpus));
    json_object_set_new(plan, "memory_bytes", json_integer(memory));
    json_object_set_new(plan, "os", json_string(os ? os : version.os));
    json_object_set_new(plan, "description", json_string(description ? description : ""));
    return TRUE;
}

static json_t *make_plan(OpsCall *call, Db *db, const char *ref, const char *name, json_t *claims,
                         GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(SnapshotRow) snapshot = { 0 };
    g_auto(LayerRow) layer = { 0 };
    gboolean flat, draft;
    Id version_id = id_new(), layer_id = id_new();
    json_t *plan = json_object();

    if (!args_bool(call, "flat", &flat, error) || !args_bool(call, "draft", &draft, error) ||
        !name_check("template", name, error) || !find_source(db, ref, &desktop, &snapshot, error) ||
        !lookup_layer(db, snapshot.id ? snapshot.layer_id : desktop.layer_id, &layer, error) ||
        !add_hardware(call, db, snapshot.id ? snapshot.version_id : desktop.version_id, plan,
                      error) ||
        !new_version_plan(db, name, plan, error)) {
        json_decref(plan);
        return NULL;
    }
    json_t *more =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:s}", "name", name, "source_name", ref,
                  "store_id", layer.store_id, "version_id", version_id.s, "layer_id", layer_id.s,
                  "notes", "", "source_layer", layer.id, "desktop_id", desktop.id, "flat", flat,
                  "is_active", snapshot.id == NULL, "state", draft ? "draft" : "published");
    json_object_update(plan, more);
    json_decref(more);
    /* The present disk must not change meanwhile; a snapshot's layers must only stay. */
    claims_add(claims, snapshot.id ? 's' : 'x', snapshot.id ? "snapshot" : "desktop",
               snapshot.id ? snapshot.id : desktop.id);
    claims_add(claims, 's', "layers", desktop.id);
    claims_add(claims, 's', "version", snapshot.id ? snapshot.version_id : desktop.version_id);
    return plan;
}

/* Plan it and take its claims. */
static gboolean plan_and_claim(OpsCall *call, const char *ref, const char *name, JobRequest *ret,
                               gboolean *ret_is_old, GError **error)
{
    json_t *claims = json_array();
    guint64 planned_at = catalog_n_commits(call->world->catalog);
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *plan = make_plan(call, db, ref, name, claims, error);

    catalog_read_end(call->world->catalog, db);
    *ret_is_old = FALSE;
    if (plan) {
        json_t *own = new_version_claims(plan);
        json_array_extend(claims, own);
        json_decref(own);
    }
    if (!plan || !world_take_claims(call->world, planned_at, claims, create_from_job.kind,
                                    ret_is_old, error)) {
        json_decref(plan);
        json_decref(claims);
        return FALSE;
    }
    *ret = (JobRequest){ .type = &create_from_job, .plan = plan, .claims = claims };
    return TRUE;
}

json_t *ops_template_create_from(OpsCall *call, GError **error)
{
    JobRequest request;
    const char *ref = args_text(call, "desktop", TRUE, error);
    const char *name = ref ? args_text(call, "name", TRUE, error) : NULL;
    gboolean ok, is_old;
    guint tries = WORLD_PLAN_TRIES;

    if (!name ||
        !args_check(call, "desktop name flat draft cpus memory_bytes os description", error) ||
        !args_are_texts(call, "os description", error) || submit_is_repeat(call, error) ||
        (error && *error))
        return NULL;
    do {
        g_clear_error(error);
        ok = plan_and_claim(call, ref, name, &request, &is_old, error);
    } while (!ok && is_old && --tries);
    return ok ? submit_request(call, &request, error) : NULL;
}

typedef struct {
    Job *job;
    World *world;
    Store *store;
    LookupRows rows; /* the chain of the source, the base first */
    GPtrArray *layers;
    guint first; /* of the rows that become the new layer */
    ImageLock lock;
    LayerRow made; /* parent_id, virtual_size, checksum */
    LayerSummary summary;
} Work;

static void work_clear(Work *w)
{
    image_lock_release(&w->lock);
    g_clear_pointer(&w->layers, g_ptr_array_unref);
    lookup_rows_clear(&w->rows);
    g_clear_pointer(&w->store, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static const char *plan_text(const Work *w, const char *key)
{
    return json_string_value(json_object_get(job_plan(w->job), key));
}

static gboolean open_source(Work *w, GError **error)
{
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = chain_rows(db, plan_text(w, "source_layer"), &w->rows, error);

    catalog_read_end(w->world->catalog, db);
    if (!ok)
        return FALSE;
    const LayerRow *top = w->rows.rows->pdata[w->rows.rows->len - 1];
    w->store = store_set_get(w->world->stores, top->store_id, error);
    if (!w->store ||
        (json_is_true(json_object_get(job_plan(w->job), "is_active")) &&
         !store_lock_layer(w->store, top->slot, &w->lock, error)) ||
        !(w->layers = chain_open(w->world, &w->rows, error)))
        return FALSE;
    gboolean is_flat = json_is_true(json_object_get(job_plan(w->job), "flat"));
    w->first = is_flat ? 0 : w->rows.rows->len - chain_n_own(&w->rows);
    w->made.virtual_size = top->virtual_size;
    if (w->first)
        w->made.parent_id = ((LayerRow *)w->rows.rows->pdata[w->first - 1])->id;
    return TRUE;
}

static void show_progress(guint64 done, guint64 total, gpointer job)
{
    job_progress(job, done, total);
}

static gboolean write_layer(Work *w, BlankSpec *spec, GError **error)
{
    const char *slot = plan_text(w, "layer_id");
    Layer *const *all = (Layer *const *)w->layers->pdata;
    LayerMergeNeed need;
    LayerMerge merge = { .run = all + w->first,
                         .n_run = w->layers->len - w->first,
                         .below = all,
                         .n_below = w->first,
                         .can_reflink = w->store->features.has_reflink,
                         .to = -1,
                         .spec = spec,
                         .cancel = job_cancel_flag(w->job),
                         .progress = show_progress,
                         .data = w->job };

    if (!layer_merge_reckon(&merge, &need, error) ||
        !world_check_space(w->world, w->store, need.new_bytes, error))
        return FALSE;
    auto_fd fd = w->store->ops->create_tmp(w->store, slot, error);
    merge.to = fd;
    if (fd >= 0 && layer_merge(&merge, &w->summary, error) &&
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
                          .parent = w->made.parent_id,
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
    StoreStat stat;

    if (!open_source(w, error))
        return FALSE;
    if (w->store->ops->stat(w->store, STORE_LAYERS, plan_text(w, "layer_id"), &stat, NULL))
        return w->store->ops->discard(w->store, STORE_LAYERS, NULL, 0, error);
    return build(w, error);
}

static gboolean run_create_from(Job *job, gpointer world, GError **error)
{
    g_auto(Work) w = { .job = job, .world = world, .lock = IMAGE_LOCK_INIT };
    g_autoptr(GError) local = NULL;

    if (new_version_was_committed(job, world, &local))
        return TRUE;
    g_autofree char *words = g_strdup_printf("made from %s", plan_text(&w, "source_name"));
    if (!local && make_layer(&w, &local)) {
        if (*w.summary.digest)
            w.made.checksum = w.summary.digest;
        if (new_version_commit(job, &w.made, "template.create-from", words, &local))
            return TRUE;
    }
    new_version_discard(job, world);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

const JobType create_from_job = { "template.create-from", JOB_BULK, "bytes", run_create_from };
