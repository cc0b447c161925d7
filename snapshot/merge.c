/* merge.c: see merge.h.
 *
 *   BUILD (tmp/) -> SWITCH (the slot; the former file gets a name in trash/) -> FACTS
 *
 * After a stop, the id in the slot's header tells whether SWITCH was done: then FACTS follow; else
 * it begins again.  If the facts can't be committed, the former file is switched back.
 *
 * A merge onto a stand-in is the same, but that the result has another parent than the run, and
 * that it is compared with the disk as it was before the switch.
 *
 * A layer on top of which nothing stands but the desktop itself is written by QEMU again after the
 * merge.  So what it replaced is a former disk then (kind disk or data), not a layer that could be
 * put back below what was written since. */
#include "snapshot/merge.h"

#include "cow/identity.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/merge_facts.h"
#include "snapshot/merge_work.h"

#define CLAIM_WAIT_MS 600000 /* for the moment of the switch: jobs on a desktop are short */

/* Forget the rows. */
static void unload(MergeWork *w)
{
    g_clear_pointer(&w->below, g_ptr_array_unref);
    g_clear_pointer(&w->layers, g_ptr_array_unref);
    lookup_rows_clear(&w->chain);
    lookup_rows_clear(&w->onto);
    desktop_row_clear(&w->desktop);
    g_clear_pointer(&w->store, store_unref);
    w->top = NULL;
    w->bottom = w->n_shared = 0;
    w->lacks_desktop = FALSE;
}

static void work_clear(MergeWork *w)
{
    image_lock_release(&w->lock);
    unload(w);
    if (w->claimed) {
        claims_release(w->world->claims, w->claimed);
        json_decref(w->claimed);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MergeWork, work_clear)

/* The run is all that the two chains don't share. */
static gboolean load_onto(MergeWork *w, GError **error)
{
    while (w->n_shared < MIN(w->onto.rows->len, w->chain.rows->len) &&
           g_str_equal(merge_row(&w->onto, w->n_shared)->id, merge_row(&w->chain, w->n_shared)->id))
        w->n_shared++;
    if (w->n_shared == 0 || w->n_shared == w->onto.rows->len || w->n_shared != w->bottom) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "the chain has changed meanwhile: it does not stand on the same version");
        return FALSE;
    }
    return TRUE;
}

/* The active layer of one of a desktop's disks, or NULL. */
static const char *disk_of(const DesktopRow *desktop, gboolean is_data)
{
    return is_data ? desktop->data_layer_id : desktop->layer_id;
}

/* The rows, and whether the facts were committed before a stop. */
static gboolean load(MergeWork *w, gboolean *ret_is_done, GError **error)
{
    g_auto(LayerRow) done = { 0 };
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = TRUE;

    *ret_is_done = lookup_layer(db, w->m->merged, &done, NULL);
    if (*ret_is_done && lookup_desktop_by_id(db, done.owner_id, &w->desktop, NULL)) {
        /* a data disk may lie in another store, whose journal was written before the desktop's */
        const char *active = disk_of(&w->desktop, layer_row_is_data(&done));
        w->lacks_desktop = g_strcmp0(active, w->m->top) == 0;
        w->is_data = layer_row_is_data(&done);
    }
    if (!*ret_is_done) {
        ok = chain_rows(db, w->m->top, &w->chain, error);
        w->top = ok ? w->chain.rows->pdata[w->chain.rows->len - 1] : NULL;
        ok = ok && lookup_desktop_by_id(db, w->top->owner_id, &w->desktop, error) &&
             (!w->m->onto || chain_rows(db, w->m->onto, &w->onto, error));
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
    if (w->m->onto && !load_onto(w, error))
        return FALSE;
    w->is_active = g_str_equal(w->top->state, "active");
    w->is_data = layer_row_is_data(w->top);
    if (w->is_active && w->m->is_live) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "its active layer is in use");
        return FALSE;
    }
    w->store = store_set_get(w->world->stores, w->top->store_id, error);
    w->former = id_derive("former", w->m->merged, "");
    return w->store != NULL;
}

static gboolean claim_desktop(MergeWork *w, gint64 wait_ms, GError **error)
{
    json_t *keys = json_array();

    /* A run shares the desktop: its jobs keep each other off by the run. */
    claims_add(keys, w->m->is_live ? 's' : 'x', "desktop", w->desktop.id);
    if (world_wait_claims(w->world, w->job, keys, wait_ms, error)) {
        w->claimed = keys;
        return TRUE;
    }
    json_decref(keys);
    return FALSE;
}

