/* import.h: bringing an image to the daemon. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"
#include "imaged/cli/nbd_serve.h"

/* Check the source, serve it, have the daemon read it and wait for the end.  The ended job,
 * whatever its state (caller unrefs), or NULL. */
json_t *import_run(Cli *cli, GError **error);

/* Check an image file and serve it to the daemon; what there is to say about it is added to notes.
 * An interrupt must be caught (interrupt_catch()) before. */
NbdServe *import_serve_file(Cli *cli, const char *path, const char *format, json_t *notes,
                            GError **error);

/* What is said of the machine that a new template is for, with an import as with what is made of a
 * desktop: --cpus, --memory, --os, --description. */
void import_put_machine(const Args *args, json_t *body);
