/* test_health_command.c: commands that end well, badly, not at all; those that are not run. */
#include "snapshot/health_command.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static char *folder;

static void write_command(const char *name, const char *text, mode_t mode)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *script = g_strconcat("#!/bin/sh\n", text, "\n", NULL);

    g_assert_true(g_file_set_contents(path, script, -1, NULL));
    g_assert_cmpint(chmod(path, mode), ==, 0);
}

static gboolean run(const char *text, gint64 limit_ms, const gint *cancel, GError **error)
{
    const char *environment[] = { "PATH=/usr/bin:/bin", "IMAGED_DESKTOP=lab-1", NULL };

    write_command("it", text, 0755);
    auto_fd fd = health_command_open(folder, "it", error);
    g_assert_cmpint(fd, >=, 0);
    HealthCommand command = { .name = "it",
                              .fd = fd,
                              .user = geteuid() == 0 ? "nobody" : HEALTH_USER_SELF,
                              .environment = environment,
                              .limit_ms = limit_ms,
                              .cancel = cancel };
    return health_command_run(&command, error);
}

static void test_ends(void)
{
    const struct {
        const char *text, *message; /* NULL: it is well */
    } table[] = {
        { "exit 0", NULL },
        { "echo much; echo ado >&2", NULL },
        { "[ \"$IMAGED_DESKTOP\" = lab-1 ] && [ $# = 0 ] && [ \"$(pwd)\" = / ]", NULL },
        { "! read line", NULL }, /* there is no input */
        { "exit 3", "exit code 3" },
        { "echo one; echo two >&2; exit 1", "exit code 1: one | two" },
        { "for i in 1 2 3 4 5 6 7; do echo $i; done; exit 1", "exit code 1: 3 | 4 | 5 | 6 | 7" },
        { "kill -SEGV $$", "ended by signal 11" },
        { "echo last; kill -9 $$", "ended by signal 9: last" },
        { "sleep 100 & exit 4", "exit code 4" }, /* what it leaves behind does not hold us up */
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        gint64 started = g_get_monotonic_time();
        gboolean ok = run(table[i].text, 60000, NULL, &error);
        g_test_message("%s: %s", table[i].text, error ? error->message : "well");
        g_assert_cmpint(g_get_monotonic_time() - started, <, 50 * G_USEC_PER_SEC);
        g_assert_cmpint(ok, ==, table[i].message == NULL);
        if (table[i].message) {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED);
            g_assert_cmpstr(error->message, ==, table[i].message);
        }
    }
}

/* Words of any length and kind make a message of some hundred characters. */
static void test_words(void)
{
    static const char *const texts[] = {
        "head -c 30000000 /dev/zero | tr '\\0' x; exit 1",
        "head -c 300000 /dev/urandom; exit 1",
        "printf '\\377\\033[31m\\r\\n\\0\\n'; exit 1",
        "yes | head -c 5000000; exit 1",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(run(texts[i], 60000, NULL, &error));
        g_assert_true(g_str_has_prefix(error->message, "exit code 1"));
        g_assert_cmpuint(strlen(error->message), <, 3000);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        g_assert_null(strchr(error->message, '\033'));
    }
}

/* Does it end soon?  A zombie, which nobody has reaped yet, has. */
static gboolean is_dead(gint64 pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/stat", pid);
    gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (g_get_monotonic_time() < until) {
        g_autofree char *stat = NULL;
        if (!g_file_get_contents(path, &stat, NULL, NULL) || strstr(stat, ") Z"))
            return TRUE;
        g_usleep(10000);
    }
    return FALSE;
}

