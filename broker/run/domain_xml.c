/* domain_xml.c: see domain_xml.h. */
#include "broker/run/domain_xml.h"

#include <string.h>

#include "broker/host/driver_libvirt.h"
#include "imaged/base/units.h"

/* Video memory for heads of 1920x1200 with 4 bytes, rounded up to a power of two: QXL keeps every
 * surface there, and its default of 64 MiB does not hold four. */
#define HEAD_BYTES ((guint64)1920 * 1200 * 4)
#define VIDEO_MIN (16 * MIB)

/* g_markup_printf_escaped() onto the end: every text of ours or others' is escaped. */
static void add(GString *out, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add(GString *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_markup_vprintf_escaped(format, args);
    va_end(args);
    g_string_append(out, text);
}

static gboolean is_windows(const DomainSpec *s)
{
    return g_strcmp0(s->os_type, "windows") == 0;
}

static void add_head(GString *out, const DomainSpec *s)
{
    add(out, "<domain type='%s'>\n<name>%s</name>\n<uuid>%s</uuid>\n", s->is_kvm ? "kvm" : "qemu",
        s->name, s->uuid);
    add(out,
        "<metadata><" DRIVER_METADATA_PREFIX ":run xmlns:" DRIVER_METADATA_PREFIX
        "='" DRIVER_METADATA_URI "' desktop='%s' generation='%" G_GINT64_FORMAT
        "' incarnation='%s'/></metadata>\n",
        s->desktop_id, s->generation, s->incarnation);
    add(out, "<memory unit='b'>%" G_GUINT64_FORMAT "</memory>\n<vcpu>%u</vcpu>\n", s->memory_bytes,
        s->n_cpus);
}

static void add_machine(GString *out, const DomainSpec *s)
{
    gboolean is_uefi = g_strcmp0(s->firmware, "uefi") == 0;

    add(out, "<os><type arch='x86_64' machine='%s'>hvm</type>", is_uefi ? "q35" : "pc");
    if (is_uefi) /* without memory of its own: nothing to keep, nothing to lose */
        add(out, "<loader readonly='yes' type='rom'>/usr/share/ovmf/OVMF.fd</loader>");
    add(out, "<boot dev='hd'/></os>\n<features><acpi/><apic/>");
    if (is_windows(s))
        add(out, "<hyperv><relaxed state='on'/><vapic state='on'/>"
                 "<spinlocks state='on' retries='8191'/></hyperv>");
    add(out, "</features>\n");
    /* Windows counts sockets for its licence. */
    add(out, "<cpu mode='%s'%s><topology sockets='%u' cores='%u' threads='1'/></cpu>\n",
        s->is_kvm ? "host-model" : "maximum", "", is_windows(s) ? 1 : s->n_cpus,
        is_windows(s) ? s->n_cpus : 1);
    add(out, "<clock offset='%s'>%s</clock>\n", is_windows(s) ? "localtime" : "utc", "");
    add(out, "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"
             "<on_crash>destroy</on_crash>\n");
}

static void add_source(GString *out, const char *path)
{
    add(out, "<source file='%s'><seclabel model='dac' relabel='no'/></source>", path);
}

static void add_chain(GString *out, const DomainChain *chain, const char *target, const char *bus)
{
    guint n = 0;

    if (!chain->paths || !chain->paths[0])
        return;
    add(out, "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'"
             " discard='unmap' error_policy='stop' rerror_policy='stop'/>");
    add_source(out, chain->paths[0]);
    for (n = 1; chain->paths[n]; n++) {
        add(out, "<backingStore type='file'><format type='qcow2'/>");
        add_source(out, chain->paths[n]);
    }
    add(out, "<backingStore/>");
    while (--n)
        add(out, "</backingStore>");
    add(out, "<target dev='%s' bus='%s'/></disk>\n", target, bus);
}

static void add_disks(GString *out, const DomainSpec *s)
{
    gboolean has_virtio = !is_windows(s);

    add_chain(out, &s->disk, has_virtio ? "vda" : "sda", has_virtio ? "virtio" : "sata");
    add_chain(out, &s->data, has_virtio ? "vdb" : "sdb", has_virtio ? "virtio" : "sata");
    if (!s->config_path)
        return;
    add(out, "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>");
    add_source(out, s->config_path);
    add(out, "<backingStore/><target dev='%s' bus='%s'/><readonly/></disk>\n",
        has_virtio ? "sda" : "sdc", has_virtio ? "scsi" : "sata");
    if (has_virtio)
        add(out, "<controller type='scsi' model='virtio-scsi'/>\n");
}

static void add_network(GString *out, const DomainSpec *s)
{
    const char *model = is_windows(s) ? "e1000e" : "virtio";

    if (s->network)
        add(out,
            "<interface type='bridge'><mac address='%s'/><source bridge='%s'/><model type='%s'/>"
            "<filterref filter='clean-traffic'/></interface>\n",
            s->mac, s->network, model);
    else
        add(out, "<interface type='user'><mac address='%s'/><model type='%s'/></interface>\n",
            s->mac, model);
}

static guint64 video_bytes(guint n_heads)
{
    guint64 bytes = VIDEO_MIN;

    while (bytes < 2 * n_heads * HEAD_BYTES) /* what is shown, and what is drawn next */
        bytes *= 2;
    return bytes;
}

static void add_display(GString *out, const DomainSpec *s)
{
    guint64 kib = video_bytes(s->n_heads) / KIB;

    /* The time from which no password holds is past: a session gives a password, and the time. */
    if (s->has_spice)
        add(out,
            "<graphics type='spice' autoport='yes' listen='%s'%s passwd='%s'"
            " passwdValidTo='1970-01-01T00:00:01'><image compression='auto_glz'/>"
            "<streaming mode='filter'/></graphics>\n",
            s->listen, "", s->incarnation);
    else
        add(out, "<graphics type='vnc'><listen type='socket'/></graphics>\n");
    if (s->has_spice)
        add(out,
            "<video><model type='qxl' heads='%u' ram='%" G_GUINT64_FORMAT
            "' vram='%" G_GUINT64_FORMAT "' vgamem='%" G_GUINT64_FORMAT "'/></video>\n",
            is_windows(s) ? 1 : s->n_heads, 4 * kib, 2 * kib, kib);
    else
        add(out, "<video><model type='virtio' heads='%u'/></video>\n", s->n_heads);
    for (guint i = 1; s->has_spice && is_windows(s) && i < s->n_heads; i++)
        add(out, "<video><model type='qxl' heads='1'/></video>\n");
}

static void add_channels(GString *out, const DomainSpec *s)
{
    add(out, "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
             "</channel>\n");
    if (s->has_spice)
        add(out, "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/>"
                 "</channel>\n"
                 "<channel type='spiceport'><source channel='org.spice-space.webdav.0'/>"
                 "<target type='virtio' name='org.spice-space.webdav.0'/></channel>\n"
                 "<sound model='ich9'><audio id='1'/></sound><audio id='1' type='spice'/>\n"
                 "<controller type='usb' model='qemu-xhci'/>\n"
                 "<redirdev bus='usb' type='spicevmc'/><redirdev bus='usb' type='spicevmc'/>\n");
    add(out, "<input type='tablet' bus='usb'/>\n<memballoon model='virtio'/>\n"
             "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n");
}

char *domain_xml(const DomainSpec *spec)
{
    GString *out = g_string_new(NULL);

    add_head(out, spec);
    add_machine(out, spec);
    add(out, "<devices>\n");
    add_disks(out, spec);
    add_network(out, spec);
    add_display(out, spec);
    add_channels(out, spec);
    add(out, "</devices>\n</domain>\n");
    return g_string_free(out, FALSE);
}
