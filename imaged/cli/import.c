/* import.c: see import.h.  The daemon never opens what a user names: imagectl opens it with the
 * user's own rights, checks it, and serves its bytes on a private NBD socket for as long as the job
 * runs. */
#include "imaged/cli/import.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/cli/interrupt.h"
#include "imaged/cli/job.h"
#include "imaged/cli/nbd_serve.h"
#include "imaged/cli/source_check.h"
#include "imaged/cli/user_file.h"

#define NBD_PORT 10809

/* ---- Files ---- */

static int open_file(const char *path, GError **error)
{
    /* O_NONBLOCK: a FIFO nobody writes to must not hold us; it is refused a moment later. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
    return fd;
}

/* The file as QEMU shall open it: the format spelled out, no backing file whatever stands in it. */
static json_t *file_options(int fd, const char *format)
{
    struct stat st;
    gboolean is_device = fstat(fd, &st) == 0 && S_ISBLK(st.st_mode);
    json_t *options = json_pack("{s:s, s:{s:s, s:s}}", "driver", format, "file", "driver",
                                is_device ? "host_device" : "file", "filename", NBD_SERVE_FD_PATH);

    if (!g_str_equal(format, "raw"))
        json_object_set_new(options, "backing", json_null());
    return options;
}

NbdServe *import_serve_file(Cli *cli, const char *path, const char *format, json_t *notes,
                            GError **error)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);

    auto_fd fd = open_file(path, error);
    if (fd < 0 || !source_check(fd, format, path, found, error))
        return NULL;
    for (guint i = 0; i < found->len; i++) {
        fprintf(stderr, "note: %s\n", (char *)found->pdata[i]);
        json_array_append_new(notes, json_string(found->pdata[i]));
    }
    json_auto_t *options = file_options(fd, format);
    return nbd_serve_start(options, fd, client_socket_path(cli->client), error);
}

static NbdServe *serve_file(Cli *cli, const char *path, json_t *notes, GError **error)
{
    const char *format = args_text(cli->args, "format");

    if (format)
        return import_serve_file(cli, path, format, notes, error);
    args_usage_error(cli->args, error, "--format is missing: a file's format is never guessed");
    return NULL;
}

/* ---- URIs ---- */

static json_t *server_of(GUri *uri, GError **error)
{
    const char *query = g_uri_get_query(uri);
    int port = g_uri_get_port(uri);

    if (g_str_equal(g_uri_get_scheme(uri), "nbd")) {
        const char *host = g_uri_get_host(uri);
        g_autofree char *port_text = g_strdup_printf("%d", port > 0 ? port : NBD_PORT);
        if (host && *host && !query)
            return json_pack("{s:s, s:s, s:s}", "type", "inet", "host", host, "port", port_text);
    } else if (query) {
        g_autoptr(GHashTable) params = g_uri_parse_params(query, -1, "&", G_URI_PARAMS_NONE, NULL);
        const char *path = params ? g_hash_table_lookup(params, "socket") : NULL;
        if (path && *path && g_hash_table_size(params) == 1)
            return json_pack("{s:s, s:s}", "type", "unix", "path", path);
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "the URI does not say where the server is");
    imaged_error_hint(error,
                      "write it as nbd://HOST[:PORT]/[EXPORT] or nbd+unix:///[EXPORT]?socket=PATH");
    return NULL;
}

static json_t *uri_options(const char *text, GError **error)
{
    GError *local = NULL;
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_ENCODED_QUERY, &local);

    if (!uri) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a URI: %s", text,
                    local->message);
        g_error_free(local);
        return NULL;
    }
    json_t *server = server_of(uri, error);
    if (!server)
        return NULL;
    const char *path = g_uri_get_path(uri);
    json_auto_t *node = json_pack("{s:s, s:o}", "driver", "nbd", "server", server);
    if (*path == '/' && path[1])
        json_set_text(node, "export", path + 1);
    return json_pack("{s:s, s:O}", "driver", "raw", "file", node);
}

