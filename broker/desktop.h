/* desktop.h: desktops as identities: made in batches, renamed, deleted.
 *
 * A desktop keeps its id, name, MAC, UUID and owner for life; its disk is the active layer, an
 * overlay on a template version's layer in the same store.  What happens to that disk later is in
 * snapshot/.  Planning functions run in the asker's thread and take claims; the job types do the
 * work.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType desktop_create_job;
extern const JobType desktop_delete_job;

typedef struct {
    const json_t *names;   /* array of names, or NULL with: */
    const char *prefix;
    guint count;
    const char *template;  /* NAME or NAME:VERSION */
    const char *owner;     /* or NULL */
    const char *store;     /* name, or NULL: where the template is */
    guint32 cluster_size;  /* bytes; 0 = the store's default */
    gboolean has_subclusters;
    gboolean is_draft;     /* the next version of its template is made in it */
    guint64 disk_size;     /* bytes; 0: as the template's.  Never smaller than that */
    guint64 data_size;     /* of a data disk, bytes; 0: none */
    const char *hardware;  /* as its row has it, or NULL */
} DesktopSpec;

#define DESKTOP_MAX_BATCH 20000

/* Plan the creation.  NOT_FOUND, INVALID, EXISTS; per-desktop reasons go into the plan when more
 * than one is asked for. */
gboolean desktop_plan_create(World *world, const DesktopSpec *spec, BatchPlan *ret_plan,
                             GError **error);

/* Plan the deletion of these desktops (rows of ROW_DESKTOP). */
gboolean desktop_plan_delete(World *world, const LookupRows *desktops, BatchPlan *plan,
                             GError **error);

gboolean desktop_rename(World *world, const char *name, const char *new_name, const char *who,
                        GError **error);

/* The names that prefix and count stand for, given the numbers that are taken: "desk-001" and so on
 * (appended to out, caller frees each). */
void desktop_make_names(const char *prefix, guint count, guint64 after, GPtrArray *out);
