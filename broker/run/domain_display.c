/* domain_display.c: see domain_display.h. */
#include "broker/run/domain_display.h"

#include "imaged/base/units.h"

#define N_USB 4 /* devices that a client may pass on at the same time */

#define add domain_add

static const char *yes_no(gboolean is)
{
    return is ? "yes" : "no";
}

/* ---- Display ---- */

/* On a LAN the processor is what lacks, on a WAN the bytes; else the server finds out. */
static void add_compression(GString *out, HardwareLink link)
{
    static const char *const image[] = { "auto_glz", "auto_lz", "auto_glz" };
    static const char *const other[] = { "auto", "never", "always" };

    add(out,
        "<image compression='%s'/><jpeg compression='%s'/><zlib compression='%s'/>"
        "<playback compression='%s'/><streaming mode='filter'/>",
        image[link], other[link], other[link], link == LINK_LAN ? "off" : "on");
}

static void add_spice(GString *out, const DomainSpec *s)
{
    const ChannelPolicy *c = &s->hardware->channels;

    /* The time from which no password holds is past: a session gives a password, and the time. */
    add(out,
        "<graphics type='spice' autoport='yes' listen='%s' defaultMode='%s' passwd='%s'"
        " passwdValidTo='1970-01-01T00:00:01'>",
        s->listen, s->has_tls ? "secure" : "insecure", s->incarnation);
    add_compression(out, s->hardware->link);
    add(out, "<clipboard copypaste='%s'/><filetransfer enable='%s'/></graphics>\n",
        yes_no(c->may_copy), yes_no(c->may_transfer));
}

static guint64 kib(guint64 bytes)
{
    return bytes / KIB;
}

static void add_video(GString *out, const DomainSpec *s)
{
    const Hardware *h = s->hardware;
    const char *model = h->video[0]     ? h->video
                        : s->has_spice  ? "qxl"
                        : h->has_virtio ? "virtio"
                                        : "vga";
    VideoMemory v = hardware_video(h);

    for (guint i = 0; i < v.n_adapters; i++) {
        guint n_heads = h->n_heads / v.n_adapters;
        if (g_str_equal(model, "qxl"))
            add(out,
                "<video><model type='qxl' heads='%u' ram='%" G_GUINT64_FORMAT
                "' vram='%" G_GUINT64_FORMAT "' vgamem='%" G_GUINT64_FORMAT "'/></video>\n",
                n_heads, kib(v.ram), kib(v.vram), kib(v.frame));
        else if (g_str_equal(model, "virtio"))
            add(out, "<video><model type='virtio' heads='%u'/></video>\n", n_heads);
        else
            add(out, "<video><model type='vga' vram='%" G_GUINT64_FORMAT "'/></video>\n",
                kib(v.frame));
        if (!g_str_equal(model, "qxl"))
            break; /* a second one makes sense with QXL alone */
    }
}

void domain_add_display(GString *out, const DomainSpec *s)
{
    if (s->has_spice)
        add_spice(out, s);
    /* Beside SPICE it is for who looks on (broker/session/shadow.h): a second SPICE client would
     * throw out the first. */
    add(out, "<graphics type='vnc' sharePolicy='force-shared'><listen type='socket'/>"
             "</graphics>\n");
    add_video(out, s);
}

/* ---- Channels ---- */

static void add_sound(GString *out, const DomainSpec *s)
{
    HardwareAudio audio = s->hardware->channels.audio;

    if (audio != AUDIO_NONE && s->has_spice)
        add(out,
            "<sound model='ich9'><codec type='%s'/><audio id='1'/></sound>"
            "<audio id='1' type='spice'/>\n",
            audio == AUDIO_BOTH ? "duplex" : "output");
    else
        add(out, "<audio id='1' type='none'/>\n");
}

static void add_usb(GString *out, const DomainSpec *s)
{
    const char *usb = s->hardware->channels.usb;

    add(out, "<controller type='usb' model='qemu-xhci' ports='15'/>\n"
             "<input type='tablet' bus='usb'/>\n");
    if (!s->has_spice || g_str_equal(usb, "none"))
        return;
    for (guint i = 0; i < N_USB; i++)
        add(out, "<redirdev bus='usb' type='spicevmc'/>\n");
    if (g_str_equal(usb, "all"))
        return;
    g_auto(GStrv) each = g_strsplit(usb, ",", -1);
    add(out, "<redirfilter>");
    for (guint i = 0; each[i]; i++)
        add(out, "<usbdev class='0x%02x' allow='yes'/>", (guint)channel_usb_class(each[i]));
    add(out, "<usbdev allow='no'/></redirfilter>\n");
}

void domain_add_channels(GString *out, const DomainSpec *s)
{
    add(out, "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
             "</channel>\n");
    if (s->has_spice)
        add(out, "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/>"
                 "</channel>\n");
    if (s->has_spice && s->hardware->channels.may_share)
        add(out, "<channel type='spiceport'><source channel='org.spice-space.webdav.0'/>"
                 "<target type='virtio' name='org.spice-space.webdav.0'/></channel>\n");
    add_sound(out, s);
    add_usb(out, s);
    if (s->hardware->has_tpm) /* its state goes with the domain: nothing of it is kept anywhere */
        add(out, "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>\n");
    add(out, "<serial type='pty'/>\n<memballoon model='virtio'><stats period='10'/></memballoon>\n"
             "<rng model='virtio'><rate bytes='1048576' period='1000'/>"
             "<backend model='random'>/dev/urandom</backend></rng>\n");
}
