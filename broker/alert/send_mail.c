/* send_mail.c: see send.h.  The mail is an unnamed file, so that a program that does not read never
 * blocks us.  It leads a process group of its own, which is killed as a whole when its time is up;
 * one that has ended may have left a queue runner behind, which is left alone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/alert/send.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define LOOK_MS 200
#define SAID_MAX 4096

typedef struct {
    pid_t pid;
    int pidfd, out;
    char said[SAID_MAX + 1];
    gsize n_said;
} Child;

/* A file that only we have. */
static int file_of(const char *mail, GError **error)
{
    auto_fd fd = memfd_create("mail", MFD_CLOEXEC);
    gsize len = strlen(mail), done = 0;

    while (fd >= 0 && done < len) {
        gssize n = write(fd, mail + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (gsize)n;
    }
    if (fd < 0 || done < len || lseek(fd, 0, SEEK_SET) < 0) {
        imaged_error_set_errno(error, errno, "cannot keep the mail in memory");
        return -1;
    }
    return g_steal_fd(&fd);
}

/* In the child, between fork and exec. */
static void set_up(gpointer unused)
{
    setpgid(0, 0);
    umask(077);
    dup2(STDOUT_FILENO, STDERR_FILENO);
}

static gboolean start(Child *c, const char *program, int mail, GError **error)
{
    const char *argv[] = { program, "-t", "-i", NULL };
    const char *env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL };
    GError *local = NULL;

    if (!g_spawn_async_with_pipes_and_fds("/", argv, env, G_SPAWN_DO_NOT_REAP_CHILD, set_up, NULL,
                                          mail, -1, -1, NULL, NULL, 0, &c->pid, NULL, &c->out, NULL,
                                          &local)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "%s can't be started: %s",
                    program, local->message);
        imaged_error_hint(error, "the program is 'sendmail' in imaged.conf");
        g_error_free(local);
        return FALSE;
    }
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    fcntl(c->out, F_SETFL, O_NONBLOCK);
    fcntl(c->out, F_SETFD, FD_CLOEXEC);
    return TRUE;
}

/* FALSE when nothing more can come. */
static gboolean drain(Child *c)
{
    char bytes[1024];
    gssize n;

    while ((n = read(c->out, bytes, sizeof bytes)) > 0) {
        gsize kept = MIN((gsize)n, SAID_MAX - c->n_said);
        memcpy(c->said + c->n_said, bytes, kept);
        c->n_said += kept;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Has it ended, in time? */
static gboolean watch(Child *c, const SendLimits *limits)
{
    gint64 until = g_get_monotonic_time() + limits->limit_ms * 1000;
    gboolean is_open = TRUE;

    while (!g_atomic_int_get(limits->is_ended) && g_get_monotonic_time() < until) {
        struct pollfd polled[2] = { { c->pidfd, POLLIN, 0 }, { is_open ? c->out : -1, POLLIN, 0 } };
        if (poll(polled, 2, LOOK_MS) < 0)
            continue;
        if (polled[1].revents)
            is_open = drain(c);
        if (polled[0].revents)
            return TRUE;
    }
    return FALSE;
}

static gboolean judge(Child *c, gboolean has_ended, int status, const SendLimits *limits,
                      GError **error)
{
    g_autofree char *valid = g_utf8_make_valid(c->said, (gssize)c->n_said);
    g_autofree char *said = text_for_message(g_strstrip(valid), 200);
    const char *colon = *valid ? ": " : "";

    if (has_ended && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TRUE;
    if (g_atomic_int_get(limits->is_ended))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    else if (!has_ended)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "sendmail did not take it within %d s", (int)(limits->limit_ms / 1000));
    else if (WIFEXITED(status))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "sendmail ended with exit code %d%s%s", WEXITSTATUS(status), colon,
                    *valid ? said : "");
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "sendmail ended by signal %d",
                    WTERMSIG(status));
    return FALSE;
}

gboolean send_mail(const char *program, const char *mail, const SendLimits *limits, GError **error)
{
    g_autofree Child *c = g_new0(Child, 1);
    auto_fd fd = file_of(mail, error);
    int status = 0;

    if (fd < 0 || !start(c, program, fd, error))
        return FALSE;
    gboolean has_ended = c->pidfd >= 0 && watch(c, limits);
    if (!has_ended) {
        kill(-c->pid, SIGKILL); /* not reaped yet, so the group is still its own */
        kill(c->pid, SIGKILL);
    }
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    drain(c);
    gboolean ok = judge(c, has_ended, status, limits, error);
    durable_close(&c->pidfd);
    durable_close(&c->out);
    return ok;
}
