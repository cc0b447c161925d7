/* inspection_same.c: what every boot changes in ext's own structures is left out of the comparison:
 * of a superblock only what says where things lie is compared (and that no journal waits), of an
 * inode all but its time of access and its checksum, of a group only where its inodes are. */
#include "templates/inspection_same.h"

#include <jansson.h>
#include <string.h>

#include "cow/chain_reader.h"
#include "imaged/base/error.h"

#define PIECE (64u << 10)
#define RECORD_MAX 4096u
#define MAP_BUDGET (1u << 20)

typedef struct {
    guint64 offset, length;
    char kind;
} Range;

struct InspectionBase {
    GPtrArray *layers; /* borrowed Layer * */
    GArray *ranges;    /* of Range; NULL: not known */
    ChainMap *map;
    ChainReader *reader;
    guint8 *a, *b;
};

void inspection_base_free(InspectionBase *base)
{
    if (!base)
        return;
    g_clear_pointer(&base->reader, chain_reader_free);
    g_clear_pointer(&base->map, chain_map_free);
    g_clear_pointer(&base->ranges, g_array_unref);
    g_ptr_array_unref(base->layers);
    g_free(base->a);
    g_free(base->b);
    g_free(base);
}

static GArray *parse_ranges(const char *text, GError **error)
{
    json_t *list = json_loads(text, 0, NULL), *item;
    GArray *out = g_array_new(FALSE, FALSE, sizeof(Range));
    size_t i;

    json_array_foreach (list, i, item) {
        const char *kind = json_string_value(json_array_get(item, 0));
        Range r = { (guint64)json_integer_value(json_array_get(item, 1)),
                    (guint64)json_integer_value(json_array_get(item, 2)), kind ? *kind : 'd' };
        if (r.kind != 'd')
            r.length = MIN(r.length, RECORD_MAX);
        g_array_append_val(out, r);
    }
    json_decref(list);
    if (list)
        return out;
    g_array_unref(out);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the inspection's ranges are damaged");
    return NULL;
}

InspectionBase *inspection_base_new(Layer *const *layers, guint n_layers, const char *ranges,
                                    GError **error)
{
    g_autoptr(InspectionBase) base = g_new0(InspectionBase, 1);

    base->layers = g_ptr_array_new();
    for (guint i = 0; i < n_layers; i++)
        g_ptr_array_add(base->layers, layers[i]);
    if ((ranges && !(base->ranges = parse_ranges(ranges, error))) ||
        !(base->map = chain_map_new(layers, n_layers, 0, error)))
        return NULL;
    base->reader = chain_reader_new(base->map, 0);
    base->a = g_malloc(PIECE);
    base->b = g_malloc(PIECE);
    return g_steal_pointer(&base);
}

/* ---- Two records ---- */

static gboolean same_at(const InspectionBase *base, guint offset, guint len)
{
    return memcmp(base->a + offset, base->b + offset, len) == 0;
}

static gboolean same_super(const InspectionBase *base, guint64 len)
{
    static const struct {
        guint16 offset, len;
    } fixed[] = {
        { 0x00, 8 },  /* inodes, blocks */
        { 0x14, 8 },  /* first block, block size */
        { 0x20, 4 },  /* blocks per group */
        { 0x28, 4 },  /* inodes per group */
        { 0x38, 2 },  /* magic */
        { 0x4c, 4 },  /* revision */
        { 0x54, 6 },  /* first inode, inode size */
        { 0x60, 8 },  /* features: incompatible (a journal that waits is one), read-only */
        { 0x68, 32 }, /* UUID, label */
        { 0xfe, 2 },  /* descriptor size */
        { 0x104, 4 }, /* first meta block group */
        { 0x150, 4 }, /* blocks, high */
    };

    for (guint i = 0; i < G_N_ELEMENTS(fixed); i++) {
        if (fixed[i].offset + fixed[i].len <= len && !same_at(base, fixed[i].offset, fixed[i].len))
            return FALSE;
    }
    return TRUE;
}

