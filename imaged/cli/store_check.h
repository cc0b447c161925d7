/* store_check.h: what a store check found, printed. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* Print a StoreCheckResult; sets the exit code if not all is well. */
void store_check_print(Cli *cli, const json_t *result);
