/* test_guest_texts.c: the files of a guest that say what it is, as a hostile guest may write them.
 */
#include <string.h>

#include "imaged/base/escape.h"
#include "imaged/guest/helper/texts.h"

static char *joined(const Packages *packages)
{
    GString *out = g_string_new(NULL);

    for (guint i = 0; i < packages->list->len; i++) {
        const Package *p = packages->list->pdata[i];
        g_string_append_printf(out, "%s|%s|%s;", p->name, p->version, p->arch);
    }
    return g_string_free(out, FALSE);
}

static void test_dpkg(void)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        { "", "" },
        { "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n",
          "a|1|amd64;" },
        { "Package: a\nStatus: hold ok installed\nVersion: 1:2-3\nArchitecture: all",
          "a|1:2-3|all;" },
        { "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n", "" },
        { "Package: a\nStatus: install ok half-installed\nVersion: 1\n", "" },
        { "Package: a\nVersion: 1\n\nStatus: install ok installed\nVersion: 2\n", "" },
        { "package: a\nSTATUS: install ok installed\r\n\r\nPackage: b\nStatus: install ok "
          "installed\n",
          "a||;b||;" },
        { "Description: x\n Package: no\nPackage: a\nStatus: install ok installed\n\n\n\n",
          "a||;" },
        { "Package: \xff\xfe\x01z\nStatus: install ok installed\n",
          "\xef\xbf\xbd\xef\xbf\xbd?z||;" },
        { "Package:\nStatus: install ok installed\n", "" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Packages) packages;
        packages_init(&packages);
        dpkg_status_parse(cases[i].text, strlen(cases[i].text), &packages);
        g_autofree char *got = joined(&packages);
        g_assert_cmpstr(got, ==, cases[i].expected);
    }
}

static void test_bounds(void)
{
    g_auto(Packages) packages;
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < PACKAGES_MAX + 5; i++)
        g_string_append_printf(text, "P:p%u\nV:1\n\n", i);
    packages_init(&packages);
    apk_installed_parse(text->str, text->len, &packages);
    g_assert_cmpuint(packages.list->len, ==, PACKAGES_MAX);
    g_assert_true(packages.is_cut);
    g_autofree char *lengthy = g_strnfill(100000, 'x');
    g_autofree char *clean = texts_clean(lengthy, 100000);
    g_assert_cmpuint(strlen(clean), ==, TEXT_MAX);
    g_autofree char *umlauts = texts_clean("\xc3\xa4\xc3", 3);
    g_assert_true(g_utf8_validate(umlauts, -1, NULL));
}

static void test_apk(void)
{
    static const char text[] =
        "C:Q1abc\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:ld.so\n\nP:busybox\nV:1\n";
    g_auto(Packages) packages;

    packages_init(&packages);
    apk_installed_parse(text, strlen(text), &packages);
    g_autofree char *got = joined(&packages);
    g_assert_cmpstr(got, ==, "musl|1.2.4-r2|x86_64;busybox|1|;");
    g_assert_true(packages_have(&packages, "musl") && !packages_have(&packages, "mus"));
}

static void test_release(void)
{
    static const char text[] =
        "# x\nID=debian\nPRETTY_NAME=\"A \\\"B\\\" 1\"\nVERSION_ID='12'\nIDX=no\nBAD=\"open\n";
    static const char *const cases[][2] = { { "ID", "debian" },
                                            { "PRETTY_NAME", "A \"B\" 1" },
                                            { "VERSION_ID", "12" },
                                            { "BAD", "open" },
                                            { "NONE", NULL } };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = os_release_get(text, strlen(text), cases[i][0]);
        g_assert_cmpstr(got, ==, cases[i][1]);
    }
    g_autofree char *name = hostname_parse("# c\n\n  lab-1 x\n", 15);
    g_assert_cmpstr(name, ==, "lab-1");
    g_assert_null(hostname_parse("\n#x\n", 4));
}

static void test_passwd(void)
{
    static const char text[] =
        "root:x:0:0:r:/root:/bin/sh\ndaemon:x:1:1::/:/x\nalice:x:1000:1000::/home/a:/b\n"
        "big:x:99999999999:0::/:/x\nnobody:x:65534:1::/:/x\nshort:x:1001\n:x:1002:1::/:/\n";
    g_autoptr(GPtrArray) users = passwd_parse(text, strlen(text));

    g_assert_cmpuint(users->len, ==, 2);
    g_assert_cmpstr(((GuestUser *)users->pdata[1])->name, ==, "alice");
    g_autofree char *name = id_name_parse(text, strlen(text), 1);
    g_assert_cmpstr(name, ==, "daemon");
    g_assert_null(id_name_parse(text, strlen(text), 7));
}

static void test_fstab(void)
{
    static const char text[] =
        "# /etc/fstab\nUUID=1 / ext4 defaults 0 1\n/dev/sda2\t/a\\040b   xfs rw\n"
        "none swap swap\nbad /x\nproc /proc proc";
    g_autoptr(GPtrArray) mounts = fstab_parse(text, strlen(text));

    g_assert_cmpuint(mounts->len, ==, 3);
    g_assert_cmpstr(((GuestMount *)mounts->pdata[1])->where, ==, "/a b");
    g_assert_cmpstr(((GuestMount *)mounts->pdata[1])->type, ==, "xfs");
}

static void test_escape(void)
{
    static const char bytes[] = "a\\b\n\xe9gr\xc3\xbcn\x7f";
    g_autofree char *text = escape_bytes(bytes, strlen(bytes));
    g_autofree char *back = escape_undo(text, NULL);

    g_assert_cmpstr(text, ==, "a\\\\b\\x0a\\xe9gr\xc3\xbcn\\x7f");
    g_assert_cmpstr(back, ==, bytes);
    for (guint i = 0; i < 4; i++) {
        static const char *const bad[] = { "\\", "\\x0", "\\x00", "\\q" };
        g_autoptr(GError) error = NULL;
        g_assert_null(escape_undo(bad[i], &error));
        g_assert_nonnull(error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-texts/dpkg", test_dpkg);
    g_test_add_func("/guest-texts/bounds", test_bounds);
    g_test_add_func("/guest-texts/apk", test_apk);
    g_test_add_func("/guest-texts/os-release", test_release);
    g_test_add_func("/guest-texts/passwd", test_passwd);
    g_test_add_func("/guest-texts/fstab", test_fstab);
    g_test_add_func("/guest-texts/escape", test_escape);
    return g_test_run();
}
