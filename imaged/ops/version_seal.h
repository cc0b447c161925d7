/* version_seal.h: have the helper remove from a disk that is being made what belongs to one
 * machine.
 *
 * For jobs that make template versions.  The layer is in tmp/ still, so no byte of an existing
 * layer is changed. */
#pragma once

#include <jansson.h>

#include "imaged/job/world.h"

/* below (n of them, the base first) and fd, which is written, are one disk; options is
 * {"root_password": "keep"|"lock"}.  The new content is flushed.  It is in
 * store, which is watched meanwhile: NO_SPACE.  *ret_report (caller unrefs) says
 * what was removed; *ret_line (caller frees) says it in one line. */
gboolean version_seal(Job *job, World *world, Store *store, Layer *const *below, guint n, int fd,
                      const json_t *options, json_t **ret_report, char **ret_line, GError **error);
