/* spice_client.c: a real SPICE client without a window, which logs in and stays, for tests.
 *
 *   spice_client [--once] [--limit SECONDS] (--vv FILE | --host HOST [--port N] [--tls-port N]
 *                [--password TEXT] [--ca FILE] [--host-subject TEXT] [--proxy URL])
 *
 * FILE is what remote-viewer opens (a .vv), read as remote-viewer reads it; a password given
 * besides counts more. It says on standard output, a line each and at once:
 *
 *   open KIND          one of its channels has logged in: main, display, inputs, cursor ...
 *   display WxH        the guest's screen is there
 *   up                 main, display and inputs have logged in
 *   migration STATE    what the server tells of a migration: switching, migrating, connecting, none
 *   server HOST:PORT   where it is connected to, after a migration
 *   refused KIND       a channel's password was not taken
 *   closed KIND WHY    a channel ended: closed, connect, tls, link, io
 *
 * It ends with 0 when standard input says "quit" or ends (never by itself but for --once, after
 * "up", or after --limit, 600 s) while it is connected; with 3 if it was refused, 4 if it could not
 * connect, 5 if it was cut off, and 6 at the limit.  So a test starts it with a pipe, and looks for
 * its lines:
 *
 *   coproc VIEWER { "$BUILD/tests/spice_client" --vv alice.vv >viewer.log; }
 *   wait_for 30 grep -qx up viewer.log
 *   echo quit >&"${VIEWER[1]}"; wait "$VIEWER_PID"     # 0: it was connected until now */
#include <spice-client.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_REFUSED 3
#define EXIT_NO_CONNECTION 4
#define EXIT_CUT 5
#define EXIT_LIMIT 6

/* spice-server 0.15 ends QEMU now and then (1 of 50 to 250, tried) when a client leaves while one
 * of its channels is only coming, which no client can see. */
#define LEAVE_MS 300

typedef struct {
    GMainLoop *loop;
    SpiceSession *session;
    gboolean is_once, is_up, has_main, has_display, has_inputs;
    int status;
} Viewer;

static void say(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void end(Viewer *v, int status)
{
    if (v->status < 0)
        v->status = status;
    g_main_loop_quit(v->loop);
}

static gboolean leave(gpointer data)
{
    end(data, 0);
    return G_SOURCE_REMOVE;
}

static const char *kind_of(SpiceChannel *channel)
{
    gint type;

    g_object_get(channel, "channel-type", &type, NULL);
    return spice_channel_type_to_string(type);
}

/* ---- Channels ---- */

static void opened(Viewer *v, SpiceChannel *channel)
{
    say("open %s", kind_of(channel));
    v->has_main |= SPICE_IS_MAIN_CHANNEL(channel);
    v->has_display |= SPICE_IS_DISPLAY_CHANNEL(channel);
    v->has_inputs |= SPICE_IS_INPUTS_CHANNEL(channel);
    if (v->is_up || !v->has_main || !v->has_display || !v->has_inputs)
        return;
    v->is_up = TRUE;
    say("up");
    if (v->is_once)
        g_timeout_add(LEAVE_MS, leave, v);
}

static void channel_event(SpiceChannel *channel, SpiceChannelEvent event, gpointer data)
{
    static const char *const why[] = {
        [SPICE_CHANNEL_CLOSED] = "closed",   [SPICE_CHANNEL_ERROR_CONNECT] = "connect",
        [SPICE_CHANNEL_ERROR_TLS] = "tls",   [SPICE_CHANNEL_ERROR_LINK] = "link",
        [SPICE_CHANNEL_ERROR_AUTH] = "auth", [SPICE_CHANNEL_ERROR_IO] = "io"
    };
    Viewer *v = data;

    switch (event) {
    case SPICE_CHANNEL_OPENED:
        opened(v, channel);
        break;
    case SPICE_CHANNEL_SWITCHING:
        say("migration switch-host");
        break;
    case SPICE_CHANNEL_ERROR_AUTH:
        say("refused %s", kind_of(channel));
        end(v, EXIT_REFUSED);
        break;
    default:
        say("closed %s %s", kind_of(channel),
            event < (int)G_N_ELEMENTS(why) && why[event] ? why[event] : "other");
        if (SPICE_IS_MAIN_CHANNEL(channel))
            end(v, v->has_main ? EXIT_CUT : EXIT_NO_CONNECTION);
    }
}

static void primary_created(SpiceChannel *channel, gint format, gint width, gint height,
                            gint stride, gint shmid, gpointer image, gpointer data)
{
    say("display %dx%d", width, height);
}

static void channel_new(SpiceSession *session, SpiceChannel *channel, gpointer data)
{
    g_signal_connect(channel, "channel-event", G_CALLBACK(channel_event), data);
    if (SPICE_IS_DISPLAY_CHANNEL(channel))
        g_signal_connect(channel, "display-primary-create", G_CALLBACK(primary_created), data);
    if (!SPICE_IS_MAIN_CHANNEL(channel)) /* which the session connects itself */
        spice_channel_connect(channel);
}

/* After a migration a port that is not there is 65535. */
static gboolean is_port(const char *port)
{
    return port && *port && strcmp(port, "65535") != 0;
}

static void migration_changed(SpiceSession *session, GParamSpec *spec, gpointer data)
{
    static const char *const names[] = { [SPICE_SESSION_MIGRATION_NONE] = "none",
                                         [SPICE_SESSION_MIGRATION_SWITCHING] = "switching",
                                         [SPICE_SESSION_MIGRATION_MIGRATING] = "migrating",
                                         [SPICE_SESSION_MIGRATION_CONNECTING] = "connecting" };
    SpiceSessionMigration state;
    g_autofree char *host = NULL, *port = NULL, *tls_port = NULL;

    g_object_get(session, "migration-state", &state, "host", &host, "port", &port, "tls-port",
                 &tls_port, NULL);
    say("migration %s", state < G_N_ELEMENTS(names) ? names[state] : "other");
    if (state == SPICE_SESSION_MIGRATION_NONE)
        say("server %s:%s", host ? host : "", is_port(tls_port) ? tls_port : port ? port : "");
}

static void disconnected(SpiceSession *session, gpointer data)
{
    end(data, EXIT_CUT);
}

/* ---- What it is told ---- */

static gboolean set_ca(SpiceSession *session, const char *pem, gsize length)
{
    g_autoptr(GByteArray) ca = g_byte_array_new();

    g_byte_array_append(ca, (const guint8 *)pem, (guint)length);
    g_object_set(session, "ca", ca, NULL);
    return TRUE;
}

/* A .vv: keys as in remote-viewer's manual. */
static gboolean read_vv(SpiceSession *session, const char *path, GError **error)
{
    static const char *const same[][2] = { { "host", "host" },
                                           { "port", "port" },
                                           { "tls-port", "tls-port" },
                                           { "password", "password" },
                                           { "host-subject", "cert-subject" },
                                           { "proxy", "proxy" } };
    g_autoptr(GKeyFile) file = g_key_file_new();

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(same); i++) {
        g_autofree char *value = g_key_file_get_string(file, "virt-viewer", same[i][0], NULL);
        if (value)
            g_object_set(session, same[i][1], value, NULL);
    }
    g_autofree char *ca = g_key_file_get_string(file, "virt-viewer", "ca", NULL);
    if (ca)
        set_ca(session, ca, strlen(ca));
    g_auto(GStrv) secure =
        g_key_file_get_string_list(file, "virt-viewer", "secure-channels", NULL, NULL);
    if (secure)
        g_object_set(session, "secure-channels", secure, NULL);
    return TRUE;
}

