/* borg_child.c: see borg_child.h.  The child's input is a socket, not a pipe, so that a child that
 * has ended gives an error and no signal; its two outputs are GLib's pipes.  One poll() loop serves
 * all three.  Its messages come as JSON lines (--log-json) with ids that borg documents. */
#include "snapshot/borg_child.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixinputstream.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define BUFFER_BYTES (1u << 20)
#define LINE_MAX_BYTES 65536 /* of one message */
#define MESSAGE_MAX 300
#define LOOK_MS 200                 /* how often cancel is looked at */
#define SILENCE_MS (15 * 60 * 1000) /* then the peer never answers */
#define TERM_MS 20000               /* from SIGTERM to SIGKILL */

/* ssh asks nothing, and notices within two minutes that the other side is gone. */
#define SSH                                                                                        \
    "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=20 "                            \
    "-oServerAliveCountMax=6 -oTCPKeepAlive=yes"

typedef struct {
    const BorgRun *run;
    GSubprocess *process;
    int in, out, err; /* -1 when closed */
    guint8 *buffer;   /* to feed: [taken, made) */
    gsize taken, made;
    GString *line;         /* of err, not yet ended */
    GString *text;         /* of out */
    char *msgid, *message; /* the last error that borg reported */
    char *last;            /* the last line that is no JSON, or a warning */
    GError *failure;       /* ours: the child is to be ended */
    gint64 heard_ms;       /* when something last moved */
} Child;

static void child_clear(Child *c)
{
    durable_close(&c->in);
    g_clear_object(&c->process); /* closes the pipes */
    g_free(c->buffer);
    if (c->line)
        g_string_free(c->line, TRUE);
    if (c->text)
        g_string_free(c->text, TRUE);
    g_free(c->msgid);
    g_free(c->message);
    g_free(c->last);
    g_clear_error(&c->failure);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Child, child_clear)

static gint64 now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

/* ---- errors ---- */

