/* driver_libvirt.c: see driver.h.  The connection, and what a host is; what runs there is told by
 * driver_libvirt_domains.c, done to by driver_libvirt_acts.c.
 *
 * libvirt wants its event loop to run in one thread of the process for events and for keepalive,
 * which is what breaks the connection to a host that hangs: without it a call blocks for ever. */
#include "broker/host/driver_libvirt.h"

#include <libvirt/virterror.h>
#include <string.h>

#include "broker/host/driver_display.h"
#include "broker/host/driver_libvirt_private.h"
#include "imaged/base/error.h"

#define KEEPALIVE_S 1
#define KEEPALIVE_TIMES 3

/* ---- libvirt's ways ---- */

static void say_nothing(void *user, virErrorPtr error)
{
}

static gpointer run_events(gpointer unused)
{
    for (;;) {
        if (virEventRunDefaultImpl() < 0)
            g_usleep(100000);
    }
    return NULL;
}

static void tick(int timer, void *unused)
{
}

static gboolean begin_events(GError **error)
{
    static gsize begun;
    static gboolean ok;

    if (g_once_init_enter(&begun)) {
        virSetErrorFunc(NULL, say_nothing); /* else it writes to standard error */
        ok = virInitialize() == 0 && virEventRegisterDefaultImpl() == 0 &&
             virEventAddTimeout(10000, tick, NULL, NULL) >= 0; /* its loop is never empty */
        if (ok)
            g_thread_unref(g_thread_new("libvirt-events", run_events, NULL));
        g_once_init_leave(&begun, 1);
    }
    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "libvirt cannot be used here");
    return ok;
}

static int code_of(const virError *e)
{
    switch (e ? e->code : 0) {
    case VIR_ERR_NO_DOMAIN:
        return IMAGED_ERROR_NOT_FOUND;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
        return IMAGED_ERROR_DENIED;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
        return IMAGED_ERROR_UNSUPPORTED;
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_SYSTEM_ERROR:
    case VIR_ERR_RPC:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_OPERATION_TIMEOUT: /* another call on the domain goes on */
        return IMAGED_ERROR_UNAVAILABLE;
    default:
        return IMAGED_ERROR_FAILED;
    }
}

gboolean driver_libvirt_error(GError **error, const char *what)
{
    const virError *e = virGetLastError();
    g_autofree char *text = g_strdup(e && e->message ? e->message : "no reason given");

    g_strdelimit(text, "\n\r", ' ');
    g_set_error(error, IMAGED_ERROR, code_of(e), "%s: %s", what, text);
    return FALSE;
}

virDomainPtr driver_libvirt_lookup(gpointer link, const char *uuid, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(((LibvirtLink *)link)->conn, uuid);

    if (!domain)
        driver_libvirt_error(error, "cannot find the domain");
    return domain;
}

/* ---- The connection ---- */

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
    LibvirtLink *link = opaque;

    link->listener.changed(link->listener.user);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int event, int detail,
                        void *opaque)
{
    LibvirtLink *link = opaque;

    link->listener.changed(link->listener.user);
    return 0;
}

static void link_close(gpointer data)
{
    LibvirtLink *link = data;

    if (!link)
        return;
    if (link->conn) {
        if (link->lifecycle >= 0)
            virConnectDomainEventDeregisterAny(link->conn, link->lifecycle);
        if (link->graphics >= 0)
            virConnectDomainEventDeregisterAny(link->conn, link->graphics);
        virConnectUnregisterCloseCallback(link->conn, on_close);
        virConnectClose(link->conn);
    }
    g_hash_table_unref(link->marks);
    g_free(link);
}

