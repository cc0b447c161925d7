/* client_stream.c: answers that are no JSON object: events as they happen, and the bytes of a file.
 * Nothing is asked again here: what was heard or written already cannot be taken back. */
#include "imaged/cli/client_private.h"

#include <errno.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"

/* ---- Event streams ---- */

typedef struct {
    ClientOpened on_open;
    ClientData on_data;
    gpointer data;
    GString *line;  /* of the stream, not yet ended */
    GString *event; /* its data lines so far */
    GString *error; /* the body of an answer that is not a stream */
    CURL *curl;
    gboolean is_open;
} Stream;

static void end_stream_line(Stream *stream)
{
    const char *line = stream->line->str;

    if (g_str_has_prefix(line, "data:")) {
        g_string_append(stream->event, line + (line[5] == ' ' ? 6 : 5));
    } else if (!*line && stream->event->len) {
        json_auto_t *object = json_loadb(stream->event->str, stream->event->len, 0, NULL);
        if (object)
            stream->on_data(object, stream->data);
        g_string_truncate(stream->event, 0);
    }
    g_string_truncate(stream->line, 0);
}

static size_t take_stream_bytes(char *bytes, size_t size, size_t n, void *data)
{
    Stream *stream = data;

    if (!stream->is_open)
        return client_take_bytes(bytes, size, n, stream->error);
    for (size_t i = 0; i < size * n; i++) {
        if (bytes[i] == '\n')
            end_stream_line(stream);
        else if (bytes[i] != '\r')
            g_string_append_c(stream->line, bytes[i]);
    }
    return stream->line->len + stream->event->len > CLIENT_ANSWER_MAX ? 0 : size * n;
}

/* The empty line that ends the headers: from now on no event is missed. */
static size_t take_stream_header(char *bytes, size_t size, size_t n, void *data)
{
    Stream *stream = data;
    long status = 0;

    if (size * n <= 2 && !stream->is_open) {
        curl_easy_getinfo(stream->curl, CURLINFO_RESPONSE_CODE, &status);
        stream->is_open = status == 200;
        if (stream->is_open)
            stream->on_open(stream->data);
    }
    return size * n;
}

gboolean client_stream(Client *client, const char *path, ClientOpened on_open, ClientData on_data,
                       gpointer data, GError **error)
{
    g_autofree char *url = g_strconcat(client->base, path, NULL);
    g_autoptr(GString) line = g_string_new(NULL), event = g_string_new(NULL);
    g_autoptr(GString) answer = g_string_new(NULL);
    /* A handle of its own, so that on_open can make requests while the stream goes on. */
    CURL *curl = curl_easy_init();
    Stream stream = { on_open, on_data, data, line, event, answer, curl, FALSE };

    client_prepare(client, curl, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_stream_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &stream);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_stream_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &stream);
    CURLcode code = curl_easy_perform(curl);
    json_auto_t *object = json_loadb(answer->str, answer->len, 0, NULL);
    if (code != CURLE_OK)
        client_set_unreachable(client, curl, code, error);
    else if (json_is_object(object))
        cli_error_from_json(object, error);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the daemon ended the stream");
    curl_easy_cleanup(curl);
    return FALSE;
}

/* ---- Files ---- */

typedef struct {
    CURL *curl;
    GString *error; /* the body of an answer that says why not */
    int fd;
    int write_errno;
} Download;

static size_t take_download_bytes(char *bytes, size_t size, size_t n, void *data)
{
    Download *d = data;
    long status = 0;

    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return client_take_bytes(bytes, size, n, d->error);
    for (size_t done = 0; done < size * n;) {
        ssize_t got = write(d->fd, bytes + done, size * n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            d->write_errno = errno;
            return 0;
        }
        done += (size_t)got;
    }
    return size * n;
}

gboolean client_download(Client *client, const char *path, int fd, GError **error)
{
    g_autofree char *url = g_strconcat(client->base, path, NULL);
    g_autoptr(GString) answer = g_string_new(NULL);
    Download d = { client->curl, answer, fd, 0 };

    client_prepare(client, client->curl, url);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_download_bytes);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &d);
    CURLcode code = curl_easy_perform(client->curl);
    json_auto_t *object = json_loadb(answer->str, answer->len, 0, NULL);
    if (d.write_errno)
        imaged_error_set_errno(error, d.write_errno, "cannot write the file");
    else if (code == CURLE_OK && answer->len == 0)
        return TRUE;
    else if (json_is_object(object))
        cli_error_from_json(object, error);
    else if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the file broke off: the disk cannot be read any further");
    else
        client_set_unreachable(client, client->curl, code, error);
    return FALSE;
}
