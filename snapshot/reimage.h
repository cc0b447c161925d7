/* reimage.h: replacing a desktop's disk: reset (re-image), revert to a snapshot, undoing either.
 *
 * A reset writes one small new overlay and moves one pointer; the former disk goes to the trash.
 * Undo swaps the two.  The generation goes up by one each time.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType reimage_job;
extern const JobType reimage_undo_job;
extern const JobType revert_job;

/* Plan a reset of these desktops to version number to of their template (0: the one each stands
 * on).  A desktop whose template has no such version is rejected. */
gboolean reimage_plan_reset(World *world, const LookupRows *desktops, gint64 to, BatchPlan *plan,
                            GError **error);

/* Plan to lay a fresh overlay on each desktop's snapshot of this name.  A desktop that has none is
 * rejected. */
gboolean reimage_plan_revert(World *world, const LookupRows *desktops, const char *snapshot,
                             BatchPlan *plan, GError **error);

/* Plan to bring back the disk that each desktop's last reset replaced. */
gboolean reimage_plan_undo(World *world, const LookupRows *desktops, BatchPlan *plan,
                           GError **error);

/* The parts of a reset, for other jobs that replace disks: what reimage_job does with a chunk whose
 * items have id, name, layer, trash, version and store (or snapshot in place of a version).  The
 * chunk's plan may name the "reason" that its trash entries are to have. */
gboolean reimage_prepare(BatchChunk *chunk, GError **error);
void reimage_undo_prepare(BatchChunk *chunk);

/* The facts of replacing desktop's disk: the old layer goes to the trash with a move for
 * batch_move_now(), or is forgotten if its file is missing (stat is NULL). */
void reimage_put_replaced(BatchChunk *chunk, guint i, const DesktopRow *desktop, LayerRow *old,
                          const StoreStat *stat, const char *trash_id, const char *reason,
                          gint64 now);

/* For trash.c, which swaps in any disk: lay item i's disk of this entry under its desktop, putting
 * the present disk into the trash as new_trash_id with this reason.  Fills the chunk's changes, and
 * its moves for batch_move_now(). */
gboolean reimage_swap(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                      const char *new_trash_id, const char *reason, GError **error);
