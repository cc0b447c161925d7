/* import.h: bringing an image to the daemon. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"

/* Check the source, serve it, have the daemon read it and wait for the end.  The ended job,
 * whatever its state (caller unrefs), or NULL. */
json_t *import_run(Cli *cli, GError **error);

/* What is said of the machine that a new template is for, with an import as with what is made of a
 * desktop: --cpus, --memory, --os, --description. */
void import_put_machine(const Args *args, json_t *body);
