/* worker.c: see worker.h.
 *
 * worker_open.c connects.
 *
 * The thread holds a reference of its own, so that a worker whose host never answers can be left
 * behind.  lock guards everything but link and the times of looks, which are the thread's. */
#include "broker/host/worker.h"

#include "broker/host/call_apart.h"
#include "broker/host/worker_private.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define LOOK_MS 5000      /* between two looks at the domains, if nothing happens */
#define LEAST_LOOK_MS 200 /* even if much happens */
#define FIRST_MS 20000    /* how long calls wait for a host that was never reached yet */
#define BACKOFF_MAX_MS 30000

typedef struct {
    HostCall function;
    gpointer data;
    GDestroyNotify clear;
    gboolean is_done, ok;
    GError *error;
} Call;

const char *host_state_name(HostState state)
{
    static const char *const names[] = { "connecting", "up", "down", "fenced" };

    return names[state];
}

void host_view_clear(HostView *view)
{
    g_free(view->why);
    host_facts_clear(&view->facts);
    *view = (HostView){ 0 };
}

static void release_data(gpointer data, GDestroyNotify clear)
{
    if (data && clear)
        g_atomic_rc_box_release_full(data, clear);
    else if (data)
        g_atomic_rc_box_release(data);
}

static void call_clear(gpointer data)
{
    Call *call = data;

    release_data(call->data, call->clear);
    g_clear_error(&call->error);
}

static void call_unref(Call *call)
{
    g_atomic_rc_box_release_full(call, call_clear);
}

void worker_clear(gpointer data)
{
    HostWorker *w = data;

    g_queue_clear_full(&w->events, client_event_free);
    g_free(w->id);
    g_free(w->uri);
    host_view_clear(&w->view);
    g_mutex_clear(&w->lock);
    g_mutex_clear(&w->telling);
    g_cond_clear(&w->wake);
    g_cond_clear(&w->done);
    g_cond_clear(&w->opened);
}

/* ---- On its thread ---- */

static void finish(HostWorker *w, Call *call, gboolean ok, GError *error)
{
    g_mutex_lock(&w->lock);
    call->is_done = TRUE;
    call->ok = ok;
    call->error = error;
    g_cond_broadcast(&w->done);
    g_mutex_unlock(&w->lock);
    call_unref(call);
}

static void set_down(GError **error, const char *why)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the host does not answer: %s",
                why ? why : "it was not reached yet");
}

/* The calls that wait have no host to ask. */
void worker_refuse_all(HostWorker *w, const char *why)
{
    for (;;) {
        GError *error = NULL;
        g_mutex_lock(&w->lock);
        Call *call = g_queue_pop_head(&w->calls);
        g_mutex_unlock(&w->lock);
        if (!call)
            return;
        set_down(&error, why);
        finish(w, call, FALSE, error);
    }
}

void worker_set_state(HostWorker *w, HostState state, const char *why)
{
    gboolean is_new;

    g_mutex_lock(&w->lock);
    is_new = w->view.state != state;
    if (is_new)
        w->view.since = units_now_ms();
    w->view.state = state;
    g_free(w->view.why);
    w->view.why = g_strdup(why);
    g_cond_broadcast(&w->done);
    g_mutex_unlock(&w->lock);
    g_mutex_lock(&w->telling);
    if (is_new && !w->is_ended)
        w->watcher.changed(w->watcher.user, w->id, state, why);
    g_mutex_unlock(&w->telling);
}

static void drop_link(HostWorker *w, const char *why)
{
    w->driver->close(w->link);
    w->link = NULL;
    worker_set_state(w, HOST_DOWN, why);
    worker_refuse_all(w, why);
}

/* Until there is something to do, or us have come; locked.  FALSE: it is to end. */
static gboolean wait_until(HostWorker *w, gint64 until_us)
{
    while (!w->is_ended && g_queue_is_empty(&w->calls) && g_queue_is_empty(&w->events) &&
           !w->is_dirty &&
           g_get_monotonic_time() < until_us)
        g_cond_wait_until(&w->wake, &w->lock, until_us);
    return !w->is_ended;
}

static void connect_again(HostWorker *w)
{
    if (worker_open(w))
        return;
    gint64 until_us = g_get_monotonic_time() + w->backoff_ms * 1000;
    w->backoff_ms = MIN(2 * w->backoff_ms, BACKOFF_MAX_MS);
    g_mutex_lock(&w->lock);
    while (!w->is_ended && g_get_monotonic_time() < until_us)
        g_cond_wait_until(&w->wake, &w->lock, until_us);
    g_mutex_unlock(&w->lock);
}

