/* quota_gate.h: what would be more than a quota allows is left out of a batch. */
#pragma once

#include "broker/access/quota.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"
#include "imaged/ops/ops.h"

typedef struct {
    QuotaKind kind;    /* of which a desktop gets one more (QUOTA_N: of none) */
    GPtrArray *names;  /* of desktops that were left out */
    GPtrArray *errors; /* why */
} QuotaGate;

void quota_gate_init(QuotaGate *gate, QuotaKind kind);
void quota_gate_clear(QuotaGate *gate);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QuotaGate, quota_gate_clear)

/* Take the desktops out of the selection of which the owners may have no more. */
void quota_gate(World *world, LookupRows *desktops, QuotaGate *gate);

/* They are rejected, in the plan that was made of the others. */
void quota_gate_reject(const QuotaGate *gate, BatchPlan *plan);

/* What the plan's items are to make is held, with the intent of the job (whose id is job_id): of
 * two at the same moment, one fails there with DENIED and is to be planned again.  NULL: no quotas.
 */
Changes *quota_gate_hold(World *world, QuotaKind kind, const json_t *items, const char *job_id);
