/* secret.c: see secret.h. */
#include "imaged/cli/secret.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/user_file.h"

#define MAX_LINE 1024

char *secret_read_file(const char *path, GError **error)
{
    char *text = user_file_read(path, error);

    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    return text;
}

/* A line of standard input, without its end; NULL at the end of it. */
static char *read_line(void)
{
    char line[MAX_LINE + 2];

    if (!fgets(line, sizeof line, stdin))
        return NULL;
    line[strcspn(line, "\r\n")] = '\0';
    return g_strdup(line);
}

static char *type_line(const char *prompt)
{
    struct termios was, quiet;

    fprintf(stderr, "%s: ", prompt);
    fflush(stderr);
    if (tcgetattr(STDIN_FILENO, &was) < 0)
        return read_line();
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    char *line = read_line();
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    fputc('\n', stderr);
    return line;
}

char *secret_read(const Cli *cli, const char *option, const char *prompt, gboolean twice,
                  GError **error)
{
    const char *path = args_text(cli->args, option);
    gboolean is_typed = isatty(STDIN_FILENO);

    if (path)
        return secret_read_file(path, error);
    g_autofree char *line = is_typed ? type_line(prompt) : read_line();
    if (!line || !*line) {
        args_usage_error(cli->args, error, "no password was given");
        return NULL;
    }
    if (is_typed && twice) {
        g_autofree char *again = type_line("The same again");
        if (g_strcmp0(again, line) != 0) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the two are not the same");
            return NULL;
        }
    }
    return g_steal_pointer(&line);
}

char *secret_token_path(const char *url)
{
    g_autofree char *name = g_uri_escape_string(url, NULL, FALSE);

    return g_build_filename(g_get_user_config_dir(), "imaged", "tokens", name, NULL);
}

gboolean secret_token_save(const char *url, const char *token, GError **error)
{
    g_autofree char *path = secret_token_path(url);
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *text = g_strconcat(token, "\n", NULL);
    g_autoptr(GError) local = NULL;

    if (g_mkdir_with_parents(folder, 0700) < 0) {
        imaged_error_set_errno(error, errno, "cannot make '%s'", folder);
        return FALSE;
    }
    if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &local))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "%s", local->message);
    return FALSE;
}
