/* test_journal.c: append, read, compact; torn tails, damage, failed writes. */
#include <glib.h>
#include <glib/gstdio.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cow/journal.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define NAME "journal"
#define HEAD 24u /* bytes in front of a record's payload */

static char *folder, *self;
static int folder_fd = -1;

static gboolean collect(guint64 seq, const char *data, gsize len, gpointer user, GError **error)
{
    g_autofree char *text = g_strndup(data, len);

    g_assert_cmpuint(strlen(text), ==, len);
    g_string_append_printf(user, "%" G_GUINT64_FORMAT ":%s;", seq, text);
    return TRUE;
}

/* What is in the journal above after, as "SEQ:TEXT;..."; or the error's name. */
static char *contents(Journal *j, guint64 after)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    if (!journal_read(j, after, collect, out, &error))
        g_string_append(out, imaged_error_name(error->code));
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static void check_contents(Journal *j, guint64 after, const char *want)
{
    g_autofree char *got = contents(j, after);

    g_assert_cmpstr(got, ==, want);
}

static Journal *open_journal(void)
{
    g_autoptr(GError) error = NULL;
    Journal *j = journal_open(folder_fd, NAME, TRUE, &error);

    g_assert_no_error(error);
    return j;
}

static void append(Journal *j, guint64 seq, const char *text)
{
    g_autoptr(GError) error = NULL;

    journal_append(j, seq, text, strlen(text), &error);
    g_assert_no_error(error);
}

/* Opened anew: the same, and can be appended to. */
static Journal *reopen(Journal *j, const char *want)
{
    journal_free(j);
    j = open_journal();
    check_contents(j, 0, want);
    return j;
}

