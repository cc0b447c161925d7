/* archive_restore_layer.c: see archive_restore_layer.h.
 *
 * The objects are checked against their digests as they are opened, so a damaged archive fails
 * before the layer is begun.  Then layer_merge() makes one layer of them. */
#include "snapshot/archive_restore_layer.h"

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "snapshot/archive.h"

static void show_progress(guint64 done, guint64 total, gpointer data)
{
    RestoreWork *r = data;
    gdouble share = total ? MIN((gdouble)done / (gdouble)total, 1) : 1;

    job_progress(r->job, MIN(r->done + (guint64)(share * (gdouble)r->part), r->total), r->total);
}

/* Open objects one by one, with progress over all of them. */
static GPtrArray *open_run(RestoreWork *r, const RestoreLayer *b, GError **error)
{
    g_autoptr(GPtrArray) run = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);

    for (guint i = b->from; i < b->to; i++) {
        r->part = g_array_index(b->chain, ArchiveLayer, i).bytes;
        g_autoptr(GPtrArray) one =
            archive_open_layers(r->world, r->target, b->chain, i, i + 1, job_cancel_flag(r->job),
                                show_progress, r, error);
        if (!one)
            return NULL;
        g_ptr_array_add(run, g_ptr_array_steal_index(one, 0));
        r->done += r->part;
    }
    const Layer *top = run->pdata[run->len - 1];
    if (layer_virtual_size(top) == b->virtual_size)
        return g_steal_pointer(&run);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                "the archive's layer is not as big as its manifest says");
    return NULL;
}

static gboolean merge(RestoreWork *r, const RestoreLayer *b, GPtrArray *run, LayerSummary *ret,
                      GError **error)
{
    g_autofree char *text = identity_to_json(b->identity);
    g_autofree char *backing = b->base ? g_strdup_printf("../layers/%s", b->base->slot) : NULL;
    const char *slot = b->identity->id;
    BlankSpec spec = { .virtual_size = b->virtual_size,
                       .backing_name = backing,
                       .identity = text };
    LayerMerge work = { .run = (Layer *const *)run->pdata,
                        .n_run = run->len,
                        .below = b->below ? (Layer *const *)b->below->pdata : NULL,
                        .n_below = b->below ? b->below->len : 0,
                        .drop_equal = b->below != NULL,
                        .to = -1,
                        .spec = &spec,
                        .cancel = job_cancel_flag(r->job),
                        .progress = show_progress,
                        .data = r };
    LayerMergeNeed need;

    store_geometry(r->store, &spec.cluster_bits, &spec.has_subclusters);
    if (!layer_merge_reckon(&work, &need, error) ||
        !world_check_space(r->world, r->store, need.new_bytes, error))
        return FALSE;
    auto_fd fd = r->store->ops->create_tmp(r->store, slot, error);
    if (fd < 0)
        return FALSE;
    work.to = fd;
    if (layer_merge(&work, ret, error) &&
        r->store->ops->publish_tmp(r->store, slot, b->is_frozen, error))
        return TRUE;
    r->store->ops->discard(r->store, STORE_TMP, &slot, 1, NULL);
    return FALSE;
}

/* Whole in its slot before a stop?  Its name there may not be durable. */
static gboolean find_built(RestoreWork *r, const RestoreLayer *b, LayerSummary *ret)
{
    g_autoptr(Layer) layer =
        job_is_resumed(r->job) ? store_open_layer(r->store, b->identity->id, NULL, NULL) : NULL;
    Digest digest;

    if (!layer || (b->is_frozen && !digest_file(layer_fd(layer), job_cancel_flag(r->job), NULL,
                                                NULL, &digest, NULL)))
        return FALSE;
    if (b->is_frozen) {
        g_autofree char *text = digest_to_text(&digest);
        g_strlcpy(ret->digest, text, sizeof ret->digest);
    }
    return r->store->ops->discard(r->store, STORE_LAYERS, NULL, 0, NULL); /* a flush */
}

static gboolean write_overlay(RestoreWork *r, const RestoreLayer *b, GError **error)
{
    g_autofree char *text = identity_to_json(b->identity);
    StoreOverlay overlay = {
        b->identity->id, b->base->slot, text, (guint64)b->base->virtual_size, 0, FALSE
    };

    return r->store->ops->create_overlays(r->store, &overlay, 1, error);
}

gboolean restore_layer_build(RestoreWork *r, const RestoreLayer *b, LayerSummary *ret,
                             GError **error)
{
    if (find_built(r, b, ret))
        return TRUE;
    if (b->from == b->to)
        return write_overlay(r, b, error);
    g_autoptr(GPtrArray) run = open_run(r, b, error);
    if (!run)
        return FALSE;
    r->part = 0; /* writing counts as much as reading */
    for (guint i = b->from; i < b->to; i++)
        r->part += g_array_index(b->chain, ArchiveLayer, i).bytes;
    if (!merge(r, b, run, ret, error))
        return FALSE;
    r->done += r->part;
    return TRUE;
}
