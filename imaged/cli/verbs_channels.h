/* verbs_channels.h: imagectl pool channels, imagectl group channels. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

extern const Option channels_options[];
gboolean pool_channels(Cli *cli, GError **error);
gboolean group_channels(Cli *cli, GError **error);
