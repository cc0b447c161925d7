/* block.c: a direct-mapped cache of lines: what a file system reads next mostly lies beside what it
 * read last, and a round trip over the socket costs more than the bytes. */
#include "imaged/guest/helper/block.h"

#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/error.h"

#define LINE (64u << 10)
#define N_LINES 256u

typedef struct {
    guint64 index; /* of the line on the disk, plus one; 0: empty */
    guint8 *bytes; /* LINE of them, or NULL */
} Line;

struct Block {
    gint refs;
    guint64 size, start;
    Block *disk; /* of a part; then nothing below is used */
    BlockRead read;
    gpointer source;
    GDestroyNotify free_source;
    Line lines[N_LINES];
};

Block *block_new(guint64 size, BlockRead read, gpointer source, GDestroyNotify free_source)
{
    Block *b = g_new0(Block, 1);

    b->refs = 1;
    b->size = size;
    b->read = read;
    b->source = source;
    b->free_source = free_source;
    return b;
}

Block *block_ref(Block *b)
{
    b->refs++;
    return b;
}

void block_unref(Block *b)
{
    if (!b || --b->refs)
        return;
    for (guint i = 0; i < N_LINES; i++)
        g_free(b->lines[i].bytes);
    if (b->free_source)
        b->free_source(b->source);
    block_unref(b->disk);
    g_free(b);
}

Block *block_part(Block *disk, guint64 start, guint64 length)
{
    Block *b = block_new(0, NULL, NULL, NULL);

    b->disk = block_ref(disk->disk ? disk->disk : disk);
    b->start = MIN(start, disk->size);
    b->size = MIN(length, disk->size - b->start);
    b->start += disk->start;
    return b;
}

guint64 block_size(const Block *b)
{
    return b->size;
}

guint64 block_start(const Block *b)
{
    return b->start;
}

static const guint8 *get_line(Block *disk, guint64 index, GError **error)
{
    Line *line = &disk->lines[index % N_LINES];
    guint64 at = index * LINE;

    if (line->index == index + 1)
        return line->bytes;
    if (!line->bytes)
        line->bytes = g_malloc(LINE);
    line->index = 0;
    if (!disk->read(disk->source, line->bytes, (gsize)MIN(LINE, disk->size - at), at, error))
        return NULL;
    line->index = index + 1;
    return line->bytes;
}

gboolean block_read(Block *b, void *buffer, gsize len, guint64 offset, GError **error)
{
    Block *disk = b->disk ? b->disk : b;
    guint8 *to = buffer;

    if (offset > b->size || len > b->size - offset) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the file system points beyond the end of its disk");
        return FALSE;
    }
    for (guint64 at = b->start + offset; len;) {
        const guint8 *line = get_line(disk, at / LINE, error);
        gsize skip = (gsize)(at % LINE), n = MIN(len, LINE - skip);
        if (!line)
            return FALSE;
        memcpy(to, line + skip, n);
        to += n;
        at += n;
        len -= n;
    }
    return TRUE;
}

/* ---- NBD ---- */

static gboolean read_nbd(gpointer source, void *buffer, gsize len, guint64 offset, GError **error)
{
    if (nbd_pread(source, buffer, len, offset, 0) == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot read the disk: %s",
                nbd_get_error());
    return FALSE;
}

static void close_nbd(gpointer source)
{
    nbd_close(source);
}

Block *block_open_nbd(const char *socket_path, GError **error)
{
    struct nbd_handle *nbd = nbd_create();
    gint64 size = -1;

    if (nbd && nbd_connect_unix(nbd, socket_path) == 0)
        size = nbd_get_size(nbd);
    if (size >= 0)
        return block_new((guint64)size, read_nbd, nbd, close_nbd);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot reach the disk: %s",
                nbd_get_error());
    nbd_close(nbd);
    return NULL;
}

/* ---- Files ---- */

static gboolean read_fd(gpointer source, void *buffer, gsize len, guint64 offset, GError **error)
{
    guint8 *to = buffer;

    while (len) {
        gssize n = pread(GPOINTER_TO_INT(source), to, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            imaged_error_set_errno(error, n ? errno : EIO, "cannot read the disk");
            return FALSE;
        }
        to += n;
        offset += (guint64)n;
        len -= (gsize)n;
    }
    return TRUE;
}

static void close_fd(gpointer source)
{
    close(GPOINTER_TO_INT(source));
}

Block *block_open_file(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

    if (size < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    return block_new((guint64)size, read_fd, GINT_TO_POINTER(fd), close_fd);
}
