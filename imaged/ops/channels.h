/* channels.h: what pools and groups forbid users to do through their clients.
 *
 * The strictest counts: a desktop's own settings (its version's, over which its own go), then the
 * policy of its pool, then those of all groups of whoever it is for: its users, and while it is a
 * pool's that nobody has yet, all who may get it, because it may be on by then.  It holds from the
 * next start on.  Any thread. */
#pragma once

#include "broker/run/channel_policy.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/ops.h"

/* Narrow policy by all that is said for the desktop; *ret_n (may be NULL): by how many. */
gboolean channels_narrow(Db *db, const char *desktop_id, ChannelPolicy *policy, guint *ret_n,
                         GError **error);

/* Has a hardware object keys that are a matter of channels? */
gboolean channels_any(const json_t *hardware);

/* policy as keys of a hardware object, over what is there. */
void channels_put(json_t *object, const ChannelPolicy *policy);
