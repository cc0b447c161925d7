/* pack_digest.c: the header is known last, so its bytes are hashed last: then a file is hashed
 * while it is written, and need not be read again. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cow/layer_pack.h"
#include "cow/pack_file.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define CHUNK (1 * MIB)
#define HASH_BYTES (PACK_DIGEST_TEXT / 2)

crypto_generichash_state *pack_hash_new(GError **error)
{
    if (sodium_init() < 0) { /* chooses the fastest code; may be called by each thread */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot start libsodium");
        return NULL;
    }
    crypto_generichash_state *state = sodium_malloc(crypto_generichash_statebytes());
    if (!state)
        g_error("out of memory");
    crypto_generichash_init(state, NULL, 0, HASH_BYTES);
    return state;
}

void pack_hash_text(crypto_generichash_state *state, char *ret_text)
{
    guint8 hash[HASH_BYTES];

    crypto_generichash_final(state, hash, sizeof hash);
    sodium_bin2hex(ret_text, PACK_DIGEST_TEXT + 1, hash, sizeof hash);
}

/* Up to len bytes; fewer only at the file's end.  -1 with error. */
static gssize read_chunk(int fd, guint8 *buffer, gsize len, guint64 offset, GError **error)
{
    gsize done;

    if (durable_pread(fd, buffer, len, offset, &done))
        return (gssize)done;
    imaged_error_set_errno(error, errno, "cannot read at offset %" G_GUINT64_FORMAT, offset + done);
    return -1;
}

static gboolean hash_file(crypto_generichash_state *state, guint8 *buffer, int fd,
                          const gint *cancel, void (*progress)(guint64 bytes, gpointer data),
                          gpointer data, GError **error)
{
    guint64 offset = PACK_HASHED_LAST;
    gssize got;

    do {
        if (cancel && g_atomic_int_get(cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        if ((got = read_chunk(fd, buffer, CHUNK, offset, error)) < 0)
            return FALSE;
        crypto_generichash_update(state, buffer, (gsize)got);
        posix_fadvise(fd, (off_t)offset, got, POSIX_FADV_DONTNEED);
        offset += (guint64)got;
        if (progress)
            progress(offset, data);
    } while (got == (gssize)CHUNK);
    if ((got = read_chunk(fd, buffer, PACK_HASHED_LAST, 0, error)) < 0)
        return FALSE;
    crypto_generichash_update(state, buffer, (gsize)got);
    return TRUE;
}

gboolean pack_digest(int fd, const gint *cancel, void (*progress)(guint64 bytes, gpointer data),
                     gpointer data, char ret_digest[PACK_DIGEST_TEXT + 1], GError **error)
{
    g_autofree guint8 *buffer = g_malloc(CHUNK);
    crypto_generichash_state *state = pack_hash_new(error);
    gboolean ok = state && hash_file(state, buffer, fd, cancel, progress, data, error);

    if (ok)
        pack_hash_text(state, ret_digest);
    sodium_free(state);
    return ok;
}
