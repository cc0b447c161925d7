/* stand_in_build.h: the layer of a stand-in, made by its job (stand_in.c alone). */
#pragma once

#include "imaged/job/world.h"

/* Count, build, publish and commit the layer that the job's plan names; *ret_is_worth FALSE: no
 * block would pay, and nothing was made.  On an error nothing is left. */
gboolean stand_in_build(Job *job, World *world, gboolean *ret_is_worth, GError **error);