void borg_set_error(const BorgPlace *place, const char *msgid, const char *text, GError **error)
{
    static const struct {
        const char *begins; /* of the message id */
        int code;
        const char *says; /* instead of borg's words, or NULL */
        const char *hint;
    } table[] = {
        { "Repository.DoesNotExist", IMAGED_ERROR_UNAVAILABLE, "there is no borg repository",
          "is its disk mounted?" },
        { "Repository.InvalidRepository", IMAGED_ERROR_UNAVAILABLE,
          "what is there is no borg repository", NULL },
        { "Repository.ParentPathDoesNotExist", IMAGED_ERROR_UNAVAILABLE,
          "the folder that it is to lie in does not exist", NULL },
        { "Repository.PathAlreadyExists", IMAGED_ERROR_UNAVAILABLE,
          "the folder is not empty and holds no borg repository", NULL },
        { "Repository.AlreadyExists", IMAGED_ERROR_EXISTS, NULL, NULL },
        { "Repository.InsufficientFreeSpaceError", IMAGED_ERROR_NO_SPACE, "it is full", NULL },
        { "Repository.StorageQuotaExceeded", IMAGED_ERROR_NO_SPACE, "its quota is used up", NULL },
        { "Repository.ObjectNotFound", IMAGED_ERROR_CORRUPT, NULL, NULL },
        { "Repository.CheckNeeded", IMAGED_ERROR_CORRUPT, NULL, "run 'borg check'" },
        { "Archive.DoesNotExist", IMAGED_ERROR_NOT_FOUND, NULL, NULL },
        { "Archive.AlreadyExists", IMAGED_ERROR_EXISTS, NULL, NULL },
        { "LockTimeout", IMAGED_ERROR_BUSY, "somebody else is using it", NULL },
        { "LockFailed", IMAGED_ERROR_DENIED, "it can't be locked, so it can only be read", NULL },
        { "LockError", IMAGED_ERROR_BUSY, NULL, NULL },
        { "PassphraseWrong", IMAGED_ERROR_DENIED, "the passphrase is wrong", NULL },
        { "PasscommandFailure", IMAGED_ERROR_DENIED, NULL, NULL },
        { "NoPassphraseFailure", IMAGED_ERROR_DENIED, "it wants a passphrase", NULL },
        { "ConnectionClosed", IMAGED_ERROR_UNAVAILABLE, "the other side can't be reached", NULL },
        { "ConnectionBrokenWithHint", IMAGED_ERROR_UNAVAILABLE, NULL, NULL },
        { "IntegrityError", IMAGED_ERROR_CORRUPT, NULL, NULL },
        { "FileIntegrityError", IMAGED_ERROR_CORRUPT, NULL, NULL },
        { "DecompressionError", IMAGED_ERROR_CORRUPT, NULL, NULL },
        { "Cache.EncryptionMethodMismatch", IMAGED_ERROR_DENIED,
          "it was encrypted otherwise when it was last used: somebody may have replaced it", NULL },
        { "Cache.RepositoryReplay", IMAGED_ERROR_DENIED,
          "it is older than when it was last used: somebody may have replaced it", NULL },
    };
    static const struct {
        const char *part; /* of the text */
        int code;
        const char *says;
    } parts[] = {
        { "No space left on device", IMAGED_ERROR_NO_SPACE, "it is full" },
        { "Disk quota exceeded", IMAGED_ERROR_NO_SPACE, "its quota is used up" },
        { "Permission denied (publickey", IMAGED_ERROR_UNAVAILABLE, NULL },
        { "Permission denied", IMAGED_ERROR_DENIED, NULL },
        { "Read-only file system", IMAGED_ERROR_DENIED, "it can only be read" },
        { "Input/output error", IMAGED_ERROR_UNAVAILABLE, NULL },
        { "Data integrity error", IMAGED_ERROR_CORRUPT, NULL },
        { "IntegrityError", IMAGED_ERROR_CORRUPT, NULL },
    };
    g_autofree char *shown = text_for_message(text ? text : "", MESSAGE_MAX);
    int code = IMAGED_ERROR_FAILED;
    const char *says = NULL, *hint = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(table) && msgid; i++) {
        if (g_str_has_prefix(msgid, table[i].begins)) {
            code = table[i].code;
            says = table[i].says;
            hint = table[i].hint;
            break;
        }
    }
    /* A full disk is the cause of much else: of a lock that can't be taken, too. */
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (text && strstr(text, parts[i].part) &&
            (code == IMAGED_ERROR_FAILED || parts[i].code == IMAGED_ERROR_NO_SPACE)) {
            code = parts[i].code;
            says = parts[i].says;
            break;
        }
    }
    g_set_error(error, IMAGED_ERROR, code, "borg repository '%s': %s%s%s%s", place->location,
                says ? says : shown, says && *shown ? " (" : "", says ? shown : "",
                says && *shown ? ")" : "");
    if (hint)
        imaged_error_hint(error, "%s", hint);
}

/* ---- what borg says ---- */

static void replace(char **text, const char *with)
{
    g_free(*text);
    *text = with ? g_strdup(with) : NULL;
}

/* Before a traceback of its own or of the other side's program, borg says just this. */
static gboolean is_headline(const char *message)
{
    return g_str_has_prefix(message, "Local Exception") ||
           g_str_has_prefix(message, "Remote Exception");
}

/* The line that says what was wrong: the first; of a traceback the one that ends it. */
static char *clear_words(const char *message)
{
    g_auto(GStrv) lines = g_strsplit(message, "\n", -1);
    const char *found = lines[0] ? lines[0] : "";

    if (g_str_has_prefix(message, "Traceback")) {
        for (guint i = 1; lines[i] && *lines[i]; i++)
            found = *lines[i] != ' ' ? lines[i] : found;
    }
    return g_strdup(found);
}

static void take_line(Child *c, const char *line)
{
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const char *level = json_string_value(json_object_get(root, "levelname"));
    const char *message = json_string_value(json_object_get(root, "message"));
    const char *msgid = json_string_value(json_object_get(root, "msgid"));

    if (!root) {
        if (*line)
            replace(&c->last, line);
    } else if (message && level &&
               (g_str_equal(level, "ERROR") || g_str_equal(level, "CRITICAL"))) {
        /* A cause comes before what follows from it; an error with an id is the clearer one. */
        if (!c->message || (msgid && !c->msgid) || is_headline(c->message)) {
            g_free(c->message);
            c->message = clear_words(message);
            replace(&c->msgid, msgid);
        }
    } else if (message && level && g_str_equal(level, "WARNING")) {
        replace(&c->last, message);
    }
    json_decref(root);
}

