/* main.c: imaged-guest: one request, one task, one answer.
 *
 * Until the sandbox is entered nothing is read but the request, which comes from imaged. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/make_appliance.h"
#include "imaged/guest/helper/sandbox.h"
#include "imaged/guest/helper/task.h"
#include "imaged/guest/protocol.h"

#define SOCKET_FD_MIN 10

#ifdef __SANITIZE_ADDRESS__
/* The leak check needs ptrace, which the filter refuses. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

/* imaged has hung up, or is gone: then so are we, and in a pid namespace all we started. */
static gpointer watch_for_hangup(gpointer data)
{
    struct pollfd fd = { GPOINTER_TO_INT(data), POLLRDHUP, 0 };

    while (poll(&fd, 1, -1) < 0 || !fd.revents)
        ;
    kill(0, SIGKILL);
    _exit(1);
}

/* The line, without its end, or NULL. */
static GString *read_request(int socket)
{
    GString *line = g_string_new(NULL);
    char bytes[65536];

    for (;;) {
        ssize_t n = read(socket, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        const char *end = n > 0 ? memchr(bytes, '\n', (gsize)n) : NULL;
        if (n > 0)
            g_string_append_len(line, bytes, end ? end - bytes : n);
        if (end)
            return line;
        if (n <= 0 || line->len > GUEST_LINE_MAX) {
            g_string_free(line, TRUE);
            return NULL;
        }
    }
}

/* The socket out of the way of children, and nothing for them to read or write. */
static int take_socket(void)
{
    int socket = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, SOCKET_FD_MIN);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (socket < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return -1;
    close(null);
    return socket;
}

static void set_environment(const Task *task)
{
    clearenv();
    g_setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", TRUE);
    g_setenv("LC_ALL", "C.UTF-8", TRUE);
    g_setenv("HOME", task_tmp(task), TRUE);
    g_setenv("TMPDIR", task_tmp(task), TRUE);
}

static gboolean lock_in(Task *task, SandboxSpec *spec, GError **error)
{
    const char *socket = task_disk_socket(task, 0);
    g_autofree char *disks = socket ? g_path_get_dirname(socket) : NULL;
    gboolean has_view = FALSE, is_root = geteuid() == 0;

    spec->disks = disks;
    spec->folder = task_folder(task);
    spec->appliance = task_appliance(task);
    spec->cache = task_cache(task);
    spec->may_use_kvm = strcmp(task_accelerator(task), "kvm") == 0;
    spec->limit_ms = CLAMP(task_int(task, "limit_ms", 0), 1000, G_MAXINT);
    if (!sandbox_enter(spec, &has_view, error))
        return FALSE;
    task_set_view(task, has_view);
    task_set_tmp(task, has_view || spec->is_service ? "/tmp" : task_text(task, "tmp", "/tmp"));
    set_environment(task);
    if (!has_view && !is_root && !spec->is_service)
        task_warning(task, "the helper is not kept from imaged's own files: this machine allows no"
                           " user namespaces, and imaged neither runs as root nor has"
                           " guest_socket_dir");
    return TRUE;
}

/* Print the appliance's folder. */
static int print_appliance(const char *dir, gboolean may_make)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = make_appliance(dir, may_make, &error);

    if (!path) {
        fprintf(stderr, "%s\n", error->message); /* with its hint, behind a newline */
        return 1;
    }
    puts(path);
    return 0;
}

int main(int argc, char **argv)
{
    g_autofree char *role = NULL;
    g_autofree char *user = NULL;
    g_autofree char *made = NULL;
    g_autofree char *found = NULL;
    gboolean is_service = FALSE, version = FALSE;
    const GOptionEntry entries[] = {
        { "role", 0, 0, G_OPTION_ARG_STRING, &role, "guest, fetch or build", "ROLE" },
        { "user", 0, 0, G_OPTION_ARG_STRING, &user, "Whom to become, if started by root", "NAME" },
        { "service", 0, 0, G_OPTION_ARG_NONE, &is_service, "Started by systemd", NULL },
        { "make-appliance", 0, 0, G_OPTION_ARG_FILENAME, &made,
          "Make libguestfs' appliance in DIR if there is none that fits, and print its folder",
          "DIR" },
        { "find-appliance", 0, 0, G_OPTION_ARG_FILENAME, &found, "Only look for it", "DIR" },
        { "version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version and exit", NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(context, "imaged's helper: it reads one request from its standard "
                                          "input, a socket.  imaged starts it.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "imaged-guest: %s\n", error->message);
        return 2;
    }
    if (version) {
        puts("imaged-guest " IMAGED_VERSION);
        return 0;
    }
    if (made || found)
        return print_appliance(made ? made : found, made != NULL);
    setpgid(0, 0); /* which all that it starts is in; fails for a session's leader, who has one */
    int socket = role ? take_socket() : -1;
    GString *line = socket >= 0 ? read_request(socket) : NULL;
    if (!line) {
        fputs("imaged-guest: there is no request on standard input\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    SandboxSpec spec = { .role = role, .user = user, .is_service = is_service };
    Task *task = task_new(line->str, line->len, role, socket, &error);
    if (!task || !lock_in(task, &spec, &error)) {
        task_say_error(socket, error);
        return 1;
    }
    g_thread_unref(g_thread_new("hangup", watch_for_hangup, GINT_TO_POINTER(socket)));
    return task_run(task) ? 0 : 1;
}
