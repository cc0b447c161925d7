/* pack_digest.c: BLAKE2b is one chain over the file from its first byte, and the header, which
 * comes first, is known last; so the file is read once more when it is complete.  Then the digest
 * of what was written is compared too: a target that gives back other bytes than it got does not
 * make them the archive's truth. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cow/layer_pack.h"
#include "cow/pack_file.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define CHUNK (1 * MIB)
#define HASH_BYTES (PACK_DIGEST_TEXT / 2)

static gssize read_chunk(int fd, guint8 *buffer, guint64 offset, GError **error)
{
    gsize done = 0;

    while (done < CHUNK) {
        gssize got = pread(fd, buffer + done, CHUNK - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            imaged_error_set_errno(error, errno, "cannot read at offset %" G_GUINT64_FORMAT,
                                   offset + done);
            return -1;
        }
        if (got == 0)
            break;
        done += (gsize)got;
    }
    return (gssize)done;
}

gboolean pack_file_hash(int fd, guint64 length, const gint *cancel,
                        void (*progress)(guint64 bytes, gpointer data), gpointer data,
                        char *ret_text, Digest *ret_digest, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(CHUNK);
    crypto_generichash_state *state;
    guint8 hash[HASH_BYTES];
    guint64 offset = 0;
    gssize got;

    if (sodium_init() < 0) { /* chooses the fastest code; may be called by each thread */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot start libsodium");
        return FALSE;
    }
    state = sodium_malloc(crypto_generichash_statebytes());
    if (!state)
        g_error("out of memory");
    crypto_generichash_init(state, NULL, 0, sizeof hash);
    if (ret_digest)
        *ret_digest = (Digest){ 0 };
    do {
        if (cancel && g_atomic_int_get(cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            got = -1;
            break;
        }
        got = read_chunk(fd, buffer, offset, error);
        if (got <= 0)
            break;
        crypto_generichash_update(state, buffer, (gsize)got);
        if (ret_digest) {
            gsize padded = ((gsize)got + DIGEST_BLOCK - 1) & ~(gsize)(DIGEST_BLOCK - 1);
            memset(buffer + got, 0, padded - (gsize)got);
            digest_add(ret_digest, offset, buffer, padded);
        }
        posix_fadvise(fd, (off_t)offset, got, POSIX_FADV_DONTNEED);
        offset += (guint64)got;
        if (progress)
            progress(offset, data);
    } while (got == (gssize)CHUNK);
    crypto_generichash_final(state, hash, sizeof hash);
    sodium_free(state);
    if (got < 0)
        return FALSE;
    if (length != G_MAXUINT64 && offset != length) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the file has %" G_GUINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT,
                    offset, length);
        return FALSE;
    }
    sodium_bin2hex(ret_text, PACK_DIGEST_TEXT + 1, hash, sizeof hash);
    return TRUE;
}

gboolean pack_digest(int fd, const gint *cancel, void (*progress)(guint64 bytes, gpointer data),
                     gpointer data, char ret_digest[PACK_DIGEST_TEXT + 1], GError **error)
{
    return pack_file_hash(fd, G_MAXUINT64, cancel, progress, data, ret_digest, NULL, error);
}
