/* advice_sort.c: the scratch file is written from front to back in chunks, each of one part; a list
 * per part says which are its.  What is written is pushed out at once: dirty pages of a scratch
 * file must not pile up in front of an interactive flush. */
#include "snapshot/advice_sort.h"

#include <errno.h>
#include <stdlib.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define CHUNK_RECORDS 2048u /* 64 KiB */
#define PART_RECORDS (32 * MIB / sizeof(AdviceRecord))
#define MAX_PART_BITS 8u

typedef struct {
    AdviceRecord *buffer;
    guint n;        /* in the buffer */
    GArray *chunks; /* guint64: offsets in the file, of whole chunks */
} Part;

struct AdviceSort {
    int fd;
    guint64 end; /* of the file */
    guint bits;
    Part *parts;
};

AdviceSort *advice_sort_new(int scratch, guint64 n_expected)
{
    AdviceSort *s = g_new0(AdviceSort, 1);

    s->fd = scratch;
    while (s->bits < MAX_PART_BITS && n_expected >> s->bits > PART_RECORDS)
        s->bits++;
    s->parts = g_new0(Part, 1u << s->bits);
    for (guint i = 0; i < 1u << s->bits; i++)
        s->parts[i].chunks = g_array_new(FALSE, FALSE, sizeof(guint64));
    return s;
}

void advice_sort_free(AdviceSort *s)
{
    if (!s)
        return;
    for (guint i = 0; i < 1u << s->bits; i++) {
        g_free(s->parts[i].buffer);
        g_array_unref(s->parts[i].chunks);
    }
    g_free(s->parts);
    durable_close(&s->fd);
    g_free(s);
}

guint advice_sort_n_parts(const AdviceSort *s)
{
    return 1u << s->bits;
}

static gboolean write_chunk(AdviceSort *s, Part *p, GError **error)
{
    gsize len = CHUNK_RECORDS * sizeof(AdviceRecord);

    if (!durable_write(s->fd, p->buffer, len, s->end, error))
        return FALSE;
    durable_begin_write(s->fd, s->end, len);
    g_array_append_val(p->chunks, s->end);
    s->end += len;
    p->n = 0;
    return TRUE;
}

gboolean advice_sort_add(AdviceSort *s, const AdviceRecord *record, GError **error)
{
    Part *p = &s->parts[s->bits ? record->hash.high >> (64 - s->bits) : 0];

    if (!p->buffer)
        p->buffer = g_new(AdviceRecord, CHUNK_RECORDS);
    p->buffer[p->n++] = *record;
    return p->n < CHUNK_RECORDS || write_chunk(s, p, error);
}

static int by_digest(const void *left, const void *right)
{
    const AdviceRecord *a = left, *b = right;

    if (a->hash.high != b->hash.high)
        return a->hash.high < b->hash.high ? -1 : 1;
    if (a->hash.low != b->hash.low)
        return a->hash.low < b->hash.low ? -1 : 1;
    if (a->block != b->block)
        return a->block < b->block ? -1 : 1;
    return (a->owner > b->owner) - (a->owner < b->owner);
}

AdviceRecord *advice_sort_part(AdviceSort *s, guint part, gsize *ret_n, GError **error)
{
    const Part *p = &s->parts[part];
    gsize n = (gsize)p->chunks->len * CHUNK_RECORDS + p->n, at = 0;
    g_autofree AdviceRecord *all = g_try_new(AdviceRecord, MAX(n, 1));

    if (!all) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "there is not enough memory");
        return NULL;
    }
    for (guint i = 0; i < p->chunks->len; i++, at += CHUNK_RECORDS) {
        gsize len = CHUNK_RECORDS * sizeof *all, got;
        if (!durable_pread(s->fd, all + at, len, g_array_index(p->chunks, guint64, i), &got) ||
            got != len) {
            imaged_error_set_errno(error, got == len ? errno : EIO, "cannot read a scratch file");
            return NULL;
        }
    }
    for (guint i = 0; i < p->n; i++)
        all[at + i] = p->buffer[i];
    qsort(all, n, sizeof *all, by_digest);
    *ret_n = n;
    return g_steal_pointer(&all);
}
