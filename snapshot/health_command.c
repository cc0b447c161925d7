/* health_command.c: see health_command.h.  The file is checked and run by its descriptor, so what
 * was checked is what runs, and the folders above need not be open to the unprivileged user.  The
 * child leads a process group of its own, which is killed as a whole at the end, and it dies with
 * the thread that started it. */
#include "snapshot/health_command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define COMMAND_FD 3
#define LOOK_MS 200     /* how often cancel is looked at */
#define WORDS_MAX 16384 /* bytes of output that are kept */
#define LINES_SHOWN 5
#define SHOWN_MAX 600 /* characters of a message */

/* May others than root and we change it? */
static gboolean is_ours(const struct stat *st)
{
    return (st->st_uid == 0 || st->st_uid == geteuid()) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static gboolean check_file(int fd, const char *dir, const char *name, GError **error)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "health command '%s'", name);
        return FALSE;
    }
    if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "health command '%s' is not an executable file", name);
        return FALSE;
    }
    if (is_ours(&st))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "health command '%s' could be changed by others", name);
    imaged_error_hint(error, "give it to root, with: chown root %s/%s; chmod go-w %s/%s", dir, name,
                      dir, name);
    return FALSE;
}

int health_command_open(const char *dir, const char *name, GError **error)
{
    struct stat st;

    if (!name_check("health command", name, NULL)) {
        g_autofree char *shown = text_for_message(name, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'%s' is no health command: it is named without a path and without arguments",
                    shown);
        imaged_error_hint(error, "commands lie in %s, where an administrator puts them", dir);
        return -1;
    }
    auto_fd folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto_fd fd = folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        int err = errno;
        imaged_error_set_errno(error, err, "there is no health command '%s' in %s", name, dir);
        imaged_error_hint(error,
                          "an administrator puts executables there; the folder is 'health_commands'"
                          " in imaged.conf");
        return -1;
    }
    if (fstat(folder, &st) < 0 || !is_ours(&st)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "the folder of health commands, %s, could be changed by others", dir);
        imaged_error_hint(error, "give it to root, with: chown root %s; chmod go-w %s", dir, dir);
        return -1;
    }
    return check_file(fd, dir, name, error) ? g_steal_fd(&fd) : -1;
}

/* ---- the child ---- */

typedef struct {
    pid_t parent;
    HealthUser user;
} Setup;

/* In the child, between fork and exec: async-signal-safe calls only. */
static void set_up(gpointer data)
{
    const Setup *s = data;
    const struct rlimit none = { 0, 0 };

    setpgid(0, 0);
    umask(077);
    dup2(STDOUT_FILENO, STDERR_FILENO);
    setrlimit(RLIMIT_CORE, &none);
    if (s->user.drops &&
        (setgroups(0, NULL) < 0 || setgid(s->user.gid) < 0 || setuid(s->user.uid) < 0))
        _exit(127);
    /* behind setuid(), which clears it */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
        getppid() != s->parent)
        _exit(127);
}

typedef struct {
    const HealthCommand *command;
    pid_t pid;
    int pidfd, out;
    GString *words;
} Child;

gboolean health_command_user(const char *name, HealthUser *ret, GError **error)
{
    char buffer[16384];
    struct passwd entry, *found = NULL;

    *ret = (HealthUser){ .drops = geteuid() == 0 };
    if (!ret->drops && g_str_equal(name, HEALTH_USER_SELF))
        return TRUE;
    if (!ret->drops) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "imaged is not root, so a health command would have all the rights of imaged");
        imaged_error_hint(error, "if it may have them: health_user = " HEALTH_USER_SELF
                                 " in imaged.conf");
        return FALSE;
    }
    int err = getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (!found || entry.pw_uid == 0) { /* "self" is nobody here */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "health commands can't run as user '%s': %s", name,
                    found ? "that is root"
                    : err ? g_strerror(err)
                          : "there is no such user");
        imaged_error_hint(error, "the user is 'health_user' in imaged.conf");
        return FALSE;
    }
    ret->uid = entry.pw_uid;
    ret->gid = entry.pw_gid;
    return TRUE;
}

