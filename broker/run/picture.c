/* picture.c: see picture.h.  PNG: W3C's specification; each line of pixels is stored as it is. */
#include "broker/run/picture.h"

#include <string.h>
#include <zlib.h>

#include "imaged/base/error.h"

#define MAX_SIDE 16384

static const guint8 png_mark[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };

/* The next number of a PPM's header, behind spaces and comments.  FALSE: there is none. */
static gboolean next_number(const guint8 *ppm, gsize len, gsize *at, guint *ret)
{
    guint64 number = 0;
    gsize begin;

    while (*at < len && (g_ascii_isspace(ppm[*at]) || ppm[*at] == '#')) {
        if (ppm[*at] == '#') {
            while (*at < len && ppm[*at] != '\n')
                (*at)++;
        } else {
            (*at)++;
        }
    }
    for (begin = *at; *at < len && g_ascii_isdigit(ppm[*at]) && number <= MAX_SIDE; (*at)++)
        number = number * 10 + (guint64)(ppm[*at] - '0');
    *ret = (guint)number;
    return *at > begin && number <= MAX_SIDE;
}

static void put_u32(GByteArray *out, guint32 value)
{
    guint32 be = GUINT32_TO_BE(value);

    g_byte_array_append(out, (const guint8 *)&be, sizeof be);
}

static void put_chunk(GByteArray *out, const char *type, const guint8 *data, gsize len)
{
    put_u32(out, (guint32)len);
    guint begin = out->len;
    g_byte_array_append(out, (const guint8 *)type, 4);
    g_byte_array_append(out, data, (guint)len);
    put_u32(out, (guint32)crc32(0, out->data + begin, out->len - begin));
}

static GByteArray *encode(const guint8 *pixels, guint width, guint height)
{
    gsize line = (gsize)width * 3, len = (line + 1) * height;
    g_autofree guint8 *raw = g_malloc(len);
    uLongf packed_len = compressBound(len);
    g_autofree guint8 *packed = g_malloc(packed_len);
    g_autoptr(GByteArray) head = g_byte_array_new();
    GByteArray *out = g_byte_array_new();

    for (guint y = 0; y < height; y++) {
        raw[y * (line + 1)] = 0; /* no filter */
        memcpy(raw + y * (line + 1) + 1, pixels + y * line, line);
    }
    compress2(packed, &packed_len, raw, len, Z_BEST_SPEED);
    put_u32(head, width);
    put_u32(head, height);
    g_byte_array_append(head, (const guint8 *)"\10\2\0\0\0", 5); /* 8 bits, RGB */
    g_byte_array_append(out, png_mark, sizeof png_mark);
    put_chunk(out, "IHDR", head->data, head->len);
    put_chunk(out, "IDAT", packed, packed_len);
    put_chunk(out, "IEND", png_mark, 0);
    return out;
}

static guint get_u32(const guint8 *at)
{
    return (guint)at[0] << 24 | (guint)at[1] << 16 | (guint)at[2] << 8 | at[3];
}

GByteArray *picture_png(const guint8 *data, gsize len, guint *ret_width, guint *ret_height,
                        GError **error)
{
    gsize at = 2;
    guint depth = 0;

    if (len > 24 && memcmp(data, png_mark, sizeof png_mark) == 0 &&
        memcmp(data + 12, "IHDR", 4) == 0) {
        *ret_width = get_u32(data + 16);
        *ret_height = get_u32(data + 20);
        return g_byte_array_append(g_byte_array_new(), data, (guint)len);
    }
    if (len > 2 && memcmp(data, "P6", 2) == 0 && next_number(data, len, &at, ret_width) &&
        next_number(data, len, &at, ret_height) && next_number(data, len, &at, &depth) &&
        depth == 255 && *ret_width && *ret_height && at < len &&
        len - at - 1 >= (gsize)*ret_width * *ret_height * 3)
        return encode(data + at + 1, *ret_width, *ret_height);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                "the host's picture is neither a sound PPM nor a PNG");
    return NULL;
}
