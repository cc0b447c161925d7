/* advice_group.c: in each group every block is compared with one of them, the first of a base if
 * there is one.  So what passes is equal to all others that passed; what does not is counted as
 * equal to nothing (two that are equal to each other but not to the first are missed: that claims
 * too little, never too much).
 *
 * Comparisons are made in the order of owners and blocks, so that each chain is read from front to
 * back, and neighbours in one go. */
#include "snapshot/advice_group.h"

#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "snapshot/advice_read.h"

#define MAX_RUN 64u /* blocks read at once */

/* A record to be compared, and with which. */
typedef struct {
    guint32 member, with; /* indices in the part */
} Pair;

struct AdviceGroups {
    AdviceSet *set;
    guint need;
    GPtrArray *owner_ids;
    AdviceReader *reader;
    guint8 *buffer[2];
    AdviceRecord *all; /* the part */
};

AdviceGroups *advice_groups_new(AdviceSet *set, guint need)
{
    AdviceGroups *g = g_new0(AdviceGroups, 1);

    g->set = set;
    g->need = need;
    g->owner_ids = advice_owner_ids(set);
    g->reader = advice_reader_new(set->world, g->owner_ids);
    g->buffer[0] = g_malloc(MAX_RUN * BLOCK_DIGEST_BLOCK);
    g->buffer[1] = g_malloc(MAX_RUN * BLOCK_DIGEST_BLOCK);
    return g;
}

void advice_groups_free(AdviceGroups *g)
{
    if (!g)
        return;
    advice_reader_free(g->reader);
    g_ptr_array_unref(g->owner_ids);
    g_free(g->buffer[0]);
    g_free(g->buffer[1]);
    g_free(g->all);
    g_free(g);
}

static gboolean is_base(const AdviceGroups *g, const AdviceRecord *r)
{
    return r->owner < g->set->bases->len;
}

static AdviceDiff *diff_of(const AdviceGroups *g, const AdviceRecord *r)
{
    return &g_array_index(g->set->diffs, AdviceDiff, r->owner - g->set->bases->len);
}

/* The end of what begins at from and has the same digest (and the same block). */
static gsize group_end(const AdviceRecord *all, gsize from, gsize n, gboolean same_block)
{
    gsize to = from + 1;

    while (to < n && memcmp(&all[to].hash, &all[from].hash, sizeof all->hash) == 0 &&
           (!same_block || all[to].block == all[from].block))
        to++;
    return to;
}

/* ---- Comparing ---- */

/* Which of a group have to be compared: all diffs, and the bases that have a diff at their block.
 */
static void add_pairs(const AdviceGroups *g, gsize from, gsize to, GArray *pairs)
{
    gsize first = from;
    gboolean any_diff = FALSE;

    for (gsize i = to; i-- > from;) {
        any_diff |= !is_base(g, &g->all[i]);
        first = is_base(g, &g->all[i]) ? i : first;
    }
    if (!any_diff || to - from < 2)
        return;
    for (gsize at = from; at < to;) {
        gsize end = group_end(g->all, at, to, TRUE);
        gboolean has_diff = !is_base(g, &g->all[end - 1]); /* bases come first */
        for (; at < end; at++) {
            Pair pair = { (guint32)at, (guint32)first };
            if (at != first && has_diff)
                g_array_append_val(pairs, pair);
        }
    }
}

/* For g_array_sort_with_data. */
static gint by_place(gconstpointer left, gconstpointer right, gpointer all)
{
    const AdviceRecord *a = (AdviceRecord *)all + ((const Pair *)left)->member;
    const AdviceRecord *b = (AdviceRecord *)all + ((const Pair *)right)->member;

    if (a->owner != b->owner)
        return a->owner < b->owner ? -1 : 1;
    return (a->block > b->block) - (a->block < b->block);
}

/* So many pairs from i on are neighbours on both sides. */
static guint count_neighbours(const AdviceGroups *g, const GArray *pairs, guint i)
{
    const Pair *p = &g_array_index(pairs, Pair, i);
    const AdviceRecord *m = &g->all[p->member], *w = &g->all[p->with];
    guint n = 1;

    for (; n < MAX_RUN && i + n < pairs->len; n++) {
        const AdviceRecord *next = &g->all[p[n].member], *with = &g->all[p[n].with];
        if (next->owner != m->owner || next->block != m->block + n || with->owner != w->owner ||
            with->block != w->block + n)
            break;
    }
    return n;
}

