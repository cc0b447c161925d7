/* run_start.h: desktops that are started by another verb than start. */
#pragma once

#include "imaged/job/batch.h"
#include "imaged/ops/ops.h"

/* Plan to start those of these desktops that are suspended, with their memory; others are
 * rejected. */
gboolean run_start_plan_suspended(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                  GError **error);