static void test_append(void)
{
    g_autoptr(GError) error = NULL;
    Journal *j;

    unlinkat(folder_fd, NAME, 0);
    g_assert_null(journal_open(folder_fd, NAME, FALSE, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    j = open_journal();
    g_assert_cmpuint(journal_last_seq(j), ==, 0);
    check_contents(j, 0, "");
    append(j, 1, "one");
    append(j, 2, "");
    append(j, 7, "eight by");
    check_contents(j, 0, "1:one;2:;7:eight by;");
    check_contents(j, 1, "2:;7:eight by;");
    check_contents(j, 6, "7:eight by;");
    check_contents(j, 7, "");
    g_assert_cmpuint(journal_size(j), ==, 3 * HEAD + 16);
    g_assert_cmpuint(journal_base_size(j), ==, HEAD + 8);
    j = reopen(j, "1:one;2:;7:eight by;");
    g_assert_cmpuint(journal_last_seq(j), ==, 7);
    g_assert_cmpuint(journal_size(j), ==, 3 * HEAD + 16);
    g_assert_cmpuint(journal_base_size(j), ==, HEAD + 8);

    static const guint64 refused[] = { 0, 1, 6, 7 };
    for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_clear_error(&error);
        g_assert_false(journal_append(j, refused[i], "x", 1, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED);
    }
    append(j, G_MAXINT64, "far");
    j = reopen(j, "1:one;2:;7:eight by;9223372036854775807:far;");
    journal_free(j);
}

static void test_compact(void)
{
    Journal *j;
    g_autoptr(GError) error = NULL;

    unlinkat(folder_fd, NAME, 0);
    j = open_journal();
    for (guint i = 1; i <= 20; i++)
        append(j, i, "a record");
    g_assert_true(journal_compact(j, 21, "all", 3, &error));
    check_contents(j, 0, "21:all;");
    check_contents(j, 20, "21:all;");
    g_assert_cmpuint(journal_size(j), ==, journal_base_size(j));
    g_assert_false(journal_append(j, 21, "x", 1, NULL));
    append(j, 22, "next");
    j = reopen(j, "21:all;22:next;");
    g_assert_true(journal_compact(j, 23, "", 0, &error));
    j = reopen(j, "23:;");
    /* What could not be read back is not written: the data is never looked at. */
    g_assert_false(journal_compact(j, 24, NULL, 257 * MIB, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED);
    g_assert_false(journal_append(j, 24, NULL, 257 * MIB, NULL));
    append(j, 24, "fine");
    j = reopen(j, "23:;24:fine;");
    journal_free(j);
}

static void write_file(const char *data, gsize len)
{
    auto_fd fd = openat(folder_fd, NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(write(fd, data, len), ==, len);
}

static char *read_file(gsize *ret_len)
{
    char *data;

    g_assert_true(durable_read(folder_fd, NAME, MIB, &data, ret_len, NULL));
    return data;
}

/* A file that ends anywhere in the last record is cut back to the one before, and goes on. */
static void test_torn(void)
{
    gsize len;

    unlinkat(folder_fd, NAME, 0);
    Journal *j = open_journal();
    append(j, 1, "first record");
    gsize first = journal_size(j);
    append(j, 2, "the second one");
    journal_free(j);
    g_autofree char *data = read_file(&len);
    gsize whole = first + HEAD + strlen("the second one"); /* without the padding */

    for (gsize cut = 0; cut <= len; cut++) {
        gboolean one = cut >= HEAD + strlen("first record"), two = cut >= whole;
        write_file(data, cut);
        j = open_journal();
        check_contents(j, 0,
                       two   ? "1:first record;2:the second one;"
                       : one ? "1:first record;"
                             : "");
        append(j, 3, "after");
        j = reopen(j, two   ? "1:first record;2:the second one;3:after;"
                      : one ? "1:first record;3:after;"
                            : "3:after;");
        journal_free(j);
    }
    /* Part of it written, the rest zeros: what a file system may leave. */
    for (gsize from = first; from < whole; from++) {
        g_autofree char *torn = g_memdup2(data, len);
        memset(torn + from, 0, len - from);
        if (memcmp(torn, data, len) == 0)
            continue;
        write_file(torn, len);
        j = open_journal();
        check_contents(j, 0, "1:first record;");
        journal_free(j);
    }
}

/* Damage in front of a sound record is said, and nothing is cut off. */
static void test_damage(void)
{
    gsize len;

    unlinkat(folder_fd, NAME, 0);
    Journal *j = open_journal();
    append(j, 1, "first record");
    append(j, 2, "the second one");
    gsize second = journal_size(j);
    append(j, 3, "third");
    journal_free(j);
    g_autofree char *data = read_file(&len);

    for (gsize at = 0; at < second; at++) {
        g_autofree char *bad = g_memdup2(data, len);
        g_autoptr(GError) error = NULL;
        gsize after;
        bad[at] ^= 0x10;
        gsize in = at < 40 ? at : at - 40; /* within its record: 40 bytes each */
        if (in >= HEAD + (at < 40 ? strlen("first record") : strlen("the second one")))
            continue; /* padding says nothing */
        write_file(bad, len);
        g_assert_null(journal_open(folder_fd, NAME, TRUE, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
        g_autofree char *still = read_file(&after);
        g_assert_cmpmem(still, after, bad, len);
    }
    /* Two sound records whose numbers go back. */
    g_autofree char *twice = g_malloc(2 * len);
    memcpy(twice, data, len);
    memcpy(twice + len, data, len);
    write_file(twice, 2 * len);
    g_autoptr(GError) error = NULL;
    g_assert_null(journal_open(folder_fd, NAME, FALSE, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);

    for (guint round = 0; round < 200; round++) {
        guint8 data[300];
        gsize len = g_rand_int_range(rand, 0, sizeof data);
        for (gsize i = 0; i < len; i++)
            data[i] = i < 8 && round % 2 ? "IMJ1\x40\0\0\0"[i] : g_rand_int_range(rand, 0, 256);
        write_file((char *)data, len);
        g_autoptr(Journal) j = journal_open(folder_fd, NAME, FALSE, NULL);
        g_assert_nonnull(j); /* nothing sound in it: as if it was torn */
        g_assert_cmpuint(journal_last_seq(j), ==, 0);
    }
}

static gboolean stop(guint64 seq, const char *data, gsize len, gpointer user, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "enough");
    return FALSE;
}

static void test_visitor_stops(void)
{
    g_autoptr(GError) error = NULL;

    unlinkat(folder_fd, NAME, 0);
    Journal *j = open_journal();
    append(j, 1, "one");
    append(j, 2, "two");
    g_assert_false(journal_read(j, 0, stop, NULL, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    append(j, 3, "three");
    j = reopen(j, "1:one;2:two;3:three;");
    journal_free(j);
}

/* A write that stops in the middle leaves what was there before, and the journal usable. */
static void test_short_write(void)
{
    g_autofree char *big = g_strnfill(5000, 'x');
    struct rlimit before, limit;

    unlinkat(folder_fd, NAME, 0);
    Journal *j = open_journal();
    append(j, 1, "one");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){ 1000, before.rlim_max };
    setrlimit(RLIMIT_FSIZE, &limit);
    g_autoptr(GError) error = NULL;
    gboolean ok = journal_append(j, 2, big, 5000, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    g_assert_false(ok);
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    check_contents(j, 0, "1:one;");
    append(j, 2, "two");
    j = reopen(j, "1:one;2:two;");
    journal_free(j);
}

/* ---- Faults: this program runs itself with IMAGED_FAULT ---- */

/* In the child: print what was acknowledged, on standard output. */
static int work(const char *at)
{
    folder_fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(Journal) j = journal_open(folder_fd, NAME, TRUE, NULL);
    const char *words[] = { "a", "b", "c", "d", "e" };

    for (guint i = 0; j && i < G_N_ELEMENTS(words); i++) {
        guint64 seq = i + 1;
        if (i == 2 ? journal_compact(j, seq, "abc", 3, NULL)
                   : journal_append(j, seq, words[i], 1, NULL))
            g_print("%s", words[i]);
        else
            g_print("%c", g_ascii_toupper(words[i][0])); /* failed: may be there, or not */
        fflush(stdout);
    }
    g_print("!%" G_GUINT64_FORMAT, durable_n_changes());
    return 0;
}

static char *run_child(const char *fault)
{
    const char *argv[] = { self, "--work", folder, NULL };
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "IMAGED_FAULT", fault, TRUE);
    g_autoptr(GError) error = NULL;
    char *out = NULL;

    unlinkat(folder_fd, NAME, 0);
    g_spawn_sync(NULL, (char **)argv, env, 0, NULL, NULL, &out, NULL, NULL, &error);
    g_assert_no_error(error);
    return out;
}

static void test_faults(gconstpointer how)
{
    g_autofree char *calm = run_child("");
    guint n = (guint)atoi(strchr(calm, '!') + 1);

    g_assert_true(g_str_has_prefix(calm, "abcde!"));
    for (guint i = 1; i <= n; i++) {
        g_autofree char *fault = g_strdup_printf("%s:%u", (const char *)how, i);
        g_autofree char *said = run_child(fault);
        g_autoptr(GError) error = NULL;
        g_autoptr(Journal) j = journal_open(folder_fd, NAME, TRUE, &error);
        g_assert_no_error(error);
        g_autofree char *text = contents(j, 0);
        for (const char *p = said; *p && *p != '!'; p++) {
            gboolean there = strchr(text, *p) != NULL || (*p == 'c' && strstr(text, "abc"));
            if (g_ascii_islower(*p) && !there)
                g_test_fail_printf("%s: said %s, kept %s", fault, said, text);
        }
        append(j, 9, "z");
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], "--work"))
        return work(argv[2]);
    g_test_init(&argc, &argv, NULL);
    self = g_file_read_link("/proc/self/exe", NULL);
    folder = g_dir_make_tmp("imaged-unit-XXXXXX", NULL);
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_test_add_func("/journal/append", test_append);
    g_test_add_func("/journal/compact", test_compact);
    g_test_add_func("/journal/torn", test_torn);
    g_test_add_func("/journal/damage", test_damage);
    g_test_add_func("/journal/noise", test_noise);
    g_test_add_func("/journal/visitor-stops", test_visitor_stops);
    g_test_add_func("/journal/short-write", test_short_write);
    g_test_add_data_func("/journal/fault/kill", "kill", test_faults);
    g_test_add_data_func("/journal/fault/eio", "eio", test_faults);
    g_test_add_data_func("/journal/fault/enospc", "enospc", test_faults);
    int ret = g_test_run();
    unlinkat(folder_fd, NAME, 0);
    unlinkat(folder_fd, "." NAME ".new", 0);
    close(folder_fd);
    g_rmdir(folder);
    g_free(folder);
    g_free(self);
    return ret;
}