static gboolean add_path(GPtrArray *parameters, const char *key, const char *path, GError **error)
{
    g_autofree char *absolute = path ? g_canonicalize_filename(path, NULL) : NULL;

    if (!path)
        return TRUE;
    if (access(absolute, R_OK) < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
        return FALSE;
    }
    g_ptr_array_add(parameters, g_strconcat(key, "=", absolute, NULL));
    return TRUE;
}

/* libnbd looks for the user only when it connects, and has a message of its own for that. */
static gboolean check_psk_user(const char *path, const char *user, GError **error)
{
    g_autofree char *text = path ? user_file_read(path, error) : NULL;
    g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;
    gsize len = user ? strlen(user) : 0;

    if (!text)
        return path == NULL;
    for (guint i = 0; lines[i]; i++) {
        if (strncmp(lines[i], user, len) == 0 && lines[i][len] == ':')
            return TRUE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "'%s' has no key of the user '%s'",
                path, user);
    imaged_error_hint(error, "say whose key it is: nbds://USER@HOST/..., or --tls-user USER");
    return FALSE;
}

/* The relay connected in vain.  In a TLS handshake that fails neither side tells the other why. */
static void explain_tls(const char *host, gboolean has_keys, GError **error)
{
    if (!*error || !strstr((*error)->message, "gnutls_"))
        return;
    g_autofree char *words = imaged_error_message(*error);
    const char *why = strstr(words, "gnutls_");
    g_clear_error(error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "the TLS handshake with the server '%s' failed (%s)", host, why);
    imaged_error_hint(error, has_keys ? "has the server the same user and key, or certificates of"
                                        " the same authority?"
                                      : "the server wants credentials: --tls-psk or --tls-certs");
}

static GPtrArray *tls_parameters(Cli *cli, GUri *uri, GError **error)
{
    g_autoptr(GPtrArray) parameters = g_ptr_array_new_with_free_func(g_free);
    const char *user = args_text(cli->args, "tls-user"), *path = g_uri_get_path(uri);
    const char *psk = args_text(cli->args, "tls-psk"), *certs = args_text(cli->args, "tls-certs");
    g_autofree char *ca = certs ? g_build_filename(certs, "ca-cert.pem", NULL) : NULL;

    if (!user)
        user = g_uri_get_user(uri);
    if (!user && psk)
        user = g_get_user_name();
    /* One connection, made at the start: so what is wrong with it is known then. */
    g_ptr_array_add(parameters, g_strdup("shared=true"));
    g_ptr_array_add(parameters, g_strdup("tls=require"));
    g_ptr_array_add(parameters, g_strconcat("hostname=", g_uri_get_host(uri), NULL));
    g_ptr_array_add(
        parameters,
        g_strdup_printf("port=%d", g_uri_get_port(uri) > 0 ? g_uri_get_port(uri) : NBD_PORT));
    g_ptr_array_add(parameters, g_strconcat("export=", *path == '/' ? path + 1 : "", NULL));
    if (!add_path(parameters, "tls-psk", psk, error) || !check_psk_user(psk, user, error) ||
        !add_path(parameters, "tls-certificates", certs, error))
        return NULL;
    if (ca && access(ca, R_OK) < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", ca);
        return NULL;
    }
    if (user)
        g_ptr_array_add(parameters, g_strconcat("tls-username=", user, NULL));
    g_ptr_array_add(parameters, NULL);
    return g_steal_pointer(&parameters);
}

/* With TLS an nbdkit of ours connects, with our keys, and passes the bytes on to the daemon. */
static NbdServe *serve_tls(Cli *cli, const char *text, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_HAS_PASSWORD, NULL);
    GError *local = NULL;

    if (!uri || !g_uri_get_host(uri) || !*g_uri_get_host(uri) || g_uri_get_query(uri) ||
        g_uri_get_password(uri)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the URI does not say where the server is");
        imaged_error_hint(error, "write it as nbds://[USER@]HOST[:PORT]/[EXPORT], with --tls-psk"
                                 " or --tls-certs");
        return NULL;
    }
    g_autoptr(GPtrArray) parameters = tls_parameters(cli, uri, error);
    if (!parameters)
        return NULL;
    NbdServe *serve = nbd_serve_start_relay((const char *const *)parameters->pdata,
                                            client_socket_path(cli->client), &local);
    if (serve)
        return serve;
    explain_tls(g_uri_get_host(uri),
                args_has(cli->args, "tls-psk") || args_has(cli->args, "tls-certs"), &local);
    g_propagate_error(error, local);
    return NULL;
}

