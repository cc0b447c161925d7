/* verbs_rollout.h: what the files of imagectl rollout share. */
#pragma once

#include "imaged/cli/cli.h"
#include "imaged/cli/commands.h"

#define OPTION_DEADLINE                                                                            \
    {                                                                                              \
        "deadline", OPTION_TEXT, "TIME",                                                           \
            "move nothing more after this: 22:30, 2h, or a time with its date", NULL               \
    }

/* verbs_rollout.c */

/* "/v1/rollouts/NAME/SUFFIX" (suffix may be NULL); caller frees.  INVALID if it is no name. */
GString *rollout_verb_path(const char *name, const char *suffix, GError **error);

/* Send what starts a roll-out's job; wait for that, and show where the roll-out is then. */
gboolean rollout_verb_run(Cli *cli, const char *path, const json_t *body, GError **error);

/* verbs_rollout_start.c */
extern const Option rollout_start_options[];
gboolean rollout_start(Cli *cli, GError **error);

/* Put --deadline, if it is given, into body, in the API's form.  INVALID if it is no time. */
gboolean rollout_put_deadline(Cli *cli, json_t *body, GError **error);
