/* driver_console.c: see driver_console.h.
 *
 * What the guest says comes by libvirt's event loop, which must never wait: what the client does
 * not take in time is lost, as on any serial line.  What is said to the guest goes by a thread,
 * because libvirt does wait until a host has taken it (and until it has heard of the end). */
#include "broker/host/driver_console.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/driver_libvirt_private.h"
#include "imaged/base/error.h"

typedef struct {
    virStreamPtr stream;
    int fd;
    GMutex lock;
    GCond changed;
    gboolean is_watched; /* the event loop may still call back */
} Console;

/* On the event loop's thread, which is not within on_stream() then. */
static void note_unwatched(int timer, void *user)
{
    Console *c = user;

    virEventRemoveTimeout(timer);
    g_mutex_lock(&c->lock);
    c->is_watched = FALSE;
    g_cond_signal(&c->changed);
    g_mutex_unlock(&c->lock);
}

/* Until nothing calls back any more: libvirt does not tell. */
static void unwatch(Console *c)
{
    virStreamEventRemoveCallback(c->stream);
    if (virEventAddTimeout(0, note_unwatched, c, NULL) < 0)
        return;
    g_mutex_lock(&c->lock);
    while (c->is_watched)
        g_cond_wait(&c->changed, &c->lock);
    g_mutex_unlock(&c->lock);
}

/* On a thread that may wait, since this is what closes the connection to the host. */
static void console_free(Console *c)
{
    unwatch(c);
    virStreamAbort(c->stream);
    virStreamFree(c->stream);
    close(c->fd);
    g_mutex_clear(&c->lock);
    g_cond_clear(&c->changed);
    g_free(c);
}

/* On the event loop's thread.  The stream is always read: libvirt would keep what is not taken. */
static void on_stream(virStreamPtr stream, int events, void *user)
{
    Console *c = user;
    char buffer[16384];
    int n = -2;

    if (events & VIR_STREAM_EVENT_READABLE)
        n = virStreamRecv(stream, buffer, sizeof buffer);
    if (n > 0 && send(c->fd, buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        n = -1;
    if (n == 0 || n == -1 || (events & (VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP))) {
        virStreamEventRemoveCallback(stream);
        shutdown(c->fd, SHUT_RDWR); /* which the thread hears */
    }
}

static gboolean say(virStreamPtr stream, const char *bytes, gsize n)
{
    int done = 0;

    while (n && done >= 0) {
        done = virStreamSend(stream, bytes, n);
        bytes += MAX(done, 0);
        n -= (gsize)MAX(done, 0);
    }
    return done >= 0;
}

static gpointer run_console(gpointer data)
{
    Console *c = data;
    char buffer[16384];
    ssize_t n;

    while ((n = recv(c->fd, buffer, sizeof buffer, 0)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && !say(c->stream, buffer, (gsize)n))
            break;
    }
    shutdown(c->fd, SHUT_RDWR); /* which who has the other end hears */
    console_free(c);
    return NULL;
}

/* Takes stream and fd over. */
static gboolean carry(virStreamPtr stream, int fd)
{
    Console *c = g_new0(Console, 1);

    c->stream = stream;
    c->fd = fd;
    g_mutex_init(&c->lock);
    g_cond_init(&c->changed);
    c->is_watched = TRUE;
    gboolean ok =
        virStreamEventAddCallback(stream, VIR_STREAM_EVENT_READABLE, on_stream, c, NULL) == 0;
    if (ok)
        g_thread_unref(g_thread_new("console", run_console, c));
    else
        console_free(c);
    return ok;
}

static gboolean set_refused(GError **error)
{
    const virError *e = virGetLastError();

    if (!e || !e->message ||
        (!strstr(e->message, "Active console session") && !strstr(e->message, "lock file")))
        return driver_libvirt_error(error, "cannot open its console");
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "somebody has its console already");
    return FALSE;
}

int console_open(virDomainPtr domain, gboolean is_forced, GError **error)
{
    int fds[2] = { -1, -1 };
    virStreamPtr stream = virStreamNew(virDomainGetConnect(domain), VIR_STREAM_NONBLOCK);

    if (!stream ||
        virDomainOpenConsole(domain, NULL, stream, is_forced ? VIR_DOMAIN_CONSOLE_FORCE : 0) < 0) {
        set_refused(error);
        if (stream)
            virStreamFree(stream);
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        imaged_error_set_errno(error, errno, "cannot open its console");
        virStreamAbort(stream);
        virStreamFree(stream);
        return -1;
    }
    if (carry(stream, fds[0]))
        return fds[1];
    driver_libvirt_error(error, "cannot open its console");
    close(fds[1]);
    return -1;
}