static void take_messages(Child *c, const char *bytes, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            take_line(c, c->line->str);
            g_string_truncate(c->line, 0);
        } else if (c->line->len < LINE_MAX_BYTES && bytes[i]) {
            g_string_append_c(c->line, bytes[i]);
        }
    }
}

static void take_output(Child *c, const char *bytes, gsize n)
{
    const BorgRun *run = c->run;

    if (c->failure)
        return;
    if (run->write) {
        run->write(run->data, bytes, n, &c->failure);
    } else if (run->ret_text) {
        if (c->text->len + n > run->max_text)
            g_set_error(&c->failure, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                        "borg says more than can be");
        else
            g_string_append_len(c->text, bytes, (gssize)n);
    }
}

/* ---- the loop ---- */

/* Read what there is; FALSE when the pipe has ended. */
static gboolean drain(Child *c, int fd, void (*take)(Child *c, const char *bytes, gsize n))
{
    char bytes[65536];
    gssize n = read(fd, bytes, sizeof bytes);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return TRUE;
    if (n <= 0)
        return FALSE;
    take(c, bytes, (gsize)n);
    c->heard_ms = now_ms();
    return TRUE;
}

static void feed(Child *c)
{
    if (c->taken == c->made) {
        gssize n = c->run->read(c->run->data, c->buffer, BUFFER_BYTES, &c->failure);
        if (n <= 0) {
            /* On an error the child is ended before its input is closed: the end of its input
             * would make it store what it has. */
            if (n == 0)
                durable_close(&c->in);
            return;
        }
        c->taken = 0;
        c->made = (gsize)n;
    }
    gssize n = send(c->in, c->buffer + c->taken, c->made - c->taken, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        c->taken += (gsize)n;
        c->heard_ms = now_ms();
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        durable_close(&c->in); /* it has ended: its messages say why */
    }
}

static void end_child(Child *c)
{
    gint64 until = now_ms() + TERM_MS;

    g_subprocess_send_signal(c->process, SIGTERM);
    while (c->err >= 0 && now_ms() < until) { /* it closes it when it ends */
        struct pollfd polled[2] = { { c->err, POLLIN, 0 }, { c->out, POLLIN, 0 } };
        if (poll(polled, 2, LOOK_MS) < 0 && errno != EINTR)
            break;
        if (polled[0].revents && !drain(c, c->err, take_messages))
            c->err = -1;
        if (polled[1].revents && !drain(c, c->out, take_output))
            c->out = -1;
    }
    g_subprocess_force_exit(c->process);
}

