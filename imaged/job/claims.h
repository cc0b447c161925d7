/* claims.h: who is at work on what, so that two jobs never change one thing at once.
 *
 * A claim is a key like "x:desktop/ID" (exclusive) or "s:version/ID" (shared).  A job takes all its
 * claims at once or none.  They live in memory; unfinished jobs take theirs again at a restart.
 * Any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Claims Claims;

/* The holder of what a desktop that runs keeps: no job, for the message. */
#define CLAIMS_RUN "desktop.run"

Claims *claims_new(void);
void claims_free(Claims *claims);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Claims, claims_free)

/* Take every key of the JSON array keys for holder (a job's kind, or "export NAME"; for the
 * message). BUSY if one of them conflicts; nothing is taken then.  What is held for a moment alone
 * (claims_take_briefly()) is waited for, a few seconds at most. */
gboolean claims_take(Claims *claims, const json_t *keys, const char *holder, GError **error);

/* The same for who gives them back at once, as one that writes down what a host has told: nobody is
 * told that it is busy for that.  Waits for nobody.  Whoever has taken keys so must not begin to
 * read the catalog before he gives them back: who waits for him may have all its readers. */
gboolean claims_take_briefly(Claims *claims, const json_t *keys, const char *holder,
                             GError **error);
void claims_release(Claims *claims, const json_t *keys);

/* Is this thing ("layer/ID") claimed by anybody? */
gboolean claims_has(Claims *claims, const char *thing);

/* Append a key to the array: mode is 'x' or 's'. */
void claims_add(json_t *keys, char mode, const char *what, const char *id);
