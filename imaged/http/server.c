/* server.c: see server.h.  The request is collected, its path, query and body are merged into one
 * JSON object, and the route's operation does the rest. */
#include "imaged/http/server.h"

#include <microhttpd.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/http/answer.h"
#include "imaged/http/auth.h"
#include "imaged/http/console.h"
#include "imaged/http/kept_answers.h"
#include "imaged/http/listen.h"
#include "imaged/http/routes.h"
#include "imaged/http/stream.h"
#include "imaged/http/stream_file.h"
#include "imaged/http/tls_server.h"
#include "imaged/ops/search.h"

#define MAX_BODY (8 * MIB)
#define MAX_STRANGERS_BODY (16 * KIB) /* a log-in */
#define MAX_CONNECTIONS 256
#define MAX_WAIT_S 60

struct Server {
    World *world;
    struct MHD_Daemon *mhd; /* on the unix socket */
    TlsServer *tls;         /* on TCP, or NULL */
    char *path;
    gint is_stopping; /* atomic */
    KeptAnswers *kept;
    Consoles *consoles;
};

typedef struct {
    GByteArray *body;
    gboolean is_too_long;
    char *address;  /* of a client over TCP, or NULL */
    Caller *caller; /* or NULL, over TCP without a token */
    GError *error;  /* why there is none */
} Request;

static enum MHD_Result take_query(void *args, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    json_t *text = json_string(value ? value : "");

    if (text)
        json_object_set_new(args, key, text);
    return MHD_YES;
}

/* Merge query and body into args. */
static gboolean merge_args(struct MHD_Connection *c, const Request *request, json_t *args,
                           GError **error)
{
    json_error_t why;

    MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, take_query, args);
    if (request->body->len == 0)
        return TRUE;
    json_t *body = json_loadb((const char *)request->body->data, request->body->len,
                              JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(body)) {
        json_decref(body);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the request's body is not a JSON object");
        return FALSE;
    }
    json_object_update_missing(args, body);
    json_decref(body);
    return TRUE;
}

/* How long the client wants the answer held back for the job's end, in ms. */
static gint64 take_wait(json_t *args)
{
    const char *text = json_string_value(json_object_get(args, "wait"));
    gint64 seconds = text ? g_ascii_strtoll(text, NULL, 10) : 0;

    json_object_del(args, "wait");
    return CLAMP(seconds, 0, MAX_WAIT_S) * 1000;
}

static enum MHD_Result answer_job(Server *s, struct MHD_Connection *c, const char *id, gint64 wait)
{
    g_autoptr(GError) error = NULL;

    if (wait)
        job_wait(s->world->jobs, id, wait);
    json_t *job = job_to_json(s->world->jobs, id, TRUE, &error);
    if (!job)
        return answer_error(c, error);
    const char *state = json_string_value(json_object_get(job, "state"));
    gboolean is_open = g_str_equal(state, "queued") || g_str_equal(state, "running");
    return answer_json(c, is_open ? 202 : 200, job);
}

/* The file for the client program alone, as a browser wants it. */
static gboolean wants_file(struct MHD_Connection *c, const json_t *out)
{
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");
    const char *type = json_string_value(json_object_get(out, "content_type"));

    return accept && type && strstr(accept, type);
}

/* Keys are each user's own: nobody gets the answer to another's request. */
static char *idempotency_key(struct MHD_Connection *c, const Caller *caller)
{
    const char *key = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Idempotency-Key");

    return key && caller && caller->user_id ? g_strconcat(caller->user_id, " ", key, NULL)
                                            : g_strdup(key);
}

