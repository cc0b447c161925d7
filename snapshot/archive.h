/* archive.h: archives: points of desktops and template versions in targets elsewhere.
 *
 * The targets hold the truth (objects and manifests, archive_target.h); the catalog has an index of
 * it, so that lists are quick and a second archive of a layer costs nothing.  Work is done by jobs:
 *
 *   archive.create     freeze, store the layers that the target lacks, put the manifest
 *   archive.verify     read everything and compare
 *   archive.delete, archive.undelete, archive.collect (garbage)
 *
 * Restoring is in archive_restore.h.  Planning functions run in the asker's thread; any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"
#include "snapshot/archive_point.h"
#include "snapshot/archive_target.h"

extern const JobType archive_create_job;
extern const JobType archive_verify_job;
extern const JobType archive_delete_job;
extern const JobType archive_undelete_job;
extern const JobType archive_collect_job;

/* ---- Targets ---- */

gboolean archive_lookup_target(Db *db, const char *name, ArchiveTargetRow *ret, GError **error);
gboolean archive_lookup_target_by_id(Db *db, const char *id, ArchiveTargetRow *ret,
                                     GError **error);

/* Open a target that the catalog knows.  UNAVAILABLE if it is not what it was. */
ArchiveTarget *archive_open(World *world, const char *target_id, GError **error);

/* A target's secret, kept in the state folder and nowhere else.  secret NULL: forget it. */
gboolean archive_set_secret(World *world, const char *target_id, const char *secret,
                            GError **error);

/* Folder for what open_object() may have to spool.  The caller closes it. */
int archive_scratch(World *world, GError **error);

/* ---- The index ---- */

typedef struct {
    char *id, *target_id, *name, *kind;
    char *state; /* ok, damaged, missing */
    char *manifest;
    gint64 created_at, deleted_at; /* 0: not deleted */
} ArchivePointRow;
void archive_point_row_clear(ArchivePointRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ArchivePointRow, archive_point_row_clear)

/* ref: an id, or the beginning of one that no other point shares.  NOT_FOUND, INVALID. */
gboolean archive_lookup_point(Db *db, const char *ref, ArchivePointRow *ret, GError **error);

/* Put a point into the index. */
void archive_index_point(Changes *changes, const char *target_id, const ArchivePoint *point,
                         const char *text, gboolean is_deleted);

/* Bring the index up to date with what the target holds.  *ret_n_new may be NULL. */
gboolean archive_rescan(World *world, ArchiveTarget *target, guint *ret_n_new, GError **error);

/* For whoever thinks of merging these layers: bytes that the next archive to some target would
 * have to store again, because it has them under the layers' present form.  0: it costs nothing. */
gint64 archive_cost_of_merge(Db *db, const char *const *layer_ids, guint n);

/* ---- Opening what a point names (for restore, and for exports) ---- */

/* Layers [from, to) of a point's chain (of ArchiveLayer), as Layer *, each object checked against
 * its digest. */
GPtrArray *archive_open_layers(World *world, ArchiveTarget *target, const GArray *chain,
                               guint from, guint to, const gint *cancel, ArchiveProgress progress,
                               gpointer data, GError **error);

/* ---- Plans ---- */

/* Are all of refs (texts) something that can be archived?  NOT_FOUND tells the first that is not.
 */
gboolean archive_check_refs(World *world, const json_t *refs, GError **error);

/* desktops: rows to archive as they are now; further refs ("alice@monday", "win11:3", "win11").
 * Either may be empty.  What is not known is rejected by itself. */
typedef struct {
    const char *target_id, *description;
    const LookupRows *desktops;
    const json_t *refs;
} ArchiveCreate;
gboolean archive_plan_create(World *world, const ArchiveCreate *create, BatchPlan *plan,
                             GError **error);

/* Points (array of refs), or everything in the target (refs NULL). */
gboolean archive_plan_verify(World *world, const char *target_id, const json_t *refs,
                             JobRequest *ret_request, GError **error);

/* is_now: for good, at once. */
gboolean archive_plan_delete(World *world, const json_t *refs, gboolean is_now, BatchPlan *plan,
                             GError **error);
gboolean archive_plan_undelete(World *world, const json_t *refs, BatchPlan *plan, GError **error);
gboolean archive_plan_collect(World *world, const char *target_id, gboolean is_dry,
                              JobRequest *ret_request, GError **error);
