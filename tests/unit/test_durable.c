/* test_durable.c: what the wrappers refuse, and that a fault stops them at the very change named.
 */
#include <glib.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static char *folder, *self;
static int dir = -1;

static void write_text(const char *name, const char *text)
{
    auto_fd fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

/* Its content; NULL if there is none. */
static char *read_text(const char *name)
{
    char *data = NULL;

    durable_read(dir, name, 100000, &data, NULL, NULL);
    return data;
}

static void check_text(const char *name, const char *want)
{
    g_autofree char *got = read_text(name);

    g_assert_cmpstr(got, ==, want);
}

static void remove_all(void)
{
    GDir *list = g_dir_open(folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(list))) {
        if (unlinkat(dir, name, 0) < 0)
            unlinkat(dir, name, AT_REMOVEDIR);
    }
    g_dir_close(list);
}

#define REFUSED(call, code)                                                                        \
    do {                                                                                           \
        g_autoptr(GError) refused = NULL;                                                          \
        GError **error = &refused;                                                                 \
        g_assert_false(call);                                                                      \
        g_assert_error(refused, IMAGED_ERROR, code);                                               \
    } while (0)

static void test_create(void)
{
    g_autoptr(GError) failure = NULL;

    write_text("there", "old");
    g_assert_cmpint(symlinkat("nowhere", dir, "link"), ==, 0);
    REFUSED(durable_create(dir, "there", 0, 0600, error) >= 0, IMAGED_ERROR_EXISTS);
    REFUSED(durable_create(dir, "link", 0, 0600, error) >= 0, IMAGED_ERROR_EXISTS);
    REFUSED(durable_create(dir, "no/folder", 0, 0600, error) >= 0, IMAGED_ERROR_NOT_FOUND);
    check_text("there", "old");
    check_text("nowhere", NULL);
    auto_fd fd = durable_create(dir, "new", 0, 0640, &failure);
    g_assert_no_error(failure);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
    g_assert_true(durable_write(fd, "abcdef", 6, 10, &failure));
    g_assert_true(durable_truncate(fd, 14, &failure));
    g_assert_true(durable_truncate(fd, 20, &failure));
    g_assert_true(durable_chmod(fd, 0440, &failure));
    g_assert_true(durable_sync(fd, &failure));
    g_assert_true(durable_sync_dir(dir, &failure));
    g_assert_true(durable_sync_fs(dir, &failure));
    gsize len;
    g_autofree char *data = NULL;
    g_assert_true(durable_read(dir, "new", 20, &data, &len, &failure));
    g_assert_cmpmem(data, len, "\0\0\0\0\0\0\0\0\0\0abcd\0\0\0\0\0\0", 20);
    REFUSED(durable_write(-1, "x", 1, 0, error), IMAGED_ERROR_UNAVAILABLE);
    REFUSED(durable_truncate(-1, 0, error), IMAGED_ERROR_UNAVAILABLE);
    REFUSED(durable_sync(-1, error), IMAGED_ERROR_UNAVAILABLE);
    auto_fd full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    REFUSED(durable_write(full, "x", 1, 0, error), IMAGED_ERROR_NO_SPACE);
}

