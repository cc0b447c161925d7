/* in_root.c: the child's error comes through a pipe, as "CODE MESSAGE". */
#include "imaged/guest/helper/in_root.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define MAX_WORDS 32768 /* fits a pipe, so the child never waits for its reader */

static void send_error(int fd, const GError *error)
{
    int code = error->domain == IMAGED_ERROR ? error->code : IMAGED_ERROR_FAILED;
    g_autofree char *text = g_strdup_printf("%d %.*s", code, MAX_WORDS, error->message);

    if (write(fd, text, strlen(text)) < 0)
        _exit(3);
}

static void take_error(const char *text, GError **error)
{
    const char *space = strchr(text, ' ');
    gint64 code = g_ascii_strtoll(text, NULL, 10);
    g_autofree char *words = g_utf8_make_valid(space ? space + 1 : text, -1);

    if (code < 0 || code >= IMAGED_N_ERRORS)
        code = IMAGED_ERROR_FAILED;
    g_set_error_literal(error, IMAGED_ERROR, (gint)code, words);
}

static G_GNUC_NORETURN void run_child(const char *root, int answer,
                                      gboolean (*run)(gpointer data, GError **error), gpointer data)
{
    g_autoptr(GError) error = NULL;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chroot(root) < 0 || chdir("/") < 0)
        imaged_error_set_errno(&error, errno, "cannot enter '%s'", root);
    else if (run(data, &error))
        _exit(0);
    send_error(answer, error);
    _exit(1);
}

gboolean in_root(const char *root, gboolean (*run)(gpointer data, GError **error), gpointer data,
                 GError **error)
{
    g_autofree char *text = g_malloc0(MAX_WORDS + 64);
    int answer[2], status = 0;
    gsize n = 0;
    ssize_t got;

    if (pipe2(answer, O_CLOEXEC) < 0) {
        imaged_error_set_errno(error, errno, "cannot start a step of the build");
        return FALSE;
    }
    pid_t pid = fork();
    if (pid == 0)
        run_child(root, answer[1], run, data);
    durable_close(&answer[1]);
    while (pid > 0 && n < MAX_WORDS + 32 &&
           (got = read(answer[0], text + n, MAX_WORDS + 32 - n)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        n += (gsize)MAX(got, 0);
    }
    durable_close(&answer[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TRUE;
    if (n)
        take_error(text, error);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                    "a step of the build ended unexpectedly (status 0x%x)", status);
    return FALSE;
}
