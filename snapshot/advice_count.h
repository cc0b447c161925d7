/* advice_count.h: how much of what the diffs of one template version hold is equal.
 *
 * Blocks of 4 KiB.  Of what a desktop's own layers show of their own (the uppermost wins):
 *
 *     zero    reads as zeros, stored as data
 *     below   reads as what lies below (the version, or the stand-in that the desktop stands on)
 *     own     the rest; of that
 *       same offset   another diff has the same bytes at the same place: a common base can save all
 *                     but one
 *       anywhere      another diff, the version, or another place of the same diff has the same
 *                     bytes: what deduplication in an archive saves
 *
 * Digests find candidates; each of them is counted only after its bytes were compared.  One thread;
 * memory: advice_sort.h, and 24 bytes for each block of a proposed stand-in. */
#pragma once

#include "snapshot/digest_cache.h"

/* What a diff stands on. */
typedef struct {
    char *layer_id;
    gboolean is_stand_in;
    guint64 n_blocks; /* whole ones: a stand-in has none behind */
} AdviceBase;

typedef struct {
    char *id, *name, *layer_id; /* of the desktop, and its disk */
    guint base;                 /* index */
    gboolean has_snapshots;     /* its own layers can't be merged into one, nor moved */
    gboolean is_read;
    char *problem;                                     /* why it was not read; or NULL */
    guint64 n_data, n_zero, n_below, n_hidden, n_same; /* blocks; hidden: by own layers above */
} AdviceDiff;

/* A block of a stand-in. */
typedef struct {
    guint64 block;
    guint32 n_in;  /* diffs that have just these bytes there */
    guint32 n_say; /* diffs that say anything there */
    guint32 owner; /* one of the former: index of an owner, for advice_owner_ids() */
    guint32 below; /* the version has data there, so that who says nothing will have to */
} AdviceBlock;

typedef struct {
    World *world;
    DigestCache cache;
    GArray *bases, *diffs; /* AdviceBase, AdviceDiff */
    gdouble share;         /* of the diffs that could stand on a stand-in */
    void (*step)(guint64 done, guint64 total, gpointer data); /* progress; or NULL */
    gpointer data;

    guint64 n_own, n_same, n_same_saved, n_anywhere, n_anywhere_saved;
    guint64 n_wrong;  /* equal digests, other bytes; or they could not be compared any more */
    guint n_eligible; /* diffs that could stand on a stand-in */
    GArray *blocks;   /* AdviceBlock: of the stand-in that would serve them, in guest order */
    guint64 n_freed, n_added; /* by that: blocks that go from the diffs, blocks that come */
} AdviceSet;

void advice_set_init(AdviceSet *set, World *world, gdouble share);
void advice_set_clear(AdviceSet *set);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AdviceSet, advice_set_clear)

/* Add a desktop; FALSE if it has no diff to a version (it was flattened) or is gone. */
gboolean advice_set_add(AdviceSet *set, Db *db, const DesktopRow *desktop);

/* Read what has to be read, and count.  What runs or is gone meanwhile is left out, with the reason
 * in its diff.  CANCELLED, NO_SPACE (for digests), UNAVAILABLE, CORRUPT (a version's layer). */
gboolean advice_count(AdviceSet *set, GError **error);

/* Could it stand on a stand-in? */
gboolean advice_is_eligible(const AdviceSet *set, const AdviceDiff *diff);

/* The topmost layer of each owner's chain, by owner index (borrowed texts). Caller unrefs. */
GPtrArray *advice_owner_ids(const AdviceSet *set);
