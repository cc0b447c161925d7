/* advice_view.c: sweeps over all digests at once, from one boundary of a run to the next. */
#include "snapshot/advice_view.h"

typedef struct {
    BlockDigest *digest;
    BlockRun run;
    gboolean has_ended;
} Level;

struct AdviceView {
    guint n;
    guint64 at; /* block */
    Level levels[];
};

AdviceView *advice_view_new(BlockDigest *const *digests, guint n)
{
    AdviceView *v = g_malloc0(sizeof *v + n * sizeof *v->levels);

    v->n = n;
    for (guint i = 0; i < n; i++)
        v->levels[i].digest = digests[i];
    return v;
}

void advice_view_free(AdviceView *v)
{
    for (guint i = 0; v && i < v->n; i++)
        block_digest_free(v->levels[i].digest);
    g_free(v);
}

guint64 advice_view_n_data(const AdviceView *v)
{
    guint64 sum = 0;

    for (guint i = 0; i < v->n; i++)
        sum += block_digest_counts(v->levels[i].digest)->n_data;
    return sum;
}

/* Bring a level to its first run that ends behind at. */
static gboolean level_at(Level *l, guint64 at, GError **error)
{
    GError *local = NULL;

    while (!l->has_ended && l->run.first + l->run.n <= at) {
        if (block_digest_next(l->digest, &l->run, &local))
            continue;
        if (local) {
            g_propagate_error(error, local);
            return FALSE;
        }
        l->has_ended = TRUE;
    }
    return TRUE;
}

gboolean advice_view_next(AdviceView *v, BlockRun *ret, GError **error)
{
    for (;;) {
        const Level *found = NULL;
        guint64 end = G_MAXUINT64;
        for (guint i = v->n; i-- > 0;) {
            Level *l = &v->levels[i];
            if (!level_at(l, v->at, error))
                return FALSE;
            if (l->has_ended)
                continue;
            gboolean is_here = l->run.first <= v->at;
            if (is_here && !found)
                found = l;
            if (!is_here || found == l)
                end = MIN(end, is_here ? l->run.first + l->run.n : l->run.first);
        }
        if (end == G_MAXUINT64)
            return FALSE;
        guint64 from = v->at;
        v->at = end;
        if (!found)
            continue;
        *ret = (BlockRun){ from, (guint32)(end - from), found->run.kind,
                           found->run.kind == BLOCK_DATA
                               ? found->run.hashes + (from - found->run.first)
                               : NULL };
        return TRUE;
    }
}