static void test_limit(void)
{
    g_autofree char *mark = g_build_filename(folder, "pid", NULL);
    g_autofree char *pid = NULL;
    g_autofree char *text = g_strdup_printf("sleep 1000 & echo $! >%s; trap '' TERM; wait", mark);
    g_autoptr(GError) error = NULL;
    gint cancelled = 1;

    g_assert_cmpint(chmod(folder, 0777), ==, 0);
    g_assert_true(g_file_set_contents(mark, "", 0, NULL));
    g_assert_cmpint(chmod(mark, 0666), ==, 0);
    g_assert_cmpint(chmod(folder, 0755), ==, 0);
    g_assert_false(run(text, 2000, NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED);
    g_assert_cmpstr(error->message, ==, "no answer within 2 s");
    g_assert_true(g_file_get_contents(mark, &pid, NULL, NULL));
    gint64 child = g_ascii_strtoll(pid, NULL, 10);
    g_assert_cmpint(child, >, 1);
    g_assert_true(is_dead(child));
    g_clear_error(&error);

    g_assert_false(run("sleep 1000", 60000, &cancelled, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED);
}

static void expect_refused(const char *name, gint code, const char *part)
{
    g_autoptr(GError) error = NULL;
    int fd = health_command_open(folder, name, &error);

    g_assert_cmpint(fd, ==, -1);
    g_assert_error(error, IMAGED_ERROR, code);
    g_assert_nonnull(strstr(error->message, part));
}

static void test_refused(void)
{
    static const char *const names[] = { "", "/bin/true", "../it", ".", "it now", "it;id", "-x" };
    g_autofree char *link = g_build_filename(folder, "link", NULL);
    g_autofree char *inner = g_build_filename(folder, "inner", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        expect_refused(names[i], IMAGED_ERROR_INVALID, "without a path");
    expect_refused("nosuch", IMAGED_ERROR_NOT_FOUND, "nosuch");
    write_command("plain", "exit 0", 0644);
    expect_refused("plain", IMAGED_ERROR_INVALID, "not an executable");
    write_command("loose", "exit 0", 0777);
    expect_refused("loose", IMAGED_ERROR_DENIED, "changed by others");
    write_command("shared", "exit 0", 0775);
    expect_refused("shared", IMAGED_ERROR_DENIED, "changed by others");
    g_assert_cmpint(symlink("/bin/true", link), ==, 0);
    expect_refused("link", IMAGED_ERROR_UNAVAILABLE, "link");
    g_assert_cmpint(g_mkdir(inner, 0755), ==, 0);
    expect_refused("inner", IMAGED_ERROR_INVALID, "not an executable");

    write_command("it", "exit 0", 0755);
    g_assert_cmpint(chmod(folder, 0775), ==, 0);
    expect_refused("it", IMAGED_ERROR_DENIED, "folder");
    g_assert_cmpint(chmod(folder, 0755), ==, 0);
}

/* Without root no rights can be taken from it: then it must be said that it may have them. */
static void test_user_not_root(void)
{
    g_autoptr(GError) error = NULL;
    HealthUser user;

    gboolean is_root = geteuid() == 0;

    g_assert_true(!is_root || seteuid(65534) == 0);
    g_assert_false(health_command_user("nobody", &user, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED);
    g_clear_error(&error);
    g_assert_true(health_command_user(HEALTH_USER_SELF, &user, &error));
    g_assert_no_error(error);
    g_assert_false(user.drops);
    g_assert_true(!is_root || seteuid(0) == 0);
    if (is_root) {
        g_assert_false(health_command_user(HEALTH_USER_SELF, &user, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

static void test_user(void)
{
    const char *environment[] = { NULL };
    g_autoptr(GError) error = NULL;

    if (geteuid() != 0)
        return; /* then no rights are given away */
    g_assert_true(run("[ \"$(id -u)\" != 0 ] && [ \"$(id -G)\" = \"$(id -g)\" ] &&"
                      " grep -q 'NoNewPrivs:.*1' /proc/self/status",
                      60000, NULL, &error));
    auto_fd fd = health_command_open(folder, "it", &error);
    HealthCommand command = {
        .name = "it", .fd = fd, .environment = environment, .limit_ms = 1000
    };
    static const char *const users[] = { "root", "no-such-user" };
    for (guint i = 0; i < G_N_ELEMENTS(users); i++) {
        command.user = users[i];
        g_assert_false(health_command_run(&command, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_clear_error(&error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("imagedXXXXXX", NULL);
    g_assert_cmpint(chmod(folder, 0755), ==, 0);
    g_test_add_func("/health-command/ends", test_ends);
    g_test_add_func("/health-command/words", test_words);
    g_test_add_func("/health-command/limit", test_limit);
    g_test_add_func("/health-command/refused", test_refused);
    g_test_add_func("/health-command/user", test_user);
    g_test_add_func("/health-command/user-not-root", test_user_not_root);
    int result = g_test_run();
    g_autofree char *command = g_strdup_printf("rm -rf %s", folder);
    g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL);
    g_free(folder);
    return result;
}
