/* advice_read.c: see advice_read.h. */
#include "snapshot/advice_read.h"

#include "cow/block_digest.h"
#include "cow/chain_reader.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/chain.h"

#define N_OPEN 32u
#define MAP_BUDGET (1 * MIB)
#define CACHE_BYTES (2 * MIB)

typedef struct {
    guint owner;
    guint64 used; /* when it was used last; 0: not in use */
    GPtrArray *layers;
    ChainMap *map;
    ChainReader *reader;
} Open;

struct AdviceReader {
    World *world;
    const GPtrArray *layer_ids;
    guint64 now;
    Open open[N_OPEN];
};

static void open_clear(Open *o)
{
    g_clear_pointer(&o->reader, chain_reader_free);
    g_clear_pointer(&o->map, chain_map_free);
    g_clear_pointer(&o->layers, g_ptr_array_unref);
    o->used = 0;
}

AdviceReader *advice_reader_new(World *world, const GPtrArray *layer_ids)
{
    AdviceReader *r = g_new0(AdviceReader, 1);

    r->world = world;
    r->layer_ids = layer_ids;
    return r;
}

void advice_reader_free(AdviceReader *r)
{
    for (guint i = 0; r && i < N_OPEN; i++)
        open_clear(&r->open[i]);
    g_free(r);
}

static gboolean open_chain(AdviceReader *r, guint owner, Open *o, GError **error)
{
    g_auto(LookupRows) rows = { 0 };
    Db *db = catalog_read_begin(r->world->catalog);
    gboolean ok = chain_rows(db, r->layer_ids->pdata[owner], &rows, error);

    catalog_read_end(r->world->catalog, db);
    if (!ok || !(o->layers = chain_open(r->world, &rows, error)))
        return FALSE;
    if (image_lock_has_writer(layer_fd(o->layers->pdata[o->layers->len - 1]))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it runs");
        return FALSE;
    }
    o->map = chain_map_new((Layer *const *)o->layers->pdata, o->layers->len, MAP_BUDGET, error);
    if (!o->map)
        return FALSE;
    o->reader = chain_reader_new(o->map, CACHE_BYTES);
    o->owner = owner;
    return TRUE;
}

static Open *find_open(AdviceReader *r, guint owner, GError **error)
{
    Open *oldest = &r->open[0];

    for (guint i = 0; i < N_OPEN; i++) {
        Open *o = &r->open[i];
        if (o->used && o->owner == owner) {
            o->used = ++r->now;
            return o;
        }
        if (o->used < oldest->used)
            oldest = o;
    }
    open_clear(oldest);
    if (!open_chain(r, owner, oldest, error)) {
        open_clear(oldest);
        return NULL;
    }
    oldest->used = ++r->now;
    return oldest;
}

gboolean advice_reader_read(AdviceReader *r, guint owner, guint64 block, guint n, void *buffer,
                            GError **error)
{
    Open *o = find_open(r, owner, error);

    return o && chain_reader_pread(o->reader, buffer, (gsize)n * BLOCK_DIGEST_BLOCK,
                                   block * BLOCK_DIGEST_BLOCK, error);
}
