/* ssh_socket.c: see ssh_socket.h.
 *
 * The child has one end of a socket pair as its input and output, so who has the other end has a
 * connection like any other.  Closed (imaged was killed, say), that ends nc, QEMU's connection and
 * ssh.  On the way libvirt's options are kept, and some are added so that nothing waits for ever.
 */
#include "broker/host/ssh_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define OPEN_S 20 /* more than ssh's own limit below, whose words are better */
#define STEP_MS 100
#define END_MS 1000 /* by itself; from SIGTERM to SIGKILL */
#define END_STEP_MS 10
#define MAX_WORDS 4096 /* bytes of what it complains of */

struct SshSocket {
    GPid pid; /* 0: it has been waited for */
    int err;
};

HostSockets host_sockets(const char *uri)
{
    if (g_str_has_prefix(uri, "qemu+ssh://"))
        return SOCKETS_BY_SSH;
    return g_str_has_prefix(uri, "qemu+tls://") || g_str_has_prefix(uri, "qemu+tcp://")
               ? SOCKETS_OUT_OF_REACH
               : SOCKETS_BY_LIBVIRT;
}

/* ---- The command ---- */

static void add_all(GPtrArray *out, const char *const *words)
{
    for (guint i = 0; words[i]; i++)
        g_ptr_array_add(out, g_strdup(words[i]));
}

static void add_pair(GPtrArray *out, const char *option, const char *value)
{
    if (value && *value)
        add_all(out, (const char *const[]){ option, value, NULL });
}

/* For the user's own shell, whichever it is.  nc of OpenBSD goes on after the end of its input
 * unless it is told otherwise; nmap's ends by itself, and does not know the option. */
static char *remote_command(const char *path)
{
    g_autofree char *quoted = g_shell_quote(path);
    g_autofree char *script =
        g_strdup_printf("if nc -h 2>&1 | grep -q -e '-N[[:space:]]'; then exec nc -N -U %s; fi;"
                        " exec nc -U %s",
                        quoted, quoted);
    g_autofree char *argument = g_shell_quote(script);

    return g_strconcat("sh -c ", argument, NULL);
}

char **ssh_socket_command(const char *uri, const char *path, GError **error)
{
    static const char *const begin[] = { "ssh",
                                         "-T",
                                         "-a",
                                         "-x",
                                         "-e",
                                         "none",
                                         "-oBatchMode=yes",
                                         "-oClearAllForwardings=yes",
                                         "-oConnectTimeout=15",
                                         "-oServerAliveInterval=5",
                                         "-oServerAliveCountMax=3",
                                         NULL };
    g_autoptr(GUri) parsed = g_uri_parse(uri, G_URI_FLAGS_NON_DNS, NULL);
    const char *host = parsed ? g_uri_get_host(parsed) : NULL;
    const char *query = parsed ? g_uri_get_query(parsed) : NULL;

    if (host_sockets(uri) != SOCKETS_BY_SSH || !host || !*host || !g_path_is_absolute(path)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "ssh does not lead to its display");
        return NULL;
    }
    g_autoptr(GHashTable) options =
        g_uri_parse_params(query ? query : "", -1, "&;", G_URI_PARAMS_NONE, NULL);
    const char *no_verify = options ? g_hash_table_lookup(options, "no_verify") : NULL;
    GPtrArray *out = g_ptr_array_new();
    add_all(out, begin);
    if (g_uri_get_port(parsed) > 0) {
        g_autofree char *port = g_strdup_printf("%d", g_uri_get_port(parsed));
        add_pair(out, "-p", port);
    }
    add_pair(out, "-l", g_uri_get_user(parsed));
    add_pair(out, "-i", options ? g_hash_table_lookup(options, "keyfile") : NULL);
    if (no_verify && strtol(no_verify, NULL, 10) != 0)
        add_pair(out, "-o", "StrictHostKeyChecking=no");
    add_pair(out, "--", host);
    g_ptr_array_add(out, remote_command(path));
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, FALSE);
}

/* ---- The child ---- */

static gboolean spawn(SshSocket *s, char **argv, int fd, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "LC_ALL", "C", TRUE);

    if (g_spawn_async_with_pipes_and_fds(
            "/", (const char *const *)argv, (const char *const *)environment,
            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH, NULL, NULL, fd, fd, -1, NULL, NULL, 0,
            &s->pid, NULL, NULL, &s->err, &local)) {
        fcntl(s->err, F_SETFD, FD_CLOEXEC);
        fcntl(s->err, F_SETFL, O_NONBLOCK);
        return TRUE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot start ssh: %s",
                local->message);
    imaged_error_hint(error, "it is in the Debian package openssh-client");
    return FALSE;
}