static enum MHD_Result run(Server *s, struct MHD_Connection *c, const Route *route,
                           const Request *request, json_t *args, const char *hash)
{
    g_autoptr(GError) error = NULL;
    const Caller *caller = request->caller;
    gint64 wait = take_wait(args);
    g_autofree char *key = idempotency_key(c, caller);
    OpsCall call = { .world = s->world,
                     .caller = caller,
                     .permission = route->permission,
                     .who = caller ? caller->who : request->address,
                     .idem_key = key,
                     .idem_hash = hash,
                     .args = args };

    if (key && (strlen(key) > 250 || !*key))
        return answer_refusal(c, 400, IMAGED_ERROR_INVALID,
                              "the idempotency key is too long or empty");
    json_t *before;
    if (key && kept_answers_find(s->kept, key, hash, &before))
        return before ? answer_json(c, 200, before)
                      : answer_refusal(c, 409, IMAGED_ERROR_EXISTS,
                               "the idempotency key was used for another request");
    if (wait && route->function == ops_job_show && json_object_get(args, "job"))
        job_wait(s->world->jobs, json_string_value(json_object_get(args, "job")), wait);
    json_t *out = route->function(&call, &error);
    g_autofree char *id = call.job_id;
    if (error) {
        json_decref(out);
        return answer_error(c, error);
    }
    if (out && route->function == ops_session_connect && json_object_get(out, "file") &&
        wants_file(c, out)) {
        char *file = strdup(json_string_value(json_object_get(out, "file")));
        const char *type = json_string_value(json_object_get(out, "content_type"));
        enum MHD_Result result = answer_text(c, 200, type, file);
        json_decref(out);
        return result;
    }
    if (key && out && !id)
        kept_answers_put(s->kept, key, hash, out);
    return id ? answer_job(s, c, id, wait) : answer_json(c, 200, out ? out : json_null());
}

/* May the caller do what the route is for, with what the arguments name? */
static gboolean may(Server *s, const Route *route, const Caller *caller, const json_t *args,
                    GError **error)
{
    if (caller && caller->is_admin)
        return TRUE;
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = access_check(db, caller, route->permission, route->on, args, error);
    catalog_read_end(s->world->catalog, db);
    return ok;
}

/* What a search finds takes its place, before anything is asked of the names. */
static gboolean select_names(Server *s, struct MHD_Connection *c, const Route *route,
                             const Caller *caller, json_t *args, const char *hash, GError **error)
{
    g_autofree char *key = idempotency_key(c, caller);
    OpsCall call = { .world = s->world,
                     .caller = caller,
                     .idem_key = key,
                     .idem_hash = hash,
                     .args = args };

    return !caller || !g_str_equal(route->method, "POST") || route->function == ops_search_save ||
           search_select(&call, error);
}

static enum MHD_Result send_file(Server *s, struct MHD_Connection *c, json_t *args)
{
    g_autoptr(GError) error = NULL;
    enum MHD_Result result = stream_file(s->world, &s->is_stopping, c, args, &error);

    return error ? answer_error(c, error) : result;
}

static enum MHD_Result send_console(Server *s, struct MHD_Connection *c, const Route *route,
                                    const Caller *caller, json_t *args)
{
    g_autoptr(GError) error = NULL;
    OpsCall call = { .world = s->world,
                     .caller = caller,
                     .permission = route->permission,
                     .who = caller->who,
                     .args = args };
    enum MHD_Result result = consoles_answer(s->consoles, c, &call, &error);

    return error ? answer_error(c, error) : result;
}

/* A client that comes back says what it has seen; browsers do so by themselves. */
static enum MHD_Result send_stream(Server *s, struct MHD_Connection *c, const Caller *caller,
                                   json_t *args)
{
    const char *seen = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Last-Event-ID");
    g_autoptr(GError) error = NULL;

    if (seen && !json_object_get(args, "job"))
        json_object_set_new(args, "since", json_string(seen));
    enum MHD_Result result = stream_start(s->world, &s->is_stopping, c, caller, args, &error);

    return error ? answer_error(c, error) : result;
}

/* The list of events, asked for as a stream? */
static gboolean wants_stream(struct MHD_Connection *c, const Route *route)
{
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");

    return route->function == ops_event_list && accept && strstr(accept, "text/event-stream");
}

