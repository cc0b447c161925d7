/* advice_count.c: see advice_count.h.
 *
 *     digests of all layers -> records (digest, block, owner) -> sorted by digest -> compared ->
 * counted
 *
 * Owners are the bases first (what lies below), then the diffs: so in a group of equal digests and
 * equal block a base comes first.  Nothing is claimed and nothing is locked: a desktop that is
 * started or reset meanwhile drops out. */
#include "snapshot/advice_count.h"

#include <math.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/advice_group.h"
#include "snapshot/advice_view.h"
#include "snapshot/chain.h"
#include "snapshot/merge_runs.h"

static void base_clear(gpointer data)
{
    g_free(((AdviceBase *)data)->layer_id);
}

static void diff_clear(gpointer data)
{
    AdviceDiff *d = data;

    g_free(d->id);
    g_free(d->name);
    g_free(d->layer_id);
    g_free(d->problem);
}

void advice_set_init(AdviceSet *set, World *world, gdouble share)
{
    *set = (AdviceSet){ .world = world,
                        .cache = { .world = world },
                        .share = share,
                        .bases = g_array_new(FALSE, TRUE, sizeof(AdviceBase)),
                        .diffs = g_array_new(FALSE, TRUE, sizeof(AdviceDiff)),
                        .blocks = g_array_new(FALSE, TRUE, sizeof(AdviceBlock)) };
    g_array_set_clear_func(set->bases, base_clear);
    g_array_set_clear_func(set->diffs, diff_clear);
}

void advice_set_clear(AdviceSet *set)
{
    g_clear_pointer(&set->bases, g_array_unref);
    g_clear_pointer(&set->diffs, g_array_unref);
    g_clear_pointer(&set->blocks, g_array_unref);
}

gboolean advice_is_eligible(const AdviceSet *set, const AdviceDiff *d)
{
    return d->is_read && !d->has_snapshots &&
           !g_array_index(set->bases, AdviceBase, d->base).is_stand_in;
}

GPtrArray *advice_owner_ids(const AdviceSet *set)
{
    GPtrArray *ids = g_ptr_array_new();

    for (guint i = 0; i < set->bases->len; i++)
        g_ptr_array_add(ids, g_array_index(set->bases, AdviceBase, i).layer_id);
    for (guint i = 0; i < set->diffs->len; i++)
        g_ptr_array_add(ids, g_array_index(set->diffs, AdviceDiff, i).layer_id);
    return ids;
}

static guint find_base(AdviceSet *set, const LayerRow *row)
{
    for (guint i = 0; i < set->bases->len; i++) {
        if (g_str_equal(g_array_index(set->bases, AdviceBase, i).layer_id, row->id))
            return i;
    }
    AdviceBase base = { g_strdup(row->id), g_str_equal(row->owner_kind, LAYER_STAND_IN),
                        (guint64)row->virtual_size / BLOCK_DIGEST_BLOCK };
    g_array_append_val(set->bases, base);
    return set->bases->len - 1;
}

gboolean advice_set_add(AdviceSet *set, Db *db, const DesktopRow *desktop)
{
    g_auto(LookupRows) chain = { 0 };
    g_autoptr(GArray) runs = runs_of_disk(db, desktop, desktop->layer_id, NULL);

    if (!runs || !chain_rows(db, desktop->layer_id, &chain, NULL))
        return FALSE;
    guint n_own = chain_n_own(&chain);
    if (n_own == 0 || n_own == chain.rows->len)
        return FALSE;
    AdviceDiff diff = { .id = g_strdup(desktop->id),
                        .name = g_strdup(desktop->name),
                        .layer_id = g_strdup(desktop->layer_id),
                        .base = find_base(set, chain.rows->pdata[chain.rows->len - n_own - 1]),
                        .has_snapshots =
                            runs->len > 1 ||
                            lookup_int(
                                db,
                                "SELECT EXISTS (SELECT 1 FROM snapshot WHERE desktop_id = ?1 AND"
                                " is_trashed = 0)",
                                "t", desktop->id) };
    g_array_append_val(set->diffs, diff);
    return TRUE;
}

/* ---- Digests into records ---- */

typedef struct {
    AdviceSet *set;
    AdviceSort *sort;
    guint64 done, total; /* bytes, for progress */
} Count;

static void add_done(guint64 bytes, gpointer data)
{
    Count *c = data;

    /* from several threads */
    guint64 done = __atomic_add_fetch(&c->done, bytes, __ATOMIC_RELAXED);
    if (c->set->step)
        c->set->step(MIN(done, c->total), c->total, c->set->data);
}

/* The digests of the layers of a chain from row from on, as one view. */
static AdviceView *open_view(AdviceSet *set, const LookupRows *rows, guint from, guint to,
                             GError **error)
{
    g_autoptr(GPtrArray) digests = g_ptr_array_new();

    for (guint i = from; i < to; i++) {
        BlockDigest *digest = digest_cache_open(&set->cache, rows->rows->pdata[i], error);
        if (!digest) {
            for (guint k = 0; k < digests->len; k++)
                block_digest_free(digests->pdata[k]);
            return NULL;
        }
        g_ptr_array_add(digests, digest);
    }
    return advice_view_new((BlockDigest *const *)digests->pdata, digests->len);
}

