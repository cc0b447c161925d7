/* verbs_session.c: imagectl connect, imagectl session ...: users on their desktops. */
#include "imaged/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

#define MAX_STARTS 3 /* it may be switched off again before it is opened */

static const Column session_columns[] = {
    { "DESKTOP", "desktop", CELL_TEXT, 0 },
    { "USER", "user", CELL_TEXT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "CLIENT", "client_address", CELL_TEXT, 0 },
    { "HOST", "host", CELL_TEXT, 0 },
    { "POOL", "pool", CELL_TEXT, 0 },
    { "PROTOCOL", "protocol", CELL_TEXT, 0 },
    { "OPENED", "created_at", CELL_TIME, 0 },
    { "CONNECTED", "connected_at", CELL_TIME, COLUMN_CSV },
    { "DISCONNECTED", "disconnected_at", CELL_TIME, COLUMN_CSV },
    { "LOGGED IN", "logged_in_at", CELL_TIME, COLUMN_CSV },
    { "ENDED", "ended_at", CELL_TIME, COLUMN_CSV },
    { "REASON", "reason", CELL_TEXT, COLUMN_CSV },
    { "ID", "id", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column connect_columns[] = {
    { "DESKTOP", "desktop", CELL_TEXT, 0 },
    { "USER", "user", CELL_TEXT, 0 },
    { "PROTOCOL", "protocol", CELL_TEXT, 0 },
    { "HOST", "host", CELL_TEXT, 0 },
    { "PORT", "port", CELL_COUNT, 0 },
    { "TLS PORT", "tls_port", CELL_COUNT, 0 },
    { "SOCKET", "socket", CELL_TEXT, 0 },
    { "VALID UNTIL", "valid_until", CELL_TIME, 0 },
    { "ID", "id", CELL_TEXT, 0 },
    COLUMN_END,
};

/* ---- Connecting ---- */

/* For our eyes alone: a password stands in it.  What is there is replaced as a whole. */
static gboolean write_private(const char *path, const char *text, GError **error)
{
    g_autofree char *fresh = g_strdup_printf("%s.%d", path, (int)getpid());
    gsize len = strlen(text);
    auto_fd fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", fresh);
        return FALSE;
    }
    if (write(fd, text, len) == (gssize)len && rename(fresh, path) == 0)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot write '%s'", path);
    unlink(fresh);
    return FALSE;
}

/* Written where --file says, or to where it is for. */
static gboolean print_file(Cli *cli, const json_t *session, GError **error)
{
    const char *given = args_text(cli->args, "file");
    const char *file = given ? given : json_text(session, "file_name");
    const char *text = json_text(session, "file");

    if (g_str_equal(file, "-")) {
        fputs(text, stdout);
        return TRUE;
    }
    if (!write_private(file, text, error))
        return FALSE;
    if (g_str_equal(json_text(session, "protocol"), "rdp"))
        printf("%s: open %s with an RDP client\n", json_text(session, "name"), file);
    else
        printf("%s: open it within a minute with: remote-viewer %s\n", json_text(session, "name"),
               file);
    return TRUE;
}

static gboolean print_session(Cli *cli, const json_t *session, GError **error)
{
    if (cli->format != FORMAT_TABLE)
        list_print_object(cli, session, connect_columns);
    else if (*json_text(session, "file"))
        return print_file(cli, session, error);
    else
        printf("%s: open it within a minute with: vncviewer %s\n", json_text(session, "desktop"),
               json_text(session, "socket"));
    return TRUE;
}

static json_t *connect_body(Cli *cli)
{
    json_t *body = json_object();

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "user", args_text(cli->args, "user"));
    json_set_text(body, "protocol", args_text(cli->args, "protocol"));
    if (args_has(cli->args, "take-over"))
        json_object_set_new(body, "take_over", json_true());
    if (args_has(cli->args, "another"))
        json_object_set_new(body, "another", json_true());
    return body;
}

