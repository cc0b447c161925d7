/* trace.c: see trace.h. */
#include "imaged/guest/helper/trace.h"

typedef struct {
    guint64 offset, length;
    char kind;
} Range;

struct Trace {
    GArray *ranges;
    gboolean is_full;
};

Trace *trace_new(void)
{
    Trace *t = g_new0(Trace, 1);

    t->ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    return t;
}

void trace_free(Trace *t)
{
    if (!t)
        return;
    g_array_unref(t->ranges);
    g_free(t);
}

static gint compare(gconstpointer a, gconstpointer b)
{
    const Range *x = a, *y = b;

    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->length < y->length ? -1 : x->length > y->length;
}

/* Of one kind: what overlaps or touches becomes one if it is data; what is the same twice, once. */
static void tidy(Trace *t)
{
    guint n = 0;

    g_array_sort(t->ranges, compare);
    for (guint i = 0; i < t->ranges->len; i++) {
        Range r = g_array_index(t->ranges, Range, i);
        Range *last = n ? &g_array_index(t->ranges, Range, n - 1) : NULL;
        if (last && last->kind == r.kind &&
            (r.kind == 'd' ? r.offset <= last->offset + last->length : r.offset == last->offset))
            last->length = MAX(last->length, r.offset + r.length - last->offset);
        else
            g_array_index(t->ranges, Range, n++) = r;
    }
    g_array_set_size(t->ranges, n);
}

void trace_add(Trace *t, char kind, guint64 offset, guint64 length)
{
    Range r = { offset, length, kind };
    Range *last = t->ranges->len ? &g_array_index(t->ranges, Range, t->ranges->len - 1) : NULL;

    if (t->is_full)
        return;
    if (last && last->kind == 'd' && kind == 'd' && last->offset + last->length == offset) {
        last->length += length;
        return;
    }
    g_array_append_val(t->ranges, r);
    if (t->ranges->len <= 2 * TRACE_MAX)
        return;
    tidy(t);
    t->is_full = t->ranges->len > TRACE_MAX;
}

json_t *trace_to_json(Trace *t)
{
    guint64 bytes = 0;

    tidy(t);
    for (guint i = 0; i < t->ranges->len; i++)
        bytes += g_array_index(t->ranges, Range, i).length;
    if (t->is_full || t->ranges->len > TRACE_MAX || bytes > TRACE_BYTES_MAX)
        return json_null();
    json_t *out = json_array();
    for (guint i = 0; i < t->ranges->len; i++) {
        const Range *r = &g_array_index(t->ranges, Range, i);
        json_array_append_new(
            out, json_pack("[s#,I,I]", &r->kind, 1, (json_int_t)r->offset, (json_int_t)r->length));
    }
    return out;
}
