/* verbs_archive.h: what the two files of imagectl archive share. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

gboolean archive_target(Cli *cli, GError **error);
gboolean archive_schedule(Cli *cli, GError **error);

/* The arguments from one on, as an array of texts. */
json_t *archive_words(const Args *args, guint from);

/* The body {names|prefix|template, target} that the arguments from one on and the options select.
 * NULL with INVALID. */
json_t *archive_selection(const Args *args, guint from, GError **error);
