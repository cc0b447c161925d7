/* advice.h: what the diffs of template versions have in common, and what could be done about it: a
 * job that reads and changes nothing (but for digests, which it keeps).  Any thread. */
#pragma once

#include "imaged/job/job.h"
#include "snapshot/advice_count.h"

extern const JobType report_advice_job;

#define ADVICE_SHARE 50 /* percent: of the diffs that must have a block for a stand-in */

/* Why a stand-in would be of no use. */
#define ADVICE_TOO_FEW                                                                             \
    "fewer than two desktops stand on the version itself, at rest and without snapshots"
#define ADVICE_NOTHING_PAYS "no block is equal in enough of the desktops to pay"

/* Plan the report on all templates, on one, or on one version (NAME:VERSION); share in percent, 1
 * to 100.  NOT_FOUND. */
gboolean advice_plan(World *world, const char *template, gint64 share, JobRequest *ret,
                     GError **error);

/* Every desktop of this version whose layers lie in this store. */
gboolean advice_collect(World *world, const char *version_id, const char *store_id, AdviceSet *set,
                        GError **error);

/* Can single blocks of 4 KiB be freed in layers of this store? */
gboolean advice_frees_blocks(const Store *store);

/* What a stand-in would free and take, in bytes. */
typedef struct {
    guint64 layer_bytes;              /* data of the new layer */
    guint64 freed_bytes, added_bytes; /* by that in the diffs: freed; and said anew, where they show
                                       * what the stand-in hides */
    guint64 compact_bytes; /* what compacting these diffs frees, which is done on the way */
    gint64 gain_bytes;     /* freed + compact - added - layer */
} AdviceGain;
AdviceGain advice_gain(const AdviceSet *set);