static gboolean compare_run(AdviceGroups *g, const Pair *pairs, guint n, GError **error)
{
    const AdviceRecord *m = &g->all[pairs->member], *w = &g->all[pairs->with];
    g_autoptr(GError) local = NULL;
    gboolean ok = advice_reader_read(g->reader, w->owner, w->block, n, g->buffer[1], &local) &&
                  advice_reader_read(g->reader, m->owner, m->block, n, g->buffer[0], &local);

    if (!ok && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    for (guint i = 0; i < n; i++) { /* who has gone meanwhile is equal to nothing */
        gsize at = (gsize)i * BLOCK_DIGEST_BLOCK;
        g->all[pairs[i].member].is_wrong =
            !ok || memcmp(g->buffer[0] + at, g->buffer[1] + at, BLOCK_DIGEST_BLOCK) != 0;
    }
    return TRUE;
}

static gboolean compare_part(AdviceGroups *g, gsize n, GError **error)
{
    g_autoptr(GArray) pairs = g_array_new(FALSE, FALSE, sizeof(Pair));
    const gint *cancel = g->set->cache.cancel;

    for (gsize from = 0; from < n;) {
        gsize to = group_end(g->all, from, n, FALSE);
        add_pairs(g, from, to, pairs);
        from = to;
    }
    g_array_sort_with_data(pairs, by_place, g->all);
    for (guint i = 0; i < pairs->len;) {
        guint len = count_neighbours(g, pairs, i);
        if (cancel && g_atomic_int_get(cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        if (!compare_run(g, &g_array_index(pairs, Pair, i), len, error))
            return FALSE;
        i += len;
    }
    return TRUE;
}

/* ---- Counting ---- */

/* Is what the diff of r has there what it stands on has there? */
static gboolean is_below(const AdviceGroups *g, const AdviceRecord *r, gsize from, gsize to)
{
    guint base = diff_of(g, r)->base;

    for (gsize i = from; i < to && is_base(g, &g->all[i]); i++) {
        if (g->all[i].owner == base && !g->all[i].is_wrong)
            return TRUE;
    }
    return FALSE;
}

/* Of what the diff of r stands on: a larger disk has more. */
static guint64 n_blocks(const AdviceGroups *g, const AdviceRecord *r)
{
    return g_array_index(g->set->bases, AdviceBase, diff_of(g, r)->base).n_blocks;
}

/* Equal digest and block.  Returns how many diffs have it as their own. */
static guint count_place(AdviceGroups *g, gsize from, gsize to)
{
    AdviceSet *set = g->set;
    AdviceBlock block = { .block = g->all[from].block };
    guint n = 0;

    for (gsize i = from; i < to; i++) {
        AdviceRecord *r = &g->all[i];
        if (is_base(g, r))
            continue;
        if (r->is_wrong) {
            set->n_wrong++;
            set->n_own++;
        } else if (is_below(g, r, from, to)) {
            diff_of(g, r)->n_below++;
        } else {
            n++;
            if (advice_is_eligible(set, diff_of(g, r)) && block.block < n_blocks(g, r) &&
                block.n_in++ == 0)
                block.owner = r->owner;
        }
    }
    for (gsize i = from; n >= 2 && i < to; i++) {
        AdviceRecord *r = &g->all[i];
        if (!is_base(g, r) && !r->is_wrong && !is_below(g, r, from, to))
            diff_of(g, r)->n_same++;
    }
    set->n_own += n;
    set->n_same += n >= 2 ? n : 0;
    set->n_same_saved += n >= 2 ? n - 1 : 0;
    if (block.n_in >= g->need)
        g_array_append_val(set->blocks, block);
    return n;
}

static void count_group(AdviceGroups *g, gsize from, gsize to)
{
    gboolean has_base = FALSE;
    guint64 n = 0;

    for (gsize i = from; i < to; i++)
        has_base |= is_base(g, &g->all[i]) && !g->all[i].is_wrong;
    for (gsize at = from; at < to;) {
        gsize end = group_end(g->all, at, to, TRUE);
        n += count_place(g, at, end);
        at = end;
    }
    g->set->n_anywhere += has_base || n >= 2 ? n : 0;
    g->set->n_anywhere_saved += has_base ? n : n >= 2 ? n - 1 : 0;
}

gboolean advice_groups_count(AdviceGroups *g, AdviceSort *sort, guint part, GError **error)
{
    gsize n;

    g_free(g->all);
    g->all = advice_sort_part(sort, part, &n, error);
    if (!g->all || !compare_part(g, n, error))
        return FALSE;
    for (gsize from = 0; from < n;) {
        gsize to = group_end(g->all, from, n, FALSE);
        count_group(g, from, to);
        from = to;
    }
    return TRUE;
}
