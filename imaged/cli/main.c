/* main.c: imagectl: take the command line apart, find the daemon, do the verb, tell how it went. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/each.h"
#include "imaged/cli/help.h"
#include "imaged/cli/interrupt.h"
#include "imaged/cli/output.h"
#include "imaged/cli/secret.h"

/* Report what went wrong.  Returns the exit code. */
static int fail(const Cli *cli, GError *error)
{
    g_autofree char *what = cli_what(cli), *said = imaged_error_message(error);
    g_autofree char *message = error->code == IMAGED_ERROR_INVALID
                                   ? cli_name_options(cli->args, said, TRUE)
                                   : g_strdup(said);
    gboolean is_plain_usage = !cli->args->command;
    int code = cli_exit_code(error->code);

    fflush(stdout);
    cli_complain(is_plain_usage ? NULL : what, message, imaged_error_get_hint(error));
    g_error_free(error);
    return code;
}

static int print_help(const Args *args, FILE *to, int code)
{
    g_autoptr(GString) text = g_string_new(NULL);

    help_append(text, args->noun, args->command);
    fputs(text->str, to);
    return code;
}

/* Where the daemon is: what was typed comes before the environment. */
static Client *find_daemon(const Args *args, GError **error)
{
    const char *state = args_text(args, "state"), *socket = args_text(args, "socket");
    const char *url = args_text(args, "url");

    if ((state != NULL) + (socket != NULL) + (url != NULL) > 1) {
        args_usage_error(args, error, "give only one of --state, --socket and --url");
        return NULL;
    }
    if (!state && !socket && !url) {
        state = g_getenv("IMAGED_STATE");
        socket = g_getenv("IMAGED_SOCKET");
        url = g_getenv("IMAGED_URL");
    }
    if (state && *state) {
        g_autofree char *path = g_build_filename(state, "imaged.sock", NULL);
        return client_new(path, NULL, error);
    }
    if (socket && *socket)
        return client_new(socket, NULL, error);
    if (url && *url)
        return client_new(NULL, url, error);
    return client_new(CLIENT_DEFAULT_SOCKET, NULL, error);
}

/* What says who we are, for a daemon elsewhere: a file that is named, or what a log-in left. */
static gboolean find_token(Client *client, const Args *args, GError **error)
{
    const char *path = args_text(args, "token-file"), *ca = args_text(args, "ca-file");
    const char *url = client_url(client);
    g_autofree char *token = NULL;
    g_autofree char *kept = url ? secret_token_path(url) : NULL;

    client_set_ca_file(client, ca ? ca : g_getenv("IMAGED_CA_FILE"));
    if (!path)
        path = g_getenv("IMAGED_TOKEN_FILE");
    if (!url || (!path && !g_file_test(kept, G_FILE_TEST_EXISTS)))
        return TRUE;
    if (!(token = secret_read_file(path ? path : kept, error)))
        return FALSE;
    client_set_token(client, token);
    return TRUE;
}

static gboolean find_format(Cli *cli, GError **error)
{
    static const char *const names[] = { "table", "json", "csv", "html" };
    const char *text = args_text(cli->args, "output");

    for (guint i = 0; text && i < G_N_ELEMENTS(names); i++) {
        if (g_str_equal(text, names[i]))
            cli->format = (Format)i;
    }
    if (cli->format == FORMAT_HTML && cli->args->noun != &noun_report) {
        args_usage_error(cli->args, error, "only 'report savings' prints html");
        return FALSE;
    }
    return TRUE;
}

static int run(Cli *cli)
{
    const Args *args = cli->args;
    GError *error = NULL;

    gboolean is_each = each_is_wanted(args);
    if ((!is_each && !args_check_count(args, &error)) || !find_format(cli, &error))
        return fail(cli, error);
    g_autoptr(Client) client = find_daemon(args, &error);
    if (!client || !find_token(client, args, &error))
        return fail(cli, error);
    cli->client = client;
    if (!(is_each ? each_run(cli, &error) : args->command->run(cli, &error)))
        return fail(cli, error);
    return cli->exit_code;
}

/* Output that did not arrive is a failure, too: a full disk behind "> file". */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    cli_complain(NULL, "cannot write the output", NULL);
    return code ? code : CLI_FAILED;
}

int main(int argc, char **argv)
{
    g_auto(Args) args = { 0 };
    Cli cli = { .args = &args };
    GError *error = NULL;

    if (!args_parse(&args, argc, argv, &error))
        return fail(&cli, error);
    if (args.wants_help)
        return finish(print_help(&args, stdout, CLI_DONE));
    if (!args.command)
        return print_help(&args, stderr, CLI_USAGE);
    int code = finish(run(&cli));
    /* All is cleaned up: now an interrupt may show as what it was. */
    if (code)
        interrupt_end();
    return code;
}
