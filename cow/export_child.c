/* export_child.c: starting servers, watching them, ending them.
 *
 * Between fork and exec the child asks the kernel for a signal when its parent's thread ends
 * (PR_SET_PDEATHSIG), and writes its own number into LISTEN_PID, which socket activation wants.
 * Ready is one byte on a socket pair: of our plugin once it has locked itself in, of
 * qemu-storage-daemon the greeting of its monitor, which stands behind the export on its command
 * line.  Connections are counted from outside, as the sockets among its descriptors. */
#include "cow/export_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cow/export_command.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/last_words.h"

#define PID_DIGITS "0000000000"

struct ExportChild {
    gboolean is_read_write;
    pid_t pid;  /* 0 once reaped */
    int status; /* of waitpid(); -1 before that */
    int pidfd, ready_fd, stderr_fd;
    guint n_own_sockets;
    GString *words; /* the last it said */
};

/* ---- Starting ---- */

typedef struct {
    pid_t parent;
    char *listen_pid; /* digits in its environment, to be filled in */
    int death_signal;
} Setup;

/* In the child, between fork and exec: async-signal-safe calls only. */
static void set_up(gpointer data)
{
    const Setup *s = data;
    const struct rlimit none = { 0, 0 };
    pid_t pid = getpid();
    gsize n = 0;

    /* Without leading zeros, which nbdkit would take for an octal number. */
    for (pid_t rest = pid; rest; rest /= 10)
        n++;
    s->listen_pid[n] = '\0';
    for (; pid; pid /= 10)
        s->listen_pid[--n] = (char)('0' + pid % 10);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &none);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_PDEATHSIG, s->death_signal) < 0 || getppid() != s->parent)
        _exit(127);
}

static gboolean spawn(ExportChild *child, ExportCommand *command, int ready_fd, GError **error)
{
    g_autofree char *listen_pid = g_strdup("LISTEN_PID=" PID_DIGITS);
    g_autofree char *path = g_strconcat("PATH=", g_getenv("PATH"), NULL);
    /* A writer is asked to end, so that it flushes; a reader has nothing to lose. */
    Setup setup = { getpid(), listen_pid + strlen("LISTEN_PID="),
                    child->is_read_write ? SIGTERM : SIGKILL };
    char *environment[] = { path,       (char *)"LC_ALL=C", (char *)"LISTEN_FDS=1",
                            listen_pid, command->preload,   NULL };
    GError *local = NULL;

    export_command_set_ready(command, ready_fd);
    if (g_spawn_async_with_pipes_and_fds(
            "/", (const char *const *)command->argv->pdata, (const char *const *)environment,
            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH_FROM_ENVP | G_SPAWN_STDOUT_TO_DEV_NULL,
            set_up, &setup, -1, -1, -1, (const int *)command->sources->data,
            (const int *)command->targets->data, command->sources->len, &child->pid, NULL, NULL,
            &child->stderr_fd, &local))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot start %s: %s",
                (char *)command->argv->pdata[0], local->message);
    imaged_error_hint(error, "it is in the Debian package %s",
                      child->is_read_write ? "qemu-system-common" : "nbdkit");
    g_error_free(local);
    return FALSE;
}

ExportChild *export_child_start(const ExportChildSpec *spec, GError **error)
{
    g_autoptr(ExportChild) child = g_new0(ExportChild, 1);
    g_autoptr(ExportCommand) command = export_command_new(spec, error);
    int pair[2];

    child->pidfd = child->ready_fd = child->stderr_fd = child->status = -1;
    child->is_read_write = spec->is_read_write;
    child->n_own_sockets = spec->is_read_write ? 2 : 1; /* listening; QEMU's monitor */
    child->words = g_string_new(NULL);
    if (!command)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        imaged_error_set_errno(error, errno, "cannot start a server");
        return NULL;
    }
    child->ready_fd = pair[0];
    gboolean ok = spawn(child, command, pair[1], error);
    close(pair[1]);
    if (!ok)
        return NULL;
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    fcntl(child->stderr_fd, F_SETFL, O_NONBLOCK);
    fcntl(child->stderr_fd, F_SETFD, FD_CLOEXEC);
    if (child->pidfd >= 0)
        return g_steal_pointer(&child);
    imaged_error_set_errno(error, errno, "cannot watch a server");
    return NULL;
}

static void set_complaint(ExportChild *child, GError **error)
{
    export_child_drain(child);
    const char *words = export_child_last_words(child);
    gboolean is_lock = child->is_read_write && strstr(child->words->str, "\" lock") != NULL;

    g_set_error(error, IMAGED_ERROR, is_lock ? IMAGED_ERROR_BUSY : IMAGED_ERROR_FAILED,
                is_lock ? "the disk is in use by QEMU" : "the server did not start: %s",
                *words ? words : "it gave no reason");
    if (is_lock)
        imaged_error_hint(error, "shut the desktop down first");
}

gboolean export_child_wait_ready(ExportChild *child, gint64 limit_ms, GError **error)
{
    gint64 end = g_get_monotonic_time() + limit_ms * 1000;
    char byte;

    for (;;) {
        struct pollfd fds[] = { { child->ready_fd, POLLIN, 0 }, { child->stderr_fd, POLLIN, 0 } };
        gint64 left_ms = (end - g_get_monotonic_time()) / 1000;
        int n = poll(fds, G_N_ELEMENTS(fds), (int)CLAMP(left_ms, 0, 1000));
        if (fds[1].revents & POLLIN)
            export_child_drain(child);
        if (n > 0 && fds[0].revents) {
            if (recv(child->ready_fd, &byte, 1, 0) == 1)
                return TRUE;
            set_complaint(child, error);
            return FALSE;
        }
        if (left_ms <= 0) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "the server was not ready within %d s", (int)(limit_ms / 1000));
            return FALSE;
        }
    }
}

