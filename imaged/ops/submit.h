/* submit.h: what all operations that start a job share. */
#pragma once

#include "broker/access/quota.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"
#include "imaged/ops/ops.h"

/* If the call's idempotency key has a job already, set call->job_id and return TRUE. */
gboolean submit_is_repeat(OpsCall *call, GError **error);

/* Submit; sets call->job_id.  Always returns NULL. */
json_t *submit_request(OpsCall *call, JobRequest *request, GError **error);
json_t *submit_plan(OpsCall *call, BatchPlan *plan, GError **error);

/* The desktops that names, prefix or template select.  With names, unknown ones are rejected into
 * missing (array of names); nothing selected at all is NOT_FOUND. */
gboolean submit_select(OpsCall *call, LookupRows *ret, json_t **ret_missing, GError **error);

/* Put the names that were not found into the plan as rejected. */
void submit_reject_missing(BatchPlan *plan, json_t *missing);

/* The common course of the verbs on desktops that exist: check the arguments, select, tell (dry may
 * be NULL if dry_run is not allowed) or plan and submit. */
typedef json_t *(*SubmitDryRun)(World *world, const LookupRows *desktops, const json_t *missing);
typedef gboolean (*SubmitPlan)(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                               GError **error);
json_t *submit_on_desktops(OpsCall *call, const char *allowed, SubmitDryRun dry, SubmitPlan make,
                           GError **error);

/* The same for what quotas count: each desktop gets one more of kind (of QUOTA_DISK_BYTES, it is
 * about to grow). */
json_t *submit_counted(OpsCall *call, const char *allowed, QuotaKind kind, SubmitPlan make,
                       GError **error);
