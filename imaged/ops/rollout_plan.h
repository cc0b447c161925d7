/* rollout_plan.h: which desktops a roll-out is for, and what becomes of each.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/ops/ops.h"

typedef struct {
    TemplateRow template;
    VersionRow version; /* to which */
    LookupRows desktops;
    json_t *rows; /* [position, desktop, name, version, state, layer, trash, reason] */
    guint n_waiting, n_skipped;
} RolloutPlan;

/* From a call's template, to, and names, prefix or all.  Every name must be right: NOT_FOUND,
 * INVALID.  BUSY if another roll-out that is not over has one of the desktops. */
gboolean rollout_plan(OpsCall *call, RolloutPlan *ret, GError **error);
void rollout_plan_clear(RolloutPlan *plan);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RolloutPlan, rollout_plan_clear)

/* Does another roll-out that is not over have one of these rows' desktops?  BUSY names both. */
gboolean rollout_plan_check_free(World *world, const json_t *rows, GError **error);

/* Who would move first and then, and who would not, and why: the answer to a dry run.  when: what
 * is done with those that run, or NULL. */
json_t *rollout_plan_view(World *world, const RolloutPlan *plan, const char *when, guint canary,
                          guint batch);
