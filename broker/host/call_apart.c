/* call_apart.c: see call_apart.h. */
#include "broker/host/call_apart.h"

#include "imaged/base/error.h"

#define OPEN_MS 30000 /* a host that hangs accepts connections, and says nothing */

typedef struct {
    const HostDriver *driver;
    char *uri;
    HostCall function;
    gpointer data;
    GDestroyNotify clear;
    GMutex lock;
    GCond done;
    gboolean is_open, is_done, ok;
    gboolean is_given_up; /* before it was open: it is not to be begun any more */
    GError *error;
} Apart;

static void apart_clear(gpointer data)
{
    Apart *a = data;

    g_free(a->uri);
    if (a->data && a->clear)
        g_atomic_rc_box_release_full(a->data, a->clear);
    else if (a->data)
        g_atomic_rc_box_release(a->data);
    g_clear_error(&a->error);
    g_mutex_clear(&a->lock);
    g_cond_clear(&a->done);
}

static void ignore_change(gpointer user)
{
}

/* FALSE: nobody wants it any more. */
static gboolean note_open(Apart *a)
{
    g_mutex_lock(&a->lock);
    gboolean is_wanted = !a->is_given_up;
    a->is_open = TRUE;
    g_cond_signal(&a->done);
    g_mutex_unlock(&a->lock);
    return is_wanted;
}

static gpointer run_apart(gpointer data)
{
    const HostListener listener = { ignore_change, NULL };
    Apart *a = data;
    GError *error = NULL;
    gpointer link = a->driver->open(a->uri, &listener, &error);
    gboolean ok = link && note_open(a) && a->function(a->driver, link, a->data, &error);

    if (link && !ok && error && error->code == IMAGED_ERROR_FAILED && !a->driver->is_alive(link))
        error->code =
            IMAGED_ERROR_UNAVAILABLE; /* cut off meanwhile: what came of it is not known */
    if (link)
        a->driver->close(link);
    g_mutex_lock(&a->lock);
    a->is_done = TRUE;
    a->ok = ok;
    a->error = error;
    g_cond_signal(&a->done);
    g_mutex_unlock(&a->lock);
    g_atomic_rc_box_release_full(a, apart_clear);
    return NULL;
}

gboolean call_apart(const HostDriver *driver, const char *uri, HostCall function, gpointer data,
                    GDestroyNotify clear, gint64 limit_ms, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + limit_ms * 1000;
    Apart *a = g_atomic_rc_box_new0(Apart);
    gboolean ok = FALSE;

    *a = (Apart){ .driver = driver,
                  .uri = g_strdup(uri),
                  .function = function,
                  .data = data ? g_atomic_rc_box_acquire(data) : NULL,
                  .clear = clear };
    g_mutex_init(&a->lock);
    g_cond_init(&a->done);
    g_thread_unref(g_thread_new("host-apart", run_apart, g_atomic_rc_box_acquire(a)));
    g_mutex_lock(&a->lock);
    gint64 open_us = MIN(until_us, g_get_monotonic_time() + OPEN_MS * 1000);
    while (!a->is_open && !a->is_done && g_cond_wait_until(&a->done, &a->lock, open_us))
        ;
    a->is_given_up = !a->is_open && !a->is_done;
    while (!a->is_given_up && !a->is_done && g_cond_wait_until(&a->done, &a->lock, until_us))
        ;
    if (a->is_done) {
        ok = a->ok;
        if (a->error)
            g_propagate_error(error, g_steal_pointer(&a->error));
    } else if (a->is_given_up) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the host does not answer: it accepts the connection, and says nothing");
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the host did not answer within %d s", (int)(limit_ms / 1000));
    }
    g_mutex_unlock(&a->lock);
    g_atomic_rc_box_release_full(a, apart_clear);
    return ok;
}