/* ---- Watching ---- */

pid_t export_child_pid(const ExportChild *child)
{
    return child->pid;
}

int export_child_pidfd(const ExportChild *child)
{
    return child->pidfd;
}

int export_child_stderr(const ExportChild *child)
{
    return child->stderr_fd;
}

void export_child_drain(ExportChild *child)
{
    last_words_read(&child->stderr_fd, child->words);
}

const char *export_child_last_words(const ExportChild *child)
{
    char *text = child->words->str;

    while (child->words->len && g_ascii_isspace(text[child->words->len - 1]))
        g_string_truncate(child->words, child->words->len - 1);
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    return g_str_has_prefix(line, "nbdkit: error: ") ? line + strlen("nbdkit: error: ") : line;
}

static void reap(ExportChild *child, int options)
{
    int status;

    if (child->pid && waitpid(child->pid, &status, options) == child->pid) {
        child->pid = 0;
        child->status = status;
    }
}

gboolean export_child_is_writer(const ExportChild *child)
{
    return child->is_read_write;
}

gboolean export_child_ended_well(const ExportChild *child)
{
    return !child->pid && WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0;
}

gboolean export_child_has_ended(ExportChild *child)
{
    reap(child, WNOHANG);
    return child->pid == 0;
}

/* How often its main thread went to sleep: accepting a connection wakes it. */
static gboolean main_thread_sleeps(pid_t pid, guint64 *ret)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    static const char key[] = "\nvoluntary_ctxt_switches:";

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    const char *at = strstr(text, key);
    *ret = at ? g_ascii_strtoull(at + strlen(key), NULL, 10) : 0;
    return at != NULL;
}

gboolean export_child_activity(const ExportChild *child, guint *ret_n_clients, guint64 *ret_stamp)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", child->pid);
    g_autoptr(GDir) dir = child->pid ? g_dir_open(path, 0, NULL) : NULL;
    const char *name;
    guint n = 0;

    if (!dir || !main_thread_sleeps(child->pid, ret_stamp))
        return FALSE;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *full = g_build_filename(path, name, NULL);
        char target[32];
        ssize_t len = readlink(full, target, sizeof target);
        n += len > 7 && memcmp(target, "socket:", 7) == 0;
    }
    *ret_n_clients = n > child->n_own_sockets ? n - child->n_own_sockets : 0;
    return TRUE;
}

/* ---- Ending ---- */

static gboolean wait_for_end(int pidfd, gint64 limit_ms)
{
    struct pollfd fd = { pidfd, POLLIN, 0 };
    gint64 end = g_get_monotonic_time() + limit_ms * 1000;

    for (;;) {
        gint64 left_ms = (end - g_get_monotonic_time()) / 1000;
        int n = poll(&fd, 1, (int)CLAMP(left_ms, 0, G_MAXINT));
        if (n > 0)
            return TRUE;
        if (left_ms <= 0 && n == 0)
            return FALSE;
    }
}

void export_child_ask(ExportChild *child)
{
    if (child->pid)
        kill(child->pid, SIGTERM); /* not reaped, so the number is still its */
}

void export_child_stop(ExportChild *child, gint64 limit_ms)
{
    if (!child->pid)
        return;
    export_child_ask(child);
    if (!wait_for_end(child->pidfd, limit_ms))
        kill(child->pid, SIGKILL);
    reap(child, 0);
}

void export_child_free(ExportChild *child)
{
    if (!child)
        return;
    if (child->pid) {
        kill(child->pid, SIGKILL);
        reap(child, 0);
    }
    durable_close(&child->pidfd);
    durable_close(&child->ready_fd);
    durable_close(&child->stderr_fd);
    if (child->words)
        g_string_free(child->words, TRUE);
    g_free(child);
}

/* ---- Left behind ---- */

char *export_child_mark(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *boot = NULL;
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL) ||
        !g_file_get_contents(path, &text, NULL, NULL))
        return NULL;
    /* The name may hold blanks and brackets; what follows the last bracket are fields 3 and on. */
    const char *rest = strrchr(text, ')');
    g_auto(GStrv) fields = g_strsplit(rest ? rest + 2 : "", " ", -1);
    if (g_strv_length(fields) < 20 || g_str_equal(fields[0], "Z"))
        return NULL;
    return g_strdup_printf("%d %s %s", pid, fields[19], g_strchomp(boot));
}

gboolean export_child_end_marked(const char *mark, gint64 limit_ms, GError **error)
{
    pid_t pid = (pid_t)g_ascii_strtoll(mark, NULL, 10);
    auto_fd pidfd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    g_autofree char *now = pidfd >= 0 ? export_child_mark(pid) : NULL;

    /* Looked at after the descriptor was taken, which stays with this process. */
    if (g_strcmp0(now, mark) != 0)
        return TRUE;
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    if (wait_for_end(pidfd, limit_ms))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "the server of a former run (process %d) does not end", pid);
    return FALSE;
}
