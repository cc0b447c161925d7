/* archive_create.c: points made: one item of the job is one point.
 *
 *   for each item   FREEZE (a desktop as it is now) -> STORE (layer by layer) -> POINT -> INDEX
 *
 * The desktop itself is claimed for the freeze alone; while its frozen layers are stored it can be
 * started and re-imaged.  A shared claim on "layers/DESKTOP" keeps merges and purges away from
 * them.  Each step is found out by looking: what is frozen is in the catalog, a stored layer in the
 * index and in the target, a point in the target.  An item that fails leaves no point, and what it
 * stored already serves the next try. */
#include "snapshot/archive.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/archive_layers.h"
#include "snapshot/chain.h"

#define DESKTOP_WAIT_MS 10000 /* for an interactive change of the desktop to end */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* One item. */
typedef struct {
    const json_t *item;
    json_t *claims;         /* held */
    DesktopRow desktop;
    VersionRow version;
    TemplateRow template;
    SnapshotRow snapshot;
    ChainFrozen frozen;     /* the layers that hold the state */
    LookupRows chain;       /* of the disk, and of the data disk if there is one */
    LookupRows data_chain;
    ArchivePoint *point;
} Item;

static void item_clear(Item *it)
{
    desktop_row_clear(&it->desktop);
    version_row_clear(&it->version);
    template_row_clear(&it->template);
    snapshot_row_clear(&it->snapshot);
    chain_frozen_clear(&it->frozen);
    lookup_rows_clear(&it->chain);
    lookup_rows_clear(&it->data_chain);
    archive_point_free(it->point);
    json_decref(it->claims);
}

/* Take a claim for the item, besides those it has. */
static gboolean claim(ArchiveWork *w, Item *it, char mode, const char *what, const char *id,
                      gint64 ms, GError **error)
{
    json_t *keys = json_array();

    claims_add(keys, mode, what, id);
    gboolean ok = world_wait_claims(w->world, w->job, keys, ms, error);
    if (ok)
        json_array_extend(it->claims, keys);
    json_decref(keys);
    return ok;
}

static gboolean is_gone(const DesktopRow *desktop, GError **error)
{
    if (desktop->is_trashed)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
    return desktop->is_trashed;
}