/* Load for a merge: what was read before the desktop was claimed may be old by then. */
static gboolean load_claimed(MergeWork *w, gboolean *ret_is_done, GError **error)
{
    if (!load(w, ret_is_done, error))
        return FALSE;
    if (*ret_is_done ? !w->lacks_desktop : !w->is_active)
        return TRUE;
    if (!claim_desktop(w, *ret_is_done ? CLAIM_WAIT_MS : 0, error))
        return FALSE;
    unload(w);
    if (!load(w, ret_is_done, error) || *ret_is_done)
        return *ret_is_done;
    if (w->is_active && !w->desktop.is_trashed &&
        g_strcmp0(disk_of(&w->desktop, w->is_data), w->m->top) == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "its disk was replaced meanwhile");
    imaged_error_hint(error, "ask for it again");
    return FALSE;
}

/* The id of what the slot holds, or NULL.  Caller frees. */
static char *slot_content(const MergeWork *w)
{
    g_autoptr(Layer) layer = store_open_layer(w->store, w->top->slot, NULL, NULL);
    g_auto(Identity) identity = { 0 };

    if (!layer || !layer_header(layer)->identity ||
        !identity_parse(layer_header(layer)->identity, &identity, NULL))
        return NULL;
    return g_steal_pointer(&identity.id);
}

/* Does the slot hold the result already, from before a stop?  It may not be durable there. */
static gboolean is_switched(const MergeWork *w, gboolean *ret_is, GError **error)
{
    g_autofree char *content = slot_content(w);

    *ret_is = g_strcmp0(content, w->m->merged) == 0;
    return !*ret_is || w->store->ops->discard(w->store, STORE_LAYERS, NULL, 0, error);
}

/* What the run's layers take on disk that nothing else will need.  A snapshot that goes with the
 * merge has an entry of its own. */
static gint64 run_bytes(const MergeWork *w, Db *db)
{
    gint64 sum = 0;

    for (guint i = w->bottom; i < w->chain.rows->len; i++) {
        const LayerRow *row = w->chain.rows->pdata[i];
        StoreStat stat = { 0 };
        if (layer_row_is_own(row) && row != w->top &&
            !lookup_int(db, "SELECT EXISTS (SELECT 1 FROM snapshot WHERE layer_id = ?1) OR EXISTS"
                            " (SELECT 1 FROM snapshot WHERE data_layer_id = ?1)", "t", row->id) &&
            store_stat_layer(w->store, row->slot, &stat, NULL))
            sum += (gint64)stat.disk_bytes;
    }
    StoreStat former = { 0 };
    w->store->ops->stat(w->store, STORE_TRASH, w->former.s, &former, NULL);
    return sum + (gint64)former.disk_bytes;
}

static void put_trash(const MergeWork *w, Db *db, Changes *changes, gint64 now)
{
    TrashRow trash = { .id = (char *)w->m->trash,
                       .kind = !w->is_active ? "layer"
                               : w->is_data  ? "data"
                                             : "disk",
                       .reason = "merged",
                       .name = w->desktop.name,
                       .desktop_id = w->desktop.id,
                       .version_id = w->desktop.version_id,
                       .layer_id = w->top->id,
                       .store_id = w->top->store_id,
                       .generation = w->top->generation,
                       .disk_bytes = run_bytes(w, db),
                       .trashed_at = now,
                       .expires_at = now + w->world->settings.merged_keep_ms,
                       .slot = w->is_active ? NULL : w->top->slot };

    changes_put(changes, ROW_TRASH, &trash, trash.store_id);
}

static void put_desktop(const MergeWork *w, Changes *changes, gint64 now)
{
    DesktopRow desktop = w->desktop;

    *(w->is_data ? &desktop.data_layer_id : &desktop.layer_id) = (char *)w->m->merged;
    desktop.changed_at = now;
    changes_put(changes, ROW_DESKTOP, &desktop, desktop.store_id);
}

static void put_slot(const MergeWork *w, Db *db, Changes *changes)
{
    const LayerRow *below = merge_new_parent(w);
    gint64 now = units_now_ms();
    LayerRow merged = *w->top, former = *w->top;

    former.slot = (char *)w->former.s;
    former.state = "trashed";
    former.place = "trash";
    merged.id = (char *)w->m->merged;
    merged.parent_id = below ? below->id : NULL;
    merged.checksum = !w->is_active && *w->checksum ? (char *)w->checksum : NULL;
    merged.created_at = now;
    changes_put(changes, ROW_LAYER, &former, former.store_id); /* its slot is free then */
    changes_put(changes, ROW_LAYER, &merged, merged.store_id);
    put_trash(w, db, changes, now);
    if (w->is_active)
        put_desktop(w, changes, now);
}

