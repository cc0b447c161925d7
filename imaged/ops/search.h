/* search.h: what other operations use of searching. */
#pragma once

#include "imaged/ops/ops.h"

/* Who asks. */
const Caller *search_caller(const OpsCall *call);

/* The names of the desktops that a search selects, in its order: a JSON array of texts. */
json_t *search_desktop_names(OpsCall *call, const char *text, GError **error);
