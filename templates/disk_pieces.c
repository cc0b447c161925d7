/* disk_pieces.c: a piece is collected as a whole before it is handed on, so pieces are bounded. */
#include "templates/disk_pieces.h"

#include <string.h>

#include "imaged/base/error.h"

#define HEAD 16
#define SECTOR 512
#define MAX_PIECE (1u << 20)
#define MAX_SIZE (64ull << 40)

struct DiskPieces {
    DiskPieceSink sink;
    GByteArray *partial; /* of a head or of a piece */
    guint64 offset, len; /* of the piece that is being read; len 0: a head is */
    guint64 reached;     /* the end of the last piece */
    guint64 size;        /* once it was told */
    gboolean is_over;
};

DiskPieces *disk_pieces_new(const DiskPieceSink *sink)
{
    DiskPieces *p = g_new0(DiskPieces, 1);

    p->sink = *sink;
    p->partial = g_byte_array_new();
    return p;
}

void disk_pieces_free(DiskPieces *p)
{
    if (!p)
        return;
    g_byte_array_unref(p->partial);
    g_free(p);
}

static gboolean refuse(GError **error, const char *why)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the disk that was built is broken: %s",
                why);
    return FALSE;
}

static guint64 get_le(const guint8 *at)
{
    guint64 value;

    memcpy(&value, at, sizeof value);
    return GUINT64_FROM_LE(value);
}

static gboolean take_head(DiskPieces *p, GError **error)
{
    p->offset = get_le(p->partial->data);
    p->len = get_le(p->partial->data + 8);
    g_byte_array_set_size(p->partial, 0);
    if (p->offset % SECTOR || p->len % SECTOR || p->offset > MAX_SIZE || p->len > MAX_PIECE ||
        p->offset < p->reached)
        return refuse(error, "a piece out of place");
    if (p->len == 0) {
        p->is_over = TRUE;
        p->size = p->offset;
    }
    return TRUE;
}

static gboolean take_piece(DiskPieces *p, GError **error)
{
    guint64 len = p->len;

    p->len = 0;
    p->reached = p->offset + len;
    gboolean ok = p->sink.data(p->offset, p->partial->data, len, p->sink.user, error);
    g_byte_array_set_size(p->partial, 0);
    return ok;
}

gboolean disk_pieces_take(DiskPieces *p, const void *bytes, gsize n, GError **error)
{
    const guint8 *at = bytes;

    while (n) {
        if (p->is_over)
            return refuse(error, "bytes behind its end");
        gsize wanted = (p->len ? (gsize)p->len : HEAD) - p->partial->len;
        gsize part = MIN(n, wanted);
        g_byte_array_append(p->partial, at, (guint)part);
        at += part;
        n -= part;
        if (part < wanted)
            return TRUE;
        if (p->len ? !take_piece(p, error) : !take_head(p, error))
            return FALSE;
    }
    return TRUE;
}

gboolean disk_pieces_are_complete(const DiskPieces *p, guint64 size, GError **error)
{
    if (!p->is_over || p->reached > p->size)
        return refuse(error, "it ends too early");
    return p->size == size ? TRUE : refuse(error, "it has another size than was asked for");
}
