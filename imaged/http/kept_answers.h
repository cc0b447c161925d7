/* kept_answers.h: answers to short changes, kept for a while, so that a client that lost its
 * connection may ask again with the same idempotency key.
 *
 * In memory, and bounded: jobs remember their keys in the catalog.  Any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct KeptAnswers KeptAnswers;

KeptAnswers *kept_answers_new(void);
void kept_answers_free(KeptAnswers *kept);

/* hash is the request's.  If the key is known already, the first answer stays. */
void kept_answers_put(KeptAnswers *kept, const char *key, const char *hash, const json_t *body);

/* TRUE if the key is known: *ret_body is the first answer (caller unrefs), or NULL if that was for
 * another request. */
gboolean kept_answers_find(KeptAnswers *kept, const char *key, const char *hash, json_t **ret_body);
