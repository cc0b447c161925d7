/* claims.h: who is at work on what, so that two jobs never change one thing at once.
 *
 * A claim is a key like "x:desktop/ID" (exclusive) or "s:version/ID" (shared).  A job takes all its
 * claims at once or none.  They live in memory; unfinished jobs take theirs again at a restart.
 * Any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Claims Claims;

Claims *claims_new(void);
void claims_free(Claims *claims);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Claims, claims_free)

/* Take every key of the JSON array keys for holder (a job's kind, or "export NAME"; for the
 * message). BUSY if one of them conflicts; nothing is taken then. */
gboolean claims_take(Claims *claims, const json_t *keys, const char *holder, GError **error);
void claims_release(Claims *claims, const json_t *keys);

/* Is this thing ("layer/ID") claimed by anybody? */
gboolean claims_has(Claims *claims, const char *thing);

/* Append a key to the array: mode is 'x' or 's'. */
void claims_add(json_t *keys, char mode, const char *what, const char *id);
