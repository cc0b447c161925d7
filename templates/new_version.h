/* new_version.h: the next version of a new or existing template: what its makers have in common.
 *
 * A job's plan holds: name, template_id, template_created, number, version_id, layer_id, store_id,
 * state, cpus, memory_bytes, os, description, source_name, notes.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

/* Put template_id, template_created and number for this name into plan.  INVALID, EXISTS. */
gboolean new_version_plan(Db *db, const char *name, json_t *plan, GError **error);

/* The claims of such a plan.  Caller unrefs. */
json_t *new_version_claims(const json_t *plan);

/* The job's last act: the facts of the version whose layer is in its slot now.  layer has
 * parent_id, virtual_size and checksum; the rest is the plan's. */
gboolean new_version_commit(Job *job, const LayerRow *layer, const char *event, const char *words,
                            GError **error);

/* For a job that goes on after a stop: were its facts in the journal already?  Then the job is done
 * (or error is set). */
gboolean new_version_was_committed(Job *job, World *world, GError **error);

/* The job has failed: its layer goes, if it was built; but not one that the catalog knows. */
void new_version_discard(Job *job, World *world);
