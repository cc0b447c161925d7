/* test_ssh_socket.c: the command for a host's address, and its child, whatever that does. */
#include "broker/host/ssh_socket.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static void test_ways(void)
{
    g_assert_cmpint(host_sockets("qemu:///system"), ==, SOCKETS_BY_LIBVIRT);
    g_assert_cmpint(host_sockets("qemu+unix:///system?socket=/x"), ==, SOCKETS_BY_LIBVIRT);
    g_assert_cmpint(host_sockets("test:///default"), ==, SOCKETS_BY_LIBVIRT);
    g_assert_cmpint(host_sockets("qemu+ssh://root@vs-a/system"), ==, SOCKETS_BY_SSH);
    g_assert_cmpint(host_sockets("qemu+tls://vs-a/system"), ==, SOCKETS_OUT_OF_REACH);
    g_assert_cmpint(host_sockets("qemu+tcp://vs-a/system"), ==, SOCKETS_OUT_OF_REACH);
}

/* expected: what stands behind ssh's own settings, without the remote command; NULL: refused. */
static void command(const char *uri, const char *expected)
{
    g_auto(GStrv) argv = ssh_socket_command(uri, "/run/v.sock", NULL);

    if (!expected) {
        g_assert_null(argv);
        return;
    }
    guint n = g_strv_length(argv);
    g_assert_cmpstr(argv[0], ==, "ssh");
    g_assert_true(g_strv_contains((const char *const *)argv, "-oBatchMode=yes"));
    g_assert_nonnull(strstr(argv[n - 1], "/run/v.sock"));
    g_clear_pointer(&argv[n - 1], g_free);
    g_autofree char *all = g_strjoinv(" ", argv);
    g_assert_cmpstr(strstr(all, "CountMax=3") + strlen("CountMax=3"), ==, expected);
}

static void test_command(void)
{
    command("qemu+ssh://vs-a/system", " -- vs-a");
    command("qemu+ssh://imaged@vs-a:2022/system?keyfile=/etc/k%20ey&no_tty=1",
            " -p 2022 -l imaged -i /etc/k ey -- vs-a");
    command("qemu+ssh://root@[fe80::7]/system?no_verify=1",
            " -l root -o StrictHostKeyChecking=no -- fe80::7");
    command("qemu+ssh://vs-a/system?no_verify=0&keyfile=", " -- vs-a");
    command("qemu+ssh://-oProxyCommand=x/system", " -- -oProxyCommand=x");
    command("qemu+tls://vs-a/system", NULL);
    command("qemu+ssh:///system", NULL);
    g_assert_null(ssh_socket_command("qemu+ssh://vs-a/system", "v.sock", NULL));
}

/* The path is a text for two shells, the user's own and sh. */
static void test_quoting(void)
{
    static const char hostile[] = "/x'; touch /nonexistent/y; \"$(z)\" `w` '";
    g_auto(GStrv) argv = ssh_socket_command("qemu+ssh://vs-a/system", hostile, NULL);
    g_auto(GStrv) outer = NULL, inner = NULL;

    g_assert_true(g_shell_parse_argv(argv[g_strv_length(argv) - 1], NULL, &outer, NULL));
    g_assert_cmpuint(g_strv_length(outer), ==, 3);
    g_assert_cmpstr(outer[1], ==, "-c");
    g_assert_true(g_shell_parse_argv(strrchr(outer[2], ';') ? outer[2] : "", NULL, &inner, NULL));
    g_assert_cmpstr(inner[g_strv_length(inner) - 1], ==, hostile);
}

/* ---- Children ---- */

typedef struct {
    char *dir, *path, *old_path, *pid_file;
    guint n_asked, max_asked;
} Fixture;