/* The load, from what the domains have used since the last look. */
static void note_load(HostWorker *w, const GPtrArray *domains, gint64 now_us)
{
    guint64 cpu_ns = 0, memory = 0;
    guint n = 0;

    for (guint i = 0; i < domains->len; i++) {
        const HostDomain *d = domains->pdata[i];
        cpu_ns += d->cpu_ns;
        memory += d->memory_bytes;
        n += d->state != DOMAIN_OFF;
    }
    g_mutex_lock(&w->lock);
    if (w->last_look_us && now_us > w->last_look_us && cpu_ns >= w->cpu_ns && w->view.facts.n_cpus)
        w->view.cpu_usage = MIN(1.0, (double)(cpu_ns - w->cpu_ns) / 1e3 /
                                         (double)(now_us - w->last_look_us) / w->view.facts.n_cpus);
    w->cpu_ns = cpu_ns;
    w->view.n_domains = n;
    w->view.domains_memory = memory;
    g_mutex_unlock(&w->lock);
}

static void look(HostWorker *w)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) domains = w->driver->domains(w->link, &error);
    gint64 now_us = g_get_monotonic_time();

    if (domains) {
        note_load(w, domains, now_us);
        g_mutex_lock(&w->telling);
        if (!w->is_ended)
            w->watcher.seen(w->watcher.user, w->id, domains, w->driver, w->link);
        g_mutex_unlock(&w->telling);
    }
    w->last_look_us = g_get_monotonic_time();
    w->next_look_us = w->last_look_us + LOOK_MS * 1000;
    if (!w->driver->is_alive(w->link))
        drop_link(w, error ? error->message : "the connection is gone");
}

/* Whatever a connection says that broke meanwhile: what became of the call is not known.  Only that
 * there is none was said by the host itself. */
