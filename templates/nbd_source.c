/* nbd_source.c: block status first, a window at a time; its data ranges are cut into pieces that a
 * ring of asynchronous reads keeps under way; pieces are handed on in order. */
#include "templates/nbd_source.h"

#include <errno.h>
#include <libnbd.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define PIECE (1 * MIB)
#define RING 8
#define WINDOW (1 * GIB)
#define STALL_MS 60000
#define MAX_SIZE (64ull * TIB)
#define MAX_EXTENTS 65536

typedef struct {
    guint64 offset;
    guint32 len;
    gint state; /* 0 idle, 1 under way, 2 done, -errno failed */
    guint8 *buffer;
} Piece;

typedef struct {
    guint64 start, length;
} Range;

struct NbdSource {
    struct nbd_handle *nbd;
    guint64 size;       /* rounded down to what the server has, in whole sectors */
    gboolean has_status;
    GArray *ranges;     /* data ranges of the current window */
    guint64 status_end; /* how far the block status has come */
    Piece ring[RING];
};

static gboolean gone(GError **error, const char *what)
{
    const char *why = nbd_get_error();

    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the source %s: %s", what,
                why ? why : "no answer");
    return FALSE;
}

NbdSource *nbd_source_open(const char *uri, GError **error)
{
    g_autoptr(NbdSource) s = g_new0(NbdSource, 1);

    s->nbd = nbd_create();
    s->ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    if (!s->nbd) {
        gone(error, "cannot be opened");
        return NULL;
    }
    nbd_set_uri_allow_local_file(s->nbd, false);
    nbd_add_meta_context(s->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION);
    if (nbd_connect_uri(s->nbd, uri) < 0) {
        gone(error, "cannot be reached");
        return NULL;
    }
    gint64 size = nbd_get_size(s->nbd);
    if (size < 0) {
        gone(error, "has no size");
        return NULL;
    }
    if (size < 512 || (guint64)size > MAX_SIZE) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the image's size of %" G_GINT64_FORMAT
                    " bytes is out of range (512 B to 64 TiB)",
                    size);
        return NULL;
    }
    s->size = (guint64)size;
    s->has_status = nbd_can_meta_context(s->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
    for (guint i = 0; i < RING; i++)
        s->ring[i].buffer = g_malloc0(PIECE);
    return g_steal_pointer(&s);
}

void nbd_source_close(NbdSource *s)
{
    if (!s)
        return;
    if (s->nbd) {
        nbd_aio_disconnect(s->nbd, 0);
        nbd_close(s->nbd);
    }
    for (guint i = 0; i < RING; i++)
        g_free(s->ring[i].buffer);
    g_array_unref(s->ranges);
    g_free(s);
}

guint64 nbd_source_size(const NbdSource *s)
{
    return (s->size + 511) & ~511ull;
}

static void add_range(NbdSource *s, guint64 start, guint64 length)
{
    Range *last = s->ranges->len ? &g_array_index(s->ranges, Range, s->ranges->len - 1) : NULL;
    Range range = { start, length };

    if (last && last->start + last->length == start)
        last->length += length;
    else
        g_array_append_val(s->ranges, range);
}

static int take_extents(void *user, const char *context, uint64_t offset, uint32_t *entries,
                        size_t n, int *error)
{
    NbdSource *s = user;

    for (size_t i = 0; i + 1 < n && i < 2 * MAX_EXTENTS && offset < s->size; i += 2) {
        guint64 length = MIN(entries[i], s->size - offset);
        if (!(entries[i + 1] & LIBNBD_STATE_ZERO))
            add_range(s, offset, length);
        offset += length;
        s->status_end = MAX(s->status_end, offset);
    }
    return 0;
}

/* Find the data ranges from at on; *ret_end says up to where. */
static gboolean find_ranges(NbdSource *s, guint64 at, guint64 *ret_end, GError **error)
{
    guint64 length = MIN(WINDOW, s->size - at);

    g_array_set_size(s->ranges, 0);
    s->status_end = at;
    if (s->has_status && length >= 512) {
        nbd_extent_callback callback = { .callback = take_extents, .user_data = s };
        if (nbd_block_status(s->nbd, length, at, callback, 0) < 0)
            return gone(error, "went away");
    } else {
        add_range(s, at, length);
        s->status_end = at + length;
    }
    if (s->status_end <= at)
        return gone(error, "gave no block status");
    *ret_end = s->status_end;
    return TRUE;
}

static int piece_done(void *user, int *error)
{
    Piece *piece = user;

    piece->state = *error ? -*error : 2;
    return 1; /* retire it by itself */
}

static gboolean start_piece(NbdSource *s, Piece *piece, guint64 offset, guint32 len, GError **error)
{
    nbd_completion_callback callback = { .callback = piece_done, .user_data = piece };

    piece->offset = offset;
    piece->len = len;
    piece->state = 1;
    if (nbd_aio_pread(s->nbd, piece->buffer, len, offset, callback, 0) < 0) {
        piece->state = 0;
        return gone(error, "went away");
    }
    return TRUE;
}

static gboolean wait_piece(NbdSource *s, Piece *piece, const NbdSink *sink, GError **error)
{
    gint64 until = g_get_monotonic_time() + STALL_MS * 1000ll;

    while (piece->state == 1) {
        if (nbd_poll(s->nbd, 1000) < 0)
            return gone(error, "went away");
        if (!sink->progress(piece->offset, sink->user, error))
            return FALSE;
        if (piece->state == 1 && g_get_monotonic_time() > until) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "the source has not answered for a minute");
            return FALSE;
        }
    }
    if (piece->state < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the source cannot be read at offset %" G_GUINT64_FORMAT ": %s", piece->offset,
                    g_strerror(-piece->state));
        return FALSE;
    }
    return TRUE;
}

/* A source that ends within a sector is filled up with zeros. */
static gboolean hand_on(NbdSource *s, Piece *piece, const NbdSink *sink, GError **error)
{
    guint32 len = (piece->len + 511) & ~511u;

    memset(piece->buffer + piece->len, 0, len - piece->len);
    piece->state = 0;
    return sink->data(piece->offset, piece->buffer, len, sink->user, error) &&
           sink->progress(piece->offset + piece->len, sink->user, error);
}

/* Read the ranges of one window through the ring. */
static gboolean read_ranges(NbdSource *s, const NbdSink *sink, GError **error)
{
    guint head = 0, tail = 0, range = 0; /* pieces [tail, head) are under way */
    guint64 at = s->ranges->len ? g_array_index(s->ranges, Range, 0).start : 0;

    while (range < s->ranges->len || tail < head) {
        while (range < s->ranges->len && head - tail < RING) {
            const Range *r = &g_array_index(s->ranges, Range, range);
            guint64 left = r->start + r->length - at;
            guint32 len = (guint32)MIN(left, PIECE);
            if (!start_piece(s, &s->ring[head % RING], at, len, error))
                return FALSE;
            head++;
            at += len;
            if (len == left && ++range < s->ranges->len)
                at = g_array_index(s->ranges, Range, range).start;
        }
        Piece *piece = &s->ring[tail % RING];
        if (!wait_piece(s, piece, sink, error) || !hand_on(s, piece, sink, error))
            return FALSE;
        tail++;
    }
    return TRUE;
}

gboolean nbd_source_read_all(NbdSource *s, const NbdSink *sink, GError **error)
{
    guint64 at = 0, end;

    while (at < s->size) {
        if (!find_ranges(s, at, &end, error) || !read_ranges(s, sink, error) ||
            !sink->progress(end, sink->user, error))
            return FALSE;
        at = end;
    }
    return TRUE;
}
