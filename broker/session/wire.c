/* wire.c: see wire.h. */
#include "broker/session/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" /* as the API */

/* FALSE: time is over. */
static gboolean wait_for(int fd, short events, gint64 end_us)
{
    struct pollfd p = { .fd = fd, .events = events };
    gint64 left_us = end_us - g_get_monotonic_time();

    return left_us > 0 && (poll(&p, 1, (int)MIN(left_us / 1000 + 1, G_MAXINT)) > 0 ||
                           g_get_monotonic_time() < end_us);
}

static gboolean is_later(gssize n)
{
    return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

gboolean wire_start_tls(Wire *w, gnutls_certificate_credentials_t credentials, gint64 end_us,
                        GError **error)
{
    int n = GNUTLS_E_MEMORY_ERROR;

    if (fcntl(w->fd, F_SETFL, O_NONBLOCK) == 0 &&
        (n = gnutls_init(&w->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL)) == 0 &&
        (n = gnutls_priority_set_direct(w->tls, PRIORITIES, NULL)) == 0 &&
        (n = gnutls_credentials_set(w->tls, GNUTLS_CRD_CERTIFICATE, credentials)) == 0) {
        gnutls_transport_set_int(w->tls, w->fd);
        gnutls_certificate_server_set_request(w->tls, GNUTLS_CERT_IGNORE);
        while ((n = gnutls_handshake(w->tls)) < 0 && !gnutls_error_is_fatal(n)) {
            short events = gnutls_record_get_direction(w->tls) ? POLLOUT : POLLIN;
            if (!wait_for(w->fd, events, end_us))
                break;
        }
    }
    if (n == 0)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no TLS with a VNC client: %s",
                gnutls_strerror(n));
    return FALSE;
}

gssize wire_recv(Wire *w, guint8 *data, gsize len)
{
    gssize n;

    if (w->tls) {
        n = gnutls_record_recv(w->tls, data, len);
        return n > 0 ? n : is_later(n) ? 0 : -1;
    }
    n = recv(w->fd, data, len, MSG_DONTWAIT);
    return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

gboolean wire_has_more(const Wire *w)
{
    return w->tls && gnutls_record_check_pending(w->tls) > 0;
}

gboolean wire_read(Wire *w, guint8 *data, gsize len, gint64 end_us)
{
    while (len) {
        gssize n = wire_recv(w, data, len);
        if (n < 0 || (n == 0 && !wait_for(w->fd, POLLIN, end_us)))
            return FALSE;
        data += n;
        len -= (gsize)n;
        if (len && g_get_monotonic_time() > end_us)
            return FALSE; /* it comes, but too slowly */
    }
    return TRUE;
}

/* As wire_recv(). */
static gssize send_some(Wire *w, const guint8 *data, gsize len)
{
    gssize n;

    if (w->tls) {
        n = gnutls_record_send(w->tls, data, len);
        return n > 0 ? n : is_later(n) ? 0 : -1;
    }
    n = send(w->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

gboolean wire_send(Wire *w, const guint8 *data, gsize len, gint64 end_us)
{
    while (len) {
        gssize n = send_some(w, data, len);
        if (n < 0 || (n == 0 && !wait_for(w->fd, POLLOUT, end_us)))
            return FALSE;
        data += n;
        len -= (gsize)n;
        if (len && g_get_monotonic_time() > end_us)
            return FALSE;
    }
    return TRUE;
}

void wire_shut(Wire *w)
{
    if (w->tls)
        gnutls_bye(w->tls, GNUTLS_SHUT_WR); /* one try: the descriptor does not block */
    if (w->fd >= 0)
        shutdown(w->fd, SHUT_RDWR);
}

void wire_close(Wire *w)
{
    if (w->tls)
        gnutls_deinit(w->tls);
    w->tls = NULL;
    durable_close(&w->fd);
}
