/* daemon.h: the daemon's life, from the configuration to the last signal. */
#pragma once

#include "broker/host/driver.h"
#include "imaged/config.h"

/* What a process sets for itself before anything else: memory, open files, modes of new files. */
void daemon_prepare(void);

/* Run until SIGTERM or SIGINT, with hosts by this driver.  An error means that it could not start,
 * or had to stop. */
gboolean daemon_run(const Config *config, const HostDriver *driver, GError **error);
