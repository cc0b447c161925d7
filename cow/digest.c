/* digest.c: see digest.h. */
#include "cow/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/xxh.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

gboolean digest_block_is_zero(const void *block)
{
    const guint64 *words = block;

    for (guint i = 0; i < DIGEST_BLOCK / 8; i += 8) {
        if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] | words[i + 5] |
            words[i + 6] | words[i + 7])
            return FALSE;
    }
    return TRUE;
}

gboolean digest_is_zero(const void *data, gsize len)
{
    const guint8 *bytes = data;

    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

void digest_add_block(Digest *digest, guint64 number, const void *block)
{
    if (digest_block_is_zero(block))
        return;
    XXH128_hash_t hash = XXH3_128bits_withSeed(block, DIGEST_BLOCK, number);
    digest->sum += ((unsigned __int128)hash.high64 << 64) | hash.low64;
}

void digest_add(Digest *digest, guint64 offset, const void *data, gsize len)
{
    for (gsize at = 0; at < len; at += DIGEST_BLOCK)
        digest_add_block(digest, (offset + at) / DIGEST_BLOCK, (const guint8 *)data + at);
}

char *digest_to_text(const Digest *digest)
{
    return g_strdup_printf("%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x",
                           (guint64)(digest->sum >> 64), (guint64)digest->sum);
}

/* Read up to len bytes at offset; the rest of the last block is zeros. */
static gssize read_padded(int fd, guint8 *buffer, gsize len, guint64 offset, GError **error)
{
    gsize done;

    if (!durable_pread(fd, buffer, len, offset, &done)) {
        imaged_error_set_errno(error, errno, "cannot read at offset %" G_GUINT64_FORMAT,
                               offset + done);
        return -1;
    }
    memset(buffer + done, 0, len - done);
    return (gssize)done;
}

gboolean digest_file(int fd, const gint *cancel, DigestProgress progress, gpointer data,
                     Digest *ret_digest, GError **error)
{
    const gsize chunk = 1 * MIB;
    g_autofree guint8 *buffer = g_malloc(chunk);
    struct stat st;
    guint64 offset = 0, n_read = 0;

    *ret_digest = (Digest){ 0 };
    if (fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot read the file");
        return FALSE;
    }
    while (offset < (guint64)st.st_size) {
        if (cancel && g_atomic_int_get(cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        off_t next = lseek(fd, (off_t)offset, SEEK_DATA);
        if (next < 0 && errno == ENXIO)
            break;
        if (next > 0)
            offset = MAX(offset, (guint64)next & ~(guint64)(DIGEST_BLOCK - 1));
        gssize got = read_padded(fd, buffer, chunk, offset, error);
        if (got < 0)
            return FALSE;
        digest_add(ret_digest, offset, buffer, chunk);
        posix_fadvise(fd, (off_t)offset, (off_t)chunk, POSIX_FADV_DONTNEED);
        offset += chunk;
        n_read += (guint64)got;
        if (progress)
            progress(n_read, data);
    }
    return TRUE;
}
