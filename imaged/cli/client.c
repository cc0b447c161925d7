/* client.c: see client.h.  libcurl does the HTTP; what is ours is when to try again, and what an
 * answer means. */
#include "imaged/cli/client_private.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/interrupt.h"

#define CONNECT_TIMEOUT_MS 10000
#define RETRY_FOR_MS 10000 /* how long a daemon that restarts is waited for */
#define RETRY_STEP_MS 100
#define MAX_LOSSES 3        /* a request that kills the daemon is not sent for ever */
#define SILENCE_LIMIT_S 120 /* a held-back read answers within 60 s */

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
    g_free(client->token);
    g_free(client->ca_file);
    g_free(client);
}

const char *client_socket_path(const Client *client)
{
    return client->socket_path;
}

const char *client_url(const Client *client)
{
    return client->socket_path ? NULL : client->base;
}

void client_set_token(Client *client, const char *token)
{
    g_free(client->token);
    client->token = g_strdup(token);
}

const char *client_token(const Client *client)
{
    return client->token;
}

void client_set_ca_file(Client *client, const char *path)
{
    g_free(client->ca_file);
    client->ca_file = g_strdup(path);
}

gboolean client_was_lost(const Client *client)
{
    return client->was_lost;
}

size_t client_take_bytes(char *bytes, size_t size, size_t n, void *data)
{
    GString *answer = data;

    if (answer->len + size * n > CLIENT_ANSWER_MAX)
        return 0;
    g_string_append_len(answer, bytes, (gssize)(size * n));
    return size * n;
}

static int stop_when_interrupted(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return interrupt_seen() != 0;
}

void client_prepare(Client *client, CURL *curl, const char *url)
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
    if (client->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    if (client->token && g_str_has_prefix(client->base, "https://")) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, client->token);
    }
    client->why[0] = 0;
}

void client_set_unreachable(Client *client, CURL *curl, CURLcode code, GError **error)
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

    client_prepare(client, client->curl, url);
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
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, client_take_bytes);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, answer);

    CURLcode code = perform(client, answer);
    curl_slist_free_all(headers);
    free(text);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "interrupted");
        return NULL;
    }
    if (code != CURLE_OK) {
        client_set_unreachable(client, client->curl, code, error);
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
