/* dry_run.h: what a destructive verb would free and break, without doing it. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/ops/ops.h"
#include "snapshot/reimage.h"

/* Deleting (or resetting, when is_reset is set) these desktops. */
json_t *dry_run_desktops(World *world, const LookupRows *desktops, const json_t *missing,
                         gboolean is_reset);

/* Putting other disks in the place of these of theirs; why (or NULL) is said of each that has such
 * a disk. */
json_t *dry_run_disks(World *world, const LookupRows *desktops, const json_t *missing, Disks disks,
                      const char *why);

/* Undoing their resets. */
json_t *dry_run_undo(World *world, const LookupRows *desktops, const json_t *missing);

/* Deleting a template or one of its versions. */
json_t *dry_run_template(World *world, const char *ref, GError **error);

/* Emptying these entries (NULL: all). */
json_t *dry_run_trash(World *world, const json_t *ids, GError **error);

/* Deleting these snapshots (names) of a desktop: what merging needs, what the trash will free. */
json_t *dry_run_snapshots(World *world, const char *desktop, const json_t *names, GError **error);

/* Mark what the verb's own plan rejects (as BatchPlan's) as refused. */
void dry_run_refuse(json_t *dry_run, const json_t *rejected);
