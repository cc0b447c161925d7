/* merge_build.c: the new file of a merge (merge_work.h). */
#include "snapshot/merge_work.h"

#include "cow/chain_compare.h"
#include "cow/identity.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

/* The row of what the result will stand on, or NULL. */
const LayerRow *merge_new_parent(const MergeWork *w)
{
    if (w->m->onto)
        return merge_row(&w->onto, w->onto.rows->len - 1);
    return w->bottom ? merge_row(&w->chain, w->bottom - 1) : NULL;
}

static void show_progress(guint64 done, guint64 total, gpointer data)
{
    MergeWork *w = data;

    job_progress(w->job, done, total);
    if (w->m->is_paced)
        pace_wait(&w->pace, job_cancel_flag(w->job));
}

static char *make_identity(const MergeWork *w, const LayerRow *below)
{
    Identity identity = { .id = (char *)w->m->merged,
                          .parent = below ? below->id : NULL,
                          .owner_kind = w->top->owner_kind,
                          .owner_id = w->desktop.id,
                          .owner_name = w->desktop.name,
                          .generation = w->top->generation,
                          .created_at = units_now_ms(),
                          .slot = w->top->slot };

    return identity_to_json(&identity);
}

/* Open what the result will stand on: what both chains share is the same Layer. */
static gboolean open_onto(MergeWork *w, GError **error)
{
    LookupRows rest = { ROW_LAYER, g_ptr_array_new() };

    for (guint i = w->n_shared; i < w->onto.rows->len; i++)
        g_ptr_array_add(rest.rows, w->onto.rows->pdata[i]);
    g_autoptr(GPtrArray) opened = chain_open(w->world, &rest, error);
    g_ptr_array_unref(rest.rows); /* the rows are onto's */
    if (!opened)
        return FALSE;
    w->below = g_ptr_array_new();
    for (guint i = 0; i < w->n_shared; i++)
        g_ptr_array_add(w->below, w->layers->pdata[i]);
    for (guint i = 0; i < opened->len; i++) { /* closed with the chain's own */
        g_ptr_array_add(w->below, opened->pdata[i]);
        g_ptr_array_add(w->layers, opened->pdata[i]);
    }
    g_ptr_array_set_free_func(opened, NULL);
    return TRUE;
}

/* Open the chain and describe the merge; spec, identity and backing are the caller's to keep. */
gboolean merge_describe(MergeWork *w, LayerMerge *ret, BlankSpec *spec, GError **error)
{
    const LayerRow *below = merge_new_parent(w);
    guint n = w->chain.rows->len;

    if (!w->layers && !(w->layers = chain_open(w->world, &w->chain, error)))
        return FALSE;
    if (w->m->onto && !w->below && !open_onto(w, error))
        return FALSE;
    Layer *const *all = (Layer *const *)w->layers->pdata;
    *spec = (BlankSpec){ .virtual_size = layer_virtual_size(all[n - 1]) };
    store_geometry(w->store, &spec->cluster_bits, &spec->has_subclusters);
    if (below)
        spec->backing_name = g_strdup_printf("../layers/%s", below->slot);
    *ret = (LayerMerge){ .run = all + w->bottom,
                         .n_run = n - w->bottom,
                         .below = w->below ? (Layer *const *)w->below->pdata : all,
                         .n_below = w->below ? w->below->len : w->bottom,
                         .n_new = w->below ? w->below->len - w->n_shared : 0,
                         .drop_equal = w->m->drop,
                         .drop_zeros = w->m->drop,
                         .can_reflink = w->store->features.has_reflink,
                         .to = -1,
                         .spec = spec };
    return TRUE;
}

static gboolean write_merged(MergeWork *w, LayerMerge *merge, GError **error)
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

/* A single layer in which nothing can be left out would only be written again; unless its file
 * takes more than its data needs. */
static gboolean check_gain(MergeWork *w, LayerMerge *merge, const LayerMergeNeed *need,
                           GError **error)
{
    StoreStat stat;
    gboolean gains = TRUE;

    if (!w->m->ret_needless || merge->n_run > 1 || merge->n_new ||
        !store_stat_layer(w->store, w->top->slot, &stat, NULL) ||
        stat.disk_bytes > need->file_bytes)
        return TRUE;
    merge->cancel = w->job ? job_cancel_flag(w->job) : NULL;
    if (!layer_merge_gains(merge, &gains, error))
        return FALSE;
    *w->m->ret_needless = w->is_needless = !gains;
    return TRUE;
}

/* Does the disk read the same on what it will stand on?  To the last byte, by a way of its own. */
static gboolean compare_merged(MergeWork *w, GError **error)
{
    const char *name = w->m->merged;
    int fd = w->store->ops->open(w->store, STORE_TMP, name, NULL, error);
    g_autoptr(Layer) merged = fd >= 0 ? layer_open_fd(fd, name, error) : NULL;
    g_autoptr(GPtrArray) after = g_ptr_array_new();
    gboolean is_same = FALSE;
    guint64 at = 0;

    if (!merged)
        return FALSE;
    for (guint i = 0; i < w->below->len; i++)
        g_ptr_array_add(after, w->below->pdata[i]);
    g_ptr_array_add(after, merged);
    g_autoptr(ChainMap) a =
        chain_map_new((Layer *const *)w->layers->pdata, w->chain.rows->len, 0, error);
    g_autoptr(ChainMap) b =
        a ? chain_map_new((Layer *const *)after->pdata, after->len, 0, error) : NULL;
    ChainCompare compare = { .a = a, .b = b, .cancel = w->job ? job_cancel_flag(w->job) : NULL };
    if (!b || !chain_compare(&compare, &is_same, &at, error))
        return FALSE;
    if (!is_same)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the disk would read differently at offset %" G_GUINT64_FORMAT
                    "; it was left as it is",
                    at);
    return is_same;
}

gboolean merge_build(MergeWork *w, GError **error)
{
    g_autofree char *identity = make_identity(w, merge_new_parent(w));
    LayerMerge merge;
    LayerMergeNeed need;
    BlankSpec spec = { 0 };
    gboolean ok = merge_describe(w, &merge, &spec, error);
    g_autofree char *backing = (char *)spec.backing_name;

    spec.identity = identity;
    if (!ok || !layer_merge_reckon(&merge, &need, error) || !check_gain(w, &merge, &need, error) ||
        w->is_needless)
        return ok && w->is_needless;
    g_autofree char *size = units_format_size(need.new_bytes);
    job_message(w->job, "%s: writes at most %s", w->desktop.name, size);
    if (!world_check_space(w->world, w->store, need.new_bytes, error)) {
        g_prefix_error(error, "merging needs %s: ", size);
        return FALSE;
    }
    if (write_merged(w, &merge, error) && (!w->m->onto || compare_merged(w, error)))
        return TRUE;
    w->store->ops->discard(w->store, STORE_TMP, &w->m->merged, 1, NULL);
    return FALSE;
}
