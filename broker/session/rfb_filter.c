/* rfb_filter.c: see rfb_filter.h.  A message is a head of a fixed size, which says how much more of
 * it comes. */
#include "broker/session/rfb_filter.h"

#include <string.h>

#include "imaged/base/error.h"

#define MAX_CUT_TEXT (1 << 20)
#define N_HANDSHAKE 3

enum {
    SET_PIXEL_FORMAT = 0,
    SET_ENCODINGS = 2,
    UPDATE_REQUEST = 3,
    KEY = 4,
    POINTER = 5,
    CUT_TEXT = 6,
    SET_DESKTOP_SIZE = 251,
    QEMU = 255,
};

static gboolean refuse(GError **error, const char *what)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a VNC client says %s", what);
    return FALSE;
}

/* Of the head, once so much of it is there; 0: no such message. */
static guint head_size(const guint8 *head, guint n)
{
    switch (head[0]) {
    case SET_PIXEL_FORMAT:
        return 20;
    case SET_ENCODINGS:
        return 4;
    case UPDATE_REQUEST:
        return 10;
    case KEY:
    case CUT_TEXT:
    case SET_DESKTOP_SIZE:
        return 8;
    case POINTER:
        return 6;
    case QEMU:
        if (n < 4)
            return 4;
        return head[1] == 0 ? 12 : head[1] != 1 ? 0 : head[3] == 2 ? 10 : 4;
    default:
        return 0;
    }
}

static guint big16(const guint8 *p)
{
    return (guint)p[0] << 8 | p[1];
}

/* What comes behind the head.  FALSE: more than anybody has to say. */
static gboolean body_size(const guint8 *head, guint64 *ret)
{
    gint64 n;

    *ret = 0;
    if (head[0] == SET_ENCODINGS)
        *ret = 4 * (guint64)big16(head + 2);
    if (head[0] == SET_DESKTOP_SIZE)
        *ret = 16 * (guint64)head[6];
    if (head[0] != CUT_TEXT)
        return TRUE;
    n = (gint32)((guint32)big16(head + 4) << 16 | big16(head + 6));
    *ret = (guint64)ABS(n); /* negative: in the extended form */
    return *ret <= MAX_CUT_TEXT;
}

/* The head is all there. */
static gboolean begin_message(RfbFilter *f, GByteArray *out, GError **error)
{
    gboolean is_harmless = f->head[0] <= UPDATE_REQUEST;

    if (!body_size(f->head, &f->rest))
        return refuse(error, "more than a clipboard holds");
    f->passes = f->may_control || is_harmless;
    if (f->passes)
        g_byte_array_append(out, f->head, f->n_head);
    f->n_head = 0;
    return TRUE;
}

/* Version, kind of security, and whether others may look too: the answer is always yes. */
static gboolean shake_hands(RfbFilter *f, GByteArray *out, GError **error)
{
    static const guint sizes[N_HANDSHAKE] = { 12, 1, 1 };

    if (f->n_head < sizes[f->step])
        return TRUE;
    if (f->step == 0 && memcmp(f->head, "RFB 003.008\n", 12) != 0 &&
        memcmp(f->head, "RFB 003.007\n", 12) != 0)
        return refuse(error, "what is no RFB 3.7 or 3.8");
    if (f->step == 1 && f->head[0] != 1)
        return refuse(error, "that it wants another kind of security");
    if (f->step == 2)
        f->head[0] = 1;
    g_byte_array_append(out, f->head, f->n_head);
    f->step++;
    f->n_head = 0;
    return TRUE;
}

static gboolean take_byte(RfbFilter *f, guint8 byte, GByteArray *out, GError **error)
{
    f->head[f->n_head++] = byte;
    if (f->step < N_HANDSHAKE)
        return shake_hands(f, out, error);
    guint size = head_size(f->head, f->n_head);
    if (!size)
        return refuse(error, "what is not known");
    return f->n_head < size || begin_message(f, out, error);
}

gboolean rfb_filter_feed(RfbFilter *f, const guint8 *data, gsize len, GByteArray *out,
                         GError **error)
{
    for (gsize i = 0; i < len;) {
        gsize n = MIN(len - i, f->rest);
        if (n && f->passes)
            g_byte_array_append(out, data + i, (guint)n);
        f->rest -= n;
        i += n;
        if (i < len && !f->rest && !take_byte(f, data[i++], out, error))
            return FALSE;
    }
    return TRUE;
}
