/* client_upgrade.c: a request after which the connection carries bare bytes, both ways.
 *
 * libcurl only connects (with TLS, where the URL says so) and carries; the request and the head of
 * its answer are ours. */
#include <poll.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/client_private.h"

#define MAX_HEAD 65536
#define MAX_ERROR 1048576
#define ANSWER_LIMIT_MS 60000

struct ClientPipe {
    CURL *curl;
    curl_socket_t fd;
    GByteArray *early; /* came along with the answer's head */
};

void client_pipe_free(ClientPipe *pipe)
{
    if (!pipe)
        return;
    curl_easy_cleanup(pipe->curl);
    g_byte_array_unref(pipe->early);
    g_free(pipe);
}

int client_pipe_fd(const ClientPipe *pipe)
{
    return (int)pipe->fd;
}

gssize client_pipe_read(ClientPipe *pipe, void *bytes, gsize max)
{
    size_t n = MIN(max, pipe->early->len);

    if (n) {
        memcpy(bytes, pipe->early->data, n);
        g_byte_array_remove_range(pipe->early, 0, (guint)n);
        return (gssize)n;
    }
    CURLcode code = curl_easy_recv(pipe->curl, bytes, max, &n);
    return code == CURLE_AGAIN ? -1 : code == CURLE_OK ? (gssize)n : 0;
}

gboolean client_pipe_write(ClientPipe *pipe, const void *bytes, gsize n)
{
    for (gsize done = 0; done < n;) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(pipe->curl, (const char *)bytes + done, n - done, &sent);
        struct pollfd room = { .fd = (int)pipe->fd, .events = POLLOUT };
        if (code == CURLE_AGAIN)
            poll(&room, 1, 1000);
        else if (code != CURLE_OK)
            return FALSE;
        done += sent;
    }
    return TRUE;
}

/* ---- The request ---- */

static char *request_text(const Client *client, const char *path, const char *protocol)
{
    g_autoptr(GUri) uri = g_uri_parse(client->base, G_URI_FLAGS_NONE, NULL);
    const char *host = uri ? g_uri_get_host(uri) : NULL;
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "GET %s%s HTTP/1.1\r\nHost: %s\r\n", uri ? g_uri_get_path(uri) : "",
                           path, host ? host : "localhost");
    g_string_append_printf(out, "Connection: Upgrade\r\nUpgrade: %s\r\n", protocol);
    if (client->token && g_str_has_prefix(client->base, "https://"))
        g_string_append_printf(out, "Authorization: Bearer %s\r\n", client->token);
    g_string_append(out, "\r\n");
    return g_string_free(out, FALSE);
}

/* More of the answer, into early.  FALSE: there is no more, or it takes too long. */
static gboolean read_more(ClientPipe *pipe, gint64 until_us)
{
    guint8 buffer[4096];
    size_t n = 0;

    for (;;) {
        CURLcode code = curl_easy_recv(pipe->curl, buffer, sizeof buffer, &n);
        struct pollfd more = { .fd = (int)pipe->fd, .events = POLLIN };
        if (code == CURLE_OK && n) {
            g_byte_array_append(pipe->early, buffer, (guint)n);
            return TRUE;
        }
        if (code != CURLE_AGAIN || g_get_monotonic_time() >= until_us)
            return FALSE;
        poll(&more, 1, 500);
    }
}

/* The length of the answer's head, with the empty line; 0: it did not come. */
static gsize read_head(ClientPipe *pipe)
{
    gint64 until_us = g_get_monotonic_time() + ANSWER_LIMIT_MS * 1000;

    while (pipe->early->len < MAX_HEAD) {
        gsize n = pipe->early->len; /* data is NULL at first */
        const void *end = n ? memmem(pipe->early->data, n, "\r\n\r\n", 4) : NULL;
        if (end)
            return (gsize)((const guint8 *)end - pipe->early->data) + 4;
        if (!read_more(pipe, until_us))
            return 0;
    }
    return 0;
}

/* What the daemon says instead. */
static void read_error(ClientPipe *pipe, gsize head, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + ANSWER_LIMIT_MS * 1000;
    json_t *object = NULL;

    do
        object =
            json_loadb((const char *)pipe->early->data + head, pipe->early->len - head, 0, NULL);
    while (!object && pipe->early->len < MAX_ERROR && read_more(pipe, until_us));
    if (json_is_object(object))
        cli_error_from_json(object, error);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "the answer is not one of an imaged daemon");
    json_decref(object);
}

ClientPipe *client_upgrade(Client *client, const char *path, const char *protocol, GError **error)
{
    g_autoptr(ClientPipe) pipe = g_new0(ClientPipe, 1);
    g_autofree char *request = request_text(client, path, protocol);
    CURLcode code;

    pipe->curl = curl_easy_init();
    pipe->early = g_byte_array_new();
    client_prepare(client, pipe->curl, client->base);
    curl_easy_setopt(pipe->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(pipe->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    code = curl_easy_perform(pipe->curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(pipe->curl, CURLINFO_ACTIVESOCKET, &pipe->fd);
    if (code != CURLE_OK) {
        client_set_unreachable(client, pipe->curl, code, error);
        return NULL;
    }
    gsize head = client_pipe_write(pipe, request, strlen(request)) ? read_head(pipe) : 0;
    if (!head) {
        client_set_unreachable(client, pipe->curl, CURLE_GOT_NOTHING, error);
        return NULL;
    }
    if (!g_str_has_prefix((const char *)pipe->early->data, "HTTP/1.1 101 ")) {
        read_error(pipe, head, error);
        return NULL;
    }
    g_byte_array_remove_range(pipe->early, 0, (guint)head);
    return g_steal_pointer(&pipe);
}
