/* test_domain_edit.c: a host's XML read, and changed for another host. */
#include <string.h>

#include "broker/run/domain_edit.h"
#include "imaged/base/error.h"

static const char live[] =
    "<domain type='qemu' id='3'>\n"
    "  <name>a&amp;b</name>\n"
    "  <metadata><imaged:run xmlns:imaged='urn:imaged:run' incarnation='77'/></metadata>\n"
    "  <os><nvram type='file'><source file='/s/config/x.nvram'/></nvram></os>\n"
    "  <devices>\n"
    "    <disk type='file' device='disk'>\n"
    "      <driver name='qemu' type='qcow2'/>\n"
    "      <source file='/s/layers/top' index='2'/>\n"
    "      <backingStore type='file' index='1'><format type='qcow2'/><source "
    "file='/s/layers/base'/>"
    "<backingStore/></backingStore>\n"
    "      <mirror type='file' job='copy' ready='yes'><format type='qcow2'/>"
    "<source file='/s/layers/fresh'/></mirror>\n"
    "      <target dev='vda' bus='virtio'/>\n"
    "    </disk>\n"
    "    <disk type='file' device='cdrom'><source file='/s/config/x.iso'/><target "
    "dev='sda'/></disk>\n"
    "    <disk type='file' device='cdrom'><target dev='sdb'/></disk>\n"
    "    <graphics type='spice' port='5900' listen='127.0.0.1' passwd='secret'"
    " passwdValidTo='1970-01-01T00:00:01'><listen type='address' address='127.0.0.1'/></graphics>\n"
    "  </devices>\n"
    "</domain>\n";

static void test_read(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) disks = domain_disks(live, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(disks->len, ==, 3);
    const DomainDisk *disk = disks->pdata[0];
    g_assert_cmpstr(disk->dev, ==, "vda");
    g_assert_cmpstr(disk->path, ==, "/s/layers/top");
    g_assert_cmpstr(disk->copy_path, ==, "/s/layers/fresh");
    g_assert_true(disk->is_ready);
    g_assert_true(domain_disk_find(disks, "/s/layers/fresh") == disk);
    g_assert_null(domain_disk_find(disks, "/s/layers/base")); /* below, nobody writes */
    g_assert_null(((const DomainDisk *)disks->pdata[2])->path);
    g_autofree char *password = domain_display_password(live);
    g_assert_cmpstr(password, ==, "secret");
    g_autofree char *nvram = domain_nvram(live);
    g_assert_cmpstr(nvram, ==, "/s/config/x.nvram");
}

static void test_move(void)
{
    char *chain[] = { "/t/layers/top", "/t/layers/'mid'", NULL };
    g_autoptr(GHashTable) chains = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GError) error = NULL;

    g_hash_table_insert(chains, "vda", chain);
    const DomainMove move = { chains, "0.0.0.0", "2026-11-22T10:00:00", "/t/config/x.nvram" };
    g_autofree char *xml = domain_moved_xml(live, &move, &error);
    g_assert_no_error(error);
    g_autoptr(GPtrArray) disks = domain_disks(xml, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(((DomainDisk *)disks->pdata[0])->path, ==, "/t/layers/top");
    g_assert_cmpstr(((DomainDisk *)disks->pdata[1])->path, ==, "/s/config/x.iso");
    g_assert_nonnull(strstr(xml, "<source file='/t/config/x.nvram'>"));
    g_assert_null(strstr(xml, "/s/config/x.nvram"));
    g_assert_null(strstr(xml, "/s/layers/base")); /* the former chain is gone */
    g_assert_nonnull(strstr(xml, "<format type='qcow2'"));
    g_assert_nonnull(strstr(xml, "&apos;mid&apos;"));
    g_assert_nonnull(strstr(xml, "<name>a&amp;b</name>"));
    g_assert_nonnull(strstr(xml, "incarnation='77'"));
    g_assert_nonnull(strstr(xml, "listen='0.0.0.0'"));
    g_assert_nonnull(strstr(xml, "address='0.0.0.0'"));
    g_assert_nonnull(strstr(xml, "passwdValidTo='2026-11-22T10:00:00'"));
    g_assert_nonnull(strstr(xml, "passwd='secret'"));
}

/* Without changes it is the same domain. */
static void test_same(void)
{
    g_autoptr(GHashTable) chains = g_hash_table_new(g_str_hash, g_str_equal);
    const DomainMove move = { chains, NULL, NULL, NULL };
    g_autofree char *once = domain_moved_xml(live, &move, NULL);
    g_autofree char *twice = domain_moved_xml(once, &move, NULL);

    g_assert_cmpstr(once, ==, twice);
    g_assert_nonnull(strstr(once, "/s/layers/base"));
}

static void test_hostile(void)
{
    static const char *const bad[] = {
        "",
        "<domain>",
        "<domain><devices><disk></domain>",
        "<domain><devices><disk><source file='/x'/></disk></devices></domain>", /* no name */
        "not XML",
    };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(domain_disks(bad[i], &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    }
    g_autofree char *filler = g_strnfill(2 << 20, ' ');
    g_autofree char *longer = g_strconcat("<domain>", filler, "</domain>", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(domain_disks(longer, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/domain-edit/read", test_read);
    g_test_add_func("/domain-edit/move", test_move);
    g_test_add_func("/domain-edit/same", test_same);
    g_test_add_func("/domain-edit/hostile", test_hostile);
    return g_test_run();
}