static void set_up(Fixture *f, gconstpointer script)
{
    f->dir = g_dir_make_tmp("ssh-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "ssh", NULL);
    f->pid_file = g_build_filename(f->dir, "pid", NULL);
    f->max_asked = G_MAXUINT;
    g_autofree char *text =
        g_strdup_printf("#!/bin/sh\necho $$ >%s\n%s\n", f->pid_file, (const char *)script);
    g_assert_true(g_file_set_contents_full(f->path, text, -1, 0, 0755, NULL));
    f->old_path = g_strdup(g_getenv("PATH"));
    g_autofree char *path = g_strdup_printf("%s:%s", f->dir, f->old_path);
    g_setenv("PATH", path, TRUE);
}

static void tear_down(Fixture *f, gconstpointer script)
{
    g_autofree char *pid = NULL;
    g_autofree char *process = NULL;

    /* it has been waited for, whatever it did */
    if (g_file_get_contents(f->pid_file, &pid, NULL, NULL)) {
        process = g_strdup_printf("/proc/%d", atoi(pid));
        g_assert_false(g_file_test(process, G_FILE_TEST_EXISTS));
    }
    g_setenv("PATH", f->old_path, TRUE);
    g_unlink(f->pid_file);
    g_unlink(f->path);
    g_rmdir(f->dir);
    g_free(f->dir);
    g_free(f->path);
    g_free(f->old_path);
    g_free(f->pid_file);
}

static gboolean goes_on(gpointer data)
{
    Fixture *f = data;

    return f->n_asked++ < f->max_asked;
}

static SshSocket *open_it(Fixture *f, int *ret_fd, GError **error)
{
    return ssh_socket_open("qemu+ssh://vs-a/system", "/run/v.sock", goes_on, f, ret_fd, error);
}

static void test_speaks(Fixture *f, gconstpointer script)
{
    auto_fd fd = -1;
    g_autoptr(SshSocket) s = open_it(f, &fd, NULL);
    char text[6] = "";

    g_assert_nonnull(s);
    g_assert_cmpint(recv(fd, text, 4, MSG_WAITALL), ==, 4);
    g_assert_cmpstr(text, ==, "RFB\n"); /* all of it is still there */
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
    g_assert_cmpint(write(fd, "back\n", 5), ==, 5);
    g_assert_cmpint(recv(fd, text, 5, MSG_WAITALL), ==, 5);
    g_assert_cmpstr(text, ==, "back\n");
}

static void fails(Fixture *f, int code, const char *says, const char *hint)
{
    g_autoptr(GError) error = NULL;
    int fd = -1;

    g_assert_null(open_it(f, &fd, &error));
    g_assert_error(error, IMAGED_ERROR, code);
    g_assert_nonnull(strstr(error->message, says));
    if (hint)
        g_assert_nonnull(strstr(imaged_error_get_hint(error), hint));
    g_assert_cmpint(fd, ==, -1);
}

static void test_no_group(Fixture *f, gconstpointer script)
{
    fails(f, IMAGED_ERROR_DENIED, "ssh: nc: Permission denied", "libvirt-qemu");
}

static void test_no_nc(Fixture *f, gconstpointer script)
{
    fails(f, IMAGED_ERROR_UNAVAILABLE, "not found", "netcat-openbsd");
}

static void test_silent_end(Fixture *f, gconstpointer script)
{
    fails(f, IMAGED_ERROR_UNAVAILABLE, "it says nothing", NULL);
}

/* Nor does it end when it is asked to. */
static void test_hangs(Fixture *f, gconstpointer script)
{
    f->max_asked = 10;
    fails(f, IMAGED_ERROR_CANCELLED, "nobody wants it", NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ssh-socket/ways", test_ways);
    g_test_add_func("/ssh-socket/command", test_command);
    g_test_add_func("/ssh-socket/quoting", test_quoting);
#define ADD(name, script, function) g_test_add(name, Fixture, script, set_up, function, tear_down)
    ADD("/ssh-socket/speaks", "echo RFB; exec cat", test_speaks);
    ADD("/ssh-socket/no-group", "echo warning >&2; echo 'nc: Permission denied' >&2; exit 1",
        test_no_group);
    ADD("/ssh-socket/no-nc", "echo 'sh: 1: exec: nc: not found' >&2; exit 127", test_no_nc);
    ADD("/ssh-socket/silent-end", "exit 1", test_silent_end);
    ADD("/ssh-socket/hangs", "trap '' TERM; while :; do sleep 0.1; done", test_hangs);
    return g_test_run();
}
