/* block_digest_file.c: a digest's file is checked as a whole before anything of it is used; then it
 * is read in one go, through a buffer.  Its numbers are checked even so: a bug of ours that wrote
 * them wrong has the right checksum. */
#include "cow/block_digest_file.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/xxh.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define VERSION 1u
#define BUFFER (64 * KIB)
#define RECORD_MAX (sizeof(DigestRecord) + BLOCK_DIGEST_RUN * sizeof(BlockHash))

struct BlockDigest {
    int fd;
    DigestHeader header;
    guint64 at;      /* file offset of what is not in the buffer yet */
    gsize from, len; /* what is left in the buffer */
    guint64 next;    /* no run may begin before this block */
    guint8 *buffer;
};

static guint64 header_sum(const DigestHeader *h)
{
    return XXH3_64bits(h, offsetof(DigestHeader, header));
}

static gboolean corrupt(GError **error, const char *what)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the digest file %s", what);
    return FALSE;
}

static gboolean read_at(int fd, void *buffer, gsize len, guint64 offset, GError **error)
{
    gsize done;

    if (!durable_pread(fd, buffer, len, offset, &done)) {
        imaged_error_set_errno(error, errno, "cannot read the digest file");
        return FALSE;
    }
    return done == len ? TRUE : corrupt(error, "is cut off");
}

static gboolean sum_records(int fd, guint64 length, guint64 ret[2], GError **error)
{
    g_autofree guint8 *buffer = g_malloc(BUFFER);
    XXH3_state_t *state = XXH3_createState();
    gboolean ok = TRUE;

    XXH3_128bits_reset(state);
    for (guint64 at = sizeof(DigestHeader); ok && at < length;) {
        gsize n = (gsize)MIN(BUFFER, length - at);
        if ((ok = read_at(fd, buffer, n, at, error)))
            XXH3_128bits_update(state, buffer, n);
        at += n;
    }
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    ret[0] = hash.low64;
    ret[1] = hash.high64;
    XXH3_freeState(state);
    return ok;
}

gboolean digest_file_finish(int fd, const char *id, const BlockStamp *stamp,
                            const BlockCounts *counts, guint64 length, GError **error)
{
    DigestHeader h = { .magic = DIGEST_MAGIC,
                       .version = VERSION,
                       .block = BLOCK_DIGEST_BLOCK,
                       .stamp = *stamp,
                       .counts = *counts,
                       .length = length };

    g_strlcpy(h.id, id, sizeof h.id);
    if (!sum_records(fd, length, h.records, error))
        return FALSE;
    h.header = header_sum(&h);
    return durable_write(fd, &h, sizeof h, 0, error);
}

static gboolean check(BlockDigest *d, const char *id, const BlockStamp *stamp, GError **error)
{
    const DigestHeader *h = &d->header;
    guint64 sums[2];
    struct stat st;

    if (fstat(d->fd, &st) < 0 || !read_at(d->fd, &d->header, sizeof d->header, 0, error))
        return error && *error ? FALSE : corrupt(error, "is not readable");
    if (memcmp(h->magic, DIGEST_MAGIC, sizeof h->magic) != 0 || h->version != VERSION ||
        h->block != BLOCK_DIGEST_BLOCK || h->header != header_sum(h))
        return corrupt(error, "has no sound header");
    if (h->length != (guint64)st.st_size || h->length < sizeof *h)
        return corrupt(error, "has another length than it says");
    if (strncmp(h->id, id, sizeof h->id) != 0 || memcmp(&h->stamp, stamp, sizeof *stamp) != 0)
        return corrupt(error, "is that of another content");
    if (!sum_records(d->fd, h->length, sums, error))
        return FALSE;
    return memcmp(sums, h->records, sizeof sums) == 0 ? TRUE : corrupt(error, "is damaged");
}

BlockDigest *block_digest_open(int fd, const char *id, const BlockStamp *stamp, GError **error)
{
    g_autoptr(BlockDigest) d = g_new0(BlockDigest, 1);

    d->fd = fd;
    if (!check(d, id, stamp, error))
        return NULL;
    d->at = sizeof d->header;
    d->buffer = g_malloc(BUFFER);
    return g_steal_pointer(&d);
}

void block_digest_free(BlockDigest *d)
{
    if (!d)
        return;
    durable_close(&d->fd);
    g_free(d->buffer);
    g_free(d);
}

const BlockCounts *block_digest_counts(const BlockDigest *d)
{
    return &d->header.counts;
}

/* Have at least wanted bytes in the buffer, if the file has so many. */
static gboolean fill(BlockDigest *d, gsize wanted, GError **error)
{
    if (d->len >= wanted || d->at == d->header.length)
        return TRUE;
    memmove(d->buffer, d->buffer + d->from, d->len);
    d->from = 0;
    gsize n = (gsize)MIN(BUFFER - d->len, d->header.length - d->at);
    if (!read_at(d->fd, d->buffer + d->len, n, d->at, error))
        return FALSE;
    d->at += n;
    d->len += n;
    return TRUE;
}

gboolean block_digest_next(BlockDigest *d, BlockRun *ret, GError **error)
{
    DigestRecord r;

    if (!fill(d, RECORD_MAX, error) || d->len == 0)
        return FALSE;
    if (d->len < sizeof r)
        return corrupt(error, "ends within a record");
    memcpy(&r, d->buffer + d->from, sizeof r);
    gsize len = sizeof r + (r.kind == BLOCK_DATA ? (gsize)r.n * sizeof(BlockHash) : 0);
    if (r.n == 0 || r.kind > BLOCK_PARTIAL || (r.kind == BLOCK_DATA && r.n > BLOCK_DIGEST_RUN) ||
        len > d->len || r.first < d->next || r.first > G_MAXUINT64 / BLOCK_DIGEST_BLOCK - r.n)
        return corrupt(error, "has a record that cannot be");
    /* records are multiples of 16 bytes, and so is the header: hashes are aligned */
    *ret = (BlockRun){ r.first, r.n, (BlockKind)r.kind,
                       (const BlockHash *)(d->buffer + d->from + sizeof r) };
    d->next = r.first + r.n;
    d->from += len;
    d->len -= len;
    return TRUE;
}

G_STATIC_ASSERT(sizeof(DigestHeader) % 8 == 0 && sizeof(DigestRecord) == sizeof(BlockHash));
