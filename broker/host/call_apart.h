/* call_apart.h: a call to a host on a connection and a thread of its own.
 *
 * Any thread. */
#pragma once

#include "broker/host/worker.h"

/* As host_worker_call(); the connection is made for it, within some seconds. */
gboolean call_apart(const HostDriver *driver, const char *uri, HostCall call, gpointer data,
                    GDestroyNotify clear, gint64 limit_ms, GError **error);
