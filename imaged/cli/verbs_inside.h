/* verbs_inside.h: what is inside of disks: verbs of the nouns template and desktop. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

gboolean inside_template_inspect(Cli *cli, GError **error);
gboolean inside_template_apps(Cli *cli, GError **error);
gboolean inside_template_diff(Cli *cli, GError **error);
gboolean inside_desktop_inspect(Cli *cli, GError **error);
gboolean inside_desktop_apps(Cli *cli, GError **error);
gboolean inside_desktop_files(Cli *cli, GError **error);

/* Their options. */
extern const Option inside_inspect_options[], inside_desktop_inspect_options[],
    inside_apps_options[];

#define OPTION_APP                                                                                 \
    {                                                                                              \
        "app", OPTION_TEXT, "GLOB",                                                                \
            "only those with an application of this name, like '*office*'", NULL                   \
    }