static gboolean same_inode(const InspectionBase *base, guint len)
{
    static const struct {
        guint16 offset, len;
    } volatiles[] = {
        { 0x08, 4 }, /* time of access */
        { 0x7c, 2 }, /* checksum */
        { 0x82, 2 }, /* checksum, high */
        { 0x8c, 4 }, /* time of access, high */
    };

    for (guint i = 0; i < G_N_ELEMENTS(volatiles); i++) {
        if (volatiles[i].offset + volatiles[i].len <= len) {
            memset(base->a + volatiles[i].offset, 0, volatiles[i].len);
            memset(base->b + volatiles[i].offset, 0, volatiles[i].len);
        }
    }
    return same_at(base, 0, len);
}

static gboolean same_record(const InspectionBase *base, const Range *r)
{
    switch (r->kind) {
    case 's':
        return same_super(base, r->length);
    case 'i':
        return same_inode(base, (guint)r->length);
    case 'g':
        return r->length < 12 || (same_at(base, 8, 4) && (r->length < 44 || same_at(base, 40, 4)));
    default:
        return FALSE;
    }
}

/* ---- One diff ---- */

static gboolean stop_at_own(const MapExtent *extent, gpointer data, GError **error)
{
    *(gboolean *)data = extent->kind != EXTENT_UNALLOCATED;
    return extent->kind == EXTENT_UNALLOCATED;
}

/* Does the diff hold any byte of the range? */
static gboolean is_touched(ChainMap *own, const Range *r, gboolean *ret, GError **error)
{
    GError *local = NULL;

    *ret = FALSE;
    chain_map_walk(own, r->offset, r->offset + r->length, stop_at_own, ret, &local);
    if (local)
        g_propagate_error(error, local);
    return !local;
}

static gboolean go_on(const gint *cancel, GError **error)
{
    if (!cancel || !g_atomic_int_get(cancel))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    return FALSE;
}

static gboolean compare_range(InspectionBase *base, ChainReader *whole, const Range *r,
                              const gint *cancel, gboolean *ret_is_same, GError **error)
{
    *ret_is_same = TRUE;
    for (guint64 done = 0; done < r->length && *ret_is_same;) {
        gsize n = (gsize)MIN(PIECE, r->length - done);
        if (!go_on(cancel, error) ||
            !chain_reader_pread(base->reader, base->a, n, r->offset + done, error) ||
            !chain_reader_pread(whole, base->b, n, r->offset + done, error))
            return FALSE;
        *ret_is_same = r->kind == 'd' ? same_at(base, 0, (guint)n) : same_record(base, r);
        done += n;
    }
    return TRUE;
}

static gboolean compare_touched(InspectionBase *base, ChainMap *own_map, ChainReader *whole,
                                const gint *cancel, gboolean *ret_is_same, GError **error)
{
    *ret_is_same = TRUE;
    for (guint i = 0; *ret_is_same && i < base->ranges->len; i++) {
        const Range *r = &g_array_index(base->ranges, Range, i);
        gboolean touched;
        if (!go_on(cancel, error) || !is_touched(own_map, r, &touched, error) ||
            (touched && !compare_range(base, whole, r, cancel, ret_is_same, error)))
            return FALSE;
    }
    return TRUE;
}

static gboolean is_empty(Layer *const *own, guint n_own, gboolean *ret, GError **error)
{
    *ret = TRUE;
    for (guint i = 0; i < n_own && *ret; i++) {
        LayerCounts counts;
        if (!layer_count(own[i], &counts, error))
            return FALSE;
        *ret = counts.data_bytes == 0 && counts.zero_bytes == 0;
    }
    return TRUE;
}

gboolean inspection_base_compare(InspectionBase *base, Layer *const *own, guint n_own,
                                 const gint *cancel, gboolean *ret_is_same, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    if (!is_empty(own, n_own, ret_is_same, error))
        return FALSE;
    if (*ret_is_same || !base->ranges) /* nothing changed; or something, and who knows what */
        return TRUE;
    for (guint i = 0; i < base->layers->len; i++)
        g_ptr_array_add(all, base->layers->pdata[i]);
    for (guint i = 0; i < n_own; i++)
        g_ptr_array_add(all, own[i]);
    g_autoptr(ChainMap) own_map = chain_map_new_partial(own, n_own, MAP_BUDGET, error);
    g_autoptr(ChainMap) map =
        own_map ? chain_map_new((Layer *const *)all->pdata, all->len, MAP_BUDGET, error) : NULL;
    if (!map)
        return FALSE;
    g_autoptr(ChainReader) whole = chain_reader_new(map, MAP_BUDGET);
    return compare_touched(base, own_map, whole, cancel, ret_is_same, error);
}
