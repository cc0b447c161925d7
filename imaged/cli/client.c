/* client.c: see client.h.  libcurl does the HTTP; what is ours is when to try again, and what an
 * answer means. */
#include "imaged/cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/interrupt.h"

#define CONNECT_TIMEOUT_MS 10000
#define RETRY_FOR_MS 10000 /* how long a daemon that restarts is waited for */
#define RETRY_STEP_MS 100
#define MAX_LOSSES 3            /* a request that kills the daemon is not sent for ever */
#define SILENCE_LIMIT_S 120     /* a held-back read answers within 60 s */
#define MAX_ANSWER (512u << 20) /* bytes; a page of a list is far below that */

struct Client {
    CURL *curl;
    char *socket_path; /* NULL with a URL */
    char *base;        /* "http://localhost" or the URL without a slash at its end */
    gboolean was_lost;
    char why[CURL_ERROR_SIZE];
};

Client *client_new(const char *socket_path, const char *url, GError **error)
{
    struct sockaddr_un address;

    if (socket_path && strlen(socket_path) >= sizeof address.sun_path) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the path of the socket '%s' is longer than a unix socket allows (%zu bytes)",
                    socket_path, sizeof address.sun_path - 1);
        return NULL;
    }
    if (url && !g_str_has_prefix(url, "http://") && !g_str_has_prefix(url, "https://")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a URL of a daemon",
                    url);
        imaged_error_hint(error, "write it like https://HOST:PORT");
        return NULL;
    }
    g_autoptr(Client) client = g_new0(Client, 1);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->curl = curl_easy_init();
    client->socket_path = g_strdup(socket_path);
    client->base = g_strdup(url ? url : "http://localhost");
    while (g_str_has_suffix(client->base, "/"))
        client->base[strlen(client->base) - 1] = 0;
    if (!client->curl) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot start libcurl");
        return NULL;
    }
    return g_steal_pointer(&client);
}

void client_free(Client *client)
{
    if (!client)
        return;
    if (client->curl)
        curl_easy_cleanup(client->curl);
    g_free(client->socket_path);
    g_free(client->base);
    g_free(client);
}

const char *client_socket_path(const Client *client)
{
    return client->socket_path;
}

gboolean client_was_lost(const Client *client)
{
    return client->was_lost;
}

static size_t take_bytes(char *bytes, size_t size, size_t n, void *data)
{
    GString *answer = data;

    if (answer->len + size * n > MAX_ANSWER)
        return 0;
    g_string_append_len(answer, bytes, (gssize)(size * n));
    return size * n;
}

static int stop_when_interrupted(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return interrupt_seen() != 0;
}

/* What each request begins with: where the daemon is, and nothing of the environment's proxies. */
static void prepare(Client *client, CURL *curl, const char *url)
{
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->why);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "imagectl/" IMAGED_VERSION);
    if (client->socket_path) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    client->why[0] = 0;
}

static void set_unreachable(Client *client, CURL *curl, CURLcode code, GError **error)
{
    long os_errno = 0;

    client->was_lost = TRUE;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
    if (code == CURLE_COULDNT_CONNECT && client->socket_path) {
        gboolean is_denied = os_errno == EACCES || os_errno == EPERM;
        g_set_error(error, IMAGED_ERROR, is_denied ? IMAGED_ERROR_DENIED : IMAGED_ERROR_UNAVAILABLE,
                    "cannot reach the daemon at '%s': %s", client->socket_path,
                    os_errno ? g_strerror((int)os_errno) : client->why);
        imaged_error_hint(error, is_denied ? "the folder of the socket says who may use it"
                                           : "is imaged running, and is --state, --socket or "
                                             "--url (or IMAGED_STATE, ...) right?");
        return;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "no answer from the daemon at '%s': %s",
                client->socket_path ? client->socket_path : client->base,
                client->why[0] ? client->why : curl_easy_strerror(code));
}

/* TRUE if the daemon may have got the request, or may get it when asked again. */
static gboolean is_lost(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE;
}

/* The daemon went away in the middle of a request: ask the same again as soon as it is back.  One
 * that is being stopped may still take a connection and reset it, so that is no second answer. */
