/* child.c: starting the helper and ending it.
 *
 * The end of a helper is the end of its socket: it is held by no other process than the helper and
 * what it forked, so once it is read to its end nothing of the helper is left. */
#include "imaged/guest/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/last_words.h"

#define PROGRAM "imaged-guest"
#define MAX_OUTPUT 8192
#define LOOK_MS 100
#define KILL_LIMIT_MS 10000
#define EXIT_LIMIT_MS 2000 /* from its last word to its exit */

struct GuestChild {
    pid_t pid; /* 0: none, or reaped */
    int socket, stderr_fd;
    gboolean is_ended;
    int status; /* of waitpid() */
    GString *words;
};

static GuestChild *child_new(void)
{
    GuestChild *child = g_new0(GuestChild, 1);

    child->socket = child->stderr_fd = -1;
    child->words = g_string_new(NULL);
    return child;
}

/* In the build folder it lies beside the daemon; installed in PREFIX/lib/imaged. */
static char *find_program(GError **error)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self ? self : "/");
    char *places[] = { g_build_filename(dir, PROGRAM, NULL),
                       g_build_filename(dir, "..", PROGRAM, NULL), /* of the tests' tools */
                       g_build_filename(dir, "..", "lib", "imaged", PROGRAM, NULL),
                       g_strdup("/usr/libexec/" PROGRAM) };
    char *found = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!found && access(places[i], X_OK) == 0)
            found = g_steal_pointer(&places[i]);
        g_free(places[i]);
    }
    if (!found) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the helper " PROGRAM " is neither in '%s' nor in '%s/../lib/imaged'", dir,
                    dir);
        imaged_error_hint(error, "was imaged installed with `make install`?");
    }
    return found;
}

/* In the child, between fork and exec: async-signal-safe calls only. */
static void set_up(gpointer parent)
{
    const struct rlimit none = { 0, 0 };

    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &none);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != (pid_t)GPOINTER_TO_INT(parent))
        _exit(127);
}

/* argv is terminated by NULL; its first word is filled in. */
static GuestChild *spawn(const char **argv, GError **error)
{
    g_autoptr(GuestChild) child = child_new();
    g_autofree char *program = find_program(error);
    const char *environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL };
    g_autoptr(GError) local = NULL;
    int pair[2];

    if (!program)
        return NULL;
    argv[0] = program;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        imaged_error_set_errno(error, errno, "cannot start the helper");
        return NULL;
    }
    child->socket = pair[0];
    gboolean ok = g_spawn_async_with_pipes_and_fds(
        "/", argv, environment, G_SPAWN_DO_NOT_REAP_CHILD, set_up, GINT_TO_POINTER(getpid()),
        pair[1], pair[1], -1, NULL, NULL, 0, &child->pid, NULL, NULL, &child->stderr_fd, &local);
    close(pair[1]);
    if (!ok) {
        child->pid = 0;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot start the helper: %s",
                    local->message);
        return NULL;
    }
    fcntl(child->socket, F_SETFL, O_NONBLOCK);
    fcntl(child->stderr_fd, F_SETFL, O_NONBLOCK);
    fcntl(child->stderr_fd, F_SETFD, FD_CLOEXEC);
    return g_steal_pointer(&child);
}

GuestChild *guest_child_spawn(GuestRole role, const char *user, GError **error)
{
    const char *argv[] = {
        NULL, "--role", guest_role_name(role), user ? "--user" : NULL, user, NULL
    };

    return spawn(argv, error);
}

GuestChild *guest_child_connect(GuestRole role, const char *socket_dir, GError **error)
{
    g_autoptr(GuestChild) child = child_new();
    g_autofree char *path = g_build_filename(socket_dir, guest_role_name(role), NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    child->is_ended = TRUE; /* there is nothing to reap */
    child->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is too long for a socket",
                    path);
        return NULL;
    }
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (child->socket < 0 ||
        connect(child->socket, (struct sockaddr *)&address, sizeof address) < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "cannot reach the helper's unit at '%s': %s", path, g_strerror(errno));
        imaged_error_hint(error, "systemctl status imaged-%s.socket", guest_role_name(role));
        return NULL;
    }
    fcntl(child->socket, F_SETFL, O_NONBLOCK);
    return g_steal_pointer(&child);
}

int guest_child_socket(const GuestChild *child)
{
    return child->socket;
}

int guest_child_stderr(const GuestChild *child)
{
    return child->stderr_fd;
}

