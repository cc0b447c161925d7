/* auth.h: who sent a request.
 *
 * On the unix socket the peer's uid decides; on TCP a token. */
#pragma once

#include <microhttpd.h>

#include "imaged/ops/ops.h"

/* The caller of this connection's request (free it with caller_free()).  DENIED.
 * *ret_address: of a client over TCP, else NULL; caller frees. */
Caller *auth_caller(World *world, struct MHD_Connection *connection, char **ret_address,
                    GError **error);
