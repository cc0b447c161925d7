/* chain_map.c: windows of the flat map, made on demand and kept under a byte budget.
 *
 * Cached windows never overlap and are kept sorted by start; the one that was not used for longest
 * goes first.  chain_window.c builds them, outside of the lock.  One window takes at most a 16th of
 * the budget: a reader of a badly fragmented place builds the few windows that lie between the
 * aligned start and its offset, and no more.
 *
 * Most maps fit their budget as a whole.  Once the cached windows cover the disk, nothing is built
 * or thrown away any more: their list is published, and from then on readers take no lock. */
#include "cow/chain_map.h"

#include "cow/chain_window.h"
#include "imaged/base/error.h"

#define DEFAULT_BUDGET (64ull << 20)
#define LEAST_BUDGET (256ull << 10)

typedef struct {
    guint n;
    Window *windows[]; /* sorted; the cache's references */
} Complete;

struct ChainMap {
    WindowChain chain; /* its array is ours */
    guint64 size;      /* guest bytes */
    guint64 budget;    /* bytes */
    guint max_extents; /* of one window */
    gsize memory;      /* bytes of all windows alive; atomic */
    Complete *complete; /* atomic, set once: all windows, when they cover the whole disk */

    GMutex lock;        /* what follows */
    GCond built;        /* a range left building */
    GPtrArray *windows; /* cached, sorted by start */
    GQueue lru;         /* the same; the head was used last */
    guint64 cached;     /* bytes of them */
    guint64 covered;    /* guest bytes of them */
    GArray *building;   /* aligned starts (guint64) that some thread is at */
};

/* ---- The cache ---- */