void guest_child_drain(GuestChild *child)
{
    last_words_read(&child->stderr_fd, child->words);
}

/* ---- Ending ---- */

/* Until all that held the other end are gone. */
static gboolean wait_for_hangup(GuestChild *child, gint64 limit_ms)
{
    gint64 end = g_get_monotonic_time() + limit_ms * 1000;
    char rest[4096];

    for (;;) {
        struct pollfd fd = { child->socket, POLLIN, 0 };
        gint64 left_ms = (end - g_get_monotonic_time()) / 1000;
        ssize_t n = read(child->socket, rest, sizeof rest);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return TRUE;
        if (left_ms <= 0)
            return FALSE;
        if (n < 0)
            poll(&fd, 1, (int)MIN(left_ms, 1000));
        guest_child_drain(child);
    }
}

static void wait_for_exit(const GuestChild *child, int limit_ms)
{
    auto_fd pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    struct pollfd fd = { pidfd, POLLIN, 0 };

    while (pidfd >= 0 && poll(&fd, 1, limit_ms) < 0 && errno == EINTR)
        ;
}

static char *describe(GuestChild *child)
{
    GString *text;

    if (WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0)
        return NULL;
    text = g_string_new(NULL);
    if (WIFSIGNALED(child->status))
        g_string_printf(text, "was ended by signal %d (%s)", WTERMSIG(child->status),
                        g_strsignal(WTERMSIG(child->status)));
    else
        g_string_printf(text, "ended with exit code %d", WEXITSTATUS(child->status));
    g_autofree char *words = g_strstrip(g_strdup(child->words->str));
    const char *line = strrchr(words, '\n');
    g_autofree char *shown = text_for_message(line ? line + 1 : words, 300);
    if (*shown)
        g_string_append_printf(text, ": %s", shown);
    return g_string_free(text, FALSE);
}

char *guest_child_end(GuestChild *child, gint64 limit_ms)
{
    gboolean is_gone = limit_ms > 0 && wait_for_hangup(child, limit_ms);

    if (child->pid) {
        if (is_gone)
            wait_for_exit(child, EXIT_LIMIT_MS);
        /* Not reaped, so the number is still its group's: what it has left goes with it. */
        kill(-child->pid, SIGKILL);
        kill(child->pid, SIGKILL);
        while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
            ;
        child->pid = 0;
    }
    if (!is_gone) {
        /* A unit's helper watches for this end; ours has just lost its first process. */
        shutdown(child->socket, SHUT_WR);
        wait_for_hangup(child, KILL_LIMIT_MS);
    }
    guest_child_drain(child);
    durable_close(&child->socket);
    return describe(child);
}

/* Until it hangs up.  FALSE with an error if its time is over. */
static gboolean collect(GuestChild *child, gint64 limit_ms, const gint *cancel, GString *out,
                        GError **error)
{
    gint64 end = g_get_monotonic_time() + limit_ms * 1000;

    for (;;) {
        char bytes[4096];
        struct pollfd fd = { child->socket, POLLIN, 0 };
        poll(&fd, 1, LOOK_MS);
        guest_child_drain(child);
        ssize_t n = recv(child->socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return TRUE;
        if (n > 0 && out->len < MAX_OUTPUT)
            g_string_append_len(out, bytes, n);
        if (cancel && g_atomic_int_get(cancel)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        if (g_get_monotonic_time() > end) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        PROGRAM " did not end within %d s", (int)(limit_ms / 1000));
            return FALSE;
        }
    }
}

gboolean guest_child_print(const char *option, const char *argument, gint64 limit_ms,
                           const gint *cancel, char **ret_out, char **ret_words, GError **error)
{
    const char *argv[] = { NULL, option, argument, NULL };
    g_autoptr(GuestChild) child = spawn(argv, error);
    g_autoptr(GString) out = g_string_new(NULL);

    if (!child || !collect(child, limit_ms, cancel, out, error))
        return FALSE;
    g_autofree char *failed = guest_child_end(child, EXIT_LIMIT_MS);
    *ret_out = g_strdup(out->str);
    *ret_words = g_strdup(child->words->len ? child->words->str : failed ? failed : "");
    return failed == NULL;
}

void guest_child_free(GuestChild *child)
{
    if (!child)
        return;
    if (child->socket >= 0)
        g_free(guest_child_end(child, 0));
    durable_close(&child->stderr_fd);
    g_string_free(child->words, TRUE);
    g_free(child);
}
