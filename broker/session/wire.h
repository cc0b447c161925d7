/* wire.h: one connection, bare or with TLS, of which nothing waits longer than it was told to.
 *
 * A peer that says half a record, or reads a byte now and then, holds nobody up beyond the limit.
 * One thread at a time.  Times are those of g_get_monotonic_time(). */
#pragma once

#include <glib.h>
#include <gnutls/gnutls.h>

typedef struct {
    int fd;               /* -1: none */
    gnutls_session_t tls; /* NULL: bare */
} Wire;

/* As its server.  Nothing may have been read of what comes behind the last byte that was asked for.
 * UNAVAILABLE. */
gboolean wire_start_tls(Wire *wire, gnutls_certificate_credentials_t credentials, gint64 end_us,
                        GError **error);

/* What is there: its size, 0 if nothing is yet, -1 at the end. */
gssize wire_recv(Wire *wire, guint8 *data, gsize len);
gboolean wire_has_more(const Wire *wire); /* that poll() does not see */

/* All of it. FALSE: time is over, or the connection is. */
gboolean wire_read(Wire *wire, guint8 *data, gsize len, gint64 end_us);
gboolean wire_send(Wire *wire, const guint8 *data, gsize len, gint64 end_us);

/* The peer is told, and nothing goes either way any more; the descriptor stays until it is closed.
 */
void wire_shut(Wire *wire);
void wire_close(Wire *wire);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wire, wire_close)
