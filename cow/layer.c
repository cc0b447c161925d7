/* layer.c: opening one qcow2 file.  Images come from strangers, so no number read from a file is
 * used before qcow2_header_parse() has checked its range and its place. */
#include "cow/layer.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define FIRST_READ 4096u
#define DATA_STEP (256u << 10)
#define HOLE_SEARCH_MIN (32u << 10) /* bytes; below, looking for holes costs more than it saves */

struct Layer {
    int fd;
    char *label;
    guint64 file_size;
    Qcow2Header header;
    guint64 *l1; /* header.n_l1 entries in host byte order */
};

/* Read len bytes; what lies beyond the end of the file is zeros. */
static gboolean read_range(const Layer *layer, guint8 *at, gsize len, guint64 offset,
                           GError **error)
{
    gsize got;

    if (!durable_pread(layer->fd, at, len, offset, &got)) {
        imaged_error_set_errno(error, errno, "cannot read '%s'", layer->label);
        return FALSE;
    }
    memset(at + got, 0, len - got);
    return TRUE;
}

/* The next data at or behind offset, at most end; offset itself where that cannot be told. */
static guint64 next_data(const Layer *layer, guint64 offset, guint64 end)
{
    off_t found = lseek(layer->fd, (off_t)offset, SEEK_DATA);

    if (found < 0)
        return errno == ENXIO ? end : offset;
    return MIN((guint64)found, end);
}

gboolean layer_pread(const Layer *layer, void *buffer, gsize len, guint64 offset, GError **error)
{
    guint8 *at = buffer;
    guint64 end = offset + len;

    /* The tables of a small layer are nearly all holes, and reading a hole would fill the page
     * cache with zeros. */
    while (len >= HOLE_SEARCH_MIN && offset < end) {
        guint64 data = next_data(layer, offset, end);
        memset(at, 0, data - offset);
        at += data - offset;
        offset = data;
        off_t hole = offset < end ? lseek(layer->fd, (off_t)offset, SEEK_HOLE) : -1;
        guint64 stop = hole > (off_t)offset ? MIN((guint64)hole, end) : end;
        if (!read_range(layer, at, stop - offset, offset, error))
            return FALSE;
        at += stop - offset;
        offset = stop;
    }
    return len >= HOLE_SEARCH_MIN || read_range(layer, at, len, offset, error);
}

gboolean layer_pread_data(const Layer *layer, void *buffer, gsize len, guint64 offset,
                          GError **error)
{
    guint8 *at = buffer;

    /* Where the next hole begins is not asked: in a large file of small extents (or in a tmpfs) the
     * answer costs more than the read. */
    while (len > 0) {
        gsize step = MIN(len, DATA_STEP);
        guint64 data = step >= HOLE_SEARCH_MIN ? next_data(layer, offset, offset + step) : offset;
        memset(at, 0, data - offset);
        if (!read_range(layer, at + (data - offset), step - (data - offset), data, error))
            return FALSE;
        at += step;
        len -= step;
        offset += step;
    }
    return TRUE;
}

static gboolean read_header(Layer *layer, GError **error)
{
    gsize len = MIN(layer->file_size, FIRST_READ), need = 0;
    g_autofree guint8 *data = g_malloc(FIRST_READ);
    GError *local = NULL;

    if (!layer_pread(layer, data, len, 0, error))
        return FALSE;
    if (qcow2_header_parse(data, len, layer->file_size, &layer->header, &need, &local))
        return TRUE;
    if (need > len) {
        data = g_realloc(data, need);
        if (!layer_pread(layer, data, need, 0, error))
            return FALSE;
        if (qcow2_header_parse(data, need, layer->file_size, &layer->header, &need, &local))
            return TRUE;
    }
    if (!local)
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the header has no end");
    g_propagate_prefixed_error(error, local, "'%s': ", layer->label);
    return FALSE;
}

static gboolean read_l1(Layer *layer, GError **error)
{
    guint32 n = layer->header.n_l1;

    layer->l1 = g_try_new(guint64, MAX(n, 1));
    if (!layer->l1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "'%s': not enough memory",
                    layer->label);
        return FALSE;
    }
    if (!layer_pread(layer, layer->l1, 8ull * n, layer->header.l1_offset, error))
        return FALSE;
    for (guint32 i = 0; i < n; i++)
        layer->l1[i] = GUINT64_FROM_BE(layer->l1[i]);
    return TRUE;
}

static gboolean check_readable(const Layer *layer, GError **error)
{
    const char *why = layer->header.crypt_method ? "is encrypted"
                      : layer->header.incompatible & QCOW2_INCOMPAT_DATA_FILE
                          ? "keeps its data in another file"
                          : NULL;

    if (!why)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "'%s' %s", layer->label, why);
    return FALSE;
}

Layer *layer_open_fd(int fd, const char *label, GError **error)
{
    g_autoptr(Layer) layer = g_new0(Layer, 1);
    struct stat st;

    layer->fd = fd;
    layer->label = g_strdup(label);
    if (fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot read '%s'", label);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a regular file", label);
        return NULL;
    }
    layer->file_size = st.st_size;
    if (!read_header(layer, error) || !check_readable(layer, error) || !read_l1(layer, error))
        return NULL;
    return g_steal_pointer(&layer);
}

void layer_free(Layer *layer)
{
    if (!layer)
        return;
    durable_close(&layer->fd);
    qcow2_header_clear(&layer->header);
    g_free(layer->l1);
    g_free(layer->label);
    g_free(layer);
}

const Qcow2Header *layer_header(const Layer *layer)
{
    return &layer->header;
}

guint64 layer_virtual_size(const Layer *layer)
{
    return layer->header.virtual_size;
}

guint64 layer_file_size(const Layer *layer)
{
    return layer->file_size;
}

int layer_fd(const Layer *layer)
{
    return layer->fd;
}

const char *layer_label(const Layer *layer)
{
    return layer->label;
}

guint64 layer_l1_entry(const Layer *layer, guint32 i)
{
    return layer->l1[i];
}
