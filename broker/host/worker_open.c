/* worker_open.c: how a worker comes to its connection; see worker_private.h.
 *
 * Connecting knows no time limit, and may never come back: a thread of its own does it, so that the
 * worker's can tell that the host is down.  There is one such thread at most. */
#include "broker/host/worker_private.h"
#include "imaged/base/error.h"

#define OPEN_MS 15000 /* after which a host that does not let us in is told as down */

static void note_change(gpointer user)
{
    HostWorker *w = user;

    g_mutex_lock(&w->lock);
    w->is_dirty = TRUE;
    g_cond_signal(&w->wake);
    g_mutex_unlock(&w->lock);
}

static void note_client(gpointer user, ClientEvent *event)
{
    HostWorker *w = user;

    g_mutex_lock(&w->lock);
    g_queue_push_tail(&w->events, event);
    g_cond_signal(&w->wake);
    g_mutex_unlock(&w->lock);
}

/* An attempt to connect: an atomic box, of the opening thread and of the worker's. */
typedef struct {
    HostWorker *worker; /* a reference: its listener is told things */
    gboolean is_done, is_given_up;
    gpointer link;
    HostFacts facts;
    GError *error;
} Opening;

static void opening_clear(gpointer data)
{
    Opening *o = data;

    host_facts_clear(&o->facts);
    g_clear_error(&o->error);
    g_atomic_rc_box_release_full(o->worker, worker_clear);
}

static gpointer do_open(gpointer data)
{
    Opening *o = data;
    HostWorker *w = o->worker;
    const HostListener listener = { note_change, note_client, w };

    gpointer link = w->driver->open(w->uri, &listener, &o->error);
    if (link && !w->driver->facts(link, &o->facts, &o->error)) {
        w->driver->close(link);
        link = NULL;
    }
    g_mutex_lock(&w->lock);
    gboolean is_wanted = !o->is_given_up;
    o->link = is_wanted ? link : NULL;
    o->is_done = TRUE;
    g_cond_broadcast(&w->opened);
    g_mutex_unlock(&w->lock);
    if (link && !is_wanted)
        w->driver->close(link);
    g_atomic_rc_box_release_full(o, opening_clear);
    return NULL;
}

/* FALSE: until_us (0: never) have come, or it is to end. */
static gboolean wait_opened(HostWorker *w, Opening *o, gint64 until_us)
{
    g_mutex_lock(&w->lock);
    while (!o->is_done && !w->is_ended && (!until_us || g_get_monotonic_time() < until_us)) {
        if (until_us)
            g_cond_wait_until(&w->opened, &w->lock, until_us);
        else
            g_cond_wait(&w->opened, &w->lock);
    }
    gboolean is_done = o->is_done;
    g_mutex_unlock(&w->lock);
    return is_done;
}

/* Connect, however long it takes; after a while it is told that the host is down. */
static void await(HostWorker *w, Opening *o)
{
    if (wait_opened(w, o, g_get_monotonic_time() + OPEN_MS * 1000) ||
        g_atomic_int_get(&w->is_ended))
        return;
    worker_set_state(w, HOST_DOWN, "it accepts the connection, and says nothing");
    worker_refuse_all(w, "it was not reached yet");
    wait_opened(w, o, 0);
}

/* Is the host that was reached let up? */
static gboolean admit(HostWorker *w, const HostFacts *facts, GError **error)
{
    gboolean ok = TRUE;

    g_mutex_lock(&w->telling);
    if (!w->is_ended && w->watcher.admit)
        ok = w->watcher.admit(w->watcher.user, w->id, facts, error);
    g_mutex_unlock(&w->telling);
    return ok;
}

gboolean worker_open(HostWorker *w)
{
    Opening *o = g_atomic_rc_box_new0(Opening);

    o->worker = g_atomic_rc_box_acquire(w);
    g_thread_unref(g_thread_new("host-open", do_open, g_atomic_rc_box_acquire(o)));
    await(w, o);
    g_mutex_lock(&w->lock);
    o->is_given_up = TRUE;
    w->link = g_steal_pointer(&o->link);
    g_mutex_unlock(&w->lock);
    if (w->link && !admit(w, &o->facts, &o->error)) {
        w->driver->close(w->link);
        w->link = NULL;
    }
    g_mutex_lock(&w->lock);
    if (w->link) {
        host_facts_clear(&w->view.facts);
        w->view.facts = o->facts;
        o->facts = (HostFacts){ 0 };
        w->cpu_ns = 0;
    }
    g_mutex_unlock(&w->lock);
    if (w->link) {
        w->backoff_ms = BACKOFF_MIN_MS;
        w->next_look_us = w->last_look_us = 0;
        worker_set_state(w, HOST_UP, NULL);
    } else if (!g_atomic_int_get(&w->is_ended)) {
        const char *why = o->error ? o->error->message : "no reason given";
        worker_set_state(w, HOST_DOWN, why);
        worker_refuse_all(w, why);
    }
    g_atomic_rc_box_release_full(o, opening_clear);
    return w->link != NULL;
}
