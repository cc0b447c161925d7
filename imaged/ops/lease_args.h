/* lease_args.h: the terms of a lease, as a request names them: a pool's and an assignment's. */
#pragma once

#include "broker/pool/lease.h"
#include "imaged/ops/ops.h"

/* Arguments of a lease at its end, and of when it is. */
#define LEASE_END_ARGS " warn_s grace_s end_action archive_target max_extensions extension_s"
#define LEASE_ARGS LEASE_END_ARGS " hours zone holidays lease_s"

/* Copy those that are there into the settings (null takes one away), and look whether these make
 * sense now: INVALID. */
gboolean lease_args_take(OpsCall *call, json_t *settings, LeaseTerms *ret, GError **error);

/* The argument "until": a date (its end, in UTC) or a moment in the future; 0 if it is not there.
 * INVALID. */
gboolean lease_args_until(OpsCall *call, gint64 *ret_ms, GError **error);
