/* ssh_socket.h: a connection to a unix socket of a host, by ssh, as libvirt reaches that host.
 *
 * Its child is "ssh HOST nc -U SOCKET", with the user, port and key of the host's address; ssh asks
 * nobody anything.  One thread at a time for each. */
#pragma once

#include <glib.h>

/* The way to unix sockets of a host with this address. */
typedef enum {
    SOCKETS_BY_LIBVIRT, /* it is on our own machine */
    SOCKETS_BY_SSH,
    SOCKETS_OUT_OF_REACH,
} HostSockets;
HostSockets host_sockets(const char *uri);

/* What is run for it.  Pure.  Caller frees.  INVALID: it is no address by ssh. */
char **ssh_socket_command(const char *uri, const char *path, GError **error);

typedef struct SshSocket SshSocket;

/* Asked now and then; FALSE: nobody wants it any more. */
typedef gboolean (*SshSocketGoesOn)(gpointer user);

/* To a server that speaks first: *ret_fd (caller closes) is there once it has said something, which
 * is still to be read.  UNAVAILABLE, DENIED with what ssh said; CANCELLED by goes_on. */
SshSocket *ssh_socket_open(const char *uri, const char *path, SshSocketGoesOn goes_on,
                           gpointer user, int *ret_fd, GError **error);

/* Its child has ended then: within a second or two. */
void ssh_socket_free(SshSocket *socket);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SshSocket, ssh_socket_free)
