/* identity_secrets.h: passwords that desktops are told, kept beside the catalog: STATE/secrets/ID,
 * mode 0600.
 *
 * Settings name a secret by its id, which is new for each: so a change of settings is one commit,
 * and versions that take over their settings share it.  What no row names any more goes to
 * STATE/secrets/unused/ and is removed when the trash would let go of it too, so that it is there
 * when a store comes back or an old catalog has caught up.  A catalog that was rebuilt elsewhere
 * lacks them: then NOT_FOUND.  Any thread. */
#pragma once

#include "imaged/base/ident.h"
#include "imaged/job/world.h"

/* Store the secret for this key of the settings, durably, before it is named. */
gboolean identity_secret_put(World *world, const char *key, const char *secret, Id *ret_id,
                             GError **error);

/* The secret.  *ret_hash (may be NULL): of a user's password, for /etc/shadow.  Caller frees. */
char *identity_secret_get(World *world, const char *id, char **ret_hash, GError **error);

/* Put away those that nothing names, take back those that something does, and remove those that
 * were away long enough.  Nothing, while a store is offline or behind, or the clock is not trusted.
 */
void identity_secrets_tidy(World *world);
