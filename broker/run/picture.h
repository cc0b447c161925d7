/* picture.h: a picture of a display, from the form that hosts give to one that people open.
 *
 * Pure; any thread. */
#pragma once

#include <glib.h>

/* A binary PPM ("P6", 8 bits a channel), or a PNG, as PNG.  Free with g_byte_array_unref().
 * CORRUPT. */
GByteArray *picture_png(const guint8 *data, gsize len, guint *ret_width, guint *ret_height,
                        GError **error);