static gboolean has_ended(SshSocket *s)
{
    if (s->pid && waitpid(s->pid, NULL, WNOHANG) != 0)
        s->pid = 0;
    return !s->pid;
}

/* FALSE: not by itself within this time. */
static gboolean wait_for_end(SshSocket *s, gint64 limit_ms)
{
    gint64 end_us = g_get_monotonic_time() + limit_ms * 1000;

    while (!has_ended(s)) {
        if (g_get_monotonic_time() > end_us)
            return FALSE;
        g_usleep(END_STEP_MS * 1000);
    }
    return TRUE;
}

/* Asked first: then it ends a command of its own that it goes through (ProxyCommand), too. */
static void end_child(SshSocket *s)
{
    if (has_ended(s))
        return;
    kill(s->pid, SIGTERM);
    if (wait_for_end(s, END_MS))
        return;
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    s->pid = 0;
}

void ssh_socket_free(SshSocket *s)
{
    end_child(s);
    durable_close(&s->err);
    g_free(s);
}

/* ---- What it complains of ---- */

/* The last line is the cause: before it there are warnings. */
static char *last_line(const SshSocket *s)
{
    char text[MAX_WORDS + 1];
    gssize n = read(s->err, text, MAX_WORDS);
    const char *found = "it says nothing";

    text[MAX(n, 0)] = '\0';
    g_auto(GStrv) lines = g_strsplit_set(text, "\r\n", -1);
    for (guint i = 0; lines[i]; i++)
        found = *lines[i] ? lines[i] : found;
    return text_for_message(found, 200);
}

static void set_complaint(const SshSocket *s, GError **error)
{
    static const struct {
        const char *says, *hint;
        int code;
    } known[] = {
        { "Permission denied (", "imaged's own user needs a key there, as for libvirt",
          IMAGED_ERROR_UNAVAILABLE },
        { "Permission denied",
          "the log-in of the host's address must be root's there, or one of QEMU's group"
          " (libvirt-qemu)",
          IMAGED_ERROR_DENIED },
        { "not found", "nc is missing there: the package netcat-openbsd",
          IMAGED_ERROR_UNAVAILABLE },
        { "invalid option", "nc there knows no unix sockets: the package netcat-openbsd does",
          IMAGED_ERROR_UNAVAILABLE },
    };
    g_autofree char *words = last_line(s);

    for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
        if (!strstr(words, known[i].says))
            continue;
        g_set_error(error, IMAGED_ERROR, known[i].code, "no way to its display by ssh: %s", words);
        imaged_error_hint(error, "%s", known[i].hint);
        return;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no way to its display by ssh: %s",
                words);
}

/* ---- Opening ---- */

/* Until the server has said something. */
static gboolean wait_for_words(SshSocket *s, int fd, SshSocketGoesOn goes_on, gpointer user,
                               GError **error)
{
    gint64 end_us = g_get_monotonic_time() + OPEN_S * G_USEC_PER_SEC;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char c;

    while (goes_on(user)) {
        if (poll(&p, 1, STEP_MS) > 0) {
            if (recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
                return TRUE;
            wait_for_end(s, END_MS); /* until it has said why */
            set_complaint(s, error);
            return FALSE;
        }
        if (g_get_monotonic_time() > end_us) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "no way to its display by ssh: no answer within %d seconds", OPEN_S);
            return FALSE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "nobody wants it any more");
    return FALSE;
}

SshSocket *ssh_socket_open(const char *uri, const char *path, SshSocketGoesOn goes_on,
                           gpointer user, int *ret_fd, GError **error)
{
    g_auto(GStrv) argv = ssh_socket_command(uri, path, error);
    g_autoptr(SshSocket) s = g_new0(SshSocket, 1);
    int pair[2] = { -1, -1 };

    s->err = -1;
    if (!argv)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        imaged_error_set_errno(error, errno, "cannot make a socket");
        return NULL;
    }
    auto_fd ours = pair[0];
    auto_fd its = pair[1];
    gboolean ok = spawn(s, argv, its, error);
    durable_close(&its);
    if (!ok || !wait_for_words(s, ours, goes_on, user, error))
        return NULL;
    *ret_fd = ours;
    ours = -1;
    return g_steal_pointer(&s);
}