static NbdServe *serve_uri(Cli *cli, const char *uri, GError **error)
{
    const char *format = args_text(cli->args, "format");

    if (format && !g_str_equal(format, "raw")) {
        args_usage_error(cli->args, error,
                         "an NBD export is imported as it reads: --format raw, or none");
        return NULL;
    }
    gboolean has_tls = g_str_has_prefix(uri, "nbds://");
    if (!has_tls && (args_has(cli->args, "tls-psk") || args_has(cli->args, "tls-certs"))) {
        args_usage_error(cli->args, error, "--tls-psk and --tls-certs are for an nbds:// URI");
        return NULL;
    }
    if (has_tls)
        return serve_tls(cli, uri, error);
    json_auto_t *options = uri_options(uri, error);
    return options ? nbd_serve_start(options, -1, client_socket_path(cli->client), error) : NULL;
}

/* A scheme that is none of ours would else be taken for a file of that name, which is puzzling. */
static gboolean is_uri(const char *source, gboolean *ret_is_known)
{
    const char *colon = strstr(source, "://");
    static const char scheme[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "+";

    *ret_is_known = g_str_has_prefix(source, "nbd://") || g_str_has_prefix(source, "nbds://") ||
                    g_str_has_prefix(source, "nbd+unix://");
    return colon && colon > source && strspn(source, scheme) == (gsize)(colon - source);
}

static NbdServe *serve_source(Cli *cli, const char *source, json_t *notes, GError **error)
{
    gboolean is_known;

    if (!is_uri(source, &is_known))
        return serve_file(cli, source, notes, error);
    if (is_known)
        return serve_uri(cli, source, error);
    g_autofree char *shown = text_for_message(source, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "cannot import from '%s'", shown);
    imaged_error_hint(error,
                      "SOURCE is a file, or a URI that begins with nbd://, nbds:// or nbd+unix://");
    return NULL;
}

/* ---- The request ---- */

void import_put_machine(const Args *args, json_t *body)
{
    if (args_has(args, "cpus"))
        json_object_set_new(body, "cpus", json_integer(args_number(args, "cpus", 0)));
    if (args_has(args, "memory"))
        json_object_set_new(body, "memory_bytes", json_integer(args_number(args, "memory", 0)));
    json_set_text(body, "os", args_text(args, "os"));
    json_set_text(body, "description", args_text(args, "description"));
}

static json_t *request_body(const Args *args, const char *uri, json_t *notes)
{
    g_autofree char *source_name = g_utf8_make_valid(args_word(args, 1), -1);
    json_t *body = json_pack("{s:s, s:s, s:s}", "name", args_word(args, 0), "source", uri,
                             "source_name", source_name);

    import_put_machine(args, body);
    json_set_text(body, "firmware", args_text(args, "firmware"));
    json_set_text(body, "store", args_text(args, "store"));
    if (args_has(args, "draft"))
        json_object_set_new(body, "draft", json_true());
    if (json_array_size(notes))
        json_object_set(body, "notes", notes);
    return body;
}

json_t *import_run(Cli *cli, GError **error)
{
    const char *source = args_word(cli->args, 1);
    json_auto_t *notes = json_array();

    if (!name_check("template", args_word(cli->args, 0), error))
        return NULL;
    /* From here on an interrupt must not leave server or folder behind. */
    interrupt_catch();
    g_autoptr(NbdServe) serve = serve_source(cli, source, notes, error);
    if (!serve)
        return NULL;
    json_auto_t *body = request_body(cli->args, nbd_serve_uri(serve), notes);
    json_auto_t *job =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/templates/import", body, error);
    json_t *done = job ? job_wait_or_cancel(cli, job, error) : NULL;
    g_autofree char *why = done ? NULL : nbd_serve_complaint(serve);
    if (why)
        fprintf(stderr, "note: the server of the image said: %s\n", why);
    return done;
}
