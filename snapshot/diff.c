/* diff.c: see diff.h.  Only what layers hold that the two chains don't share can differ; that is
 * read on both sides and compared in blocks of 4 KiB. */
#include "snapshot/diff.h"

#include <string.h>

#include "cow/chain_reader.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"

#define BLOCK 4096u
#define PIECE (1 * MIB)
#define EXTENTS_MAX 10000u /* in the answer; the sum counts them all */

/* The data disk of one state, if it has one, goes into the plan beside its disk. */
static gboolean add_data(Db *db, const char *layer_id, const char *key, json_t *plan,
                         GError **error)
{
    g_auto(LayerRow) layer = { 0 };

    if (!layer_id)
        return TRUE;
    if (!lookup_layer(db, layer_id, &layer, error))
        return FALSE;
    json_int_t size = json_integer_value(json_object_get(plan, "data_size"));
    json_object_set_new(plan, key, json_string(layer_id));
    json_object_set_new(plan, "data_size", json_integer(MAX(size, layer.virtual_size)));
    return TRUE;
}

static gboolean add_side(Db *db, const DesktopRow *desktop, const char *snapshot, const char *key,
                         const char *data_key, json_t *plan, json_t *claims, GError **error)
{
    g_auto(SnapshotRow) row = { 0 };

    if (!snapshot) {
        json_object_set_new(plan, key, json_string(desktop->layer_id));
        json_object_set_new(plan, "active", json_string(desktop->layer_id));
        if (desktop->data_layer_id)
            json_object_set_new(plan, "active_data", json_string(desktop->data_layer_id));
        claims_add(claims, 's', "desktop", desktop->id);
        return add_data(db, desktop->data_layer_id, data_key, plan, error);
    }
    if (!lookup_snapshot(db, desktop->id, snapshot, &row, error))
        return FALSE;
    json_object_set_new(plan, key, json_string(row.layer_id));
    return add_data(db, row.data_layer_id, data_key, plan, error);
}

gboolean snapshot_plan_diff(World *world, const char *desktop, const char *a, const char *b,
                            JobRequest *ret, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    json_t *claims = json_array(), *plan = json_object();
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop(db, desktop, &row, error) &&
                  add_side(db, &row, a, "a", "data_a", plan, claims, error) &&
                  add_side(db, &row, b, "b", "data_b", plan, claims, error);

    catalog_read_end(world->catalog, db);
    if (ok) {
        claims_add(claims, 's', "layers", row.id);
        json_object_set_new(plan, "id", json_string(row.id));
        json_object_set_new(plan, "name", json_string(row.name));
        ok = claims_take(world->claims, claims, snapshot_diff_job.kind, error);
    }
    if (!ok) {
        json_decref(claims);
        json_decref(plan);
        return FALSE;
    }
    *ret = (JobRequest){ .type = &snapshot_diff_job, .plan = plan, .claims = claims };
    return TRUE;
}

/* One of the two states. */
typedef struct {
    LookupRows rows;
    GPtrArray *layers;
    ChainMap *whole, *own; /* own: of the layers that the other side has not, or NULL */
    ChainReader *reader;
    guint8 *buffer;
} Side;