static void set_unknown(GError **error)
{
    g_autoptr(GError) said = g_steal_pointer(error);

    if (g_error_matches(said, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        *error = g_steal_pointer(&said);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the connection broke: %s",
                    said ? said->message : "no reason given");
}

static void serve_one(HostWorker *w, Call *call)
{
    GError *error = NULL;
    gboolean ok = call->function(w->driver, w->link, call->data, &error);
    gboolean is_lost = !ok && !w->driver->is_alive(w->link);

    if (is_lost)
        set_unknown(&error);
    finish(w, call, ok, error);
    if (is_lost)
        drop_link(w, "the connection is gone");
}

static void tell_client(HostWorker *w, ClientEvent *event)
{
    g_mutex_lock(&w->telling);
    if (!w->is_ended && w->watcher.client)
        w->watcher.client(w->watcher.user, w->id, event);
    g_mutex_unlock(&w->telling);
    client_event_free(event);
}

static void go_on(HostWorker *w)
{
    g_mutex_lock(&w->lock);
    if (!wait_until(w, w->next_look_us)) {
        g_mutex_unlock(&w->lock);
        return;
    }
    ClientEvent *event = g_queue_pop_head(&w->events);
    if (event) {
        g_mutex_unlock(&w->lock);
        tell_client(w, event);
        return;
    }
    gint64 now_us = g_get_monotonic_time();
    gint64 look_us = w->is_dirty ? MIN(w->next_look_us, w->last_look_us + LEAST_LOOK_MS * 1000)
                                 : w->next_look_us;
    gboolean is_time = now_us >= look_us;
    Call *call = is_time ? NULL : g_queue_pop_head(&w->calls);
    if (is_time)
        w->is_dirty = FALSE;
    else if (!call) /* something happened, just after a look */
        g_cond_wait_until(&w->wake, &w->lock, look_us);
    g_mutex_unlock(&w->lock);
    if (is_time)
        look(w);
    else if (call)
        serve_one(w, call);
}

static gpointer run(gpointer data)
{
    HostWorker *w = data;

    while (!g_atomic_int_get(&w->is_ended)) {
        if (w->link)
            go_on(w);
        else
            connect_again(w);
    }
    if (w->link)
        w->driver->close(w->link);
    worker_refuse_all(w, "it was removed");
    g_atomic_rc_box_release_full(w, worker_clear);
    return NULL;
}

/* ---- From outside ---- */

HostWorker *host_worker_new(const char *id, const char *uri, const HostDriver *driver,
                            const HostWatcher *watcher)
{
    HostWorker *w = g_atomic_rc_box_new0(HostWorker);

    w->id = g_strdup(id);
    w->uri = g_strdup(uri);
    w->driver = driver;
    w->watcher = *watcher;
    w->view.since = units_now_ms();
    w->backoff_ms = BACKOFF_MIN_MS;
    g_mutex_init(&w->lock);
    g_mutex_init(&w->telling);
    g_cond_init(&w->wake);
    g_cond_init(&w->done);
    g_cond_init(&w->opened);
    g_queue_init(&w->calls);
    g_queue_init(&w->events);
    g_thread_unref(g_thread_new("host", run, g_atomic_rc_box_acquire(w)));
    return w;
}

void host_worker_end(HostWorker *w)
{
    g_mutex_lock(&w->telling);
    g_mutex_lock(&w->lock);
    g_atomic_int_set(&w->is_ended, TRUE);
    g_cond_broadcast(&w->wake);
    g_cond_broadcast(&w->done);
    g_cond_broadcast(&w->opened);
    g_mutex_unlock(&w->lock);
    g_mutex_unlock(&w->telling);
}

HostWorker *host_worker_ref(HostWorker *w)
{
    return g_atomic_rc_box_acquire(w);
}

void host_worker_unref(HostWorker *w)
{
    g_atomic_rc_box_release_full(w, worker_clear);
}

/* With the lock; a reference for the caller. */
static Call *push(HostWorker *w, HostCall function, gpointer data, GDestroyNotify clear)
{
    Call *call = g_atomic_rc_box_new0(Call);

    *call = (Call){ .function = function,
                    .data = data ? g_atomic_rc_box_acquire(data) : NULL,
                    .clear = clear };
    g_queue_push_tail(&w->calls, g_atomic_rc_box_acquire(call));
    g_cond_signal(&w->wake);
    return call;
}

void host_worker_post(HostWorker *w, HostCall function, gpointer data, GDestroyNotify clear)
{
    g_mutex_lock(&w->lock);
    if (w->view.state == HOST_UP && !w->is_ended)
        call_unref(push(w, function, data, clear));
    g_mutex_unlock(&w->lock);
}

/* Is it up?  One that was never reached yet is waited for.  With the lock. */
static gboolean wait_up(HostWorker *w, gint64 until_us, GError **error)
{
    gint64 first_us = MIN(until_us, g_get_monotonic_time() + FIRST_MS * 1000);

    while (w->view.state == HOST_CONNECTING && !w->is_ended && g_get_monotonic_time() < first_us)
        g_cond_wait_until(&w->done, &w->lock, first_us);
    if (w->view.state == HOST_UP && !w->is_ended)
        return TRUE;
    set_down(error, w->view.why);
    return FALSE;
}

gboolean host_worker_call(HostWorker *w, HostCall function, gpointer data, GDestroyNotify clear,
                          gint64 limit_ms, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + limit_ms * 1000;
    gboolean ok = FALSE;

    g_mutex_lock(&w->lock);
    if (!wait_up(w, until_us, error)) {
        g_mutex_unlock(&w->lock);
        return FALSE;
    }
    Call *call = push(w, function, data, clear);
    while (!call->is_done && !w->is_ended && g_get_monotonic_time() < until_us)
        g_cond_wait_until(&w->done, &w->lock, until_us);
    if (call->is_done) {
        ok = call->ok;
        if (call->error)
            g_propagate_error(error, g_steal_pointer(&call->error));
    } else {
        /* One that was not begun is not done later either: by then somebody may rely on that the
         * host knows nothing of it. */
        if (g_queue_remove(&w->calls, call))
            call_unref(call);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the host did not answer within %d s", (int)(limit_ms / 1000));
    }
    g_mutex_unlock(&w->lock);
    call_unref(call);
    return ok;
}

gboolean host_worker_call_apart(HostWorker *w, HostCall function, gpointer data,
                                GDestroyNotify clear, gint64 limit_ms, GError **error)
{
    g_mutex_lock(&w->lock);
    gboolean is_up = wait_up(w, g_get_monotonic_time() + limit_ms * 1000, error);
    g_mutex_unlock(&w->lock);
    return is_up && call_apart(w->driver, w->uri, function, data, clear, limit_ms, error);
}

void host_worker_view(HostWorker *w, HostView *ret)
{
    g_mutex_lock(&w->lock);
    *ret = w->view;
    ret->why = g_strdup(w->view.why);
    ret->facts.hostname = g_strdup(w->view.facts.hostname);
    ret->facts.cpu_model = g_strdup(w->view.facts.cpu_model);
    ret->facts.machine_uuid = g_strdup(w->view.facts.machine_uuid);
    g_mutex_unlock(&w->lock);
}
