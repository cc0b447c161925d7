/* nbd_serve.h: an image served to the daemon by a qemu-nbd or nbdkit of our own.
 *
 * The server has the caller's rights, reads only, and dies with imagectl.  The daemon gets a
 * descriptor's worth of bytes and never a name. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct NbdServe NbdServe;

/* The number under which the server sees the image's descriptor, see nbd_serve_fd_path(). */
#define NBD_SERVE_FD 3

/* The name by which a child opens that descriptor: no part of it comes from a user. */
#define NBD_SERVE_FD_PATH "/proc/self/fd/3"

/* Serve the node that options (QEMU's blockdev options as JSON, with the format spelled out)
 * describe; fd (or -1) is passed on as NBD_SERVE_FD and still owned by the caller.  daemon_socket
 * is where the daemon listens (NULL: elsewhere), which tells who has to reach ours.  Waits until it
 * answers. */
NbdServe *nbd_serve_start(const json_t *options, int fd, const char *daemon_socket, GError **error);

/* The same for another NBD server that wants TLS: an nbdkit passes its bytes on.  parameters are
 * those of nbdkit's nbd plugin ("KEY=VALUE"), NULL at the end. */
NbdServe *nbd_serve_start_relay(const char *const *parameters, const char *daemon_socket,
                                GError **error);

/* What the server complained of so far, or NULL.  Caller frees. */
char *nbd_serve_complaint(const NbdServe *serve);

/* "nbd+unix:///?socket=...", owned by serve. */
const char *nbd_serve_uri(const NbdServe *serve);

/* End the server and remove its folder. */
void nbd_serve_stop(NbdServe *serve);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdServe, nbd_serve_stop)
