/* test_domain_xml.c: desktops as libvirt's XML.  What libvirt and QEMU make of it is in runs.t. */
#include "broker/run/domain_xml.h"

#include <string.h>

#include "imaged/base/units.h"

static const char *const chain[] = { "/s/layers/top", "/s/layers/<&'\">", "/s/layers/base", NULL };

static Hardware hardware;

static DomainSpec usual(void)
{
    static const DomainNic nic = { NIC_USER, "56:00:00:00:00:01", NULL };

    hardware_clear(&hardware);
    json_auto_t *none = json_pack("{s:i,s:I}", "cpus", 4, "memory_bytes", (json_int_t)(4 * GIB));
    hardware_read(none, NULL, &hardware);
    return (DomainSpec){ .name = "lab-1",
                         .uuid = "01a2009d-e033-2001-c0cb-20eb717cbe00",
                         .desktop_id = "01a2009de0332001c0cb20eb717cbe00",
                         .incarnation = "01a2009dea00f4c6083a493999eda8a2",
                         .generation = 7,
                         .hardware = &hardware,
                         .disk = { chain, TRUE },
                         .nics = &nic,
                         .n_nics = 1,
                         .has_spice = TRUE,
                         .listen = "127.0.0.1" };
}

/* With these settings over the usual ones. */
static void set(const char *settings, const char *os_type)
{
    const char *texts[] = { "{\"cpus\":4,\"memory_bytes\":4294967296}", settings };
    json_auto_t *merged = hardware_merge(texts, 2);

    hardware_clear(&hardware);
    hardware_read(merged, os_type, &hardware);
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

    set("{\"heads\":4}", "windows");
    g_autofree char *xml = domain_xml(&spec);
    check_document(xml);
    g_assert_nonnull(strstr(xml, "localtime"));
    g_assert_nonnull(strstr(xml, "sockets='1' cores='4'"));
    g_assert_nonnull(strstr(xml, "bus='sata'"));
    g_assert_nonnull(strstr(xml, "e1000e"));
    g_assert_nonnull(strstr(xml, "<hyperv>"));
    g_assert_null(strstr(xml, "<stimer"));          /* what TCG has not */
    g_assert_cmpuint(count(xml, "<video>"), ==, 4); /* a device for each monitor */
    spec.is_kvm = TRUE;
    g_autofree char *kvm = domain_xml(&spec);
    g_assert_nonnull(strstr(kvm, "<stimer state='on'/>"));
    set("{\"virtio\":true,\"driver_iso\":true}", "windows");
    spec.driver_path = "/srv/virtio-win.iso";
    g_autofree char *later = domain_xml(&spec);
    check_document(later);
    g_assert_nonnull(strstr(later, "dev='vda' bus='virtio'"));
    g_assert_nonnull(strstr(later, "<source file='/srv/virtio-win.iso'>"));
    set("{\"profile\":\"linux\",\"heads\":4}", "windows");
    g_autofree char *linux_xml = domain_xml(&spec);
    g_assert_cmpuint(count(linux_xml, "<video>"), ==, 1);
    g_assert_nonnull(strstr(linux_xml, "heads='4'"));
    g_assert_null(strstr(linux_xml, "hyperv"));
}

/* Heads x resolution: all heads of an adapter lie in one frame. */
static void test_video(void)
{
    static const struct {
        const char *settings, *os_type;
        guint n_adapters;
        guint64 frame;
    } cases[] = {
        { NULL, "linux", 1, 16 * MIB },
        { "{\"heads\":4}", "linux", 1, 64 * MIB },
        { "{\"heads\":4}", "windows", 4, 16 * MIB },
        { "{\"heads\":4,\"resolution\":\"3840x2160\"}", "linux", 1, 128 * MIB },
        { "{\"heads\":4,\"resolution\":\"3840x2160\"}", "windows", 4, 32 * MIB },
        { "{\"heads\":4,\"resolution\":\"7680x4320\"}", "linux", 1, 256 * MIB },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        set(cases[i].settings, cases[i].os_type);
        VideoMemory v = hardware_video(&hardware);
        g_assert_cmpuint(v.n_adapters, ==, cases[i].n_adapters);
        g_assert_cmpuint(v.frame, ==, cases[i].frame);
        g_assert_cmpuint(v.ram, >=, 2 * v.frame);
        /* they lie in the guest below 4 GiB, beside much else */
        g_assert_cmpuint(hardware_video_bytes(&hardware), <=, 1024 * MIB);
    }
}

static void test_channels(void)
{
    DomainSpec spec = usual();

    g_autofree char *all = domain_xml(&spec);
    g_assert_cmpuint(count(all, "<redirdev "), ==, 4);
    g_assert_null(strstr(all, "redirfilter"));
    g_assert_nonnull(strstr(all, "<clipboard copypaste='yes'/><filetransfer enable='yes'/>"));
    g_assert_nonnull(strstr(all, "webdav"));
    g_assert_nonnull(strstr(all, "<codec type='duplex'/>"));
    set("{\"clipboard\":false,\"file_transfer\":false,\"shared_folder\":false,"
        "\"usb\":\"storage,0x0b\",\"audio\":\"playback\"}",
        NULL);
    g_autofree char *some = domain_xml(&spec);
    check_document(some);
    g_assert_nonnull(strstr(some, "<clipboard copypaste='no'/><filetransfer enable='no'/>"));
    g_assert_null(strstr(some, "webdav"));
    g_assert_nonnull(strstr(some, "<redirfilter><usbdev class='0x08' allow='yes'/><usbdev"
                                  " class='0x0b' allow='yes'/><usbdev allow='no'/></redirfilter>"));
    g_assert_nonnull(strstr(some, "<codec type='output'/>"));
    set("{\"usb\":\"none\",\"audio\":\"none\"}", NULL);
    g_autofree char *none = domain_xml(&spec);
    check_document(none);
    g_assert_null(strstr(none, "redirdev"));
    g_assert_null(strstr(none, "<sound"));
}

