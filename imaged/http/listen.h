/* listen.h: the sockets that the API is served on. */
#pragma once

#include <glib.h>

/* Listen on a unix socket at path (made anew, mode 0660, of group if that is given).  The
 * descriptor, or -1. */
int listen_unix(const char *path, const char *group, GError **error);

/* Listen on TCP: "HOST:PORT", "[IPv6]:PORT", or "*:PORT" for all addresses. */
int listen_tcp(const char *address, GError **error);

/* The other end's address ("192.0.2.1", "2001:db8::1"), or NULL if fd is no TCP connection.
 * Caller frees. */
char *listen_peer_address(int fd);
