/* fence.h: a host that is off for certain, because an admin says so.
 *
 * Only then are its desktops started elsewhere: that it does not answer proves nothing.  Who calls
 * it is told that nothing is there (hosts_set_fenced()).  Should it come back, all that ran there
 * when it was declared off is ended before anything else: it may run elsewhere by now.  What nobody
 * started from here is left alone then, as ever. */
#pragma once

#include "broker/run/runs.h"

/* Into a set of changes: it is off from now on; what ran there is noted. */
void fence_put(Changes *changes, const HostRow *host, const char *who);

/* A run that was there (of run: desktop_id and incarnation) is over, once no job is at work on it.
 * ret_is_off: nobody runs it, here or elsewhere. */
gboolean fence_end_run(Job *job, World *world, const char *host_id, const RunRow *run,
                       gboolean *ret_is_off, GError **error);

/* It answers again, on its worker's thread: what still runs there is ended, and when the host says
 * that it is, the host is one like others.  FALSE: not yet; it is to be tried again. */
gboolean fence_lift(World *world, const char *host_id, const HostDriver *driver, gpointer link);