static gpointer link_open(const char *uri, const HostListener *listener, GError **error)
{
    if (!begin_events(error))
        return NULL;
    LibvirtLink *link = g_new0(LibvirtLink, 1);
    link->listener = *listener;
    link->lifecycle = link->graphics = -1;
    link->marks = libvirt_marks_new();
    link->conn = virConnectOpenAuth(uri, NULL, 0); /* no questions: nobody is there to answer */
    if (!link->conn) {
        driver_libvirt_error(error, "cannot connect");
        link_close(link);
        return NULL;
    }
    /* Drivers within the process have neither; events are only hints. */
    virConnectSetKeepAlive(link->conn, KEEPALIVE_S, KEEPALIVE_TIMES);
    virConnectRegisterCloseCallback(link->conn, on_close, link, NULL);
    link->lifecycle =
        virConnectDomainEventRegisterAny(link->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), link, NULL);
    link->graphics = display_watch(link->conn, &link->listener);
    return link;
}

static gboolean link_is_alive(gpointer data)
{
    return virConnectIsAlive(((LibvirtLink *)data)->conn) == 1;
}

/* ---- What a host is ---- */

static gboolean capable(virConnectPtr conn, const char *what)
{
    char *text = virConnectGetDomainCapabilities(conn, NULL, NULL, NULL, NULL, 0);
    gboolean found = text && strstr(text, what);

    free(text);
    return found;
}

/* Which machine this is, by its firmware or libvirtd.conf.  Caller frees; NULL: it does not say. */
static char *machine_of(virConnectPtr conn, const char *caps)
{
    static const char begin[] = "<uuid>";
    const char *type = virConnectGetType(conn), *host = strstr(caps, "<host>");
    const char *at = host ? strstr(host, begin) : NULL,
               *end = host ? strstr(host, "</host>") : NULL;

    if (!type || g_str_equal(type, "TEST") || !at || !end || at > end)
        return NULL;
    g_autofree char *uuid = g_ascii_strdown(at + sizeof begin - 1, DRIVER_UUID_SIZE - 1);
    return g_uuid_string_is_valid(uuid) ? g_steal_pointer(&uuid) : NULL;
}

static gboolean link_facts(gpointer data, HostFacts *ret, GError **error)
{
    virConnectPtr conn = ((LibvirtLink *)data)->conn;
    virNodeInfo node;
    char *hostname = virConnectGetHostname(conn), *caps = NULL;

    if (!hostname || virNodeGetInfo(conn, &node) < 0 || !(caps = virConnectGetCapabilities(conn))) {
        free(hostname);
        return driver_libvirt_error(error, "cannot ask what the host has");
    }
    *ret = (HostFacts){ .hostname = g_strdup(hostname),
                        .cpu_model = g_strndup(node.model, sizeof node.model),
                        .machine_uuid = machine_of(conn, caps),
                        .n_cpus = node.cpus,
                        .memory_bytes = (guint64)node.memory * 1024,
                        .has_kvm = strstr(caps, "<domain type='kvm'") != NULL,
                        .has_spice = capable(conn, "<value>spice</value>") };
    free(hostname);
    free(caps);
    return TRUE;
}

const HostDriver driver_libvirt = {
    .open = link_open,
    .close = link_close,
    .is_alive = link_is_alive,
    .facts = link_facts,
    .domains = libvirt_domains,
    .find = libvirt_find,
    .create = libvirt_create,
    .make_network = libvirt_make_network,
    .destroy = libvirt_destroy,
    .shut_down = libvirt_shut_down,
    .reboot = libvirt_reboot,
    .pause = libvirt_pause,
    .resume = libvirt_resume,
    .save = libvirt_save,
    .is_at_work = libvirt_is_at_work,
    .is_memory_of = libvirt_is_memory_of,
    .restore = libvirt_restore,
    .screenshot = libvirt_screenshot,
    .set_ticket = libvirt_set_ticket,
    .clients = libvirt_clients,
    .open_vnc = libvirt_open_vnc,
    .vnc_socket = libvirt_vnc_socket,
    .open_console = libvirt_open_console,
    .agent = libvirt_agent,
    .live = &driver_libvirt_live,
    .is_full = libvirt_is_full,
};
