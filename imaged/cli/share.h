/* share.h: --share of the advisor's verbs: a part of the desktops, in percent. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* Put the option, if it was given, into body as "share".  IMAGED_ERROR_INVALID. */
gboolean verbs_put_share(Cli *cli, json_t *body, GError **error);
