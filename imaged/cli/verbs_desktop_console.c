/* verbs_desktop_console.c: imagectl desktop console: a terminal on a desktop's serial line. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/interrupt.h"
#include "imaged/cli/verbs_desktop.h"

#define ESCAPE 0x1d /* Ctrl-] */
#define LOOK_MS 1000

const Option desktop_console_options[] = {
    { "force", OPTION_FLAG, NULL, "take it from who has it", NULL },
    OPTION_END,
};

static gboolean write_all(const char *bytes, gsize n)
{
    while (n) {
        ssize_t done = write(STDOUT_FILENO, bytes, n);
        if (done < 0 && errno != EINTR)
            return FALSE;
        bytes += done > 0 ? done : 0;
        n -= done > 0 ? (gsize)done : 0;
    }
    return TRUE;
}

/* All that has come.  FALSE: the console has ended. */
static gboolean show(ClientPipe *pipe)
{
    char buffer[16384];
    gssize n;

    while ((n = client_pipe_read(pipe, buffer, sizeof buffer)) > 0) {
        if (!write_all(buffer, (gsize)n))
            return FALSE;
    }
    return n < 0;
}

/* FALSE: the user wants to go (*ret_lost: or cannot be heard). */
static gboolean type(ClientPipe *pipe, gboolean is_terminal, gboolean *ret_lost)
{
    char buffer[4096];
    ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    const char *escape = n > 0 && is_terminal ? memchr(buffer, ESCAPE, (gsize)n) : NULL;

    if (escape)
        n = escape - buffer;
    if (n > 0 && !client_pipe_write(pipe, buffer, (gsize)n))
        *ret_lost = TRUE;
    return !escape && !*ret_lost && (n > 0 || (n < 0 && errno == EINTR));
}

/* TRUE: by the user's own will. */
static gboolean talk(ClientPipe *pipe, gboolean is_terminal)
{
    gboolean is_lost = FALSE;

    for (;;) {
        struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
                                { .fd = client_pipe_fd(pipe), .events = POLLIN } };
        if (!show(pipe))
            return FALSE;
        if (interrupt_seen())
            return TRUE;
        if (poll(fds, G_N_ELEMENTS(fds), LOOK_MS) < 0 && errno != EINTR)
            return FALSE;
        if (fds[0].revents && !type(pipe, is_terminal, &is_lost))
            return !is_lost;
    }
}

gboolean desktop_console(Cli *cli, GError **error)
{
    const char *name = args_word(cli->args, 0);
    g_autoptr(GString) path = client_path("/v1/desktops", "desktop", name, "console", error);
    gboolean is_terminal = isatty(STDIN_FILENO);
    struct termios before;

    if (!path)
        return FALSE;
    client_query(path, "force", args_has(cli->args, "force") ? "true" : NULL);
    g_autoptr(ClientPipe) pipe = client_upgrade(cli->client, path->str, "imaged-console", error);
    if (!pipe)
        return FALSE;
    interrupt_catch();
    if (is_terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
        struct termios raw = before;
        fprintf(stderr, "This is the console of '%s'; Ctrl-] leaves it.\n", name);
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    } else {
        is_terminal = FALSE;
    }
    gboolean is_left = talk(pipe, is_terminal);
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        fputc('\n', stderr);
    }
    if (!is_left)
        g_set_error(
            error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
            "the console of '%s' has ended: it was switched off, or somebody else has it now",
            name);
    return is_left;
}