static gboolean put_facts(const MergeWork *w, Changes *changes, GError **error)
{
    Db *db = catalog_read_begin(w->world->catalog);
    gboolean ok = merge_put_moved(db, changes, w->top->id, w->m->merged, error);

    if (ok)
        put_slot(w, db, changes);
    catalog_read_end(w->world->catalog, db);
    return ok;
}

/* The facts don't hold: the slot gets its former file back.  Where the switch itself failed, the
 * former may have a second name only. */
static void switch_back(const MergeWork *w)
{
    g_autofree char *content = slot_content(w);
    const char *former = w->former.s;

    if (g_strcmp0(content, w->m->merged) == 0) {
        if (w->store->ops->switch_slot(w->store, w->top->slot, STORE_TRASH, former, w->m->merged,
                                       !w->is_active, NULL))
            w->store->ops->discard(w->store, STORE_TRASH, &w->m->merged, 1, NULL);
    } else if (g_strcmp0(content, w->top->id) == 0) {
        w->store->ops->discard(w->store, STORE_TRASH, &former, 1, NULL);
    }
    w->store->ops->discard(w->store, STORE_TMP, &w->m->merged, 1, NULL);
}

/* Build and switch, with all claims and locks that are needed until the facts are committed. */
static gboolean make(MergeWork *w, GError **error)
{
    gboolean is_done;

    if ((w->is_active && !store_lock_layer(w->store, w->top->slot, &w->lock, error)) ||
        !is_switched(w, &is_done, error))
        return FALSE;
    w->has_tried = is_done;
    if (!is_done && !merge_build(w, error))
        return FALSE;
    if (w->is_needless)
        return TRUE;
    if (!w->is_active && !claim_desktop(w, CLAIM_WAIT_MS, error))
        return FALSE;
    w->has_tried = TRUE;
    return is_done || w->store->ops->switch_slot(w->store, w->top->slot, STORE_TMP, w->m->merged,
                                                 w->former.s, !w->is_active, error);
}

gboolean merge_layers(Job *job, World *world, const Merge *m, Changes *more, GError **error)
{
    g_auto(MergeWork) w = { .job = job, .world = world, .m = m, .lock = IMAGE_LOCK_INIT };
    Changes *changes = more ? more : changes_new();
    gboolean is_done = FALSE;
    gboolean ok = load_claimed(&w, &is_done, error) &&
                  (is_done ||
                   (make(&w, error) && (w.is_needless || put_facts(&w, changes, error))));

    if (ok && is_done && w.lacks_desktop)
        put_desktop(&w, changes, units_now_ms());
    if (!ok)
        changes_free(changes);
    else
        ok = job_commit(job, changes, job_step(job) + 1, error);
    if (!ok && w.has_tried)
        switch_back(&w);
    else if (!ok && w.store)
        w.store->ops->discard(w.store, STORE_TMP, &m->merged, 1, NULL);
    return ok;
}

gboolean merge_finish(World *world, const Merge *m, gboolean *ret_done, GError **error)
{
    g_auto(MergeWork) w = { .world = world, .m = m, .lock = IMAGE_LOCK_INIT };
    gboolean is_done;

    *ret_done = FALSE;
    if (!load(&w, &is_done, error) || is_done)
        return is_done;
    Changes *changes = changes_new();
    if (!put_facts(&w, changes, error)) {
        changes_free(changes);
        return FALSE;
    }
    changes_event(changes, "desktop.shorten", "warning", w.desktop.name, NULL,
                  "a merge of its layers was finished after a stop");
    return *ret_done = catalog_commit(world->catalog, changes, error);
}

gboolean merge_reckon(World *world, const Merge *m, LayerMergeNeed *ret, GError **error)
{
    g_auto(MergeWork) w = { .world = world, .m = m, .lock = IMAGE_LOCK_INIT };
    LayerMerge merge;
    BlankSpec spec = { 0 };
    gboolean is_done, ok = load(&w, &is_done, error) && merge_describe(&w, &merge, &spec, error);
    g_autofree char *backing = (char *)spec.backing_name;

    return ok && layer_merge_reckon(&merge, ret, error);
}