static void check_limits(Child *c)
{
    if (c->failure)
        return;
    if (c->run->cancel && g_atomic_int_get(c->run->cancel))
        g_set_error(&c->failure, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    else if (!c->run->may_be_silent && now_ms() - c->heard_ms > SILENCE_MS)
        g_set_error(&c->failure, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "borg did nothing for %d minutes: the other side does not answer",
                    SILENCE_MS / 60000);
}

static void serve(Child *c)
{
    while (c->out >= 0 || c->err >= 0) {
        struct pollfd polled[3] = { { c->out, POLLIN, 0 },
                                    { c->err, POLLIN, 0 },
                                    { c->in, POLLOUT, 0 } };

        check_limits(c);
        if (c->failure) {
            end_child(c);
            return;
        }
        if (poll(polled, 3, LOOK_MS) < 0)
            continue;
        if (polled[0].revents && !drain(c, c->out, take_output))
            c->out = -1;
        if (polled[1].revents && !drain(c, c->err, take_messages))
            c->err = -1;
        if (polled[2].revents && c->in >= 0)
            feed(c);
    }
}

/* ---- start and end ---- */

static void set_environment(GSubprocessLauncher *launcher, const BorgPlace *place)
{
    static const char *const settings[][2] = {
        { "BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes" },
        { "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes" },
        { "BORG_DISPLAY_PASSPHRASE", "no" },
        { "BORG_EXIT_CODES", "legacy" },
        { "LC_ALL", "C.UTF-8" },
        { "TZ", "UTC" }, /* of the times in lists, which have no zone */
    };
    g_auto(GStrv) names = g_listenv();

    for (guint i = 0; names[i]; i++) { /* nothing of it comes from whoever started the daemon */
        if (g_str_has_prefix(names[i], "BORG_") && !g_str_equal(names[i], "BORG_RSH"))
            g_subprocess_launcher_unsetenv(launcher, names[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(settings); i++)
        g_subprocess_launcher_setenv(launcher, settings[i][0], settings[i][1], TRUE);
    g_subprocess_launcher_setenv(launcher, "BORG_RSH", SSH, FALSE);
    g_subprocess_launcher_setenv(launcher, "BORG_BASE_DIR", place->base_dir, TRUE);
    g_subprocess_launcher_setenv(launcher, "BORG_PASSPHRASE",
                                 place->passphrase ? place->passphrase : "", TRUE);
}

static gboolean start(Child *c, const BorgPlace *place, const char *const *argv, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autoptr(GError) local = NULL;
    int sockets[2] = { -1, -1 };

    if (c->run->read) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
            imaged_error_set_errno(error, errno, "cannot make a socket");
            return FALSE;
        }
        c->in = sockets[0];
        c->buffer = g_malloc(BUFFER_BYTES);
        g_subprocess_launcher_take_stdin_fd(launcher, sockets[1]);
    } else if (c->run->input >= 0) {
        g_subprocess_launcher_take_stdin_fd(launcher, fcntl(c->run->input, F_DUPFD_CLOEXEC, 3));
    }
    set_environment(launcher, place);
    c->process = g_subprocess_launcher_spawnv(launcher, argv, &local);
    if (!c->process) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot start borg: %s",
                    local->message);
        imaged_error_hint(error, "is the package borgbackup installed?");
        return FALSE;
    }
    g_object_unref(g_steal_pointer(&launcher)); /* closes our copy of the child's input */
    c->out =
        g_unix_input_stream_get_fd(G_UNIX_INPUT_STREAM(g_subprocess_get_stdout_pipe(c->process)));
    c->err =
        g_unix_input_stream_get_fd(G_UNIX_INPUT_STREAM(g_subprocess_get_stderr_pipe(c->process)));
    return TRUE;
}

static gboolean judge(Child *c, const BorgPlace *place, GError **error)
{
    GSubprocess *p = c->process;
    int code = g_subprocess_get_if_exited(p) ? g_subprocess_get_exit_status(p) : -1;
    g_autofree char *killed = NULL;

    if (c->failure) {
        g_propagate_error(error, g_steal_pointer(&c->failure));
        return FALSE;
    }
    if (code == 0 || (code == 1 && c->run->warnings_are_ok))
        return TRUE;
    if (code < 0)
        killed = g_strdup_printf("borg was ended by signal %d", g_subprocess_get_term_sig(p));
    const char *text = killed ? killed : c->message ? c->message : c->last;
    borg_set_error(place, killed ? NULL : c->msgid, text ? text : "borg failed without a word",
                   error);
    return FALSE;
}

gboolean borg_run(const BorgPlace *place, const char *const *argv, const BorgRun *run,
                  GError **error)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new();
    g_auto(Child) c = { .run = run,
                        .in = -1,
                        .out = -1,
                        .err = -1,
                        .line = g_string_new(NULL),
                        .text = g_string_new(NULL),
                        .heard_ms = now_ms() };

    /* The command is the first word; options common to all commands go behind it. */
    g_ptr_array_add(args, (gpointer) "borg");
    g_ptr_array_add(args, (gpointer)argv[0]);
    g_ptr_array_add(args, (gpointer) "--log-json");
    g_ptr_array_add(args, (gpointer) "--lock-wait=120");
    for (guint i = 1; argv[i]; i++)
        g_ptr_array_add(args, (gpointer)argv[i]);
    g_ptr_array_add(args, NULL);
    if (!start(&c, place, (const char *const *)args->pdata, error))
        return FALSE;
    serve(&c);
    g_subprocess_wait(c.process, NULL, NULL);
    take_line(&c, c.line->str);
    if (!judge(&c, place, error))
        return FALSE;
    if (run->ret_text)
        *run->ret_text = g_string_free(g_steal_pointer(&c.text), FALSE);
    return TRUE;
}
