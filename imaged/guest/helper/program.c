/* program.c: see program.h. */
#include "imaged/guest/helper/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define LAST_LINES 12
#define MAX_LINE 2000
#define MAX_OUTPUT (64u << 20)
#define REST_US G_USEC_PER_SEC /* for what is still in the pipes once it has ended */

static const char *const fixed_environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL=C.UTF-8",
    "HOME=/root",
    "TERM=dumb",
    "DEBIAN_FRONTEND=noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN=true",
    "DEBCONF_NOWARNINGS=yes",
};

typedef struct {
    const Program *program;
    pid_t pid;
    int out, err;     /* reading ends, -1 once at their end */
    GString *partial; /* of a line */
    GString *output;
    GQueue last; /* char *: the last lines */
} Running;

/* In the child; async-signal-safe but for execvpe(). */
static void become(const Program *p, int in, int out, int err, char *const *environment)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    if (p->root && (chroot(p->root) < 0 || chdir("/") < 0))
        _exit(126);
    setsid();
    execvpe(p->argv[0], (char *const *)p->argv, environment);
    _exit(errno == ENOENT ? 127 : 126);
}

static char **make_environment(const Program *p)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (guint i = 0; i < G_N_ELEMENTS(fixed_environment); i++)
        g_ptr_array_add(all, g_strdup(fixed_environment[i]));
    for (const char *const *e = p->environment; e && *e; e++)
        g_ptr_array_add(all, g_strdup(*e));
    g_ptr_array_add(all, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&all), FALSE);
}

/* What it reads, maybe nothing: a file in memory, since where it runs there may be no /dev/null. */
static int make_input(const char *text, GError **error)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot give a program its input");
        return -1;
    }
    if (text && !durable_write(fd, text, strlen(text), 0, error))
        durable_close(&fd);
    return fd;
}

static gboolean start(Running *r, GError **error)
{
    g_auto(GStrv) environment = make_environment(r->program);
    auto_fd in = make_input(r->program->input, error);
    int out[2] = { -1, -1 }, err[2] = { -1, -1 };
    gboolean has_both = r->program->ret_output != NULL;

    if (in < 0)
        return FALSE;
    if (pipe2(err, O_CLOEXEC) < 0 || (has_both && pipe2(out, O_CLOEXEC) < 0) ||
        (r->pid = fork()) < 0) {
        imaged_error_set_errno(error, errno, "cannot start '%s'", r->program->argv[0]);
        r->pid = 0;
    } else if (r->pid == 0) {
        become(r->program, in, has_both ? out[1] : err[1], err[1], environment);
    }
    durable_close(&err[1]);
    durable_close(&out[1]);
    r->err = err[0];
    r->out = out[0];
    return r->pid > 0;
}

static void take_line(Running *r)
{
    g_autofree char *line = g_utf8_make_valid(r->partial->str, (gssize)r->partial->len);

    g_string_truncate(r->partial, 0);
    g_strdelimit(line, "\t", ' ');
    for (char *c = line; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = '?';
    }
    g_strchomp(line);
    if (r->program->line)
        r->program->line(line, r->program->data);
    if (*line)
        g_queue_push_tail(&r->last, g_steal_pointer(&line));
    if (g_queue_get_length(&r->last) > LAST_LINES)
        g_free(g_queue_pop_head(&r->last));
}

/* A carriage return begins a line anew (progress bars). */
static void take_text(Running *r, const char *text, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        if (text[i] == '\n' || text[i] == '\r' || r->partial->len >= MAX_LINE) {
            if (text[i] == '\n' || r->partial->len)
                take_line(r);
        }
        if (text[i] != '\n' && text[i] != '\r')
            g_string_append_c(r->partial, text[i]);
    }
}

static void take(Running *r, int *fd)
{
    char text[16384];
    ssize_t n = read(*fd, text, sizeof text);

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0)
        durable_close(fd);
    else if (fd == &r->err)
        take_text(r, text, (gsize)n);
    else if (r->output->len + (gsize)n <= MAX_OUTPUT)
        g_string_append_len(r->output, text, n);
}

/* Until it has ended: a service that it left behind may hold its output for ever, and print. */
static int listen_until_end(Running *r)
{
    int status = 0;
    gint64 end_us = G_MAXINT64;
    gboolean has_ended = FALSE;

    while (!has_ended || r->err >= 0 || r->out >= 0) {
        struct pollfd fds[] = { { r->err, POLLIN, 0 }, { r->out, POLLIN, 0 } };
        int n = poll(fds, G_N_ELEMENTS(fds), has_ended ? 0 : 50);
        if (n > 0 && fds[0].revents)
            take(r, &r->err);
        if (n > 0 && fds[1].revents)
            take(r, &r->out);
        if (has_ended && (n == 0 || g_get_monotonic_time() > end_us))
            break;
        if (!has_ended && waitpid(r->pid, &status, WNOHANG) == r->pid) {
            has_ended = TRUE;
            end_us = g_get_monotonic_time() + REST_US;
        }
    }
    if (r->partial->len)
        take_line(r);
    return status;
}

static void explain(const Running *r, int status, GError **error)
{
    const char *name = r->program->argv[0];
    g_autoptr(GString) words = g_string_new(NULL);

    if (WIFSIGNALED(status))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "'%s' was ended by signal %d", name,
                    WTERMSIG(status));
    else if (WEXITSTATUS(status) == 127 && g_queue_is_empty((GQueue *)&r->last))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "there is no program '%s'",
                    name);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "'%s' ended with exit code %d", name,
                    WEXITSTATUS(status));
    for (const GList *l = r->last.head; l; l = l->next)
        g_string_append_printf(words, "%s%s", words->len ? " | " : "", (const char *)l->data);
    if (words->len)
        imaged_error_hint(error, "it said: %s", words->str);
}

gboolean program_run(const Program *program, GError **error)
{
    Running r = { .program = program,
                  .out = -1,
                  .err = -1,
                  .partial = g_string_new(NULL),
                  .output = g_string_new(NULL) };
    int status = 0;
    gboolean ok = start(&r, error);

    if (ok) {
        status = listen_until_end(&r);
        ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!ok)
            explain(&r, status, error);
    }
    durable_close(&r.out);
    durable_close(&r.err);
    if (program->ret_output)
        *program->ret_output = g_strdup(r.output->str);
    g_queue_clear_full(&r.last, g_free);
    g_string_free(r.partial, TRUE);
    g_string_free(r.output, TRUE);
    return ok;
}

gboolean program_run_args(const Program *like, GError **error, const char *argv0, ...)
{
    Program program = like ? *like : (Program){ 0 };
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    va_list args;

    va_start(args, argv0);
    for (const char *arg = argv0; arg; arg = va_arg(args, const char *))
        g_ptr_array_add(argv, (char *)arg);
    va_end(args);
    g_ptr_array_add(argv, NULL);
    program.argv = (const char *const *)argv->pdata;
    return program_run(&program, error);
}
