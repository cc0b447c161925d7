/* verbs_host.h: what the verbs on hosts and on their groups share. */
#pragma once

#include "imaged/cli/cli.h"

/* --store-path: "PATH" is of the store called default, "STORE=PATH" of another. */
gboolean host_put_store_path(Cli *cli, json_t *body, GError **error);