static void test_link(void)
{
    DomainSpec spec = usual();

    set("{\"link\":\"wan\"}", NULL);
    g_autofree char *wan = domain_xml(&spec);
    g_assert_nonnull(strstr(wan, "<image compression='auto_glz'/><jpeg compression='always'/>"));
    set("{\"link\":\"lan\"}", NULL);
    spec.has_tls = TRUE;
    g_autofree char *lan = domain_xml(&spec);
    g_assert_nonnull(strstr(lan, "<jpeg compression='never'/>"));
    g_assert_nonnull(strstr(lan, "defaultMode='secure'"));
}

/* What a guest of a big host may have; limits; what its group of hosts pins. */
static void test_big(void)
{
    DomainSpec spec = usual();
    static const DomainNic nics[] = { { NIC_BRIDGE, "56:00:00:00:00:01", "br0.12" },
                                      { NIC_NETWORK, "56:00:00:00:00:02", "imaged-1" } };

    set("{\"cpus\":16,\"memory_bytes\":68719476736,\"cpu_limit\":25,\"cpu_shares\":512,"
        "\"io_limit\":10485760,\"iops_limit\":500,\"io_weight\":50,\"firmware\":\"uefi\","
        "\"tpm\":true}",
        NULL);
    spec.cpu_model = "Skylake-Server";
    spec.machine = "pc-q35-7.2";
    spec.nics = nics;
    spec.n_nics = 2;
    spec.disk.has_direct_io = FALSE;
    g_autofree char *xml = domain_xml(&spec);
    check_document(xml);
    g_assert_nonnull(strstr(xml, "<memory unit='b'>68719476736</memory>\n<vcpu>16</vcpu>"));
    g_assert_nonnull(
        strstr(xml, "<shares>512</shares><period>100000</period><quota>25000</quota>"));
    g_assert_nonnull(strstr(xml, "<blkiotune><weight>50</weight>"));
    g_assert_nonnull(strstr(xml, "<iotune><total_bytes_sec>10485760</total_bytes_sec>"
                                 "<total_iops_sec>500</total_iops_sec></iotune>"));
    g_assert_nonnull(strstr(xml, "machine='pc-q35-7.2'"));
    g_assert_nonnull(strstr(xml, "<model fallback='forbid'>Skylake-Server</model>"));
    g_assert_nonnull(strstr(xml, "type='rom'"));
    g_assert_nonnull(strstr(xml, "<tpm model='tpm-crb'>"));
    g_assert_cmpuint(count(xml, "filter='clean-traffic'"), ==, 2);
    g_assert_nonnull(strstr(xml, "<source bridge='br0.12'/>"));
    g_assert_nonnull(strstr(xml, "<source network='imaged-1'/>"));
    g_assert_nonnull(strstr(xml, "cache='writeback'"));
}

/* UEFI forgets, unless it has a file to keep its variables in. */
static void test_nvram(void)
{
    DomainSpec spec = usual();

    set("{\"nvram\":\"keep\"}", NULL); /* a BIOS has none */
    g_assert_false(hardware.keeps_nvram);
    set("{\"firmware\":\"uefi\"}", NULL);
    g_assert_false(hardware.keeps_nvram);
    g_autofree char *fresh = domain_xml(&spec);
    g_assert_nonnull(strstr(fresh, "<loader readonly='yes' type='rom'>"));
    g_assert_null(strstr(fresh, "<nvram"));
    set("{\"firmware\":\"uefi\",\"nvram\":\"keep\"}", NULL);
    g_assert_true(hardware.keeps_nvram);
    spec.nvram_path = "/s/config/'x'.nvram";
    g_autofree char *kept = domain_xml(&spec);
    check_document(kept);
    g_assert_nonnull(strstr(kept, "<loader readonly='yes' type='pflash'>"));
    g_assert_nonnull(strstr(kept, "<nvram type='file'><source file='/s/config/&apos;x&apos;.nvram'>"
                                  "<seclabel model='dac' relabel='no'/></source></nvram>"));
    g_assert_null(strstr(kept, "type='rom'"));
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
    g_assert_nonnull(strstr(vnc, "<graphics type='vnc' sharePolicy='force-shared'><listen"
                                 " type='socket'/>"));
    g_assert_null(strstr(vnc, "spice"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/domain-xml/chain", test_chain);
    g_test_add_func("/domain-xml/disks", test_disks);
    g_test_add_func("/domain-xml/windows", test_windows);
    g_test_add_func("/domain-xml/video", test_video);
    g_test_add_func("/domain-xml/channels", test_channels);
    g_test_add_func("/domain-xml/link", test_link);
    g_test_add_func("/domain-xml/big", test_big);
    g_test_add_func("/domain-xml/nvram", test_nvram);
    g_test_add_func("/domain-xml/password", test_password);
    return g_test_run();
}