/* Number of cached windows that start at or before offset. */
static guint windows_until(const ChainMap *map, guint64 offset)
{
    guint low = 0, high = map->windows->len;

    while (low < high) {
        guint mid = low + (high - low) / 2;
        if (((Window *)map->windows->pdata[mid])->start <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* A new reference to the cached window that holds offset, or NULL. */
static Window *lookup(ChainMap *map, guint64 offset)
{
    guint n = windows_until(map, offset);
    Window *w = n ? map->windows->pdata[n - 1] : NULL;

    if (!w || offset >= w->end)
        return NULL;
    if (map->lru.head != &w->lru) {
        g_queue_unlink(&map->lru, &w->lru);
        g_queue_push_head_link(&map->lru, &w->lru);
    }
    return window_ref(w);
}

static void evict(ChainMap *map, guint64 needed)
{
    while (map->lru.tail && map->cached + needed > map->budget) {
        Window *w = map->lru.tail->data;
        g_ptr_array_remove_index(map->windows, windows_until(map, w->start) - 1);
        g_queue_unlink(&map->lru, &w->lru);
        map->cached -= w->charge;
        map->covered -= w->end - w->start;
        window_unref(w);
    }
}

/* From here on every lookup finds its window, so nothing is built, and nothing evicted. */
static void publish(ChainMap *map)
{
    Complete *all = g_malloc(sizeof *all + map->windows->len * sizeof(Window *));

    all->n = map->windows->len;
    for (guint i = 0; i < all->n; i++)
        all->windows[i] = map->windows->pdata[i];
    g_atomic_pointer_set(&map->complete, all);
}

/* Put w into the cache, unless another thread has built something for its range meanwhile. */
static void insert(ChainMap *map, Window *w)
{
    guint n = windows_until(map, w->start);

    if ((n && ((Window *)map->windows->pdata[n - 1])->end > w->start) ||
        (n < map->windows->len && ((Window *)map->windows->pdata[n])->start < w->end))
        return;
    evict(map, w->charge);
    g_ptr_array_insert(map->windows, windows_until(map, w->start), window_ref(w));
    g_queue_push_head_link(&map->lru, &w->lru);
    map->cached += w->charge;
    map->covered += w->end - w->start;
    if (map->covered == map->size)
        publish(map);
}

static gint building_index(const ChainMap *map, guint64 key)
{
    for (guint i = 0; i < map->building->len; i++)
        if (g_array_index(map->building, guint64, i) == key)
            return i;
    return -1;
}

/* Build the window at key, between its cached neighbours; lock is held, but not while building. */
static Window *build_next(ChainMap *map, guint64 key, guint64 offset, GError **error)
{
    guint n = windows_until(map, offset);
    guint64 start = key, limit = map->size;

    if (n)
        start = MAX(start, ((Window *)map->windows->pdata[n - 1])->end);
    if (n < map->windows->len)
        limit = ((Window *)map->windows->pdata[n])->start;
    g_array_append_val(map->building, key);
    /* Make room first, so that what is being built does not come on top of a full cache. */
    evict(map, WINDOW_OVERHEAD + (guint64)(map->max_extents + 1) * sizeof(MapExtent));
    g_mutex_unlock(&map->lock);

    Window *w = window_build(&map->chain, start, limit, map->max_extents, &map->memory, error);

    g_mutex_lock(&map->lock);
    g_array_remove_index_fast(map->building, building_index(map, key));
    g_cond_broadcast(&map->built);
    if (w)
        insert(map, w);
    return w;
}

/* The window that holds offset, cached or built.  Two threads never build at the same place: the
 * second waits for the first. */
static Window *window_at(ChainMap *map, guint64 offset, GError **error)
{
    guint64 key = offset / WINDOW_ALIGN * WINDOW_ALIGN;
    Window *w;

    g_mutex_lock(&map->lock);
    while (!(w = lookup(map, offset))) {
        if (building_index(map, key) >= 0) {
            g_cond_wait(&map->built, &map->lock);
            continue;
        }
        w = build_next(map, key, offset, error);
        if (!w || offset < w->end)
            break;
        /* It was cut before offset: go on behind it, cached or not. */
        key = w->end;
        window_unref(w);
    }
    g_mutex_unlock(&map->lock);
    return w;
}

/* The window that holds offset, if all are there: no reference is taken. */
static Window *complete_at(ChainMap *map, guint64 offset)
{
    const Complete *all = g_atomic_pointer_get(&map->complete);
    guint low = 0, high = all ? all->n : 0;

    while (high - low > 1) {
        guint mid = low + (high - low) / 2;
        if (all->windows[mid]->start <= offset)
            low = mid;
        else
            high = mid;
    }
    return all ? all->windows[low] : NULL;
}

/* ---- The interface ---- */

ChainMap *chain_map_new(Layer *const *layers, guint n_layers, guint64 budget, GError **error)
{
    if (n_layers == 0 || n_layers > G_MAXUINT16) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a chain of %u layers cannot be read", n_layers);
        return NULL;
    }
    ChainMap *map = g_new0(ChainMap, 1);
    map->chain.layers = g_memdup2(layers, n_layers * sizeof *layers);
    map->chain.n_layers = n_layers;
    map->size = layer_virtual_size(layers[n_layers - 1]);
    map->budget = MAX(budget ? budget : DEFAULT_BUDGET, LEAST_BUDGET);
    map->max_extents = map->budget / 16 / sizeof(MapExtent) - 1;
    g_mutex_init(&map->lock);
    g_cond_init(&map->built);
    map->windows = g_ptr_array_new();
    map->building = g_array_new(FALSE, FALSE, sizeof(guint64));
    return map;
}

ChainMap *chain_map_new_partial(Layer *const *layers, guint n_layers, guint64 budget,
                                GError **error)
{
    ChainMap *map = chain_map_new(layers, n_layers, budget, error);

    if (map)
        map->chain.is_partial = TRUE;
    return map;
}

void chain_map_free(ChainMap *map)
{
    if (!map)
        return;
    for (guint i = 0; i < map->windows->len; i++)
        window_unref(map->windows->pdata[i]);
    g_free(map->complete);
    g_ptr_array_unref(map->windows);
    g_array_unref(map->building);
    g_mutex_clear(&map->lock);
    g_cond_clear(&map->built);
    g_free((gpointer)map->chain.layers);
    g_free(map);
}

guint64 chain_map_size(const ChainMap *map)
{
    return map->size;
}

Layer *chain_map_layer(const ChainMap *map, guint index)
{
    return map->chain.layers[index];
}

guint chain_map_n_layers(const ChainMap *map)
{
    return map->chain.n_layers;
}

guint64 chain_map_memory(const ChainMap *map)
{
    return (gsize)g_atomic_pointer_get(&((ChainMap *)map)->memory);
}

gboolean chain_map_find(ChainMap *map, guint64 offset, MapExtent *ret_extent, GError **error)
{
    if (offset >= map->size)
        return FALSE;
    g_autoptr(Window) held = NULL;
    Window *w = complete_at(map, offset);
    if (!w)
        w = held = window_at(map, offset, error);
    if (!w)
        return FALSE;
    *ret_extent = w->extents[window_index(w, offset)];
    return TRUE;
}

static MapExtent clipped(const MapExtent *e, guint64 from, guint64 to)
{
    MapExtent c = *e;
    guint64 end = MIN(e->start + e->length, to), cut = from > e->start ? from - e->start : 0;

    c.start += cut;
    c.length = end - c.start;
    if (c.kind == EXTENT_DATA)
        c.host_offset += cut;
    else if (c.kind == EXTENT_COMPRESSED)
        c.skip += cut;
    return c;
}

gboolean chain_map_walk(ChainMap *map, guint64 from, guint64 to, ChainMapVisit visit, gpointer data,
                        GError **error)
{
    to = MIN(to, map->size);
    while (from < to) {
        g_autoptr(Window) held = NULL;
        Window *w = complete_at(map, from);
        if (!w)
            w = held = window_at(map, from, error);
        if (!w)
            return FALSE;
        for (guint i = window_index(w, from); i < w->n && from < to; i++) {
            MapExtent e = clipped(&w->extents[i], from, to);
            if (!visit(&e, data, error))
                return FALSE;
            from = e.start + e.length;
        }
    }
    return TRUE;
}