/* What this owner holds: of a base all of its chain, of a diff its own layers. */
static AdviceView *open_owner(AdviceSet *set, const char *layer_id, gboolean is_base,
                              GError **error)
{
    g_auto(LookupRows) rows = { 0 };
    Db *db = catalog_read_begin(set->world->catalog);
    gboolean ok = chain_rows(db, layer_id, &rows, error);

    catalog_read_end(set->world->catalog, db);
    if (!ok)
        return NULL;
    guint n = rows.rows->len, n_own = chain_n_own(&rows);
    return is_base ? open_view(set, &rows, 0, n, error)
                   : open_view(set, &rows, n - n_own, n, error);
}

/* Put what a view shows into the sort.  diff is NULL for a base. */
static gboolean add_records(Count *c, AdviceView *view, guint32 owner, AdviceDiff *diff,
                            GError **error)
{
    guint64 n_shown = 0, n_zero = 0;
    GError *local = NULL;
    BlockRun run;

    while (advice_view_next(view, &run, &local)) {
        for (guint32 i = 0; run.kind == BLOCK_DATA && i < run.n; i++) {
            AdviceRecord r = { .hash = run.hashes[i], .block = run.first + i, .owner = owner };
            n_shown++;
            if (block_hash_is_zero(&r.hash))
                n_zero++;
            else if (!advice_sort_add(c->sort, &r, error))
                return FALSE;
        }
    }
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    if (diff) {
        diff->n_data = advice_view_n_data(view);
        diff->n_hidden = diff->n_data - n_shown;
        diff->n_zero = n_zero;
        diff->is_read = TRUE;
    }
    return TRUE;
}

/* What concerns this desktop alone is its problem; all else ends the job. */
static gboolean is_own_problem(const GError *error)
{
    return g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_BUSY) ||
           g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) ||
           g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

static gboolean read_diff(Count *c, guint i, GError **error)
{
    AdviceDiff *diff = &g_array_index(c->set->diffs, AdviceDiff, i);
    g_autoptr(GError) local = NULL;
    g_autoptr(AdviceView) view = open_owner(c->set, diff->layer_id, FALSE, &local);

    if (view && add_records(c, view, c->set->bases->len + i, diff, &local))
        return TRUE;
    if (diff->is_read || !is_own_problem(local) || view) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    diff->problem = imaged_error_message(local);
    return TRUE;
}

static gboolean read_base(Count *c, guint i, GError **error)
{
    const AdviceBase *base = &g_array_index(c->set->bases, AdviceBase, i);
    g_autoptr(AdviceView) view = open_owner(c->set, base->layer_id, TRUE, error);

    return view && add_records(c, view, i, NULL, error);
}

/* An upper bound of the blocks of data that an owner's layers hold, from their files' sizes. */
static guint64 bound_of(AdviceSet *set, const char *layer_id, gboolean is_base)
{
    g_auto(LookupRows) rows = { 0 };
    guint64 sum = 0;
    Db *db = catalog_read_begin(set->world->catalog);
    gboolean ok = chain_rows(db, layer_id, &rows, NULL);

    catalog_read_end(set->world->catalog, db);
    guint n = ok ? rows.rows->len : 0;
    for (guint i = is_base || !ok ? 0 : n - chain_n_own(&rows); i < n; i++) {
        const LayerRow *row = rows.rows->pdata[i];
        g_autoptr(Store) store = store_set_peek(set->world->stores, row->store_id);
        StoreStat stat;
        if (store && store_stat_layer(store, row->slot, &stat, NULL))
            sum += MIN(stat.length, stat.disk_bytes + MIB);
    }
    return sum;
}

static guint64 bound_all(AdviceSet *set)
{
    guint64 sum = 0;

    for (guint i = 0; i < set->bases->len; i++)
        sum += bound_of(set, g_array_index(set->bases, AdviceBase, i).layer_id, TRUE);
    for (guint i = 0; i < set->diffs->len; i++)
        sum += bound_of(set, g_array_index(set->diffs, AdviceDiff, i).layer_id, FALSE);
    return sum;
}

static gboolean check_cancel(const AdviceSet *set, GError **error)
{
    if (!set->cache.cancel || !g_atomic_int_get(set->cache.cancel))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    return FALSE;
}

static gboolean read_all(Count *c, GError **error)
{
    for (guint i = 0; i < c->set->bases->len; i++) {
        if (!check_cancel(c->set, error) || !read_base(c, i, error))
            return FALSE;
    }
    for (guint i = 0; i < c->set->diffs->len; i++) {
        if (!check_cancel(c->set, error) || !read_diff(c, i, error))
            return FALSE;
        const AdviceDiff *d = &g_array_index(c->set->diffs, AdviceDiff, i);
        c->set->n_eligible += advice_is_eligible(c->set, d);
    }
    return TRUE;
}

