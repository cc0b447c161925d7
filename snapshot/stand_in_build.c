/* stand_in_build.c: see stand_in_build.h.  The bytes of each block are read from one of the
 * desktops that have it.  Should that one have changed since it was counted, the stand-in holds
 * other bytes there: it saves less then, and the desktops read the same. */
#include "snapshot/stand_in_build.h"

#include "cow/identity.h"
#include "cow/layer_writer.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/advice.h"
#include "snapshot/advice_read.h"
#include "snapshot/stand_in.h"

#define MAX_RUN 64u /* blocks */

typedef struct {
    Job *job;
    World *world;
    Store *store;
    LayerRow base;
    AdviceSet set;
    LayerSummary summary;
} Build;

static void build_clear(Build *b)
{
    advice_set_clear(&b->set);
    layer_row_clear(&b->base);
    g_clear_pointer(&b->store, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, build_clear)

static const char *text_of(const Build *b, const char *key)
{
    return json_string_value(json_object_get(job_plan(b->job), key));
}

static gint64 int_of(const Build *b, const char *key)
{
    return json_integer_value(json_object_get(job_plan(b->job), key));
}

static void show_progress(guint64 done, guint64 total, gpointer job)
{
    job_progress(job, done, total);
}

/* Count what the desktops of the plan have in common. */
static gboolean count(Build *b, GError **error)
{
    json_t *item;
    size_t i;

    b->set.share = (gdouble)int_of(b, "share") / 100;
    b->set.cache.cancel = job_cancel_flag(b->job);
    b->set.step = show_progress;
    b->set.data = b->job;
    job_message(b->job, "comparing");
    json_array_foreach (json_object_get(job_plan(b->job), "items"), i, item) {
        g_auto(DesktopRow) desktop = { 0 };
        Db *db = catalog_read_begin(b->world->catalog);
        if (lookup_desktop_by_id(db, json_string_value(json_object_get(item, "id")), &desktop,
                                 NULL) &&
            !desktop.is_trashed && g_str_equal(desktop.version_id, text_of(b, "version")) &&
            g_str_equal(desktop.store_id, b->base.store_id))
            advice_set_add(&b->set, db, &desktop);
        catalog_read_end(b->world->catalog, db);
    }
    return b->set.diffs->len == 0 || advice_count(&b->set, error);
}

/* Blocks from i on that lie in a row and come from one desktop. */
static guint count_run(const GArray *blocks, guint i)
{
    const AdviceBlock *b = &g_array_index(blocks, AdviceBlock, i);
    guint n = 1;

    while (n < MAX_RUN && i + n < blocks->len && b[n].owner == b->owner &&
           b[n].block == b->block + n)
        n++;
    return n;
}

static gboolean write_blocks(Build *b, LayerWriter *writer, GError **error)
{
    g_autoptr(GPtrArray) ids = advice_owner_ids(&b->set);
    g_autoptr(AdviceReader) reader = advice_reader_new(b->world, ids);
    g_autofree guint8 *buffer = g_malloc(MAX_RUN * BLOCK_DIGEST_BLOCK);
    const GArray *blocks = b->set.blocks;
    guint n;

    job_message(b->job, "writing the stand-in");
    for (guint i = 0; i < blocks->len; i += n) {
        const AdviceBlock *first = &g_array_index(blocks, AdviceBlock, i);
        g_autoptr(GError) local = NULL;
        n = count_run(blocks, i);
        if (!job_check(b->job, error))
            return FALSE;
        if (!advice_reader_read(reader, first->owner, first->block, n, buffer, &local)) {
            if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE))
                continue; /* it was started or deleted meanwhile: without these blocks then */
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!layer_writer_data(writer, first->block * BLOCK_DIGEST_BLOCK, buffer,
                               (guint64)n * BLOCK_DIGEST_BLOCK, error))
            return FALSE;
        job_progress(b->job, i + n, blocks->len);
    }
    return layer_writer_finish(writer, &b->summary, error);
}

