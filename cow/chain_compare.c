/* chain_compare.c: walks both maps side by side, extent by extent. */
#include "cow/chain_compare.h"

#include <string.h>

#include "cow/chain_reader.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define BLOCK 4096u
#define PIECE (1 * MIB)

typedef struct {
    const ChainCompare *c;
    ChainReader *reader[2];
    guint8 *buffer[2];
} Sides;

static void sides_clear(Sides *s)
{
    for (guint i = 0; i < 2; i++) {
        chain_reader_free(s->reader[i]);
        g_free(s->buffer[i]);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sides, sides_clear)

/* Do both extents, which hold at, lead to the same place? */
static gboolean is_same_place(const ChainCompare *c, const MapExtent *a, const MapExtent *b,
                              guint64 at)
{
    if (a->kind != b->kind)
        return FALSE;
    if (a->kind == EXTENT_ZERO)
        return TRUE;
    if (chain_map_layer(c->a, a->layer) != chain_map_layer(c->b, b->layer))
        return FALSE;
    if (a->kind == EXTENT_COMPRESSED)
        return a->host_offset == b->host_offset &&
               a->skip + (at - a->start) == b->skip + (at - b->start);
    return a->host_offset + (at - a->start) == b->host_offset + (at - b->start);
}

/* Are [at, at + len) the same?  *ret_at is where they first differ. */
static gboolean compare_piece(Sides *s, guint64 at, gsize len, gboolean *ret_same, guint64 *ret_at,
                              GError **error)
{
    for (guint i = 0; i < 2; i++) {
        if (!chain_reader_pread(s->reader[i], s->buffer[i], len, at, error))
            return FALSE;
    }
    *ret_same = memcmp(s->buffer[0], s->buffer[1], len) == 0;
    for (gsize k = 0; !*ret_same && k < len; k += BLOCK) {
        if (memcmp(s->buffer[0] + k, s->buffer[1] + k, MIN(BLOCK, len - k)) != 0) {
            *ret_at = at + k;
            break;
        }
    }
    return TRUE;
}

static gboolean compare_all(Sides *s, guint64 size, gboolean *ret_same, guint64 *ret_at,
                            GError **error)
{
    const ChainCompare *c = s->c;

    for (guint64 at = 0; at < size && *ret_same;) {
        MapExtent a, b;
        if (c->cancel && g_atomic_int_get(c->cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        if (!chain_map_find(c->a, at, &a, error) || !chain_map_find(c->b, at, &b, error))
            return FALSE;
        guint64 end = MIN(a.start + a.length, b.start + b.length);
        gboolean is_same = is_same_place(c, &a, &b, at);
        if (!is_same)
            end = MIN(end, at + PIECE);
        if (!is_same && !compare_piece(s, at, (gsize)(end - at), ret_same, ret_at, error))
            return FALSE;
        at = end;
        if (c->progress)
            c->progress(at, size, c->data);
    }
    return TRUE;
}

gboolean chain_compare(const ChainCompare *c, gboolean *ret_same, guint64 *ret_offset,
                       GError **error)
{
    g_auto(Sides) s = { .c = c };
    guint64 size = chain_map_size(c->a), at = MIN(size, chain_map_size(c->b));

    *ret_same = size == chain_map_size(c->b);
    ChainMap *maps[2] = { c->a, c->b };
    for (guint i = 0; i < 2; i++) {
        s.reader[i] = chain_reader_new(maps[i], 0);
        s.buffer[i] = g_malloc(PIECE);
    }
    if (!compare_all(&s, size, ret_same, &at, error))
        return FALSE;
    if (ret_offset)
        *ret_offset = at;
    return TRUE;
}
