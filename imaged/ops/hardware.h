/* hardware.h: the "hardware" of a call that makes or sets something. */
#pragma once

#include "broker/run/hardware.h"
#include "imaged/ops/ops.h"

/* The change that the call asks for, checked, its networks known; *ret borrowed, or NULL: none.
 * INVALID, NOT_FOUND. */
gboolean hardware_take(const OpsCall *call, const json_t **ret, GError **error);

/* Its keys, "cpus, heads", for an event.  Caller frees. */
char *hardware_keys(const json_t *change);

/* What the desktop's pool says of its hardware, as text; NULL: nothing.  Caller frees. */
char *hardware_of_pool(Db *db, const char *desktop_id);

/* What people are shown of a desktop (or, where it is NULL, of a version): what counts.  Caller
 * unrefs. */
json_t *hardware_shown(Db *db, const char *version_id, const DesktopRow *desktop);
