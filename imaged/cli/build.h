/* build.h: bringing a recipe, and the files that it names, to the daemon. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* imagectl template build: the ended job (caller unrefs; *ret_is_checked and NULL for --check,
 * which has told of the result), or NULL. */
json_t *build_run(Cli *cli, gboolean *ret_is_checked, GError **error);
