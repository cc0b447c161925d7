/* client.h: requests to the daemon, over its unix socket or a URL.
 *
 * One request at a time; answers are JSON.  A change carries an Idempotency-Key, so that asking
 * again after a lost connection cannot do it twice. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define CLIENT_DEFAULT_SOCKET "/run/imaged/imaged.sock"

typedef struct Client Client;

/* socket_path or url, the other is NULL.  Does not connect yet.  INVALID. */
Client *client_new(const char *socket_path, const char *url, GError **error);
void client_free(Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)

/* The path of the unix socket, or NULL with a URL. */
const char *client_socket_path(const Client *client);

/* The URL, without a slash at its end; NULL with a socket. */
const char *client_url(const Client *client);

/* What says who we are (NULL: nothing), and a file of authorities for the daemon's certificate
 * instead of the system's.  Copied. */
void client_set_token(Client *client, const char *token);
const char *client_token(const Client *client);
void client_set_ca_file(Client *client, const char *path);

typedef enum {
    CLIENT_READ,   /* changes nothing: a dry run, too */
    CLIENT_WAIT,   /* a read that holds on for long, and that Ctrl-C ends (CANCELLED) */
    CLIENT_CHANGE, /* carries an Idempotency-Key */
} ClientKind;

/* Ask.  body may be NULL.  Returns the answer (caller unrefs); NULL with the API's own error, or
 * UNAVAILABLE (DENIED for a socket that we may not use) if the daemon was not reached. */
json_t *client_request(Client *client, ClientKind kind, const char *method, const char *path,
                       const json_t *body, GError **error);

static inline json_t *client_get(Client *client, const char *path, GError **error)
{
    return client_request(client, CLIENT_READ, "GET", path, NULL, error);
}

/* TRUE if the last request got no answer at all: the daemon may be restarting. */
gboolean client_was_lost(const Client *client);

/* Read a text/event-stream until it ends, which is an error.  on_open is called once it is open,
 * on_data with each event's data. */
typedef void (*ClientOpened)(gpointer data);
typedef void (*ClientData)(json_t *object, gpointer data);
gboolean client_stream(Client *client, const char *path, ClientOpened on_open, ClientData on_data,
                       gpointer data, GError **error);

/* Get bytes and write them to fd.  UNAVAILABLE if they broke off: what was written is not all. */
gboolean client_download(Client *client, const char *path, int fd, GError **error);

/* A connection that carries bare bytes both ways, after a request ("Upgrade: protocol"). */
typedef struct ClientPipe ClientPipe;
ClientPipe *client_upgrade(Client *client, const char *path, const char *protocol, GError **error);
void client_pipe_free(ClientPipe *pipe); /* ends it */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ClientPipe, client_pipe_free)

/* Something can be read from pipe once this can be read, but ask for all that is there first. */
int client_pipe_fd(const ClientPipe *pipe);

/* Does not wait: -1 if there is nothing now, 0 at its end. */
gssize client_pipe_read(ClientPipe *pipe, void *bytes, gsize max);
gboolean client_pipe_write(ClientPipe *pipe, const void *bytes, gsize n); /* all of it */

/* "PREFIX/NAME" or "PREFIX/NAME/SUFFIX" (suffix may be NULL), with NAME escaped.  what is the kind
 * of thing, for the message if it cannot be a name (INVALID).  A template may be NAME:VERSION. */
GString *client_path(const char *prefix, const char *what, const char *name, const char *suffix,
                     GError **error);

/* Append "?key=value" or "&key=value", escaped; nothing if value is NULL. */
void client_query(GString *path, const char *key, const char *value);