/* ---- The blocks of a stand-in ---- */

static gint by_block(gconstpointer left, gconstpointer right)
{
    const AdviceBlock *a = left, *b = right;

    if (a->block != b->block)
        return a->block < b->block ? -1 : 1;
    return a->n_in != b->n_in ? (a->n_in < b->n_in ? 1 : -1) : 0; /* the largest first */
}

/* Of two contents for one block, the one that more have. */
static void drop_doubles(GArray *blocks)
{
    guint n = 0;

    g_array_sort(blocks, by_block);
    for (guint i = 0; i < blocks->len; i++) {
        AdviceBlock b = g_array_index(blocks, AdviceBlock, i);
        if (n == 0 || g_array_index(blocks, AdviceBlock, n - 1).block != b.block)
            g_array_index(blocks, AdviceBlock, n++) = b;
    }
    g_array_set_size(blocks, n);
}

/* Note where this owner says anything among the blocks (a base: where it has data). */
static gboolean note_saying(AdviceSet *set, const char *layer_id, gboolean is_base, GError **error)
{
    g_autoptr(AdviceView) view = open_owner(set, layer_id, is_base, error);
    GError *local = NULL;
    BlockRun run;
    guint i = 0;

    while (view && i < set->blocks->len && advice_view_next(view, &run, &local)) {
        while (i < set->blocks->len && g_array_index(set->blocks, AdviceBlock, i).block < run.first)
            i++;
        for (; i < set->blocks->len; i++) {
            AdviceBlock *b = &g_array_index(set->blocks, AdviceBlock, i);
            if (b->block - run.first >= run.n)
                break;
            if (!is_base)
                b->n_say++;
            else if (run.kind == BLOCK_PARTIAL ||
                     (run.kind == BLOCK_DATA &&
                      !block_hash_is_zero(&run.hashes[b->block - run.first])))
                b->below = 1;
        }
    }
    if (local)
        g_propagate_error(error, local);
    return view && !local;
}

/* Keep those blocks of which the diffs lose more than the new layer and the others gain. */
static void keep_gains(AdviceSet *set)
{
    guint n = 0;

    for (guint i = 0; i < set->blocks->len; i++) {
        AdviceBlock b = g_array_index(set->blocks, AdviceBlock, i);
        guint n_added = b.below ? set->n_eligible - MIN(set->n_eligible, b.n_say) : 0;
        if (b.n_in <= 1 + n_added)
            continue;
        set->n_freed += b.n_in;
        set->n_added += n_added;
        g_array_index(set->blocks, AdviceBlock, n++) = b;
    }
    g_array_set_size(set->blocks, n);
}

static gboolean reckon_stand_in(AdviceSet *set, GError **error)
{
    set->cache.progress = NULL;
    drop_doubles(set->blocks);
    for (guint i = 0; set->blocks->len && i < set->bases->len; i++) {
        const AdviceBase *base = &g_array_index(set->bases, AdviceBase, i);
        if (!base->is_stand_in && !note_saying(set, base->layer_id, TRUE, error))
            return FALSE;
    }
    for (guint i = 0; set->blocks->len && i < set->diffs->len; i++) {
        const AdviceDiff *diff = &g_array_index(set->diffs, AdviceDiff, i);
        g_autoptr(GError) local = NULL;
        if (!check_cancel(set, error))
            return FALSE;
        /* who has gone meanwhile says nothing: then less is promised */
        if (advice_is_eligible(set, diff) && !note_saying(set, diff->layer_id, FALSE, &local) &&
            !is_own_problem(local)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    keep_gains(set);
    return TRUE;
}

/* ---- All of it ---- */

gboolean advice_count(AdviceSet *set, GError **error)
{
    Count c = { .set = set };
    guint64 bound = bound_all(set);
    int scratch = digest_cache_scratch(set->world, error);
    gboolean ok = scratch >= 0;

    if (!ok)
        return FALSE;
    c.total = 2 * bound + 1;
    c.sort = advice_sort_new(scratch, bound / BLOCK_DIGEST_BLOCK);
    set->cache.progress = add_done;
    set->cache.data = &c;
    guint n_parts = advice_sort_n_parts(c.sort);
    ok = read_all(&c, error);
    if (ok) {
        guint need = MAX(2, (guint)ceil(set->share * set->n_eligible));
        g_autoptr(AdviceGroups) groups = advice_groups_new(set, need);
        for (guint i = 0; ok && i < n_parts; i++) {
            ok = check_cancel(set, error) && advice_groups_count(groups, c.sort, i, error);
            add_done(bound / n_parts, &c);
        }
    }
    advice_sort_free(c.sort);
    return ok && reckon_stand_in(set, error);
}