static gboolean write_layer(Build *b, GError **error)
{
    const char *slot = text_of(b, "layer");
    Identity identity = { .id = (char *)slot,
                          .parent = b->base.id,
                          .owner_kind = LAYER_STAND_IN,
                          .owner_id = (char *)slot,
                          .owner_name = (char *)text_of(b, "template"),
                          .generation = int_of(b, "number"),
                          .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    g_autofree char *backing = g_strdup_printf("../layers/%s", b->base.slot);
    BlankSpec spec = { .virtual_size = (guint64)b->base.virtual_size,
                       .backing_name = backing,
                       .identity = text };

    store_geometry(b->store, &spec.cluster_bits, &spec.has_subclusters);
    auto_fd fd = b->store->ops->create_tmp(b->store, slot, error);
    g_autoptr(LayerWriter) writer = fd >= 0 ? layer_writer_new(fd, &spec, error) : NULL;
    if (writer && write_blocks(b, writer, error) &&
        b->store->ops->publish_tmp(b->store, slot, TRUE, error))
        return TRUE;
    b->store->ops->discard(b->store, STORE_TMP, &slot, 1, NULL);
    return FALSE;
}

static gboolean commit(Build *b, GError **error)
{
    char *id = (char *)text_of(b, "layer");
    guint64 bytes = (guint64)b->set.blocks->len * BLOCK_DIGEST_BLOCK;
    g_autofree char *size = units_format_size(bytes);
    LayerRow row = { .id = id,
                     .slot = id,
                     .store_id = b->base.store_id,
                     .parent_id = b->base.id,
                     .owner_kind = LAYER_STAND_IN,
                     .owner_id = id,
                     .generation = int_of(b, "number"),
                     .state = "frozen",
                     .place = "layers",
                     .virtual_size = b->base.virtual_size,
                     .checksum = *b->summary.digest ? b->summary.digest : NULL,
                     .created_at = units_now_ms() };
    Changes *changes = changes_new();

    changes_put(changes, ROW_LAYER, &row, row.store_id);
    if (bytes)
        changes_event(changes, "template.stand-in", "info", text_of(b, "name"), job_owner(b->job),
                      "a stand-in base of %s for %u desktops", size, b->set.n_eligible);
    return job_commit(b->job, changes, job_step(b->job) + 1, error);
}

static gboolean load(Build *b, GError **error)
{
    Db *db = catalog_read_begin(b->world->catalog);
    gboolean ok = lookup_layer(db, text_of(b, "base"), &b->base, error);

    catalog_read_end(b->world->catalog, db);
    b->store = ok ? store_set_get(b->world->stores, b->base.store_id, error) : NULL;
    return b->store != NULL;
}

static gboolean make(Build *b, gboolean *ret_is_worth, GError **error)
{
    const char *slot = text_of(b, "layer");
    StoreStat stat;

    if (b->store->ops->stat(b->store, STORE_LAYERS, slot, &stat, NULL)) /* whole, before a stop */
        return b->store->ops->discard(b->store, STORE_LAYERS, NULL, 0, error) && commit(b, error);
    if (!count(b, error))
        return FALSE;
    AdviceGain gain = advice_gain(&b->set);
    *ret_is_worth = b->set.blocks->len > 0;
    return !*ret_is_worth || (world_check_space(b->world, b->store,
                                                gain.layer_bytes + gain.layer_bytes / 16, error) &&
                              write_layer(b, error) && commit(b, error));
}

gboolean stand_in_build(Job *job, World *world, gboolean *ret_is_worth, GError **error)
{
    g_auto(Build) b = { .job = job, .world = world };
    const char *slot = text_of(&b, "layer");

    if (!load(&b, error))
        return FALSE;
    advice_set_init(&b.set, world, 1);
    if (make(&b, ret_is_worth, error))
        return TRUE;
    b.store->ops->discard(b.store, STORE_LAYERS, &slot, 1, NULL);
    return FALSE;
}
