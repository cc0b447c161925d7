/* layer_copy.c: see layer_copy.h.  Three ways, the best first: FICLONE shares the blocks;
 * copy_file_range lets the kernel (or an NFS server) copy; else we read and write.  The last two go
 * in steps that are flushed at once, so that dirty pages never pile up in front of others. */
#include "cow/layer_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/qcow2.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define STEP (16 * MIB)

static gboolean failed(GError **error, const char *what)
{
    imaged_error_set_errno(error, errno, "cannot %s the layer", what);
    return FALSE;
}

/* Copy [at, end) by the kernel; FALSE without an error if it can't. */
static gboolean copy_by_kernel(const LayerCopy *c, off_t at, off_t end, gboolean *ret_can)
{
    while (at < end) {
        gssize n = durable_copy_range(c->to, c->from, (guint64)at, (gsize)(end - at));
        if (n <= 0) {
            *ret_can = FALSE;
            return FALSE;
        }
        at += n;
    }
    return TRUE;
}

static gboolean copy_by_hand(const LayerCopy *c, off_t at, off_t end, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(MIB);

    while (at < end) {
        gssize n = pread(c->from, buffer, MIN(MIB, (guint64)(end - at)), at);
        if (n < 0)
            return failed(error, "read");
        if (n == 0)
            break;
        if (!durable_write(c->to, buffer, n, (guint64)at, error))
            return FALSE;
        at += n;
    }
    return TRUE;
}

static gboolean copy_range(const LayerCopy *c, off_t at, off_t end, gboolean *can, GError **error)
{
    if (!(*can && copy_by_kernel(c, at, end, can)) && !copy_by_hand(c, at, end, error))
        return FALSE;
    if (!durable_sync(c->to, error))
        return FALSE;
    posix_fadvise(c->to, at, end - at, POSIX_FADV_DONTNEED);
    return TRUE;
}

static gboolean copy_data(const LayerCopy *c, guint64 length, GError **error)
{
    gboolean can = TRUE;
    off_t at = 0;

    if (!durable_truncate(c->to, length, error))
        return FALSE;
    if (durable_clone(c->to, c->from))
        return TRUE;
    while ((at = lseek(c->from, at, SEEK_DATA)) >= 0) {
        off_t hole = lseek(c->from, at, SEEK_HOLE);
        if (hole < 0)
            return failed(error, "read");
        while (at < hole) {
            off_t end = MIN(hole, at + (off_t)STEP);
            if (c->cancel && g_atomic_int_get(c->cancel)) {
                g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
                return FALSE;
            }
            if (!copy_range(c, at, end, &can, error))
                return FALSE;
            if (c->progress)
                c->progress((guint64)end, c->data);
            at = end;
        }
    }
    return errno == ENXIO ? TRUE : failed(error, "read");
}

static void append_extension(GByteArray *out, guint32 type, const guint8 *data, guint32 len)
{
    static const guint8 zeros[8];
    guint8 head[8];

    put_be32(head, type);
    put_be32(head + 4, len);
    g_byte_array_append(out, head, sizeof head);
    g_byte_array_append(out, data, len);
    g_byte_array_append(out, zeros, (8 - len % 8) % 8);
}

/* The new header: the fixed part and foreign extensions as they were, our identity and the backing
 * name replaced.  old has been parsed, so its extensions are known to be sound. */
static GByteArray *make_header(const LayerCopy *c, const guint8 *old, guint64 len,
                               const Qcow2Header *h)
{
    GByteArray *out = g_byte_array_new();
    guint64 name_at = be64_at(old + 8), limit = name_at ? name_at : len;
    static const guint8 end[8];

    g_byte_array_append(out, old, h->header_length);
    for (guint64 at = h->header_length; at + 8 <= limit;) {
        guint32 type = be32_at(old + at), size = be32_at(old + at + 4);
        if (type == QCOW2_EXT_END)
            break;
        if (type != QCOW2_EXT_IDENTITY)
            append_extension(out, type, old + at + 8, size);
        at += 8 + (((guint64)size + 7) & ~7ull);
    }
    append_extension(out, QCOW2_EXT_IDENTITY, (const guint8 *)c->identity,
                     (guint32)strlen(c->identity));
    g_byte_array_append(out, end, sizeof end);
    put_be64(out->data + 8, c->backing_name ? out->len : 0);
    put_be32(out->data + 16, c->backing_name ? (guint32)strlen(c->backing_name) : 0);
    if (c->backing_name)
        g_byte_array_append(out, (const guint8 *)c->backing_name, (guint)strlen(c->backing_name));
    return out;
}

/* Replace the copy's header cluster and adjust its digest for that. */
static gboolean replace_header(const LayerCopy *c, guint64 length, Digest *digest, GError **error)
{
    g_auto(Qcow2Header) header = { 0 };
    gsize need = 0, len = MIN(length, 2 * MIB);
    g_autofree guint8 *old = g_malloc0(2 * MIB);
    Digest before = { 0 }, after = { 0 };

    if (pread(c->from, old, len, 0) != (gssize)len)
        return failed(error, "read");
    if (!qcow2_header_parse(old, len, length, &header, &need, error))
        return FALSE;
    gsize cluster = qcow2_cluster_size(&header), span = MAX(cluster, DIGEST_BLOCK);
    g_autoptr(GByteArray) made = make_header(c, old, cluster, &header);
    if (made->len > cluster || !!c->backing_name != !!header.backing_name) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the layer's header does not fit");
        return FALSE;
    }
    digest_add(&before, 0, old, span);
    memset(old, 0, cluster);
    memcpy(old, made->data, made->len);
    digest_add(&after, 0, old, span);
    digest->sum += after.sum - before.sum;
    return durable_write(c->to, old, MIN(cluster, length), 0, error);
}

gboolean layer_copy(const LayerCopy *c, char ret_checksum[33], GError **error)
{
    Digest digest;
    struct stat st;

    if (fstat(c->from, &st) < 0)
        return failed(error, "read");
    /* The store opens new files with O_DIRECT, which takes aligned buffers; we flush step by step.
     */
    int flags = fcntl(c->to, F_GETFL);
    if (flags < 0 || ((flags & O_DIRECT) && fcntl(c->to, F_SETFL, flags & ~O_DIRECT) < 0))
        return failed(error, "write");
    if (!copy_data(c, (guint64)st.st_size, error) || !durable_sync(c->to, error) ||
        !digest_file(c->to, c->cancel, NULL, NULL, &digest, error))
        return FALSE;
    g_autofree char *found = digest_to_text(&digest);
    if (c->checksum && !g_str_equal(found, c->checksum)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the layer does not match its checksum");
        imaged_error_hint(error, "see what stands on it: imagectl store check --data");
        return FALSE;
    }
    if (!replace_header(c, (guint64)st.st_size, &digest, error) || !durable_sync(c->to, error))
        return FALSE;
    g_autofree char *text = digest_to_text(&digest);
    g_strlcpy(ret_checksum, text, 33);
    return TRUE;
}
