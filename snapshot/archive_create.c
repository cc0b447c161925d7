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
#include "snapshot/chain.h"

#define DESKTOP_WAIT_MS 10000 /* for an interactive change of the desktop to end */
#define PACKING_WAIT_MS G_MAXINT32

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

typedef struct {
    Job *job;
    World *world;
    ArchiveTarget *target;
    guint64 done, total;    /* bytes on disk of the layers to store */
    guint64 layer_bytes;    /* of the one at hand */
} Create;

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
    guint n_own;
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

static void show_progress(guint64 done, guint64 total, gpointer data)
{
    Create *c = data;
    gdouble share = total ? (gdouble)done / (gdouble)total : 0;
    guint64 part = (guint64)((gdouble)c->layer_bytes * share);

    job_progress(c->job, MIN(c->done + part, c->total), c->total);
}

/* Take a claim for the item, besides those it has. */
static gboolean claim(Create *c, Item *it, char mode, const char *what, const char *id, gint64 ms,
                      GError **error)
{
    json_t *keys = json_array();

    claims_add(keys, mode, what, id);
    gboolean ok = archive_wait_claims(c->job, c->world, keys, ms, error);
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
static gboolean freeze(Create *c, Item *it, gint64 next_step, GError **error)
{
    const char *id = text_of(it->item, "of");
    json_t *keys = json_array();
    Db *before = catalog_read_begin(c->world->catalog);

    claims_add(keys, 'x', "desktop", id);
    chain_claim_making(before, keys, it->desktop.store_id, it->desktop.data_layer_id);
    catalog_read_end(c->world->catalog, before);
    gboolean ok = archive_wait_claims(c->job, c->world, keys, DESKTOP_WAIT_MS, error);
    if (ok) {
        ChainFreeze how = { .desktop_id = id, .new_id = text_of(it->item, "layer"),
                            .new_data_id = text_of(it->item, "data_layer"),
                            .only_if_changed = TRUE };
        ok = chain_freeze(c->job, c->world, &how, next_step, &it->frozen, error);
        Db *db = catalog_read_begin(c->world->catalog);
        desktop_row_clear(&it->desktop); /* it may have been re-imaged before we had the claim */
        ok = ok && lookup_desktop_by_id(db, id, &it->desktop, error) &&
             lookup_version_by_id(db, it->desktop.version_id, &it->version, error);
        catalog_read_end(c->world->catalog, db);
        claims_release(c->world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

static gboolean find_snapshot(Create *c, Item *it, const char *snapshot_id, GError **error)
{
    Db *db = catalog_read_begin(c->world->catalog);
    gboolean ok = lookup_snapshot_by_id(db, snapshot_id, &it->snapshot, error) &&
                  lookup_version_by_id(db, it->snapshot.version_id, &it->version, error);

    catalog_read_end(c->world->catalog, db);
    if (ok && it->snapshot.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the snapshot was deleted");
        return FALSE;
    }
    it->frozen.layer_id = ok ? g_strdup(it->snapshot.layer_id) : NULL;
    it->frozen.data_layer_id = ok ? g_strdup(it->snapshot.data_layer_id) : NULL;
    return ok;
}

static gboolean find_desktop(Create *c, Item *it, gint64 next_step, GError **error)
{
    const char *id = text_of(it->item, "of"), *snapshot_id = text_of(it->item, "snapshot");

    if (!claim(c, it, 's', "layers", id, DESKTOP_WAIT_MS, error))
        return FALSE;
    Db *db = catalog_read_begin(c->world->catalog);
    gboolean ok = lookup_desktop_by_id(db, id, &it->desktop, error) &&
                  !is_gone(&it->desktop, error);
    catalog_read_end(c->world->catalog, db);
    return ok && (snapshot_id ? find_snapshot(c, it, snapshot_id, error)
                              : freeze(c, it, next_step, error));
}

static gboolean find_version(Create *c, Item *it, GError **error)
{
    const char *id = text_of(it->item, "of");

    if (!claim(c, it, 's', "version", id, DESKTOP_WAIT_MS, error))
        return FALSE;
    Db *db = catalog_read_begin(c->world->catalog);
    gboolean ok = lookup_version_by_id(db, id, &it->version, error);
    if (ok && it->version.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was deleted meanwhile");
        ok = FALSE;
    }
    it->frozen.layer_id = ok ? g_strdup(it->version.layer_id) : NULL;
    catalog_read_end(c->world->catalog, db);
    return ok;
}

static void fill_point(Create *c, Item *it)
{
    ArchivePoint *p = it->point = archive_point_new();
    const DesktopRow *d = it->desktop.id ? &it->desktop : NULL;
    const VersionRow *v = &it->version;
    const LayerRow *top = it->chain.rows->pdata[it->chain.rows->len - 1];

    p->id = g_strdup(text_of(it->item, "id"));
    p->created_at = units_now_ms();
    p->is_template = !d;
    p->name = g_strdup(d ? d->name : it->template.name);
    p->description = g_strdup(text_of(job_plan(c->job), "description"));
    p->manager_id = g_strdup(c->world->manager_id);
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

/* The object that the target has for this layer, if the index knows one and it is there. */
static gboolean find_object(Create *c, const char *layer_id, char ret_name[80], guint64 *ret_bytes,
                            gboolean *ret_found, GError **error)
{
    Db *db = catalog_read_begin(c->world->catalog);
    Query *q = db_query(db,
                        "SELECT object, bytes FROM archive_object WHERE target_id = ?1 AND"
                        " layer_id = ?2",
                        "tt", c->target->id, layer_id);

    *ret_found = query_next(q);
    if (*ret_found) {
        g_strlcpy(ret_name, query_text(q, "object"), 80);
        *ret_bytes = (guint64)query_int(q, "bytes");
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(c->world->catalog, db);
    return !ok || !*ret_found ? ok
                              : c->target->ops->has_object(c->target, ret_name, ret_found, error);
}

static gboolean put_layer(Create *c, const LayerRow *row, GPtrArray *layers, guint i,
                          const char *parent, ArchiveObject *ret, GError **error)
{
    StoreStat stat = { 0 };
    g_autoptr(Store) store = store_set_peek(c->world->stores, row->store_id);
    ArchivePut put = { .layer_id = row->id, .layer = layers->pdata[i],
                       .below = (Layer *const *)layers->pdata, .n_below = i, .parent = parent,
                       .cancel = job_cancel_flag(c->job), .progress = show_progress, .data = c };

    if (store)
        store_stat_layer(store, row->slot, &stat, NULL);
    c->layer_bytes = stat.disk_bytes;
    c->total = MAX(c->total, c->done + c->layer_bytes);
    if (!c->target->ops->put_layer(c->target, &put, ret, error))
        return FALSE;
    c->done += c->layer_bytes;
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT OR REPLACE INTO archive_object (target_id, layer_id, object, bytes)"
                " VALUES (?1, ?2, ?3, ?4)",
                "ttti", c->target->id, row->id, ret->name, (gint64)ret->bytes);
    return catalog_commit(c->world->catalog, changes, error);
}

/* See that the target has layer i of the rows; no other job stores the same one meanwhile. */
static gboolean store_layer(Create *c, Item *it, const LookupRows *rows, GPtrArray *layers,
                            guint i, GError **error)
{
    const LayerRow *row = rows->rows->pdata[i];
    gboolean is_data = rows == &it->data_chain;
    const GArray *done = is_data ? it->point->data_layers : it->point->layers;
    const char *parent = i ? g_array_index(done, ArchiveLayer, i - 1).object : NULL;
    g_autofree char *both = g_strdup_printf("%s-%s", c->target->id, row->id);
    json_t *keys = json_array();
    ArchiveObject object = { "", 0 };
    gboolean is_there = FALSE, is_new = FALSE;

    claims_add(keys, 'x', "archive-layer", both);
    gboolean ok = archive_wait_claims(c->job, c->world, keys, PACKING_WAIT_MS, error);
    if (ok) {
        ok = find_object(c, row->id, object.name, &object.bytes, &is_there, error);
        is_new = ok && !is_there;
        if (is_new)
            ok = put_layer(c, row, layers, i, parent, &object, error);
        claims_release(c->world->claims, keys);
    }
    json_decref(keys);
    if (!ok)
        return FALSE;
    if (is_data)
        archive_point_add_data_layer(it->point, object.name, row->id, object.bytes);
    else
        archive_point_add_layer(it->point, object.name, row->id, object.bytes,
                                i < rows->rows->len - it->n_own);
    it->point->new_bytes += is_new ? object.bytes : 0;
    return TRUE;
}

static gboolean store_rows(Create *c, Item *it, const LookupRows *rows, GPtrArray *layers,
                           GError **error)
{
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < layers->len; i++)
        ok = job_check(c->job, error) && store_layer(c, it, rows, layers, i, error);
    return ok;
}

static gboolean store_chains(Create *c, Item *it, GError **error)
{
    const char *data = it->frozen.data_layer_id;
    Db *db = catalog_read_begin(c->world->catalog);
    gboolean ok = chain_rows(db, it->frozen.layer_id, &it->chain, error) &&
                  (!data || chain_rows(db, data, &it->data_chain, error)) &&
                  lookup_template_by_id(db, it->version.template_id, &it->template, error);

    catalog_read_end(c->world->catalog, db);
    if (!ok)
        return FALSE;
    it->n_own = chain_n_above_version(&it->chain);
    g_autoptr(GPtrArray) layers = chain_open(c->world, &it->chain, error);
    g_autoptr(GPtrArray) data_layers =
        layers && data ? chain_open(c->world, &it->data_chain, error) : NULL;
    if (!layers || (data && !data_layers))
        return FALSE;
    fill_point(c, it);
    return store_rows(c, it, &it->chain, layers, error) &&
           (!data || store_rows(c, it, &it->data_chain, data_layers, error));
}

/* Everything up to the point; on success it->point is whole and durable in the target. */
static gboolean make_point(Create *c, Item *it, gint64 step, GError **error)
{
    gboolean is_desktop = g_strcmp0(text_of(it->item, "kind"), "desktop") == 0;
    const char *id = text_of(it->item, "id");

    if (!(is_desktop ? find_desktop(c, it, step, error) : find_version(c, it, error)) ||
        !store_chains(c, it, error))
        return FALSE;
    g_autofree char *text = archive_point_to_text(it->point);
    return c->target->ops->put_point(c->target, id, text, error);
}

/* A point that was put before a stop, but is not in the index yet. */
static gboolean find_point(Create *c, Item *it)
{
    const char *id = text_of(it->item, "id");
    g_autofree char *text = job_is_resumed(c->job)
                                ? c->target->ops->get_point(c->target, id, FALSE, NULL)
                                : NULL;

    it->point = text ? archive_point_parse(text, strlen(text), id, NULL) : NULL;
    return it->point != NULL;
}

/* The target itself is in trouble: it would be the same with all the other items. */
static gboolean is_targets(Create *c, const GError *error)
{
    return (g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE) ||
            g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) &&
           strstr(error->message, c->target->location);
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
static gboolean run_item(Create *c, gsize i, json_t *list, GError **error)
{
    Item it = { .item = json_array_get(json_object_get(job_plan(c->job), "items"), i),
                .claims = json_array() };
    GError *why = NULL;
    gboolean ok = TRUE, is_locked = FALSE;

    job_message(c->job, "%s", text_of(it.item, "name"));
    is_locked = c->target->ops->lock(c->target, FALSE, &why);
    if (is_locked && !find_point(c, &it))
        make_point(c, &it, (gint64)(2 * i + 1), &why);
    if (is_locked)
        c->target->ops->unlock(c->target);
    claims_release(c->world->claims, it.claims);

    gboolean is_end = why && (g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_CANCELLED) ||
                              is_targets(c, why));
    if (!is_end || !g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_CANCELLED))
        json_array_append_new(list, outcome(&it, why));
    if (!is_end) {
        Changes *changes = changes_new();
        if (!why) {
            g_autofree char *text = archive_point_to_text(it.point);
            archive_index_point(changes, c->target->id, it.point, text, FALSE);
        }
        job_set_partial(c->job, json_pack("{s:O}", "list", list));
        ok = job_commit(c->job, changes, (gint64)(2 * i + 2), error);
        g_clear_error(&why);
    } else {
        g_propagate_error(error, why);
        ok = FALSE;
    }
    item_clear(&it);
    return ok;
}

/* Add a chain's layers that the target lacks, each once. */
static void reckon_chain(Create *c, Db *db, const char *layer_id, GHashTable *seen, guint64 *sum)
{
    g_auto(LookupRows) chain = { 0 };

    if (!chain_rows(db, layer_id, &chain, NULL))
        return;
    for (guint k = 0; k < chain.rows->len; k++) {
        const LayerRow *row = chain.rows->pdata[k];
        StoreStat stat;
        g_autoptr(Store) store = store_set_peek(c->world->stores, row->store_id);
        if (g_hash_table_add(seen, g_strdup(row->id)) && store &&
            !lookup_int(db, "SELECT EXISTS (SELECT 1 FROM archive_object WHERE target_id = ?1"
                            " AND layer_id = ?2)", "tt", c->target->id, row->id) &&
            store_stat_layer(store, row->slot, &stat, NULL))
            *sum += stat.disk_bytes;
    }
}

/* Bytes on disk of the layers that will have to be stored, as things are now. */
static guint64 reckon(Create *c, gsize from)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_t *items = json_object_get(job_plan(c->job), "items");
    guint64 sum = 0;
    Db *db = catalog_read_begin(c->world->catalog);

    for (gsize i = from; i < json_array_size(items); i++) {
        g_autoptr(GPtrArray) tops = g_ptr_array_new_with_free_func(g_free);
        Query *q = db_query(db,
                            "SELECT layer_id FROM desktop WHERE id = ?1 UNION ALL SELECT"
                            " data_layer_id FROM desktop WHERE id = ?1 UNION ALL SELECT layer_id"
                            " FROM version WHERE id = ?1",
                            "t", text_of(json_array_get(items, i), "of"));
        while (query_next(q)) {
            if (query_text(q, "layer_id"))
                g_ptr_array_add(tops, g_strdup(query_text(q, "layer_id")));
        }
        query_end(q, NULL);
        for (guint k = 0; k < tops->len; k++)
            reckon_chain(c, db, tops->pdata[k], seen, &sum);
    }
    catalog_read_end(c->world->catalog, db);
    return sum;
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
    Create c = { .job = job, .world = world };
    gsize n = json_array_size(json_object_get(job_plan(job), "items"));
    gsize first = (gsize)job_step(job) / 2;
    json_t *before = json_object_get(job_partial(job), "list");
    json_t *list = json_is_array(before) ? json_incref(before) : json_array();
    gint64 started = units_now_ms();
    g_autoptr(ArchiveTarget) target = archive_open(world, text_of(job_plan(job), "target"), error);
    gboolean ok = target != NULL;

    c.target = target;
    c.total = ok ? reckon(&c, first) : 0;
    for (gsize i = first; ok && i < n; i++)
        ok = job_check(job, error) && run_item(&c, i, list, error);
    if (!ok && target && !job_is_stopping(job) && json_array_size(list) > 0 &&
        !g_atomic_int_get(job_cancel_flag(job)))
        add_untried(job, list);
    json_t *result = make_result(job, list, started);
    if (ok) {
        Changes *changes = changes_new();
        say_end(changes, job, result, target->name);
        job_progress(job, c.total, c.total);
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
