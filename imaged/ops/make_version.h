/* make_version.h: the next version of a template out of a disk that exists: a desktop's, a
 * snapshot's, a draft's (publish), or an earlier version's (seal).
 *
 * Planning runs in the asker's thread, the job types do the work. */
#pragma once

#include "imaged/ops/ops.h"

extern const JobType create_from_job;
extern const JobType publish_job;
extern const JobType seal_job;
extern const JobType build_on_job; /* planned by build_on.h */

typedef struct {
    const JobType *type;
    const char *ref;           /* DESKTOP or DESKTOP@SNAPSHOT; for seal_job TEMPLATE[:VERSION] */
    const char *name;          /* of the template */
    gboolean is_flat;          /* the new layer shall stand on nothing */
    gboolean is_draft;         /* not published */
    gboolean is_sealed;        /* remove what belongs to one machine: ids, keys, logs */
    const char *root_password; /* when sealing: keep or lock; NULL = keep */
} MakeVersion;

/* Plan it with the arguments cpus, memory_bytes, os and description of the call, and submit it.
 * Always returns NULL. */
json_t *make_version_submit(OpsCall *call, const MakeVersion *spec, GError **error);
