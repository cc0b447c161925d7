/* domain_xml.c: the machine, its disks and its networks; domain_display.c has the rest. */
#include "broker/run/domain_xml.h"

#include <string.h>

#include "broker/host/driver_libvirt.h"
#include "broker/run/domain_display.h"

#define QUOTA_PERIOD_US 100000

void domain_add(GString *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_markup_vprintf_escaped(format, args);
    va_end(args);
    g_string_append(out, text);
}

#define add domain_add

static void add_limits(GString *out, const Hardware *h)
{
    if (h->cpu_shares || h->cpu_limit) {
        add(out, "<cputune>");
        if (h->cpu_shares)
            add(out, "<shares>%u</shares>", h->cpu_shares);
        if (h->cpu_limit) /* of each processor, so of all together */
            add(out, "<period>%d</period><quota>%u</quota>", QUOTA_PERIOD_US,
                QUOTA_PERIOD_US / 100 * h->cpu_limit);
        add(out, "</cputune>\n");
    }
    if (h->io_weight)
        add(out, "<blkiotune><weight>%u</weight></blkiotune>\n", h->io_weight);
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
    add(out, "<memory unit='b'>%" G_GUINT64_FORMAT "</memory>\n<vcpu>%u</vcpu>\n",
        s->hardware->memory_bytes, s->hardware->n_cpus);
    add_limits(out, s->hardware);
}

/* What tells Windows that it runs on a hypervisor, so that it need not find out the hard way. */
static void add_hyperv(GString *out, const DomainSpec *s)
{
    add(out, "<hyperv><relaxed state='on'/><vapic state='on'/>"
             "<spinlocks state='on' retries='8191'/>");
    if (s->is_kvm)
        add(out, "<vpindex state='on'/><runtime state='on'/><synic state='on'/>"
                 "<stimer state='on'/><reset state='on'/><frequencies state='on'/>");
    add(out, "</hyperv>");
}

static void add_cpu(GString *out, const DomainSpec *s)
{
    const Hardware *h = s->hardware;

    if (s->cpu_model)
        add(out,
            "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>%s</model>",
            s->cpu_model);
    else
        add(out, "<cpu mode='%s'>", s->is_kvm ? "host-model" : "maximum");
    /* Windows counts sockets for its licence. */
    add(out, "<topology sockets='%u' cores='%u' threads='1'/></cpu>\n",
        h->is_windows ? 1 : h->n_cpus, h->is_windows ? h->n_cpus : 1);
}

static void add_clock(GString *out, const DomainSpec *s)
{
    if (s->hardware->is_windows)
        add(out,
            "<clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/>"
            "<timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/>"
            "<timer name='hypervclock' present='%s'/></clock>\n",
            s->is_kvm ? "yes" : "no");
    else
        add(out, "<clock offset='utc'/>\n");
}

static void add_source(GString *out, const char *path)
{
    add(out, "<source file='%s'><seclabel model='dac' relabel='no'/></source>", path);
}

static void add_firmware(GString *out, const DomainSpec *s)
{
    if (s->nvram_path) {
        add(out, "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
                 "<nvram type='file'>");
        add_source(out, s->nvram_path);
        add(out, "</nvram>");
    } else if (s->hardware->is_uefi) { /* without memory of its own: nothing to keep or lose */
        add(out, "<loader readonly='yes' type='rom'>/usr/share/ovmf/OVMF.fd</loader>");
    }
}

static void add_machine(GString *out, const DomainSpec *s)
{
    const char *usual = s->hardware->is_uefi ? "q35" : "pc";

    add(out, "<os><type arch='x86_64' machine='%s'>hvm</type>", s->machine ? s->machine : usual);
    add_firmware(out, s);
    add(out, "<boot dev='hd'/></os>\n<features><acpi/><apic/>");
    if (s->hardware->is_windows)
        add_hyperv(out, s);
    add(out, "</features>\n");
    add_cpu(out, s);
    add_clock(out, s);
    add(out, "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"
             "<on_crash>destroy</on_crash>\n");
}

/* ---- Disks ---- */

static void add_iotune(GString *out, const Hardware *h)
{
    if (!h->io_limit && !h->iops_limit)
        return;
    add(out, "<iotune>");
    if (h->io_limit)
        add(out, "<total_bytes_sec>%" G_GUINT64_FORMAT "</total_bytes_sec>", h->io_limit);
    if (h->iops_limit)
        add(out, "<total_iops_sec>%" G_GUINT64_FORMAT "</total_iops_sec>", h->iops_limit);
    add(out, "</iotune>");
}

static void add_chain(GString *out, const DomainSpec *s, const DomainChain *chain,
                      const char *target)
{
    guint n = 0;

    if (!chain->paths || !chain->paths[0])
        return;
    add(out,
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='%s'"
        " discard='unmap' error_policy='stop' rerror_policy='stop'/>",
        chain->has_direct_io ? "none" : "writeback");
    add_source(out, chain->paths[0]);
    for (n = 1; chain->paths[n]; n++) {
        add(out, "<backingStore type='file'><format type='qcow2'/>");
        add_source(out, chain->paths[n]);
    }
    add(out, "<backingStore/>");
    while (--n)
        add(out, "</backingStore>");
    add(out, "<target dev='%s' bus='%s'/>", target, s->hardware->has_virtio ? "virtio" : "sata");
    add_iotune(out, s->hardware);
    add(out, "</disk>\n");
}

static void add_cd(GString *out, const DomainSpec *s, const char *path, char letter)
{
    if (!path)
        return;
    add(out, "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>");
    add_source(out, path);
    add(out, "<backingStore/><target dev='sd%c' bus='%s'/><readonly/></disk>\n", letter,
        s->hardware->has_virtio ? "scsi" : "sata");
}

static void add_disks(GString *out, const DomainSpec *s)
{
    gboolean has_virtio = s->hardware->has_virtio;

    add_chain(out, s, &s->disk, has_virtio ? "vda" : "sda");
    add_chain(out, s, &s->data, has_virtio ? "vdb" : "sdb");
    add_cd(out, s, s->config_path, 'c');
    add_cd(out, s, s->driver_path, 'd');
    if (has_virtio && (s->config_path || s->driver_path))
        add(out, "<controller type='scsi' model='virtio-scsi'/>\n");
}

/* ---- Networks ---- */

static void add_nic(GString *out, const DomainSpec *s, const DomainNic *nic)
{
    static const char *const types[] = { "user", "bridge", "network" };

    add(out, "<interface type='%s'><mac address='%s'/>", types[nic->kind], nic->mac);
    if (nic->kind != NIC_USER) /* a guest that pretends to be another is not heard */
        add(out, "<source %s='%s'/><filterref filter='clean-traffic'/>", types[nic->kind],
            nic->source);
    add(out, "<model type='%s'/></interface>\n", s->hardware->has_virtio ? "virtio" : "e1000e");
}

char *domain_xml(const DomainSpec *spec)
{
    GString *out = g_string_new(NULL);

    add_head(out, spec);
    add_machine(out, spec);
    add(out, "<devices>\n");
    add_disks(out, spec);
    for (guint i = 0; i < spec->n_nics; i++)
        add_nic(out, spec, &spec->nics[i]);
    domain_add_display(out, spec);
    domain_add_channels(out, spec);
    add(out, "</devices>\n</domain>\n");
    return g_string_free(out, FALSE);
}