static void side_clear(Side *s)
{
    g_clear_pointer(&s->reader, chain_reader_free);
    g_clear_pointer(&s->whole, chain_map_free);
    g_clear_pointer(&s->own, chain_map_free);
    g_clear_pointer(&s->layers, g_ptr_array_unref);
    lookup_rows_clear(&s->rows);
    g_clear_pointer(&s->buffer, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Side, side_clear)

static gboolean open_side(World *world, const char *layer_id, Side *s, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = chain_rows(db, layer_id, &s->rows, error);

    catalog_read_end(world->catalog, db);
    if (!ok || !(s->layers = chain_open(world, &s->rows, error)) ||
        !(s->whole = chain_map_new((Layer *const *)s->layers->pdata, s->layers->len, 0, error)))
        return FALSE;
    s->reader = chain_reader_new(s->whole, 0);
    s->buffer = g_malloc(PIECE);
    return TRUE;
}

static guint n_shared(const Side *a, const Side *b)
{
    guint n = 0;

    while (n < a->rows.rows->len && n < b->rows.rows->len &&
           g_str_equal(row_id(a->rows.rows->pdata[n]), row_id(b->rows.rows->pdata[n])))
        n++;
    return n;
}

static gboolean map_own(Side *s, guint shared, GError **error)
{
    if (shared == s->layers->len)
        return TRUE;
    s->own = chain_map_new_partial((Layer *const *)s->layers->pdata + shared,
                                   s->layers->len - shared, 0, error);
    return s->own != NULL;
}

typedef struct {
    Job *job;
    Side a, b;
    json_t *extents;
    guint64 n_extents, n_bytes;
    guint64 start, end; /* the extent that grows; start == end: none */
    guint64 before, after; /* bytes that the job has compared already, and will afterwards */
} Diff;

static void close_extent(Diff *d)
{
    if (d->start == d->end)
        return;
    d->n_extents++;
    d->n_bytes += d->end - d->start;
    if (json_array_size(d->extents) < EXTENTS_MAX)
        json_array_append_new(d->extents, json_pack("{s:I,s:I}", "offset", (json_int_t)d->start,
                                                    "length", (json_int_t)(d->end - d->start)));
    d->start = d->end = 0;
}

static void add_block(Diff *d, guint64 offset, guint64 len)
{
    if (d->end != offset)
        close_extent(d);
    if (d->start == d->end)
        d->start = offset;
    d->end = offset + len;
}

/* Read a side; beyond its end are zeros. */
static gboolean read_side(Side *s, guint64 offset, gsize len, GError **error)
{
    guint64 size = chain_map_size(s->whole);
    gsize there = offset < size ? (gsize)MIN(len, size - offset) : 0;

    memset(s->buffer + there, 0, len - there);
    return there == 0 || chain_reader_pread(s->reader, s->buffer, there, offset, error);
}

static gboolean compare_piece(Diff *d, guint64 offset, gsize len, GError **error)
{
    if (!read_side(&d->a, offset, len, error) || !read_side(&d->b, offset, len, error))
        return FALSE;
    for (gsize at = 0; at < len; at += BLOCK) {
        gsize n = MIN(BLOCK, len - at);
        if (memcmp(d->a.buffer + at, d->b.buffer + at, n) != 0)
            add_block(d, offset + at, n);
    }
    return TRUE;
}

/* Up to where nothing of the side's own lies at offset (or something does, then *ret_own is set).
 */
static gboolean next_change(Side *s, guint64 offset, guint64 end, guint64 *ret_to,
                            gboolean *ret_own, GError **error)
{
    MapExtent extent;

    *ret_to = end;
    if (!s->own || offset >= chain_map_size(s->own)) {
        *ret_own = offset >= chain_map_size(s->whole); /* zeros there, whatever lies below */
        return TRUE;
    }
    g_autoptr(GError) local = NULL;
    if (!chain_map_find(s->own, offset, &extent, &local)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    *ret_to = MIN(end, extent.start + extent.length);
    *ret_own = extent.kind != EXTENT_UNALLOCATED;
    return TRUE;
}

static gboolean compare(Diff *d, guint64 size, GError **error)
{
    for (guint64 at = 0; at < size;) {
        guint64 to_a, to_b;
        gboolean own_a, own_b;
        if (!job_check(d->job, error) || !next_change(&d->a, at, size, &to_a, &own_a, error) ||
            !next_change(&d->b, at, size, &to_b, &own_b, error))
            return FALSE;
        guint64 to = MIN(to_a, to_b);
        if (own_a || own_b)
            to = MIN(to, at + PIECE);
        if ((own_a || own_b) && !compare_piece(d, at, (gsize)(to - at), error))
            return FALSE;
        at = to;
        job_progress(d->job, d->before + at, d->before + size + d->after);
    }
    close_extent(d);
    return TRUE;
}

/* A disk that QEMU writes to can't be compared: its tables on storage are stale. */
static gboolean lock_active(World *world, const char *layer_id, ImageLock *lock, GError **error)
{
    g_auto(LayerRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = !layer_id || lookup_layer(db, layer_id, &row, error);

    catalog_read_end(world->catalog, db);
    if (!ok || !layer_id)
        return ok;
    g_autoptr(Store) store = store_set_get(world->stores, row.store_id, error);
    return store && store_lock_layer(store, row.slot, lock, error);
}

/* *size is what lies before in the job's count, and grows by the disk's. */
static json_t *diff_disk(Job *job, World *world, const char *a, const char *b, guint64 *size,
                         guint64 after, GError **error)
{
    Diff d = { .job = job, .extents = json_array(), .before = *size, .after = after };
    gboolean ok = open_side(world, a, &d.a, error) && open_side(world, b, &d.b, error);

    if (ok) {
        guint shared = n_shared(&d.a, &d.b);
        guint64 own = MAX(chain_map_size(d.a.whole), chain_map_size(d.b.whole));
        ok =
            map_own(&d.a, shared, error) && map_own(&d.b, shared, error) && compare(&d, own, error);
        *size += own;
    }
    side_clear(&d.a);
    side_clear(&d.b);
    if (ok)
        return json_pack("{s:I,s:I,s:b,s:o}", "n_bytes", (json_int_t)d.n_bytes, "n_extents",
                         (json_int_t)d.n_extents, "is_complete", d.n_extents <= EXTENTS_MAX,
                         "extents", d.extents);
    json_decref(d.extents);
    return NULL;
}

json_t *diff_layers(Job *job, World *world, const char *a, const char *b, GError **error)
{
    guint64 size = 0;

    return diff_disk(job, world, a, b, &size, 0, error);
}

static const char *plan_text(Job *job, const char *key)
{
    return json_string_value(json_object_get(job_plan(job), key));
}

/* {in: both | a | b, ...}; null if neither state has a data disk. */
static json_t *diff_data(Job *job, World *world, guint64 *size, GError **error)
{
    const char *a = plan_text(job, "data_a"), *b = plan_text(job, "data_b");

    if (!a && !b)
        return json_null();
    if (!a || !b)
        return json_pack("{s:s}", "in", a ? "a" : "b");
    json_t *found = diff_disk(job, world, a, b, size, 0, error);
    if (found)
        json_object_set_new(found, "in", json_string("both"));
    return found;
}

/* The disk and the data disk.  Caller unrefs. */
static json_t *diff_states(Job *job, World *world, GError **error)
{
    json_int_t after = json_integer_value(json_object_get(job_plan(job), "data_size"));
    guint64 size = 0;
    json_t *found = diff_disk(job, world, plan_text(job, "a"), plan_text(job, "b"), &size,
                              (guint64)after, error);
    json_t *data = found ? diff_data(job, world, &size, error) : NULL;

    if (data) {
        json_object_set_new(found, "data_disk", data);
        return found;
    }
    json_decref(found);
    return NULL;
}

static gboolean run_diff(Job *job, gpointer data, GError **error)
{
    World *world = data;
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    g_auto(ImageLock) data_lock = IMAGE_LOCK_INIT;
    json_t *found = lock_active(world, plan_text(job, "active"), &lock, error) &&
                            lock_active(world, plan_text(job, "active_data"), &data_lock, error)
                        ? diff_states(job, world, error)
                        : NULL;

    if (!found)
        return FALSE;
    json_t *result =
        json_pack("{s:s,s:s}", "id", plan_text(job, "id"), "name", plan_text(job, "name"));
    json_object_update(result, found);
    json_decref(found);
    return job_commit_done(job, changes_new(), result, error);
}

const JobType snapshot_diff_job = { "snapshot.diff", JOB_BULK, "bytes", run_diff };