/* Why its one desktop did not start. */
static gboolean check_started(const json_t *job, GError **error)
{
    const json_t *result = json_object_get(job, "result");
    const json_t *item = json_array_get(json_object_get(result, "items"), 0);
    const json_t *why = json_object_get(item, "error");

    if (!job_check(job, error))
        return FALSE;
    if (!json_is_object(why))
        return TRUE;
    cli_error_from_json(why, error);
    g_prefix_error(error, "'%s': ", json_text(item, "name"));
    return FALSE;
}

/* A desktop that is off is started by a job; when that is done it is asked for again. */
static gboolean connect_run(Cli *cli, GError **error)
{
    json_auto_t *body = connect_body(cli);

    for (guint i = 0; i < MAX_STARTS; i++) {
        json_auto_t *answer =
            client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/sessions", body, error);
        if (!answer)
            return FALSE;
        if (!job_is_job(answer))
            return print_session(cli, answer, error);
        if (args_has(cli->args, "no-wait")) {
            job_print(cli, answer);
            return TRUE;
        }
        json_auto_t *job = job_wait(cli, answer, error);
        if (!job || !check_started(job, error))
            return FALSE;
        json_object_del(body, "another"); /* it is his by now */
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it is switched off again and again");
    return FALSE;
}

/* ---- Sessions ---- */

static gboolean session_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/sessions");

    client_query(path, "search", args_text(cli->args, "search"));
    client_query(path, "user", args_text(cli->args, "user"));
    client_query(path, "desktop", args_text(cli->args, "desktop"));
    client_query(path, "all", args_has(cli->args, "all") ? "1" : NULL);
    return list_print(cli, path->str, "id", 0, session_columns, error);
}

static GString *path_of(Cli *cli, const char *verb, GError **error)
{
    return client_path("/v1/sessions", "session", args_word(cli->args, 0), verb, error);
}

static gboolean session_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);

    return path && list_show(cli, path->str, session_columns, error);
}

static gboolean session_end(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, NULL, error);
    json_auto_t *session = path ? client_get(cli->client, path->str, error) : NULL;

    if (!session)
        return FALSE;
    g_autofree char *question =
        g_strdup_printf("end the session of %s on %s (%s)?", json_text(session, "user"),
                        json_text(session, "desktop"), json_text(session, "state"));
    if (!confirm_question(cli, question, "yes", error))
        return FALSE;
    json_auto_t *ended =
        client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error);
    if (!ended)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("ended the session of %s on %s\n", json_text(ended, "user"),
               json_text(ended, "desktop"));
    else
        list_print_object(cli, ended, session_columns);
    return TRUE;
}

static gboolean session_message(Cli *cli, GError **error)
{
    g_autoptr(GString) path = path_of(cli, "message", error);
    json_auto_t *body = json_object();

    json_set_text(body, "text", args_word(cli->args, 1));
    json_auto_t *session =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error) : NULL;
    if (!session)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("told %s on %s\n", json_text(session, "user"), json_text(session, "desktop"));
    else
        list_print_object(cli, session, session_columns);
    return TRUE;
}

static json_t *post(Cli *cli, const char *verb, const char *flag, GError **error)
{
    g_autoptr(GString) path = path_of(cli, verb, error);
    json_auto_t *body = json_object();

    if (args_has(cli->args, flag))
        json_object_set_new(body, flag, json_true());
    return path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error) : NULL;
}

static const Column look_columns[] = {
    { "DESKTOP", "name", CELL_TEXT, 0 },     { "STATE", "state", CELL_STATE, 0 },
    { "CONTROL", "control", CELL_TRUTH, 0 }, { "WHO", "who", CELL_TEXT, 0 },
    { "SOCKET", "socket", CELL_TEXT, 0 },    { "HOST", "host", CELL_TEXT, 0 },
    { "PORT", "port", CELL_COUNT, 0 },       COLUMN_END,
};