static CURLcode perform(Client *client, GString *answer)
{
    CURLcode code = curl_easy_perform(client->curl);
    int n_losses = is_lost(code) ? 1 : 0;

    if (!n_losses)
        return code;
    for (int waited_ms = 0; waited_ms < RETRY_FOR_MS && n_losses <= MAX_LOSSES && !interrupt_seen();
         waited_ms += RETRY_STEP_MS) {
        g_usleep(RETRY_STEP_MS * 1000);
        g_string_truncate(answer, 0);
        code = curl_easy_perform(client->curl);
        if (code != CURLE_COULDNT_CONNECT && !is_lost(code))
            return code;
        n_losses += is_lost(code);
    }
    return code;
}

static json_t *read_answer(Client *client, const GString *answer, GError **error)
{
    long status = 0;
    json_error_t why;

    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    json_auto_t *object = json_loadb(answer->str, answer->len, 0, &why);
    if (status >= 400) {
        if (json_is_string(json_object_get(object, "code")))
            cli_error_from_json(object, error);
        else
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                        "the daemon answered with HTTP status %ld and no reason", status);
        return NULL;
    }
    if (status < 200 || status >= 300 || !object) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "the answer (HTTP status %ld) is not one of an imaged daemon", status);
        imaged_error_hint(error, "is something else listening there?");
        return NULL;
    }
    return g_steal_pointer(&object);
}

json_t *client_request(Client *client, ClientKind kind, const char *method, const char *path,
                       const json_t *body, GError **error)
{
    g_autofree char *url = g_strconcat(client->base, path, NULL);
    g_autoptr(GString) answer = g_string_new(NULL);
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    prepare(client, client->curl, url);
    client->was_lost = FALSE;
    if (kind == CLIENT_CHANGE) {
        Id key = id_new();
        g_autofree char *line = g_strconcat("Idempotency-Key: ", key.s, NULL);
        headers = curl_slist_append(headers, line);
    }
    if (g_str_equal(method, "POST")) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, text ? text : "");
        headers = curl_slist_append(headers, "Expect:");
    } else {
        curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
    }
    if (kind == CLIENT_WAIT) {
        curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, stop_when_interrupted);
        curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, (long)SILENCE_LIMIT_S);
    }
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, answer);

    CURLcode code = perform(client, answer);
    curl_slist_free_all(headers);
    free(text);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "interrupted");
        return NULL;
    }
    if (code != CURLE_OK) {
        set_unreachable(client, client->curl, code, error);
        return NULL;
    }
    return read_answer(client, answer, error);
}

/* ---- Paths ---- */

static gboolean check_path_name(const char *what, const char *name, GError **error)
{
    const char *colon = g_str_equal(what, "template") ? strrchr(name, ':') : NULL;
    g_autofree char *plain = colon ? g_strndup(name, colon - name) : g_strdup(name);

    if (colon && (!colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))) {
        g_autofree char *shown = text_for_message(name, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a template version",
                    shown);
        imaged_error_hint(error, "write it as NAME:VERSION, for example win11:3");
        return FALSE;
    }
    return name_check(what, plain, error);
}

GString *client_path(const char *prefix, const char *what, const char *name, const char *suffix,
                     GError **error)
{
    if (!check_path_name(what, name, error))
        return NULL;
    GString *path = g_string_new(prefix);
    g_string_append_c(path, '/');
    g_string_append_uri_escaped(path, name, ":", FALSE);
    if (suffix)
        g_string_append_printf(path, "/%s", suffix);
    return path;
}

void client_query(GString *path, const char *key, const char *value)
{
    if (!value)
        return;
    g_string_append_printf(path, "%c%s=", strchr(path->str, '?') ? '&' : '?', key);
    g_string_append_uri_escaped(path, value, NULL, FALSE);
}

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
        return take_bytes(bytes, size, n, stream->error);
    for (size_t i = 0; i < size * n; i++) {
        if (bytes[i] == '\n')
            end_stream_line(stream);
        else if (bytes[i] != '\r')
            g_string_append_c(stream->line, bytes[i]);
    }
    return stream->line->len + stream->event->len > MAX_ANSWER ? 0 : size * n;
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
        return take_bytes(bytes, size, n, d->error);
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

    prepare(client, client->curl, url);
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
        set_unreachable(client, client->curl, code, error);
    return FALSE;
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

    prepare(client, curl, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_stream_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &stream);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_stream_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &stream);
    CURLcode code = curl_easy_perform(curl);
    json_auto_t *object = json_loadb(answer->str, answer->len, 0, NULL);
    if (code != CURLE_OK)
        set_unreachable(client, curl, code, error);
    else if (json_is_object(object))
        cli_error_from_json(object, error);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the daemon ended the stream");
    curl_easy_cleanup(curl);
    return FALSE;
}
