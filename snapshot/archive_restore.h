/* archive_restore.h: a desktop or a template version brought back from an archive point.
 *
 *   VERSION (only if this imaged has not what the desktop stands on) -> DESKTOP
 *
 * Each is built as one new layer beside what there is, and committed as a step.  In place the
 * former disk goes to the trash, from where undo-reset brings it back.  Planning runs in the
 * asker's thread. */
#pragma once

#include "imaged/job/world.h"
#include "imaged/catalog/lookup.h"
#include "snapshot/reimage.h"

typedef struct {
    const char *point;    /* id or the beginning of one */
    const char *as;       /* name of the new desktop or template; NULL in place */
    const char *store;    /* name, or NULL: where its template is, else the default one */
    gboolean in_place;
    Disks disks;          /* of a desktop: which of them, if the point has both */
} ArchiveRestore;

/* For a job of this type, with its claims held. */
gboolean archive_plan_restore(World *world, const JobType *type, const ArchiveRestore *restore,
                              JobRequest *ret_request, GError **error);

/* How to get a copy of a version into a store (templates/template.h, which this folder must not
 * know). */
typedef gboolean (*ArchiveReplicate)(Job *job, World *world, const char *version_id,
                                     const char *store_id, LayerRow *ret_layer, GError **error);

/* The job's work. */
gboolean archive_restore_run(Job *job, World *world, ArchiveReplicate replicate, GError **error);
