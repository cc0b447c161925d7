/* test_error.c: the codes and their names, hints, and what errno becomes. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "imaged/base/error.h"

static void test_names(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (gint code = 0; code < IMAGED_N_ERRORS; code++) {
        const char *name = imaged_error_name(code);
        g_assert_nonnull(name);
        g_assert_cmpint(imaged_error_from_name(name), ==, code);
        g_assert_true(g_hash_table_add(seen, (gpointer)name));
    }
    g_assert_cmpstr(imaged_error_name(-1), ==, "failed");
    g_assert_cmpstr(imaged_error_name(IMAGED_N_ERRORS), ==, "failed");
    g_assert_cmpstr(imaged_error_name(G_MAXINT), ==, "failed");
    g_assert_cmpint(imaged_error_from_name(NULL), ==, IMAGED_ERROR_FAILED);
    g_assert_cmpint(imaged_error_from_name(""), ==, IMAGED_ERROR_FAILED);
    g_assert_cmpint(imaged_error_from_name("Busy"), ==, IMAGED_ERROR_FAILED);
}

static void check(const GError *error, const char *message, const char *hint)
{
    g_autofree char *got = imaged_error_message(error);

    g_assert_cmpstr(got, ==, message);
    g_assert_cmpstr(imaged_error_get_hint(error), ==, hint);
}

static void test_hints(void)
{
    GError *error = g_error_new(IMAGED_ERROR, IMAGED_ERROR_BUSY, "it is %d%%", 5), *other = NULL;

    check(error, "it is 5%", NULL);
    imaged_error_hint(&error, "try %s", "again");
    check(error, "it is 5%", "try again");
    imaged_error_hint(&error, "a second one");
    check(error, "it is 5%", "try again");
    g_prefix_error(&error, "the disk of '%s': ", "desk");
    check(error, "the disk of 'desk': it is 5%", "try again");
    g_propagate_prefixed_error(&other, error, "twice: ");
    check(other, "twice: the disk of 'desk': it is 5%", "try again");
    g_autoptr(GError) copy = g_error_copy(other);
    check(copy, "twice: the disk of 'desk': it is 5%", "try again");
    g_assert_error(copy, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_clear_error(&other);
    imaged_error_hint(&other, "nothing to hint at");
    imaged_error_hint(NULL, "nobody asks");
    g_assert_null(other);
}

static void test_errno(void)
{
    static const struct {
        int err, code;
    } table[] = {
        { ENOSPC, IMAGED_ERROR_NO_SPACE },   { EDQUOT, IMAGED_ERROR_NO_SPACE },
        { ENOENT, IMAGED_ERROR_NOT_FOUND },  { EEXIST, IMAGED_ERROR_EXISTS },
        { EACCES, IMAGED_ERROR_DENIED },     { EPERM, IMAGED_ERROR_DENIED },
        { EBUSY, IMAGED_ERROR_BUSY },        { EAGAIN, IMAGED_ERROR_BUSY },
        { EIO, IMAGED_ERROR_UNAVAILABLE },   { ESTALE, IMAGED_ERROR_UNAVAILABLE },
        { EROFS, IMAGED_ERROR_UNAVAILABLE }, { EINVAL, IMAGED_ERROR_UNAVAILABLE },
        { EFBIG, IMAGED_ERROR_UNAVAILABLE }, { EMFILE, IMAGED_ERROR_UNAVAILABLE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *want = g_strdup_printf("cannot read '%%s': %s", g_strerror(table[i].err));
        imaged_error_set_errno(&error, table[i].err, "cannot read '%s'", "%s");
        g_assert_error(error, IMAGED_ERROR, table[i].code);
        check(error, want, NULL);
    }
    imaged_error_set_errno(NULL, EIO, "nobody asks");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/names", test_names);
    g_test_add_func("/error/hints", test_hints);
    g_test_add_func("/error/errno", test_errno);
    return g_test_run();
}
