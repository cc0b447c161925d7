/* reimage.h: replacing a desktop's disk: reset (re-image), undoing that, bringing a disk back.
 *
 * A reset writes one small new overlay and moves one pointer; the former disk goes to the trash.
 * Undo swaps the two.  The generation goes up by one each time.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType reimage_job;
extern const JobType reimage_undo_job;

/* Plan a reset of these desktops to version number to of their template (0: the one each stands
 * on).  A desktop whose template has no such version is rejected. */
gboolean reimage_plan_reset(World *world, const LookupRows *desktops, gint64 to, BatchPlan *plan,
                            GError **error);

/* Plan to bring back the disk that each desktop's last reset replaced. */
gboolean reimage_plan_undo(World *world, const LookupRows *desktops, BatchPlan *plan,
                           GError **error);

/* For trash.c, which swaps in any disk: lay item i's disk of this entry under its desktop, putting
 * the present disk into the trash as new_trash_id with this reason.  Fills the chunk's changes, and
 * its moves for batch_move_now(). */
gboolean reimage_swap(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                      const char *new_trash_id, const char *reason, GError **error);