static void test_names(void)
{
    g_autoptr(GError) failure = NULL;

    write_text("a", "A");
    write_text("b", "B");
    REFUSED(durable_rename(dir, "a", dir, "b", FALSE, error), IMAGED_ERROR_EXISTS);
    REFUSED(durable_rename(dir, "none", dir, "c", FALSE, error), IMAGED_ERROR_NOT_FOUND);
    REFUSED(durable_link(dir, "a", dir, "b", error), IMAGED_ERROR_EXISTS);
    check_text("a", "A");
    check_text("b", "B");
    g_assert_true(durable_rename(dir, "a", dir, "c", FALSE, &failure));
    g_assert_true(durable_rename(dir, "c", dir, "b", TRUE, &failure));
    check_text("a", NULL);
    check_text("b", "A");
    g_assert_true(durable_link(dir, "b", dir, "d", &failure));
    check_text("d", "A");
    for (guint i = 0; i < 2; i++) /* what is not there is deleted already */
        g_assert_true(durable_unlink(dir, "d", &failure));
    for (guint i = 0; i < 2; i++)
        g_assert_true(durable_mkdir(dir, "sub", 02770, &failure));
    struct stat st;
    g_assert_cmpint(fstatat(dir, "sub", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 02770);
    REFUSED(durable_mkdir(dir, "b", 0770, error), IMAGED_ERROR_EXISTS);
    REFUSED(durable_unlink(dir, "sub", error), IMAGED_ERROR_UNAVAILABLE); /* not a file */
}

/* Threads that need the same folder at the same moment: it is there for all of them. */
static gpointer make_many(gpointer failures)
{
    for (guint i = 0; i < 500; i++) {
        g_autofree char *name = g_strdup_printf("same-%u", i);
        if (!durable_mkdir(dir, name, 02770, NULL))
            g_atomic_int_inc((gint *)failures);
    }
    return NULL;
}

static void test_mkdir_race(void)
{
    GThread *threads[4];
    gint n_failures = 0;

    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("mkdir", make_many, &n_failures);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(n_failures, ==, 0);
}

static void test_read(void)
{
    g_autofree char *data = NULL, *path = g_build_filename(folder, "fifo", NULL);
    g_autoptr(GError) failure = NULL;
    gsize len;

    write_text("ten", "0123456789");
    write_text("empty", "");
    g_assert_cmpint(symlinkat("ten", dir, "link"), ==, 0);
    g_assert_cmpint(mkdirat(dir, "sub", 0700), ==, 0);
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    g_assert_true(durable_read(dir, "ten", 10, &data, NULL, &failure));
    g_assert_cmpstr(data, ==, "0123456789");
    g_clear_pointer(&data, g_free);
    g_assert_true(durable_read(dir, "empty", 0, &data, &len, &failure));
    g_assert_cmpstr(data, ==, "");
    g_assert_cmpuint(len, ==, 0);
    g_clear_pointer(&data, g_free);
    REFUSED(durable_read(dir, "ten", 9, &data, &len, error), IMAGED_ERROR_INVALID);
    REFUSED(durable_read(dir, "none", 9, &data, &len, error), IMAGED_ERROR_NOT_FOUND);
    REFUSED(durable_read(dir, "sub", 9, &data, &len, error), IMAGED_ERROR_INVALID);
    REFUSED(durable_read(dir, "fifo", 9, &data, &len, error), IMAGED_ERROR_INVALID);
    REFUSED(durable_read(dir, "link", 10, &data, &len, error), IMAGED_ERROR_UNAVAILABLE);
    g_assert_null(data);
}

static void test_replace(void)
{
    g_autoptr(GError) failure = NULL;

    write_text(".file.new", "left by a stop");
    g_assert_true(durable_replace(dir, "file", "one", 3, 0640, &failure));
    check_text("file", "one");
    auto_fd old = openat(dir, "file", O_RDONLY | O_CLOEXEC);
    g_assert_true(durable_replace(dir, "file", "two", 3, 0640, &failure));
    check_text("file", "two");
    check_text(".file.new", NULL);
    char text[4] = "";
    g_assert_cmpint(read(old, text, 3), ==, 3); /* who had it open still sees a whole file */
    g_assert_cmpstr(text, ==, "one");
    REFUSED(durable_replace(dir, "no/file", "x", 1, 0640, error), IMAGED_ERROR_NOT_FOUND);
}

/* ---- Faults ---- */

#define N_REPLACES 3

/* In the child: replace a file a few times; say which of them were done. */
static int work(const char *at)
{
    dir = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (guint i = 0; i < N_REPLACES; i++) {
        g_autofree char *text = g_strdup_printf("%u", i + 1);
        g_autoptr(GError) error = NULL;
        if (durable_replace(dir, "file", text, 1, 0600, &error))
            g_print("%s", text);
        else
            g_print("(%s)", imaged_error_name(error->code));
    }
    g_print("!%d", (int)durable_n_changes());
    return 0;
}

static int run_child(const char *fault, char **ret_out)
{
    const char *argv[] = { self, "--work", folder, NULL };
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "IMAGED_FAULT", fault, TRUE);
    g_autoptr(GError) error = NULL;
    int status;

    remove_all();
    write_text("file", "0");
    g_spawn_sync(NULL, (char **)argv, env, 0, NULL, NULL, ret_out, NULL, &status, &error);
    g_assert_no_error(error);
    return status;
}

static guint n_of_a_calm_run(void)
{
    g_autofree char *out = NULL;

    g_assert_cmpint(run_child("", &out), ==, 0);
    g_assert_true(g_str_has_prefix(out, "123!"));
    return (guint)atoi(out + 4);
}

static void test_kill(void)
{
    guint n = n_of_a_calm_run();
    gint last = 0;

    g_assert_cmpuint(n % N_REPLACES, ==, 0);
    for (guint i = 1; i <= n + 1; i++) {
        g_autofree char *fault = g_strdup_printf("kill:%u", i), *out = NULL, *text = NULL;
        int status = run_child(fault, &out);
        g_assert_true(i > n ? status == 0 : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        text = read_text("file");
        g_assert_cmpuint(strlen(text), ==, 1); /* never empty, never half */
        g_assert_cmpint(text[0] - '0', >=, last);
        last = text[0] - '0';
    }
    g_assert_cmpint(last, ==, N_REPLACES);
}

static void test_errno(gconstpointer data)
{
    const char *how = data, *code = g_str_equal(how, "eio") ? "(unavailable)" : "(no_space)";
    guint n = n_of_a_calm_run(), per = n / N_REPLACES;

    for (guint i = 1; i <= n; i++) {
        g_autofree char *fault = g_strdup_printf("%s:%u", how, i), *out = NULL;
        g_autoptr(GString) want = g_string_new(NULL);
        g_assert_cmpint(run_child(fault, &out), ==, 0);
        for (guint k = 0; k < N_REPLACES; k++) /* one of them fails, and that one alone */
            if (k == (i - 1) / per)
                g_string_append(want, code);
            else
                g_string_append_printf(want, "%u", k + 1);
        g_assert_true(g_str_has_prefix(out, want->str));
        check_text("file", i > n - per && i < n ? "2" : "3");
    }
}

static void run_clean(gconstpointer test)
{
    remove_all();
    ((void (*)(void))test)();
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], "--work"))
        return work(argv[2]);
    g_test_init(&argc, &argv, NULL);
    self = g_file_read_link("/proc/self/exe", NULL);
    folder = g_dir_make_tmp("imaged-unit-XXXXXX", NULL);
    dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_test_add_data_func("/durable/create", test_create, run_clean);
    g_test_add_data_func("/durable/names", test_names, run_clean);
    g_test_add_data_func("/durable/mkdir-race", test_mkdir_race, run_clean);
    g_test_add_data_func("/durable/read", test_read, run_clean);
    g_test_add_data_func("/durable/replace", test_replace, run_clean);
    g_test_add_data_func("/durable/fault/kill", test_kill, run_clean);
    g_test_add_data_func("/durable/fault/eio", "eio", test_errno);
    g_test_add_data_func("/durable/fault/enospc", "enospc", test_errno);
    int ret = g_test_run();
    remove_all();
    close(dir);
    rmdir(folder);
    g_free(folder);
    g_free(self);
    return ret;
}
