/* merge.c: see merge.h.
 *
 *   BUILD (tmp/) -> SWITCH (the slot; the former file gets a name in trash/) -> FACTS
 *
 * After a stop, the id in the slot's header tells whether SWITCH was done: then FACTS follow; else
 * it begins again.  If the facts can't be committed, the former file is switched back. */
#include "snapshot/merge.h"

#include "cow/identity.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"
#include "snapshot/pace.h"

#define CLAIM_WAIT_MS 600000 /* for the moment of the switch: jobs on a desktop are short */
#define CLAIM_POLL_US 20000

typedef struct {
    Job *job;
    World *world;
    const Merge *m;
    LookupRows chain;  /* the base first; ends with top */
    guint bottom;      /* index of the run's lowest layer */
    GPtrArray *layers; /* the chain, opened */
    Store *store;
    LayerRow *top; /* in chain */
    DesktopRow desktop;
    Id former; /* the name in trash/ of what the slot held */
    ImageLock lock;
    json_t *claimed;   /* the desktop, once it is */
    char checksum[33]; /* of the result, or empty */
    Pace pace;
} Work;

static void work_clear(Work *w)
{
    if (w->claimed) {
        claims_release(w->world->claims, w->claimed);
        json_decref(w->claimed);
    }
    image_lock_release(&w->lock);
    g_clear_pointer(&w->layers, g_ptr_array_unref);
    lookup_rows_clear(&w->chain);
    desktop_row_clear(&w->desktop);
    g_clear_pointer(&w->store, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

/* The rows, and whether the facts were committed before a stop. */
static gboolean load(Work *w, gboolean *ret_is_done, GError **error)
{
    g_auto(LayerRow) done = { 0 };
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = TRUE;

    *ret_is_done = lookup_layer(db, w->m->merged, &done, NULL);
    if (!*ret_is_done) {
        ok = chain_rows(db, w->m->top, &w->chain, error);
        w->top = ok ? w->chain.rows->pdata[w->chain.rows->len - 1] : NULL;
        ok = ok && lookup_desktop_by_id(db, w->top->owner_id, &w->desktop, error);
    }
    catalog_read_end(w->world->catalog, db);
    if (!ok || *ret_is_done)
        return ok;
    while (w->bottom < w->chain.rows->len &&
           !g_str_equal(row_id(w->chain.rows->pdata[w->bottom]), w->m->bottom))
        w->bottom++;
    if (w->bottom == w->chain.rows->len) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the chain has changed meanwhile");
        return FALSE;
    }
    w->store = store_set_get(w->world->stores, w->top->store_id, error);
    w->former = id_derive("former", w->m->merged, "");
    return w->store != NULL;
}

static gboolean claim_desktop(Work *w, gint64 wait_ms, GError **error)
{
    json_t *keys = json_array();
    gint64 until = g_get_monotonic_time() + wait_ms * 1000;
    gboolean ok;

    claims_add(keys, 'x', "desktop", w->desktop.id);
    for (;;) {
        g_autoptr(GError) local = NULL;
        ok = claims_take(w->world->claims, keys, job_type_kind(w->job), &local);
        if (ok || g_get_monotonic_time() > until) {
            if (!ok)
                g_propagate_error(error, g_steal_pointer(&local));
            break;
        }
        if (!job_check(w->job, error))
            break;
        g_usleep(CLAIM_POLL_US);
    }
    if (ok)
        w->claimed = keys;
    else
        json_decref(keys);
    return ok;
}

static void show_progress(guint64 done, guint64 total, gpointer data)
{
    Work *w = data;

    job_progress(w->job, done, total);
    if (w->m->is_paced)
        pace_wait(&w->pace, job_cancel_flag(w->job));
}

static char *make_identity(const Work *w, const LayerRow *below)
{
    Identity identity = { .id = (char *)w->m->merged,
                          .parent = below ? below->id : NULL,
                          .owner_kind = "desktop",
                          .owner_id = w->desktop.id,
                          .owner_name = w->desktop.name,
                          .generation = w->top->generation,
                          .created_at = units_now_ms(),
                          .slot = w->top->slot };

    return identity_to_json(&identity);
}

/* Open the chain and describe the merge; spec, identity and backing are the caller's to keep. */
static gboolean describe(Work *w, LayerMerge *ret, BlankSpec *spec, GError **error)
{
    const LayerRow *below = w->bottom ? w->chain.rows->pdata[w->bottom - 1] : NULL;

    if (!w->layers && !(w->layers = chain_open(w->world, &w->chain, error)))
        return FALSE;
    Layer *const *all = (Layer *const *)w->layers->pdata;
    *spec = (BlankSpec){ .virtual_size = layer_virtual_size(all[w->layers->len - 1]) };
    store_geometry(w->store, &spec->cluster_bits, &spec->has_subclusters);
    if (below)
        spec->backing_name = g_strdup_printf("../layers/%s", below->slot);
    *ret = (LayerMerge){ .run = all + w->bottom,
                         .n_run = w->layers->len - w->bottom,
                         .below = all,
                         .n_below = w->bottom,
                         .drop_equal = w->m->drop,
                         .drop_zeros = w->m->drop,
                         .can_reflink = w->store->features.has_reflink,
                         .to = -1,
                         .spec = spec };
    return TRUE;
}

static gboolean write_merged(Work *w, LayerMerge *merge, GError **error)
{
    const char *name = w->m->merged;
    auto_fd fd = w->store->ops->create_tmp(w->store, name, error);
    LayerSummary summary = { 0 };

    merge->to = fd;
    merge->cancel = w->job ? job_cancel_flag(w->job) : NULL;
    merge->progress = show_progress;
    merge->data = w;
    gboolean ok = fd >= 0 && layer_merge(merge, &summary, error);
    g_strlcpy(w->checksum, summary.digest, sizeof w->checksum);
    return ok;
}

static gboolean build(Work *w, GError **error)
{
    const LayerRow *below = w->bottom ? w->chain.rows->pdata[w->bottom - 1] : NULL;
    g_autofree char *identity = make_identity(w, below);
    LayerMerge merge;
    LayerMergeNeed need;
    BlankSpec spec = { 0 };
    gboolean ok = describe(w, &merge, &spec, error);
    g_autofree char *backing = (char *)spec.backing_name;

    spec.identity = identity;
    if (!ok || !layer_merge_reckon(&merge, &need, error))
        return FALSE;
    g_autofree char *size = units_format_size(need.new_bytes);
    job_message(w->job, "%s: writes at most %s", w->desktop.name, size);
    if (!world_check_space(w->world, w->store, need.new_bytes, error)) {
        g_prefix_error(error, "merging needs %s: ", size);
        return FALSE;
    }
    if (write_merged(w, &merge, error))
        return TRUE;
    w->store->ops->discard(w->store, STORE_TMP, &w->m->merged, 1, NULL);
    return FALSE;
}

/* Does the slot hold the result already? */
static gboolean is_switched(const Work *w)
{
    g_autoptr(Layer) layer = store_open_layer(w->store, w->top->slot, NULL, NULL);
    g_auto(Identity) identity = { 0 };

    return layer && layer_header(layer)->identity &&
           identity_parse(layer_header(layer)->identity, &identity, NULL) &&
           g_str_equal(identity.id, w->m->merged);
}

/* What the run's layers take on disk that nothing else will need. */
static gint64 run_bytes(const Work *w)
{
    gint64 sum = 0;

    for (guint i = w->bottom; i < w->chain.rows->len; i++) {
        const LayerRow *row = w->chain.rows->pdata[i];
        StoreStat stat = { 0 };
        if (g_str_equal(row->owner_kind, "desktop") && row != w->top &&
            store_stat_layer(w->store, row->slot, &stat, NULL))
            sum += (gint64)stat.disk_bytes;
    }
    StoreStat former = { 0 };
    w->store->ops->stat(w->store, STORE_TRASH, w->former.s, &former, NULL);
    return sum + (gint64)former.disk_bytes;
}

static gboolean put_children(const Work *w, Db *db, Changes *changes, GError **error)
{
    g_auto(LookupRows) children = { 0 };

    if (!lookup_rows(db, ROW_LAYER, &children, error, "SELECT * FROM layer WHERE parent_id = ?1",
                     "t", w->top->id))
        return FALSE;
    for (guint i = 0; i < children.rows->len; i++) {
        LayerRow *child = children.rows->pdata[i];
        g_free(child->parent_id);
        child->parent_id = g_strdup(w->m->merged);
        changes_put(changes, ROW_LAYER, child, child->store_id);
    }
    return TRUE;
}

static void put_slot(const Work *w, Db *db, Changes *changes)
{
    const LayerRow *below = w->bottom ? w->chain.rows->pdata[w->bottom - 1] : NULL;
    gint64 now = units_now_ms();
    LayerRow merged = *w->top, former = *w->top;
    gboolean is_active = g_str_equal(w->top->state, "active");

    former.slot = (char *)w->former.s;
    former.state = "trashed";
    former.place = "trash";
    merged.id = (char *)w->m->merged;
    merged.parent_id = below ? below->id : NULL;
    merged.checksum = !is_active && *w->checksum ? (char *)w->checksum : NULL;
    merged.created_at = now;
    TrashRow trash = { .id = (char *)w->m->trash,
                       .kind = "layer",
                       .reason = "merged",
                       .name = w->desktop.name,
                       .desktop_id = w->desktop.id,
                       .version_id = w->desktop.version_id,
                       .layer_id = w->top->id,
                       .store_id = w->top->store_id,
                       .generation = w->top->generation,
                       .disk_bytes = run_bytes(w),
                       .trashed_at = now,
                       .expires_at = now + w->world->settings.merged_keep_ms,
                       .slot = w->top->slot };
    changes_put(changes, ROW_LAYER, &former, former.store_id); /* its slot is free then */
    changes_put(changes, ROW_LAYER, &merged, merged.store_id);
    changes_put(changes, ROW_TRASH, &trash, trash.store_id);
    if (is_active) {
        DesktopRow desktop = w->desktop;
        desktop.layer_id = merged.id;
        desktop.changed_at = now;
        changes_put(changes, ROW_DESKTOP, &desktop, desktop.store_id);
    }
    /* a snapshot of this state is one of the merged layer */
    g_auto(LookupRows) snapshots = { 0 };
    lookup_rows(db, ROW_SNAPSHOT, &snapshots, NULL, "SELECT * FROM snapshot WHERE layer_id = ?1",
                "t", w->top->id);
    for (guint i = 0; snapshots.rows && i < snapshots.rows->len; i++) {
        SnapshotRow *row = snapshots.rows->pdata[i];
        g_free(row->layer_id);
        row->layer_id = g_strdup(merged.id);
        row->changed_at = now;
        changes_put(changes, ROW_SNAPSHOT, row, row->store_id);
    }
}

static gboolean put_facts(const Work *w, Changes *changes, GError **error)
{
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = put_children(w, db, changes, error);

    if (ok)
        put_slot(w, db, changes);
    catalog_read_end(w->world->catalog, db);
    return ok;
}

static void switch_back(const Work *w)
{
    gboolean is_frozen = !g_str_equal(w->top->state, "active");

    if (w->store->ops->switch_slot(w->store, w->top->slot, STORE_TRASH, w->former.s, w->m->merged,
                                   is_frozen, NULL))
        w->store->ops->discard(w->store, STORE_TRASH, &w->m->merged, 1, NULL);
}

/* What switch_slot() did before it failed is taken back: nobody has heard of the result yet. */
static gboolean switch_over(const Work *w, gboolean is_frozen, GError **error)
{
    if (w->store->ops->switch_slot(w->store, w->top->slot, STORE_TMP, w->m->merged, w->former.s,
                                   is_frozen, error))
        return TRUE;
    if (is_switched(w))
        switch_back(w);
    return FALSE;
}

static gboolean run(Work *w, Changes *changes, GError **error)
{
    gboolean is_active = g_str_equal(w->top->state, "active"), switched = is_switched(w);

    if ((is_active && !claim_desktop(w, 0, error)) ||
        (is_active && !store_lock_layer(w->store, w->top->slot, &w->lock, error)) ||
        (!switched && !build(w, error)) ||
        (!is_active && !claim_desktop(w, CLAIM_WAIT_MS, error)) ||
        (!switched && !switch_over(w, !is_active, error))) {
        w->store->ops->discard(w->store, STORE_TMP, &w->m->merged, 1, NULL);
        return FALSE;
    }
    return put_facts(w, changes, error);
}

gboolean merge_layers(Job *job, World *world, const Merge *m, Changes *more, GError **error)
{
    g_auto(Work) w = { .job = job, .world = world, .m = m, .lock = IMAGE_LOCK_INIT };
    Changes *changes = more ? more : changes_new();
    gboolean is_done;

    if (!load(&w, &is_done, error) || (!is_done && !run(&w, changes, error))) {
        changes_free(changes);
        return FALSE;
    }
    if (job_commit(job, changes, job_step(job) + 1, error))
        return TRUE;
    if (!is_done)
        switch_back(&w);
    return FALSE;
}

gboolean merge_reckon(World *world, const Merge *m, LayerMergeNeed *ret, GError **error)
{
    g_auto(Work) w = { .world = world, .m = m, .lock = IMAGE_LOCK_INIT };
    LayerMerge merge;
    BlankSpec spec = { 0 };
    gboolean is_done, ok = load(&w, &is_done, error) && describe(&w, &merge, &spec, error);
    g_autofree char *backing = (char *)spec.backing_name;

    return ok && layer_merge_reckon(&merge, ret, error);
}

/* ---- merges that a stop left switched, and whose job is lost ---- */

typedef struct {
    World *world;
    Store *store;
} Settle;

/* The identity in a file of the store.  Caller clears. */
static gboolean read_identity(Store *store, StorePlace place, const char *slot, Identity *ret)
{
    int fd = store->ops->open(store, place, slot, NULL, NULL);
    g_autoptr(Layer) layer = fd >= 0 ? layer_open_fd(fd, slot, NULL) : NULL;

    return layer && layer_header(layer)->identity &&
           identity_parse(layer_header(layer)->identity, ret, NULL);
}

/* The lowest layer of the run that merged took in, by the parent that it names. */
static const char *find_bottom(const LookupRows *chain, const Identity *merged)
{
    for (guint i = 0; i < chain->rows->len; i++) {
        const LayerRow *row = chain->rows->pdata[i];
        if (g_strcmp0(row->parent_id, merged->parent) == 0)
            return row->id;
    }
    return NULL;
}

static gboolean settle_facts(Settle *s, const LayerRow *top, const Identity *merged, GError **error)
{
    g_auto(LookupRows) chain = { 0 };
    Id trash = id_derive("settled", merged->id, "");
    gboolean is_done;
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = chain_rows(db, top->id, &chain, error);
    const char *bottom = ok ? find_bottom(&chain, merged) : NULL;
    Merge m = { .top = top->id, .bottom = bottom, .merged = merged->id, .trash = trash.s };
    g_auto(Work) w = { .world = s->world, .m = &m, .lock = IMAGE_LOCK_INIT };

    catalog_read_end(s->world->catalog, db);
    if (!ok || !bottom)
        return ok; /* the check reports it */
    Changes *changes = changes_new();
    if (load(&w, &is_done, error) && !is_done && put_facts(&w, changes, error)) {
        changes_event(changes, "desktop.shorten", "warning", w.desktop.name, NULL,
                      "a merge of its layers was finished after a stop");
        return catalog_commit(s->world->catalog, changes, error);
    }
    changes_free(changes);
    return is_done;
}

/* A file in trash/ that nobody knows, whose layer is said to be in a slot that holds a merge. */
static gboolean settle_one(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    Settle *s = user;
    g_auto(Identity) former = { 0 };
    g_auto(Identity) merged = { 0 };
    g_auto(LayerRow) row = { 0 };
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean is_known = lookup_slot(db, s->store->id, name, &row, NULL);
    gboolean is_former =
        !is_known && id_is_valid(name) && read_identity(s->store, STORE_TRASH, name, &former) &&
        lookup_layer(db, former.id, &row, NULL) && g_str_equal(row.owner_kind, "desktop");

    catalog_read_end(s->world->catalog, db);
    if (!is_former || !read_identity(s->store, STORE_LAYERS, row.slot, &merged))
        return TRUE;
    Id expected = id_derive("former", merged.id, "");
    if (g_str_equal(merged.id, former.id) || !g_str_equal(expected.s, name) ||
        g_strcmp0(merged.slot, row.slot) != 0)
        return TRUE;
    json_t *keys = json_array();
    gboolean ok = TRUE;
    claims_add(keys, 'x', "layers", row.owner_id);
    if (claims_take(s->world->claims, keys, "store.sweep", NULL)) {
        ok = settle_facts(s, &row, &merged, error);
        claims_release(s->world->claims, keys);
    }
    json_decref(keys);
    return ok;
}

gboolean merge_settle(World *world, Store *store, GError **error)
{
    Settle s = { world, store };

    return store->ops->list(store, STORE_TRASH, settle_one, &s, error);
}