static enum MHD_Result dispatch(Server *s, struct MHD_Connection *c, const char *path,
                                const char *method, const Request *request)
{
    g_autoptr(GError) error = NULL;
    json_t *args = json_object();
    gboolean path_exists;
    enum MHD_Result result;
    const Route *route = route_find(method, path, args, &path_exists);
    guint64 hash = XXH3_64bits_withSeed(request->body->data, request->body->len,
                                        XXH3_64bits(path, strlen(path)));
    g_autofree char *hash_text = g_strdup_printf("%s %" G_GINT64_MODIFIER "x", method, hash);

    gboolean is_public = route && route->permission == PERMISSION_NONE;

    if (!request->caller && !is_public)
        result = request->address ? answer_unauthorized(c, request->error)
                                  : answer_error(c, request->error);
    else if (request->is_too_long)
        result = answer_refusal(c, 413, IMAGED_ERROR_INVALID, "the request is too large");
    else if (!route)
        result = path_exists
                     ? answer_refusal(c, 405, IMAGED_ERROR_INVALID, "not with this method")
                     : answer_refusal(c, 404, IMAGED_ERROR_NOT_FOUND, "there is no such path");
    else if (s->world->rescue_reason && !route->in_rescue)
        result = answer_refusal(c, 503, IMAGED_ERROR_RESCUE,
                        "imaged is in rescue mode: the catalog is lost, but the store has layers\n"
                        "make it anew from the store: imagectl catalog rebuild");
    else if (!merge_args(c, request, args, &error) ||
             !select_names(s, c, route, request->caller, args, hash_text, &error) ||
             !may(s, route, request->caller, args, &error))
        result = answer_error(c, error);
    else if (g_str_equal(route->path, "/metrics"))
        result = answer_text(c, 200, "text/plain; version=0.0.4", ops_metrics(s->world));
    else if (g_str_equal(route->path, "/v1/files/content"))
        result = send_file(s, c, args);
    else if (g_str_equal(route->path, "/v1/desktops/{desktop}/console"))
        result = send_console(s, c, route, request->caller, args);
    else if (!route->function || wants_stream(c, route))
        result = send_stream(s, c, request->caller, args);
    else
        result = run(s, c, route, request, args, hash_text);
    json_decref(args);
    return result;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **state)
{
    Request *request = *state;

    if (!request) { /* before the body, so that a stranger's is short */
        request = *state = g_new0(Request, 1);
        request->body = g_byte_array_new();
        request->caller = auth_caller(((Server *)user)->world, c, &request->address,
                                      &request->error);
        return MHD_YES;
    }
    if (*data_len) {
        if (request->body->len + *data_len > (request->caller ? MAX_BODY : MAX_STRANGERS_BODY))
            request->is_too_long = TRUE;
        else
            g_byte_array_append(request->body, (const guint8 *)data, (guint)*data_len);
        *data_len = 0;
        return MHD_YES;
    }
    return dispatch(user, c, path, method, request);
}

static void on_completed(void *user, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode code)
{
    Request *request = *state;

    if (request) {
        g_byte_array_unref(request->body);
        g_free(request->address);
        caller_free(request->caller);
        g_clear_error(&request->error);
        g_free(request);
        *state = NULL;
    }
}

static void free_server(Server *s)
{
    kept_answers_free(s->kept);
    consoles_free(s->consoles);
    g_free(s->path);
    g_free(s);
}

static struct MHD_Daemon *serve_unix(Server *s, int fd)
{
    return MHD_start_daemon(SERVER_FLAGS, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET,
                            fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVER_IDLE_SECONDS,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                            MHD_OPTION_THREAD_STACK_SIZE, (size_t)SERVER_STACK, MHD_OPTION_END);
}

Server *server_start(World *world, const char *path, const char *group, GError **error)
{
    int fd = listen_unix(path, group, error);

    if (fd < 0)
        return NULL;
    Server *s = g_new0(Server, 1);
    s->world = world;
    s->path = g_strdup(path);
    s->kept = kept_answers_new();
    s->consoles = consoles_new();
    s->mhd = serve_unix(s, fd);
    if (!s->mhd) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot serve HTTP");
        close(fd);
        free_server(s);
        return NULL;
    }
    return s;
}

gboolean server_listen_tls(Server *s, const char *address, const char *cert_path,
                           const char *key_path, GError **error)
{
    const TlsHandlers handlers = { on_request, on_completed, s };

    s->tls = tls_server_start(&handlers, address, cert_path, key_path, error);
    return s->tls != NULL;
}

gboolean server_reload_tls(Server *s, gboolean *ret_changed, GError **error)
{
    *ret_changed = FALSE;
    return !s->tls || tls_server_reload(s->tls, ret_changed, error);
}

void server_tidy(Server *s)
{
    if (s->tls)
        tls_server_tidy(s->tls);
}

void server_stop(Server *s)
{
    g_atomic_int_set(&s->is_stopping, 1);
    catalog_wake(s->world->catalog);
    consoles_end(s->consoles);
    tls_server_stop(s->tls);
    MHD_stop_daemon(s->mhd);
    unlink(s->path);
    free_server(s);
}
