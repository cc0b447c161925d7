/* verbs_advice.h: the advisor's verbs, for the tables of the nouns that they belong to. */
#pragma once

#include "imaged/cli/cli.h"

gboolean report_advice(Cli *cli, GError **error);
gboolean template_stand_in(Cli *cli, GError **error);
gboolean template_propose(Cli *cli, GError **error);

extern const Option report_advice_options[], template_stand_in_options[],
    template_propose_options[];
