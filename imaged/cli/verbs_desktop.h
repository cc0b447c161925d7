/* verbs_desktop.h: what the files of imagectl desktop share. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

/* verbs_desktop_disks.c */
extern const Option desktop_data_disk_options[];
gboolean desktop_set_disk_size(Cli *cli, GError **error);
gboolean desktop_data_disk(Cli *cli, GError **error);
