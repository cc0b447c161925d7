/* build.h: a template version out of a recipe, fresh: packages and nothing else.
 *
 *   FETCH (helper, with network) -> BUILD (helper, without: a disk comes back) -> PUBLISH the layer
 *   -> FACTS
 *
 * A recipe that stands on a version or an image is imaged/ops/build_on.h's affair.  Any thread. */
#pragma once

#include "imaged/job/job_log.h"
#include "imaged/job/world.h"

extern const JobType template_build_job;

typedef struct {
    const char *name, *store;
    const char *text;     /* the recipe as it was written */
    const json_t *recipe; /* the same, parsed (recipe.h), with the content of its files */
    const char *identity; /* settings (JSON), or NULL */
    gboolean is_draft;
    gboolean is_check; /* only to see whether it could be built: plan_look() */
} TemplateBuild;

gboolean template_plan_build(World *world, const TemplateBuild *build, JobRequest *ret_request,
                             GError **error);

/* What every plan of a build holds beside what new_version.h wants; for recipes on a base, too. */
json_t *template_build_plan(const TemplateBuild *build, const char *store_id);

/* How much must stay free where builds are made. */
guint64 template_build_reserve(const World *world);

/* What a helper's run reports, for a job's log and message: the user of these events.  The run is
 * the job's work between two percentages; without them only words tell how far it is. */
typedef struct {
    Job *job;
    JobLog *log;
    guint from, to;
} BuildTalk;
void build_talk_progress(gpointer talk, guint64 done, guint64 total, const char *message);
void build_talk_log(gpointer talk, const char *text);

/* Task "fetch" into folder; status is dpkg's of the base, or NULL.  Its result: see fetch.c of the
 * helper. */
json_t *template_build_fetch(BuildTalk *talk, World *world, const char *folder,
                             const json_t *recipe, const json_t *packages, const char *status,
                             GError **error);
