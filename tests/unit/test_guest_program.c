/* test_guest_program.c: programs that a build runs, and what they leave behind. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/disk_image.h"
#include "imaged/guest/helper/program.h"

#define SOON_US (20 * G_USEC_PER_SEC)

/* What it left prints until nobody listens any more. */
static void test_noisy_leftover(void)
{
    gint64 begin = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    g_assert_true(program_run_args(NULL, &error, "sh", "-c",
                                   "(while echo again; do :; done) & exit 0", NULL));
    g_assert_no_error(error);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, SOON_US);
}

static void test_last_words(void)
{
    g_autofree char *said = NULL;
    const char *const argv[] = { "sh", "-c", "seq 20000", NULL };
    const Program program = { .argv = argv, .ret_output = &said };

    g_assert_true(program_run(&program, NULL));
    g_assert_true(g_str_has_suffix(said, "\n20000\n"));
}

/* A file that cannot say where its data are (procfs) is not one without data. */
static void test_no_half_disk(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(disk_image_send(NULL, "/proc/self/status", &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, "cannot read the disk"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-program/noisy-leftover", test_noisy_leftover);
    g_test_add_func("/guest-program/last-words", test_last_words);
    g_test_add_func("/guest-program/no-half-disk", test_no_half_disk);
    return g_test_run();
}
