/* build_on.h: a template version out of a recipe that stands on another version, or on an image.
 *
 * Planning runs in the asker's thread. */
#pragma once

#include "imaged/ops/ops.h"
#include "templates/build.h"

typedef struct {
    gboolean is_flat;   /* of a version: a copy instead of an overlay */
    const char *source; /* of an image: the NBD URI that serves it; else NULL */
} BuildBase;

gboolean build_on_plan(OpsCall *call, const TemplateBuild *build, const BuildBase *base,
                       JobRequest *ret_request, GError **error);
