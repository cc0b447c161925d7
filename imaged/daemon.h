/* daemon.h: the daemon's life, from the configuration to the last signal. */
#pragma once

#include "imaged/config.h"

/* Run until SIGTERM or SIGINT.  An error means that it could not start, or had to stop. */
gboolean daemon_run(const Config *config, GError **error);
