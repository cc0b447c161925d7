/* users.h: users and groups as rows of the catalog.
 *
 * A user is local (password_hash, or none: then he comes by the unix socket or a token alone) or a
 * directory's (external_id, which outlives a change of his name).  Names are compared without
 * regard to case.  Any thread. */
#pragma once

#include "imaged/catalog/catalog.h"

/* What a name is compared by.  Caller frees. */
char *user_name_key(const char *name);
