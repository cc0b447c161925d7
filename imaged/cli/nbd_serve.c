/* nbd_serve.c: see nbd_serve.h.  qemu-nbd gets QEMU's "json:" pseudo file name, built by a JSON
 * library, and the image as an open descriptor: so no character of a user's path is ever parsed by
 * QEMU, and what is served is the very file that was checked. */
#include "imaged/cli/nbd_serve.h"

#include <errno.h>
#include <gio/gio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/door.h"
#include "imaged/cli/interrupt.h"

#define N_CLIENTS "8" /* connections of the daemon */
#define START_LIMIT_MS 30000
#define STEP_MS 10
#define STOP_LIMIT_MS 5000
#define MAX_COMPLAINT 4096

struct NbdServe {
    const char *program; /* qemu-nbd, nbdkit */
    GSubprocess *server;
    char *folder, *socket_path, *uri;
    int complaints; /* a file in memory that gets its standard error */
};

/* In the child, between fork and exec: async-signal-safe calls only. */
static void tie_to_parent(gpointer parent)
{
    /* A group of its own: Ctrl-C shall reach imagectl alone, which first cancels the job. */
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != (pid_t)GPOINTER_TO_INT(parent))
        _exit(127);
}

/* Why it ended, without the parts that repeat what we told it. */
static char *complaint(const NbdServe *serve)
{
    char text[MAX_COMPLAINT + 1];
    gssize got = pread(serve->complaints, text, MAX_COMPLAINT, 0);

    text[MAX(got, 0)] = 0;
    g_strstrip(text);
    g_autofree char *prefix = g_strconcat(serve->program, ": ", NULL);
    const char *message = g_str_has_prefix(text, prefix) ? text + strlen(prefix) : text;
    const char *name_end = strstr(message, "}': ");
    if (name_end)
        message = name_end + strlen("}': ");
    static const char *const noise[] = { "error: ", "nbd_connect_tcp: " }; /* of nbdkit, libnbd */
    for (guint i = 0; i < G_N_ELEMENTS(noise); i++) {
        if (g_str_has_prefix(message, noise[i]))
            message += strlen(noise[i]);
    }
    g_auto(GStrv) lines = g_strsplit(message, "\n", -1);
    return *message ? g_strjoinv("; ", lines) : NULL;
}

char *nbd_serve_complaint(const NbdServe *serve)
{
    return complaint(serve);
}

/* Does it greet as an NBD server does? */
static gboolean greets(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = 5 };
    char magic[8];
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return FALSE;
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
           recv(fd, magic, sizeof magic, MSG_WAITALL) == sizeof magic &&
           memcmp(magic, "NBDMAGIC", sizeof magic) == 0;
}

static gboolean wait_until_ready(NbdServe *serve, GError **error)
{
    gint64 begin_ms = units_boottime_ms();

    while (!greets(serve->socket_path)) {
        /* GLib's own thread reaps the child and then forgets its pid. */
        if (!g_subprocess_get_identifier(serve->server)) {
            g_autofree char *why = complaint(serve);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot serve the image: %s",
                        why ? why : "it gave no reason");
            return FALSE;
        }
        if (interrupt_seen()) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "interrupted");
            return FALSE;
        }
        if (units_boottime_ms() - begin_ms > START_LIMIT_MS) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "cannot serve the image: %s was not ready within %d s", serve->program,
                        START_LIMIT_MS / 1000);
            return FALSE;
        }
        g_usleep(STEP_MS * 1000);
    }
    /* The folder says who may pass; the socket itself is for whoever passed. */
    if (chmod(serve->socket_path, 0666) < 0) {
        imaged_error_set_errno(error, errno, "cannot set the mode of '%s'", serve->socket_path);
        return FALSE;
    }
    return TRUE;
}

