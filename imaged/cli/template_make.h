/* template_make.h: making and publishing the next version of a template, for imagectl template. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"
#include "imaged/cli/output.h"

extern const Column template_version_columns[];

/* "/v1/templates/NAME/suffix" of the first argument.  Caller frees; NULL with an error. */
GString *template_path(const Cli *cli, const char *suffix, GError **error);

/* Tell of the version that a job made; done is "imported". */
gboolean template_print_made(Cli *cli, const json_t *job, const char *done, GError **error);

gboolean template_create_from(Cli *cli, GError **error);
gboolean template_edit(Cli *cli, GError **error);
gboolean template_seal(Cli *cli, GError **error);
gboolean template_publish(Cli *cli, GError **error);
