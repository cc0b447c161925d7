/* build_on.h: a template version out of a recipe that stands on another version, or on an image.
 *
 * Planning runs in the asker's thread. */
#pragma once

#include "imaged/ops/ops.h"
#include "templates/build.h"

gboolean build_on_plan(OpsCall *call, const TemplateBuild *build, gboolean is_flat,
                       JobRequest *ret_request, GError **error);
