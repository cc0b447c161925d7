/* worker.h: one thread for each host, which alone uses the connection to it.
 *
 * A host that hangs holds up its own thread and whoever waits for it, for as long as they want to
 * wait; never another host.  Any thread may call these functions. */
#pragma once

#include "broker/host/driver.h"

typedef struct HostWorker HostWorker;

typedef enum {
    HOST_CONNECTING, /* for the first time */
    HOST_UP,
    HOST_DOWN,   /* it does not answer; it is tried again and again */
    HOST_FENCED, /* it was declared off, and has not come back since: known to Hosts alone */
    HOST_N_STATES
} HostState;
const char *host_state_name(HostState state);

/* Called on the worker's thread, which no call is served on meanwhile.  link serves find(). */
typedef struct {
    /* The host's domains have been asked for, because something changed or some seconds have gone
     * by. */
    void (*seen)(gpointer user, const char *host_id, const GPtrArray *domains,
                 const HostDriver *driver, gpointer link);
    void (*changed)(gpointer user, const char *host_id, HostState state, const char *why);
    gpointer user;
    /* A client of a display did something; may be NULL.  What happened while the host was not
     * reached is not told. */
    void (*client)(gpointer user, const char *host_id, const ClientEvent *event);
    /* It was reached: is it let up?  FALSE: it is down, for the reason of error, and is tried again
     * and again.  NULL: all are. */
    gboolean (*admit)(gpointer user, const char *host_id, const HostFacts *facts, GError **error);
} HostWatcher;

/* Starts to connect.  driver and watcher's user outlive the worker. */
HostWorker *host_worker_new(const char *id, const char *uri, const HostDriver *driver,
                            const HostWatcher *watcher);

/* Calls that wait fail.  One that the host does not answer is not waited for: its thread ends by
 * itself when the host does.  Nothing is told to the watcher once this has returned. */
void host_worker_end(HostWorker *worker);

/* What host_worker_new() gives is one reference. */
HostWorker *host_worker_ref(HostWorker *worker);
void host_worker_unref(HostWorker *worker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostWorker, host_worker_unref)

/* Work on the host's connection, on its thread.  data is a g_atomic_rc_box_new(), of which the call
 * holds a reference of its own, cleared with clear (NULL: nothing to clear): who gives up waiting
 * leaves it behind. */
typedef gboolean (*HostCall)(const HostDriver *driver, gpointer link, gpointer data,
                             GError **error);

/* UNAVAILABLE at once if the host is not up (after some seconds if it was never reached yet), or
 * when limit_ms are over: a call that was begun by then may still be done, before the domains are
 * looked at the next time; one that was not begun never will be.  UNAVAILABLE as well if the
 * connection broke.  Else what call says. */
gboolean host_worker_call(HostWorker *worker, HostCall call, gpointer data, GDestroyNotify clear,
                          gint64 limit_ms, GError **error);

/* The same, not waited for: it is done in its turn, or never if the host is not up or goes. */
void host_worker_post(HostWorker *worker, HostCall call, gpointer data, GDestroyNotify clear);

/* The same on a connection and a thread of its own, for calls that may take long: the host's other
 * calls don't wait for it. */
gboolean host_worker_call_apart(HostWorker *worker, HostCall call, gpointer data,
                                GDestroyNotify clear, gint64 limit_ms, GError **error);

/* What is known now, without waiting. */
typedef struct {
    HostState state;
    gint64 since; /* ms of the epoch */
    char *why;    /* it is not up, or NULL */
    HostFacts facts;
    guint n_domains;        /* that are on, ours or not */
    guint64 domains_memory; /* bytes of these */
    double cpu_usage;       /* of all processors, 0 to 1, in the last seconds */
} HostView;
void host_worker_view(HostWorker *worker, HostView *ret);
void host_view_clear(HostView *view);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostView, host_view_clear)