/* Freeze the desktop under a claim of its own that ends with the freeze. */
static gboolean freeze(ArchiveWork *w, Item *it, gint64 next_step, GError **error)
{
    const char *id = text_of(it->item, "of");
    json_t *keys = json_array();
    Db *before = catalog_read_begin(w->world->catalog);

    claims_add(keys, 'x', "desktop", id);
    chain_claim_making(before, keys, it->desktop.store_id, it->desktop.data_layer_id);
    catalog_read_end(w->world->catalog, before);
    gboolean ok = world_wait_claims(w->world, w->job, keys, DESKTOP_WAIT_MS, error);
    if (ok) {
        ChainFreeze how = { .desktop_id = id, .new_id = text_of(it->item, "layer"),
                            .new_data_id = text_of(it->item, "data_layer"),
                            .only_if_changed = TRUE };
        ok = chain_freeze(w->job, w->world, &how, next_step, &it->frozen, error);
        Db *db = catalog_read_begin(w->world->catalog);
        desktop_row_clear(&it->desktop); /* it may have been re-imaged before we had the claim */
        ok = ok && lookup_desktop_by_id(db, id, &it->desktop, error) &&
             lookup_version_by_id(db, it->desktop.version_id, &it->version, error);
        catalog_read_end(w->world->catalog, db);
        claims_release(w->world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

static gboolean find_snapshot(ArchiveWork *w, Item *it, const char *snapshot_id, GError **error)
{
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = lookup_snapshot_by_id(db, snapshot_id, &it->snapshot, error) &&
                  lookup_version_by_id(db, it->snapshot.version_id, &it->version, error);

    catalog_read_end(w->world->catalog, db);
    if (ok && it->snapshot.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the snapshot was deleted");
        return FALSE;
    }
    it->frozen.layer_id = ok ? g_strdup(it->snapshot.layer_id) : NULL;
    it->frozen.data_layer_id = ok ? g_strdup(it->snapshot.data_layer_id) : NULL;
    return ok;
}

static gboolean find_desktop(ArchiveWork *w, Item *it, gint64 next_step, GError **error)
{
    const char *id = text_of(it->item, "of"), *snapshot_id = text_of(it->item, "snapshot");

    if (!claim(w, it, 's', "layers", id, DESKTOP_WAIT_MS, error))
        return FALSE;
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, id, &it->desktop, error) &&
                  !is_gone(&it->desktop, error);
    catalog_read_end(w->world->catalog, db);
    return ok && (snapshot_id ? find_snapshot(w, it, snapshot_id, error)
                              : freeze(w, it, next_step, error));
}

static gboolean find_version(ArchiveWork *w, Item *it, GError **error)
{
    const char *id = text_of(it->item, "of");

    if (!claim(w, it, 's', "version", id, DESKTOP_WAIT_MS, error))
        return FALSE;
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = lookup_version_by_id(db, id, &it->version, error);
    if (ok && it->version.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        ok = FALSE;
    }
    it->frozen.layer_id = ok ? g_strdup(it->version.layer_id) : NULL;
    catalog_read_end(w->world->catalog, db);
    return ok;
}

static void fill_point(ArchiveWork *w, Item *it)
{
    ArchivePoint *p = it->point = archive_point_new();
    const DesktopRow *d = it->desktop.id ? &it->desktop : NULL;
    const VersionRow *v = &it->version;
    const LayerRow *top = it->chain.rows->pdata[it->chain.rows->len - 1];

    p->id = g_strdup(text_of(it->item, "id"));
    p->created_at = units_now_ms();
    p->is_template = !d;
    p->name = g_strdup(d ? d->name : it->template.name);
    p->description = g_strdup(text_of(job_plan(w->job), "description"));
    p->manager_id = g_strdup(w->world->manager_id);
    if (d) {
        p->desktop_id = g_strdup(d->id);
        p->uuid = g_strdup(d->uuid);
        p->mac = g_strdup(d->mac);
        p->owner = g_strdup(d->owner);
        p->snapshot = g_strdup(it->snapshot.name);
        p->generation = it->snapshot.id ? it->snapshot.generation : d->generation;
    }
    p->template_id = g_strdup(it->template.id);
    p->template_name = g_strdup(it->template.name);
    p->version_id = g_strdup(v->id);
    p->version = v->version;
    p->cpus = v->cpus;
    p->memory_bytes = v->memory_bytes;
    p->os = g_strdup(v->os);
    p->version_description = g_strdup(v->description);
    p->source = g_strdup(v->source);
    p->notes = g_strdup(v->notes);
    p->virtual_size = (guint64)top->virtual_size;
    if (it->data_chain.rows) {
        const LayerRow *data = it->data_chain.rows->pdata[it->data_chain.rows->len - 1];
        p->data_size = (guint64)data->virtual_size;
    }
}

static gboolean store_chains(ArchiveWork *w, Item *it, GError **error)
{
    const char *data = it->frozen.data_layer_id;
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = chain_rows(db, it->frozen.layer_id, &it->chain, error) &&
                  (!data || chain_rows(db, data, &it->data_chain, error)) &&
                  lookup_template_by_id(db, it->version.template_id, &it->template, error);

    catalog_read_end(w->world->catalog, db);
    if (!ok)
        return FALSE;
    g_autoptr(GPtrArray) layers = chain_open(w->world, &it->chain, error);
    g_autoptr(GPtrArray) data_layers =
        layers && data ? chain_open(w->world, &it->data_chain, error) : NULL;
    if (!layers || (data && !data_layers))
        return FALSE;
    fill_point(w, it);
    ArchiveChain disk = { .rows = &it->chain,
                          .layers = layers,
                          .n_template = it->chain.rows->len - chain_n_above_version(&it->chain) };
    ArchiveChain data_disk = { .rows = &it->data_chain, .layers = data_layers, .is_data = TRUE };
    return archive_layers_store(w, &disk, it->point, error) &&
           (!data || archive_layers_store(w, &data_disk, it->point, error));
}

/* Everything up to the point; on success it->point is whole and durable in the target. */
static gboolean make_point(ArchiveWork *w, Item *it, gint64 step, GError **error)
{
    gboolean is_desktop = g_strcmp0(text_of(it->item, "kind"), "desktop") == 0;
    const char *id = text_of(it->item, "id");

    if (!(is_desktop ? find_desktop(w, it, step, error) : find_version(w, it, error)) ||
        !store_chains(w, it, error))
        return FALSE;
    g_autofree char *text = archive_point_to_text(it->point);
    return w->target->ops->put_point(w->target, id, text, error);
}

/* A point that was put before a stop, but is not in the index yet. */
static gboolean find_point(ArchiveWork *w, Item *it)
{
    const char *id = text_of(it->item, "id");
    g_autofree char *text = job_is_resumed(w->job)
                                ? w->target->ops->get_point(w->target, id, FALSE, NULL)
                                : NULL;

    it->point = text ? archive_point_parse(text, strlen(text), id, NULL) : NULL;
    return it->point != NULL;
}

/* The target itself is in trouble: it would be the same with all the other items. */
static gboolean is_targets(ArchiveWork *w, const GError *error)
{
    return (g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE) ||
            g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) &&
           strstr(error->message, w->target->location);
}

static json_t *outcome(const Item *it, const GError *why)
{
    json_t *out = json_pack("{s:s,s:s,s:b}", "id", text_of(it->item, "id"), "name",
                            text_of(it->item, "name"), "ok", why == NULL);

    if (why) {
        json_object_set_new(out, "error", job_error_json(why));
    } else {
        json_object_set_new(out, "bytes",
                            json_integer((json_int_t)archive_point_bytes(it->point)));
        json_object_set_new(out, "new_bytes", json_integer((json_int_t)it->point->new_bytes));
    }
    return out;
}

/* Item i; list gets what came of it.  FALSE: the job can't go on. */
static gboolean run_item(ArchiveWork *w, gsize i, json_t *list, GError **error)
{
    Item it = { .item = json_array_get(json_object_get(job_plan(w->job), "items"), i),
                .claims = json_array() };
    GError *why = NULL;
    gboolean ok = TRUE, is_locked = FALSE;

    job_message(w->job, "%s", text_of(it.item, "name"));
    is_locked = w->target->ops->lock(w->target, FALSE, &why);
    if (is_locked && !find_point(w, &it))
        make_point(w, &it, (gint64)(2 * i + 1), &why);
    if (is_locked)
        w->target->ops->unlock(w->target);
    claims_release(w->world->claims, it.claims);

    gboolean is_end = why && (g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_CANCELLED) ||
                              is_targets(w, why));
    if (!is_end || !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_CANCELLED))
        json_array_append_new(list, outcome(&it, why));
    if (!is_end) {
        Changes *changes = changes_new();
        if (!why) {
            g_autofree char *text = archive_point_to_text(it.point);
            archive_index_point(changes, w->target->id, it.point, text, FALSE);
        }
        job_set_partial(w->job, json_pack("{s:O}", "list", list));
        ok = job_commit(w->job, changes, (gint64)(2 * i + 2), error);
        g_clear_error(&why);
    } else {
        g_propagate_error(error, why);
        ok = FALSE;
    }
    item_clear(&it);
    return ok;
}