static gboolean spawn(NbdServe *serve, const char *const *argv, int fd, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
    GError *local = NULL;

    g_subprocess_launcher_set_child_setup(launcher, tie_to_parent, GINT_TO_POINTER(getpid()), NULL);
    g_subprocess_launcher_take_stderr_fd(launcher, dup(serve->complaints));
    if (fd >= 0)
        g_subprocess_launcher_take_fd(launcher, dup(fd), NBD_SERVE_FD);
    /* The C locale, so that the reason it gives is in the language of the rest of the message. */
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C", TRUE);
    serve->server = g_subprocess_launcher_spawnv(launcher, argv, &local);
    if (serve->server)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot start %s: %s", serve->program,
                local->message);
    imaged_error_hint(error, "it is in the Debian package %s",
                      g_str_equal(serve->program, "nbdkit") ? "nbdkit" : "qemu-utils");
    g_error_free(local);
    return FALSE;
}

/* A server that is yet to be started, with the place of its socket. */
static NbdServe *prepare(const char *program, const char *daemon_socket, GError **error)
{
    g_autoptr(NbdServe) serve = g_new0(NbdServe, 1);

    serve->program = program;
    serve->complaints = memfd_create(program, MFD_CLOEXEC);
    serve->folder = door_make(daemon_socket, error);
    if (!serve->folder)
        return NULL;
    serve->socket_path = g_build_filename(serve->folder, "nbd", NULL);
    g_autofree char *escaped = g_uri_escape_string(serve->socket_path, "/", FALSE);
    serve->uri = g_strconcat("nbd+unix:///?socket=", escaped, NULL);
    return g_steal_pointer(&serve);
}

NbdServe *nbd_serve_start(const json_t *options, int fd, const char *daemon_socket, GError **error)
{
    g_autoptr(NbdServe) serve = prepare("qemu-nbd", daemon_socket, error);

    if (!serve)
        return NULL;
    char *json = json_dumps(options, JSON_COMPACT);
    g_autofree char *name = g_strconcat("json:", json, NULL);
    g_autofree char *socket_option = g_strconcat("--socket=", serve->socket_path, NULL);
    const char *argv[] = {
        "qemu-nbd", "--read-only", "--persistent", "--shared=" N_CLIENTS, socket_option, name, NULL
    };
    free(json);
    return spawn(serve, argv, fd, error) && wait_until_ready(serve, error) ? g_steal_pointer(&serve)
                                                                           : NULL;
}

NbdServe *nbd_serve_start_relay(const char *const *parameters, const char *daemon_socket,
                                GError **error)
{
    g_autoptr(NbdServe) serve = prepare("nbdkit", daemon_socket, error);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    if (!serve)
        return NULL;
    g_autofree char *socket_option = g_strconcat("--unix=", serve->socket_path, NULL);
    const char *const fixed[] = { "nbdkit", "--foreground", "--readonly", socket_option, "nbd" };
    for (guint i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(argv, (gpointer)fixed[i]);
    for (guint i = 0; parameters[i]; i++)
        g_ptr_array_add(argv, (gpointer)parameters[i]);
    g_ptr_array_add(argv, NULL);
    return spawn(serve, (const char *const *)argv->pdata, -1, error) &&
                   wait_until_ready(serve, error)
               ? g_steal_pointer(&serve)
               : NULL;
}

const char *nbd_serve_uri(const NbdServe *serve)
{
    return serve->uri;
}

static void end_server(GSubprocess *server)
{
    gint64 begin_ms = units_boottime_ms();

    g_subprocess_send_signal(server, SIGTERM);
    while (g_subprocess_get_identifier(server)) {
        if (units_boottime_ms() - begin_ms > STOP_LIMIT_MS) {
            g_subprocess_force_exit(server);
            g_subprocess_wait(server, NULL, NULL);
            return;
        }
        g_usleep(STEP_MS * 1000);
    }
}

void nbd_serve_stop(NbdServe *serve)
{
    if (!serve)
        return;
    if (serve->server) {
        end_server(serve->server);
        g_object_unref(serve->server);
    }
    if (serve->socket_path)
        unlink(serve->socket_path);
    if (serve->folder)
        rmdir(serve->folder);
    durable_close(&serve->complaints);
    g_free(serve->folder);
    g_free(serve->socket_path);
    g_free(serve->uri);
    g_free(serve);
}
