/* test_viewer_file.c: the files for clients, and the element that changes a display's password. */
#include "broker/session/viewer_file.h"

#include <string.h>

#include "broker/host/driver_display.h"

static ViewerSpice usual(void)
{
    return (ViewerSpice){ .protocol = "spice",
                          .host = "vs-a.example",
                          .port = 5901,
                          .password = "s3cret",
                          .title = "lab-1",
                          .has_usb = TRUE,
                          .usb_filter = "-1,-1,-1,-1,1" };
}

/* As remote-viewer reads it.  Caller frees. */
static GKeyFile *read_back(const char *text)
{
    GKeyFile *file = g_key_file_new();
    g_autoptr(GError) error = NULL;

    g_key_file_load_from_data(file, text, strlen(text), G_KEY_FILE_NONE, &error);
    g_assert_no_error(error);
    return file;
}

static void check(GKeyFile *file, const char *key, const char *expected)
{
    g_autofree char *value = g_key_file_get_string(file, "virt-viewer", key, NULL);

    g_assert_cmpstr(value, ==, expected);
}

static void test_plain(void)
{
    ViewerSpice spice = usual();
    g_autofree char *text = viewer_file_vv(&spice);
    g_autoptr(GKeyFile) file = read_back(text);

    g_assert_true(g_str_has_prefix(text, "[virt-viewer]\n")); /* how the type is known */
    check(file, "type", "spice");
    check(file, "host", "vs-a.example");
    check(file, "port", "5901");
    check(file, "tls-port", NULL);
    check(file, "password", "s3cret");
    check(file, "delete-this-file", "1");
    check(file, "title", "lab-1");
    check(file, "secure-attention", "ctrl+alt+end");
    check(file, "usb-filter", "-1,-1,-1,-1,1");
    check(file, "proxy", NULL);
    check(file, "ca", NULL);
}

/* A way beside TLS would be taken by who holds up the other. */
static void test_tls(void)
{
    ViewerSpice spice = usual();

    spice.tls_port = 5902;
    spice.ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    spice.host_subject = "O=site,CN=vs-a";
    spice.proxy = "http://gate:3128";
    g_autofree char *text = viewer_file_vv(&spice);
    g_autoptr(GKeyFile) file = read_back(text);
    check(file, "port", NULL);
    check(file, "tls-port", "5902");
    check(file, "ca", spice.ca);
    check(file, "host-subject", "O=site,CN=vs-a");
    check(file, "proxy", "http://gate:3128");
}

static void test_hostile(void)
{
    static const char *const bad[] = {
        "x\nproxy=http://evil", "x\r\n[virt-viewer]\nhost=evil", "\\n", " a\tb ", "\xff\n", ""
    };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        ViewerSpice spice = usual();
        spice.title = bad[i];
        spice.host = bad[i];
        g_autofree char *text = viewer_file_vv(&spice);
        g_autoptr(GKeyFile) file = read_back(text);
        g_autofree char *expected = g_utf8_make_valid(bad[i], -1);
        check(file, "title", expected);
        check(file, "host", expected);
        check(file, "proxy", NULL);
        check(file, "password", "s3cret");
        gsize n_groups;
        g_strfreev(g_key_file_get_groups(file, &n_groups));
        g_assert_cmpuint(n_groups, ==, 1);
    }
}

static void test_rdp(void)
{
    ViewerRdp rdp = { .host = "10.0.0.7",
                      .user = "anna\r\nfull address:s:evil",
                      .title = "w",
                      .has_clipboard = TRUE };
    g_autofree char *text = viewer_file_rdp(&rdp);
    g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
    guint n = 0;

    for (guint i = 0; lines[i]; i++) {
        if (g_str_has_prefix(lines[i], "full address:")) {
            g_assert_cmpstr(lines[i], ==, "full address:s:10.0.0.7:3389");
            n++;
        }
    }
    g_assert_cmpuint(n, ==, 1);
    g_assert_nonnull(strstr(text, "redirectclipboard:i:1\r\n"));
    g_assert_nonnull(strstr(text, "audiomode:i:2\r\n"));
    rdp.host = "fe80::7";
    g_autofree char *v6 = viewer_file_rdp(&rdp);
    g_assert_nonnull(strstr(v6, "full address:s:[fe80::7]:3389\r\n"));
}

/* ---- The element ---- */

static const char domain[] =
    "<domain type='qemu' id='1'><name>a</name><devices>\n"
    "<graphics type='vnc' socket='/run/x'><listen type='socket' socket='/run/x'/></graphics>\n"
    "<graphics type='spice' port='5900' tlsPort='5901' autoport='yes' listen='127.0.0.1'"
    " passwdValidTo='1970-01-01T00:00:01' connected='disconnect'>\n"
    "  <listen type='address' address='127.0.0.1'/>\n  <image compression='auto_glz'/>\n"
    "</graphics><video><model type='qxl'/></video></devices></domain>";

static void test_element(void)
{
    const HostTicket ticket = { .password = "a'<", .valid_until = 1790000000000 };
    HostDisplay display = { 0 };
    g_autofree char *element = display_element(domain, &ticket, &display);

    g_assert_cmpstr(element, ==,
                    "<graphics type='spice' port='5900' tlsPort='5901' autoport='yes'"
                    " listen='127.0.0.1' passwd='a&apos;&lt;'"
                    " passwdValidTo='2026-09-21T14:13:20' connected='keep'>"
                    "<listen type='address' address='127.0.0.1'></listen>"
                    "<image compression='auto_glz'></image></graphics>");
    g_assert_true(display.is_spice);
    g_assert_cmpuint(display.port, ==, 5900);
    g_assert_cmpuint(display.tls_port, ==, 5901);
}

static void test_no_element(void)
{
    const HostTicket ticket = { .password = "a" };
    HostDisplay display = { 0 };

    g_assert_null(display_element("<domain><graphics type='vnc'/></domain>", &ticket, &display));
    g_assert_null(display_element("<domain><graphics type='spice'>", &ticket, &display));
    g_assert_null(display_element("", &ticket, &display));
}

static void test_vnc_socket(void)
{
    g_autofree char *path = display_vnc_socket(domain);

    g_assert_cmpstr(path, ==, "/run/x");
    g_assert_null(display_vnc_socket("<domain><graphics type='vnc' port='5900'/></domain>"));
    g_assert_null(display_vnc_socket("<domain><graphics type='spice' socket='/run/y'/></domain>"));
    g_assert_null(display_vnc_socket(""));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/viewer-file/plain", test_plain);
    g_test_add_func("/viewer-file/tls", test_tls);
    g_test_add_func("/viewer-file/hostile", test_hostile);
    g_test_add_func("/viewer-file/rdp", test_rdp);
    g_test_add_func("/viewer-file/element", test_element);
    g_test_add_func("/viewer-file/no-element", test_no_element);
    g_test_add_func("/viewer-file/vnc-socket", test_vnc_socket);
    return g_test_run();
}
