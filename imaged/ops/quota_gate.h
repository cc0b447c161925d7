/* quota_gate.h: what would be more than a quota allows is left out of a batch. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"
#include "imaged/ops/ops.h"

typedef struct {
    GPtrArray *names;  /* of desktops that were left out */
    GPtrArray *errors; /* why */
} QuotaGate;

/* Take the desktops out of the selection of whose owners the route's permission would make more
 * than they may have: snapshots, running desktops. */
void quota_gate(OpsCall *call, LookupRows *desktops, QuotaGate *ret);

/* They are rejected, in the plan that was made of the others. */
void quota_gate_reject(const QuotaGate *gate, BatchPlan *plan);
void quota_gate_clear(QuotaGate *gate);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QuotaGate, quota_gate_clear)
