/* merges.h: what merges layers: deleting snapshots, compacting, flattening, the depth governor.
 *
 * Long work, in the bulk tier, one desktop after the other.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType snapshot_delete_job;
extern const JobType desktop_compact_job;
extern const JobType desktop_flatten_job;
extern const JobType desktop_shorten_job; /* the depth governor's */

/* Plan to delete these snapshots (array of names) of a desktop.  NOT_FOUND names the first that is
 * not there.  NO_SPACE says what the first merge would need. */
gboolean snapshot_plan_delete(World *world, const char *desktop, const json_t *names,
                              BatchPlan *plan, GError **error);

/* For a desktop that runs: one item of that plan.  The caller has seen to it that what it is merged
 * with is no active layer (snapshot_delete_uppers()), and holds x:run/ID. */
gboolean snapshot_delete_live(Job *job, World *world, json_t *item, GError **error);

/* The layers that its two will be merged with, or NULL.  Caller frees. */
void snapshot_delete_uppers(World *world, const char *snapshot_id, char **ret_upper,
                            char **ret_data_upper);

/* What deleting a snapshot needs and frees, in bytes. */
typedef struct {
    guint64 written; /* at most, now */
    guint64 own;     /* what its own layer takes */
    guint64
        freed; /* by emptying the trash: its own layer and, where merged, the one above as it was */
} SnapshotDeleteNeed;
gboolean snapshot_delete_reckon(World *world, Db *db, const SnapshotRow *snapshot,
                                SnapshotDeleteNeed *ret, GError **error);

/* Plan to compact or flatten these desktops. */
gboolean desktop_plan_compact(World *world, const LookupRows *desktops, BatchPlan *plan,
                              GError **error);
gboolean desktop_plan_flatten(World *world, const LookupRows *desktops, BatchPlan *plan,
                              GError **error);

/* What the depth governor looks for, and does, where a desktop runs (the caller holds x:run/ID):
 * has it so many own layers that can be merged?  Merge one item's. */
gboolean merges_is_deep(World *world, Db *db, const DesktopRow *desktop);
gboolean merges_shorten_live(Job *job, World *world, json_t *item, GError **error);

/* The depth governor: submit a job for desktops whose chains are too deep, if there are any and
 * none is at work.  Called now and then. */
void merges_govern(World *world);
