/* build.h: bringing a recipe, and the files that it names, to the daemon. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* imagectl template build: the ended job (caller unrefs); NULL without an error for --check and
 * --no-wait, which have told of the result. */
json_t *build_run(Cli *cli, GError **error);
