/* worker_private.h: what the files of a host's worker share.  For those alone. */
#pragma once

#include "broker/host/worker.h"

#define BACKOFF_MIN_MS 1000

struct HostWorker {
    char *id, *uri;
    const HostDriver *driver;
    HostWatcher watcher;
    GMutex lock;
    GMutex telling; /* held while the watcher is told */
    GCond wake;     /* for the thread */
    GCond done;     /* for who waits */
    GCond opened;   /* for the thread, while it connects */
    GQueue calls;   /* of Call, each with a reference */
    GQueue events;  /* of ClientEvent, to be told */
    gboolean is_ended, is_dirty;
    HostView view;
    guint64 cpu_ns;
    gpointer link;
    gint64 next_look_us, last_look_us;
    gint64 backoff_ms;
};

void worker_clear(gpointer worker); /* of its atomic box */

/* On its thread: what the host is now is told; the calls that wait have no host to ask. */
void worker_set_state(HostWorker *worker, HostState state, const char *why);
void worker_refuse_all(HostWorker *worker, const char *why);

/* On its thread: connect, however long it takes; after a while it is told that the host is down.
 * FALSE: it cannot, or the worker is to end. */
gboolean worker_open(HostWorker *worker);