static gboolean start(Child *c, GError **error)
{
    static const char path[] = "/proc/self/fd/" G_STRINGIFY(COMMAND_FD);
    const char *argv[] = { path, c->command->name, NULL };
    int target = COMMAND_FD;
    Setup setup = { .parent = getpid() };
    GError *local = NULL;

    if (!health_command_user(c->command->user, &setup.user, error))
        return FALSE;
    if (!g_spawn_async_with_pipes_and_fds("/", argv, c->command->environment,
                                          G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_FILE_AND_ARGV_ZERO,
                                          set_up, &setup, -1, -1, -1, &c->command->fd, &target, 1,
                                          &c->pid, NULL, &c->out, NULL, &local)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "it can't be started: %s",
                    local->message);
        g_error_free(local);
        return FALSE;
    }
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    fcntl(c->out, F_SETFL, O_NONBLOCK);
    fcntl(c->out, F_SETFD, FD_CLOEXEC);
    return TRUE;
}

/* Take what it said; FALSE when nothing more can come. */
static gboolean drain(Child *c)
{
    char bytes[4096];
    gssize n;

    while ((n = read(c->out, bytes, sizeof bytes)) > 0) {
        g_string_append_len(c->words, bytes, n);
        if (c->words->len > 2 * WORDS_MAX)
            g_string_erase(c->words, 0, (gssize)(c->words->len - WORDS_MAX));
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Its last lines, on one line.  Caller frees. */
static char *last_words(const Child *c)
{
    g_autofree char *text = g_utf8_make_valid(c->words->str, (gssize)c->words->len);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    guint n = g_strv_length(lines);
    g_autofree char *joined = g_strjoinv(" | ", lines + (n > LINES_SHOWN ? n - LINES_SHOWN : 0));

    return text_for_message(joined, SHOWN_MAX);
}

/* Wait for its end; FALSE if its time is up or it was cancelled. */
static gboolean watch(Child *c)
{
    gint64 until = g_get_monotonic_time() + c->command->limit_ms * 1000;
    gboolean is_open = TRUE;

    for (;;) {
        struct pollfd polled[2] = { { c->pidfd, POLLIN, 0 }, { is_open ? c->out : -1, POLLIN, 0 } };
        gint64 left = (until - g_get_monotonic_time()) / 1000;
        if (c->command->cancel && g_atomic_int_get(c->command->cancel))
            return FALSE;
        if (left <= 0)
            return FALSE;
        if (poll(polled, 2, (int)MIN(left + 1, LOOK_MS)) < 0)
            continue;
        if (polled[1].revents)
            is_open = drain(c);
        if (polled[0].revents)
            return TRUE;
    }
}

static gboolean judge(Child *c, gboolean has_ended, int status, GError **error)
{
    g_autofree char *words = last_words(c);
    g_autofree char *how = NULL;

    if (has_ended && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TRUE;
    if (!has_ended && c->command->cancel && g_atomic_int_get(c->command->cancel)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (!has_ended)
        how = g_strdup_printf("no answer within %.3g s", (gdouble)c->command->limit_ms / 1000);
    else if (WIFEXITED(status))
        how = g_strdup_printf("exit code %d", WEXITSTATUS(status));
    else
        how = g_strdup_printf("ended by signal %d", WTERMSIG(status));
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "%s%s%s", how, *words ? ": " : "", words);
    return FALSE;
}

gboolean health_command_run(const HealthCommand *command, GError **error)
{
    Child c = { .command = command, .pidfd = -1, .out = -1 };
    int status = 0;

    if (!start(&c, error))
        return FALSE;
    c.words = g_string_new(NULL);
    gboolean has_ended = c.pidfd >= 0 && watch(&c);
    kill(-c.pid, SIGKILL); /* it is not reaped yet, so the group is still its own */
    kill(c.pid, SIGKILL);
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
        ;
    drain(&c);
    gboolean ok = judge(&c, has_ended, status, error);
    g_string_free(c.words, TRUE);
    durable_close(&c.pidfd);
    durable_close(&c.out);
    return ok;
}
