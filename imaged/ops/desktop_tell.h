/* desktop_tell.h: a text on the screens of who is on a desktop, by the agent in its guest. */
#pragma once

#include "imaged/job/world.h"

/* TRUE: the guest has begun to show it.  NOT_FOUND: it is off; UNAVAILABLE: no agent answers.  May
 * take 10 s.  Any thread that holds no reader of the catalog. */
gboolean desktop_tell(World *world, const char *desktop_id, const char *text, GError **error);
