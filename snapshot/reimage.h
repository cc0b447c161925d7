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

/* Which of a desktop's disks: its disk, its data disk, both. */
typedef enum { DISKS_ALL, DISKS_SYSTEM, DISKS_DATA } Disks;
gboolean disks_parse(const char *text, Disks *ret_disks, GError **error); /* NULL: all */

/* Plan to lay fresh overlays on the layers of each desktop's snapshot of this name.  A desktop that
 * has none is rejected.  A snapshot without a data disk leaves a present one alone. */
gboolean reimage_plan_revert(World *world, const LookupRows *desktops, const char *snapshot,
                             Disks disks, BatchPlan *plan, GError **error);

/* Plan to bring back the disk that each desktop's last reset replaced. */
gboolean reimage_plan_undo(World *world, const LookupRows *desktops, BatchPlan *plan,
                           GError **error);

/* One item of such a plan, as a step of a job that does more and has claimed its desktop. */
gboolean revert_one(Job *job, World *world, json_t *item, GError **error);
gboolean reimage_undo_one(Job *job, World *world, json_t *item, GError **error);

/* The parts of a reset, for other jobs that replace disks: what reimage_job does with a chunk whose
 * items have id, name, layer, trash, version and store.  The chunk's plan may name the "reason"
 * that its trash entries are to have. */
gboolean reimage_prepare(BatchChunk *chunk, GError **error);
void reimage_undo_prepare(BatchChunk *chunk);

/* Bytes of a new disk on base: as that has them, but never fewer than the desktop's own. */
guint64 reimage_disk_size(const LayerRow *base, const DesktopRow *desktop);

/* For other files of this folder, which swap in any disk: lay what item i's entry (kind disk or
 * data) holds under its desktop, putting what is there into the trash as new_trash_id with this
 * reason.  Fills the chunk's changes, and its moves for batch_move_now(). */
gboolean reimage_swap(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry,
                      const char *new_trash_id, const char *reason, GError **error);

/* For a job that goes on after a stop and does not find its entry any more: where a data disk was
 * brought back in another store than the desktop's, that journal may have been written alone.  Then
 * the desktop's row is put.  data_layer_id: that of an entry of kind data, else NULL. */
void reimage_swap_rest(BatchChunk *chunk, Db *db, const char *desktop_id,
                       const char *data_layer_id);