static gboolean session_shadow(Cli *cli, GError **error)
{
    json_auto_t *look = post(cli, "shadow", "control", error);

    if (!look)
        return FALSE;
    if (cli->format != FORMAT_TABLE)
        list_print_object(cli, look, look_columns);
    else if (g_str_equal(json_text(look, "state"), "asked"))
        printf("asked; when its user has answered (imagectl session consent %s), ask again\n",
               json_text(look, "name"));
    else if (*json_text(look, "file"))
        return print_file(cli, look, error);
    else
        printf("%s\n", json_text(look, "socket"));
    return TRUE;
}

static gboolean session_consent(Cli *cli, GError **error)
{
    json_auto_t *look = post(cli, "consent", "refuse", error);

    if (!look)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", json_text(look, "who"),
               g_str_equal(json_text(look, "state"), "refused") ? "may not look on"
                                                                : "may look on");
    else
        list_print_object(cli, look, look_columns);
    return TRUE;
}

static const Option connect_options[] = {
    { "user", OPTION_TEXT, "NAME", "for this user, not for yourself", NULL },
    { "protocol", OPTION_CHOICE, "spice|vnc|rdp", "rdp: Windows alone (by the host)", NULL },
    { "take-over", OPTION_FLAG, NULL, "end the session of who is on a shared desktop", NULL },
    { "another", OPTION_FLAG, NULL, "one more desktop of a pool", NULL },
    { "file", OPTION_TEXT, "PATH", "where to write it (DESKTOP.vv; - is standard output)", "file" },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option list_options[] = {
    { "user", OPTION_TEXT, "NAME", "those of this user", NULL },
    { "desktop", OPTION_TEXT, "NAME", "those of this desktop", "desktop" },
    { "all", OPTION_FLAG, NULL, "those that have ended, too", NULL },
    OPTION_SEARCH,
    OPTION_END,
};
static const Option shadow_options[] = {
    { "control", OPTION_FLAG, NULL, "use its keyboard and mouse, too", NULL },
    { "file", OPTION_TEXT, "PATH", "from another machine: as that of connect", "file" },
    OPTION_END,
};
static const Option consent_options[] = {
    { "refuse", OPTION_FLAG, NULL, "he may not", NULL },
    OPTION_END,
};
static const Option end_options[] = { OPTION_YES, OPTION_END };

static const Command connect_commands[] = {
    { NULL, "[DESKTOP|POOL]", 0, 1, "desktop", "Get a desktop on your screen",
      "Without a name: the session that you have, from wherever you come, else the one desktop or\n"
      "pool that you may use.  A desktop that is off is started.  What remote-viewer opens is\n"
      "written to a file; the password in it holds for a minute.",
      "connect\nconnect lab-0007\nconnect office --file - | remote-viewer -\n", connect_options,
      connect_run },
    { NULL },
};
const Noun noun_connect = { "connect", "get a desktop on your screen", connect_commands };

static const Command commands[] = {
    { "list", "", 0, 0, NULL, "List sessions", NULL, "session list --user anna\n", list_options,
      session_list },
    { "show", "SESSION", 1, 1, "desktop", "Show a session",
      "SESSION is its id, or the desktop that it is on.", "session show lab-0007\n", NULL,
      session_show },
    { "end", "SESSION", 1, 1, "desktop", "End a session",
      "The client is cut off.  The desktop runs on, unless its pool takes it back.",
      "session end lab-0007 --yes\n", end_options, session_end },
    { "message", "SESSION TEXT", 2, 2, "desktop", "Show its user a text",
      "By the guest agent.  Without one it is not delivered, and the event log says so.",
      "session message lab-0007 'the desktop restarts at noon'\n", NULL, session_message },
    { "shadow", "SESSION", 1, 1, "desktop", "Look on, if its user allows it",
      "Prints the socket of a VNC display once he has; until then he is asked.",
      "session shadow lab-0007\n", shadow_options, session_shadow },
    { "consent", "SESSION", 1, 1, "desktop", "Let who asked look on",
      "For your own session alone, and for once.", "session consent lab-0007\n", consent_options,
      session_consent },
    { NULL },
};
const Noun noun_session = { "session", "users on their desktops", commands };
