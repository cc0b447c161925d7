/* verbs_channels.h: imagectl pool channels, imagectl group channels, imagectl pool hardware. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

extern const Option channels_options[];
extern const Option pool_hardware_options[];
gboolean pool_hardware(Cli *cli, GError **error);
gboolean pool_channels(Cli *cli, GError **error);
gboolean group_channels(Cli *cli, GError **error);