static json_t *make_result(Job *job, json_t *list, gint64 started)
{
    json_t *all = json_copy(list), *item;
    gsize n_done = 0, i;
    json_int_t new_bytes = 0;

    json_array_foreach(list, i, item) {
        n_done += json_is_true(json_object_get(item, "ok"));
        new_bytes += json_integer_value(json_object_get(item, "new_bytes"));
    }
    json_array_extend(all, json_object_get(job_plan(job), "rejected"));
    return json_pack("{s:I,s:I,s:I,s:I,s:o}", "n_done", (json_int_t)n_done, "n_failed",
                     (json_int_t)(json_array_size(all) - n_done), "new_bytes", new_bytes,
                     "elapsed_ms", (json_int_t)(units_now_ms() - started), "items", all);
}

/* The job can't go on: say so of the items that it did not come to. */
static void add_untried(Job *job, json_t *list)
{
    const json_t *items = json_object_get(job_plan(job), "items");
    g_autoptr(GError) why = g_error_new(IMAGED_ERROR, IMAGED_ERROR_FAILED,
                                        "not tried, since the archive target failed");

    for (gsize i = json_array_size(list); i < json_array_size(items); i++) {
        Item it = { .item = json_array_get(items, i) };
        json_array_append_new(list, outcome(&it, why));
    }
}

static void say_end(Changes *changes, Job *job, const json_t *result, const char *target)
{
    json_int_t n_done = json_integer_value(json_object_get(result, "n_done"));
    json_int_t n_failed = json_integer_value(json_object_get(result, "n_failed"));

    changes_event(changes, "archive.create", n_failed ? "warning" : "info", target, job_owner(job),
                  "%d archive point%s made%s", (int)n_done, n_done == 1 ? "" : "s",
                  n_failed ? "; some failed" : "");
}

static gboolean run_create(Job *job, gpointer data, GError **error)
{
    World *world = data;
    ArchiveWork w = { .job = job, .world = world };
    gsize n = json_array_size(json_object_get(job_plan(job), "items"));
    gsize first = (gsize)job_step(job) / 2;
    json_t *before = json_object_get(job_partial(job), "list");
    json_t *list = json_is_array(before) ? json_incref(before) : json_array();
    gint64 started = units_now_ms();
    g_autoptr(ArchiveTarget) target = archive_open(world, text_of(job_plan(job), "target"), error);
    gboolean ok = target != NULL;

    w.target = target;
    w.total = ok ? archive_layers_reckon(&w, first) : 0;
    for (gsize i = first; ok && i < n; i++)
        ok = job_check(job, error) && run_item(&w, i, list, error);
    if (!ok && target && !job_is_stopping(job) && json_array_size(list) > 0 &&
        !g_atomic_int_get(job_cancel_flag(job)))
        add_untried(job, list);
    json_t *result = make_result(job, list, started);
    if (ok) {
        Changes *changes = changes_new();
        say_end(changes, job, result, target->name);
        job_progress(job, w.total, w.total);
        ok = job_commit_done(job, changes, result, error);
    } else if (!job_is_stopping(job)) {
        job_set_partial(job, result);
    } else {
        json_decref(result);
    }
    json_decref(list);
    return ok;
}

const JobType archive_create_job = { "archive.create", JOB_BULK, "bytes", run_create };