typedef struct {
    char *vv, *ca;
    char *texts[6]; /* of the properties below */
    gint limit_s;
    gboolean is_once;
} Asked;

static gboolean configure(SpiceSession *session, const Asked *asked, GError **error)
{
    static const char *const properties[] = { "host",     "port",         "tls-port",
                                              "password", "cert-subject", "proxy" };
    g_autofree char *pem = NULL;
    gsize length;

    if (asked->vv && !read_vv(session, asked->vv, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (asked->texts[i])
            g_object_set(session, properties[i], asked->texts[i], NULL);
    }
    return !asked->ca ||
           (g_file_get_contents(asked->ca, &pem, &length, error) && set_ca(session, pem, length));
}

static gboolean read_input(GIOChannel *input, GIOCondition condition, gpointer data)
{
    g_autofree char *line = NULL;

    if (g_io_channel_read_line(input, &line, NULL, NULL, NULL) == G_IO_STATUS_NORMAL &&
        strcmp(g_strstrip(line), "quit") != 0)
        return G_SOURCE_CONTINUE;
    end(data, 0);
    return G_SOURCE_REMOVE;
}

static gboolean at_limit(gpointer viewer)
{
    end(viewer, EXIT_LIMIT);
    return G_SOURCE_REMOVE;
}

/* What the library leaves at the end is not ours to tell: its exit status tells what came of it. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

int main(int argc, char **argv)
{
    Asked a = { .limit_s = 600 };
    const GOptionEntry entries[] = {
        { "vv", 0, 0, G_OPTION_ARG_FILENAME, &a.vv, NULL, NULL },
        { "host", 0, 0, G_OPTION_ARG_STRING, &a.texts[0], NULL, NULL },
        { "port", 0, 0, G_OPTION_ARG_STRING, &a.texts[1], NULL, NULL },
        { "tls-port", 0, 0, G_OPTION_ARG_STRING, &a.texts[2], NULL, NULL },
        { "password", 0, 0, G_OPTION_ARG_STRING, &a.texts[3], NULL, NULL },
        { "host-subject", 0, 0, G_OPTION_ARG_STRING, &a.texts[4], NULL, NULL },
        { "proxy", 0, 0, G_OPTION_ARG_STRING, &a.texts[5], NULL, NULL },
        { "ca", 0, 0, G_OPTION_ARG_FILENAME, &a.ca, NULL, NULL },
        { "limit", 0, 0, G_OPTION_ARG_INT, &a.limit_s, NULL, NULL },
        { "once", 0, 0, G_OPTION_ARG_NONE, &a.is_once, NULL, NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    Viewer v = { .loop = g_main_loop_new(NULL, FALSE), .status = -1 };

    g_option_context_add_main_entries(context, entries, NULL);
    v.session = spice_session_new();
    if (!g_option_context_parse(context, &argc, &argv, &error) ||
        !configure(v.session, &a, &error)) {
        fprintf(stderr, "spice_client: %s\n", error->message);
        return 2;
    }
    v.is_once = a.is_once;
    g_object_set(v.session, "enable-audio", FALSE, "enable-usbredir", FALSE, NULL);
    g_signal_connect(v.session, "channel-new", G_CALLBACK(channel_new), &v);
    g_signal_connect(v.session, "notify::migration-state", G_CALLBACK(migration_changed), &v);
    g_signal_connect(v.session, "disconnected", G_CALLBACK(disconnected), &v);
    g_timeout_add_seconds((guint)a.limit_s, at_limit, &v);
    if (!v.is_once) {
        GIOChannel *input = g_io_channel_unix_new(STDIN_FILENO);
        g_io_add_watch(input, G_IO_IN | G_IO_HUP, read_input, &v);
    }
    if (!spice_session_connect(v.session))
        return EXIT_NO_CONNECTION;
    g_main_loop_run(v.loop);
    return v.status;
}
