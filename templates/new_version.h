/* new_version.h: the next version of a new or existing template: what its makers have in common.
 *
 * A job's plan holds: name, template_id, template_created, number, version_id, layer_id, store_id,
 * state, cpus, memory_bytes, os, description, source_name, notes; and maybe firmware, video,
 * recipe, identity (text each).  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

/* Put template_id, template_created and number for this name into plan, which has its store_id, and
 * add the claims of such a plan.  INVALID, EXISTS. */
gboolean new_version_plan(Db *db, const char *name, json_t *plan, json_t *claims, GError **error);

/* What came out while the version's layer was made. */
typedef struct {
    const char *parent_id; /* of the layer, or NULL */
    gint64 virtual_size;
    const char *checksum;
    gint64 sealed_at;      /* 0: it was not */
    const char *more_notes; /* a line, or NULL */
    const json_t *report;  /* for the job's result as "sealed", or NULL */
} NewVersion;

/* The job's last act: the facts of the version whose layer is in its slot now, with more changes
 * (taken over, may be NULL) in the same commit. */
gboolean new_version_commit(Job *job, const NewVersion *made, const char *event, const char *words,
                            Changes *more, GError **error);

/* For a job that goes on after a stop: were its facts in the journal already?  Then the job is done
 * (or error is set). */
gboolean new_version_was_committed(Job *job, World *world, GError **error);

/* The layer that a job has put into its slot before a stop, of which only the facts are missing: it
 * was whole there, and is made durable there now.  *ret_found: is there one?  Its bytes for the
 * guest and its checksum.  FALSE: an error. */
gboolean new_version_find_layer(Job *job, Store *store, const char *slot, gboolean *ret_found,
                                guint64 *ret_size, char ret_checksum[33], GError **error);

/* The job has failed: its layer goes, if it was built; but not one that the catalog knows. */
void new_version_discard(Job *job, World *world);
