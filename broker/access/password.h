/* password.h: passwords of local users: argon2id.  Any thread; at most two are reckoned at a time,
 * so that many log-ins at once cost time and not memory. */
#pragma once

#include <glib.h>

/* The hash of a password, as it is kept.  Caller frees.  INVALID: too short or too long. */
char *password_hash(const char *password, GError **error);

/* Is it the right one?  hash NULL (no such user, or none with a password) takes as long and is
 * FALSE. */
gboolean password_verify(const char *hash, const char *password);
