/* digest.h: the checksum of a frozen layer's file.
 *
 * A 128-bit sum of XXH3-128 over the file's 4 KiB blocks, each hashed with its block number as the
 * seed; blocks of zeros add nothing.  So the sum does not depend on the order in which a file is
 * written, nor on which zeros are holes.  It finds damage; it does not defend against somebody who
 * wants to forge.  One Digest per thread. */
#pragma once

#include <glib.h>

#define DIGEST_BLOCK 4096u
#define DIGEST_TEXT 32 /* hexadecimal digits */

typedef struct {
    unsigned __int128 sum;
} Digest;

/* Add the block with this number (file offset / 4096). */
void digest_add_block(Digest *digest, guint64 number, const void *block);

/* Add len bytes (a multiple of 4096) that lie at file offset (a multiple of 4096). */
void digest_add(Digest *digest, guint64 offset, const void *data, gsize len);

/* TRUE if the 4 KiB at block are all zeros. */
gboolean digest_block_is_zero(const void *block);

/* TRUE if len bytes, at least one, are all zeros. */
gboolean digest_is_zero(const void *data, gsize len);

/* "0123...": caller frees. */
char *digest_to_text(const Digest *digest);

/* Read the file behind fd as a whole (its holes are skipped, the page cache is left as it was) and
 * sum it up.  cancel may be NULL; progress is called with bytes read so far.
 * UNAVAILABLE on an I/O error (the message names the offset), CANCELLED. */
typedef void (*DigestProgress)(guint64 bytes, gpointer data);
gboolean digest_file(int fd, const gint *cancel, DigestProgress progress, gpointer data,
                     Digest *ret_digest, GError **error);
