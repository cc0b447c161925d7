/* test_domain_xml.c: desktops as libvirt's XML.  What libvirt and QEMU make of it is in runs.t. */
#include "broker/run/domain_xml.h"

#include <string.h>

#include "imaged/base/units.h"

static const char *const chain[] = { "/s/layers/top", "/s/layers/<&'\">", "/s/layers/base", NULL };

static DomainSpec usual(void)
{
    return (DomainSpec){ .name = "lab-1",
                         .uuid = "01a2009d-e033-2001-c0cb-20eb717cbe00",
                         .desktop_id = "01a2009de0332001c0cb20eb717cbe00",
                         .incarnation = "01a2009dea00f4c6083a493999eda8a2",
                         .generation = 7,
                         .n_cpus = 4,
                         .memory_bytes = 4 * GIB,
                         .disk = { chain },
                         .mac = "56:00:00:00:00:01",
                         .has_spice = TRUE,
                         .listen = "127.0.0.1",
                         .n_heads = 1 };
}

/* Is it a document, all of which is closed? */
static void check_document(const char *xml)
{
    GMarkupParser parser = { 0 };
    GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, NULL, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(g_markup_parse_context_parse(context, xml, -1, &error));
    g_assert_true(g_markup_parse_context_end_parse(context, &error));
    g_assert_no_error(error);
    g_markup_parse_context_free(context);
}

static guint count(const char *text, const char *word)
{
    guint n = 0;

    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        n++;
    return n;
}

static void test_chain(void)
{
    DomainSpec spec = usual();
    g_autofree char *xml = domain_xml(&spec);

    check_document(xml);
    /* one for each layer below, and the empty one that ends it: nothing is looked for in files */
    g_assert_cmpuint(count(xml, "<backingStore type='file'>"), ==, 2);
    g_assert_cmpuint(count(xml, "<backingStore/>"), ==, 1);
    g_assert_cmpuint(count(xml, "<source file="), ==, 3);
    g_assert_cmpuint(count(xml, "relabel='no'"), ==, 3);
    g_assert_nonnull(strstr(xml, "/s/layers/&lt;&amp;&apos;&quot;&gt;"));
    g_assert_nonnull(strstr(xml, "error_policy='stop'"));
    g_assert_nonnull(strstr(xml, "discard='unmap'"));
    g_assert_nonnull(strstr(xml, "generation='7' incarnation='01a2009dea00f4c6083a493999eda8a2'"));
    g_assert_null(strstr(xml, "vdb"));
}

static void test_disks(void)
{
    static const char *const data[] = { "/s/layers/data", NULL };
    DomainSpec spec = usual();

    spec.data = (DomainChain){ data };
    spec.config_path = "/s/config/x.iso";
    g_autofree char *xml = domain_xml(&spec);
    check_document(xml);
    g_assert_cmpuint(count(xml, "<disk "), ==, 3);
    g_assert_cmpuint(count(xml, "<readonly/>"), ==, 1);
    g_assert_nonnull(strstr(xml, "dev='vdb'"));
}

/* Windows of its first day has no virtio drivers, tells the local time, counts sockets. */
static void test_windows(void)
{
    DomainSpec spec = usual();

    spec.os_type = "windows";
    spec.n_heads = 4;
    g_autofree char *xml = domain_xml(&spec);
    check_document(xml);
    g_assert_nonnull(strstr(xml, "localtime"));
    g_assert_nonnull(strstr(xml, "sockets='1' cores='4'"));
    g_assert_nonnull(strstr(xml, "bus='sata'"));
    g_assert_nonnull(strstr(xml, "e1000e"));
    g_assert_cmpuint(count(xml, "<video>"), ==, 4); /* a device for each monitor */
    g_autofree char *linux_xml = (spec.os_type = "linux", domain_xml(&spec));
    g_assert_cmpuint(count(linux_xml, "<video>"), ==, 1);
    g_assert_nonnull(strstr(linux_xml, "heads='4'"));
}

/* A password that holds before a session gave one would let anybody in. */
static void test_password(void)
{
    DomainSpec spec = usual();
    g_autofree char *xml = domain_xml(&spec);

    g_assert_nonnull(strstr(xml, "passwdValidTo='1970-01-01T00:00:01'"));
    spec.has_spice = FALSE;
    g_autofree char *vnc = domain_xml(&spec);
    check_document(vnc);
    g_assert_nonnull(strstr(vnc, "<graphics type='vnc'><listen type='socket'/>"));
    g_assert_null(strstr(vnc, "spice"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/domain-xml/chain", test_chain);
    g_test_add_func("/domain-xml/disks", test_disks);
    g_test_add_func("/domain-xml/windows", test_windows);
    g_test_add_func("/domain-xml/password", test_password);
    return g_test_run();
}
