/* driver_libvirt.c: see driver.h.
 *
 * libvirt wants its event loop to run in one thread of the process for events and for keepalive,
 * which is what breaks the connection to a host that hangs: without it a call blocks for ever. */
#include "broker/host/driver_libvirt.h"

#include "broker/host/driver_display.h"
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "broker/host/driver_libvirt_addresses.h"
#include "broker/host/driver_libvirt_private.h"
#include "imaged/base/error.h"

#define KEEPALIVE_S 1
#define KEEPALIVE_TIMES 3
#define MAX_METADATA 4096
#define ASK_MS 200            /* at a look, for addresses of guests */
#define ADDRESSES_MS 120000   /* until one is asked again */
#define NO_ADDRESSES_MS 20000 /* the same, of one that has none yet */
#define MAX_PICTURE (64u << 20) /* bytes */

typedef struct {
    virConnectPtr conn;
    HostListener listener;
    int lifecycle;     /* the callback's id, or -1 */
    int graphics;      /* the same */
    GHashTable *marks; /* "UUID/ID" of a domain -> Mark: read once for each run */
} Link;

/* What our metadata says of one domain. */
typedef struct {
    char *desktop_id, *incarnation;
    gint64 generation;
    char *addresses;    /* as it was told last, or NULL */
    gint64 next_ask_us; /* for them */
} Mark;

static void mark_free(gpointer data)
{
    Mark *mark = data;

    g_free(mark->desktop_id);
    g_free(mark->incarnation);
    g_free(mark->addresses);
    g_free(mark);
}

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

/* What libvirt said last on this thread, in one line.  FALSE. */
static gboolean set_error(GError **error, const char *what)
{
    const virError *e = virGetLastError();
    g_autofree char *text = g_strdup(e && e->message ? e->message : "no reason given");

    g_strdelimit(text, "\n\r", ' ');
    g_set_error(error, IMAGED_ERROR, code_of(e), "%s: %s", what, text);
    return FALSE;
}

/* ---- The connection ---- */

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
    Link *link = opaque;

    link->listener.changed(link->listener.user);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int event, int detail,
                        void *opaque)
{
    Link *link = opaque;

    link->listener.changed(link->listener.user);
    return 0;
}

static void link_close(gpointer data)
{
    Link *link = data;

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
    Link *link = g_new0(Link, 1);
    link->listener = *listener;
    link->lifecycle = link->graphics = -1;
    link->marks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, mark_free);
    link->conn = virConnectOpenAuth(uri, NULL, 0); /* no questions: nobody is there to answer */
    if (!link->conn) {
        set_error(error, "cannot connect");
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
    return virConnectIsAlive(((Link *)data)->conn) == 1;
}

/* ---- What a host is ---- */

static gboolean capable(virConnectPtr conn, const char *what)
{
    char *text = virConnectGetDomainCapabilities(conn, NULL, NULL, NULL, NULL, 0);
    gboolean found = text && strstr(text, what);

    free(text);
    return found;
}

static gboolean link_facts(gpointer data, HostFacts *ret, GError **error)
{
    virConnectPtr conn = ((Link *)data)->conn;
    virNodeInfo node;
    char *hostname = virConnectGetHostname(conn), *caps = NULL;

    if (!hostname || virNodeGetInfo(conn, &node) < 0 || !(caps = virConnectGetCapabilities(conn))) {
        free(hostname);
        return set_error(error, "cannot ask what the host has");
    }
    *ret = (HostFacts){ .hostname = g_strdup(hostname),
                        .cpu_model = g_strndup(node.model, sizeof node.model),
                        .n_cpus = node.cpus,
                        .memory_bytes = (guint64)node.memory * 1024,
                        .has_kvm = strstr(caps, "<domain type='kvm'") != NULL,
                        .has_spice = capable(conn, "<value>spice</value>") };
    free(hostname);
    free(caps);
    return TRUE;
}

/* ---- Domains ---- */

static DomainState state_of(int state, int reason)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return DOMAIN_RUNNING;
    case VIR_DOMAIN_PAUSED:
        return reason == VIR_DOMAIN_PAUSED_IOERROR ? DOMAIN_STUCK : DOMAIN_PAUSED;
    case VIR_DOMAIN_PMSUSPENDED:
        return DOMAIN_PAUSED;
    case VIR_DOMAIN_SHUTDOWN:
        return DOMAIN_ENDING;
    default:
        return DOMAIN_OFF;
    }
}

/* The value of one attribute of our element, which we wrote: ids and numbers alone. */
static char *attribute(const char *xml, const char *name)
{
    g_autofree char *begin = g_strdup_printf(" %s=", name);
    const char *at = strstr(xml, begin);

    if (!at)
        return NULL;
    at += strlen(begin);
    const char *end = *at == '\'' || *at == '"' ? strchr(at + 1, *at) : NULL;
    return end ? g_strndup(at + 1, (gsize)(end - at - 1)) : NULL;
}

/* Whose it is.  Each run has an id of its own on its host, so it is asked once. */
static Mark *mark_of(Link *link, virDomainPtr domain, const char *uuid)
{
    g_autofree char *key = g_strdup_printf("%s/%u", uuid, virDomainGetID(domain));
    Mark *mark = g_hash_table_lookup(link->marks, key);

    if (mark)
        return mark;
    char *xml = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, DRIVER_METADATA_URI, 0);
    if (!xml && virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA)
        return NULL; /* not known, which is asked again */
    mark = g_new0(Mark, 1);
    if (xml && strlen(xml) <= MAX_METADATA) {
        g_autofree char *generation = attribute(xml, "generation");
        mark->desktop_id = attribute(xml, "desktop");
        mark->incarnation = attribute(xml, "incarnation");
        mark->generation = generation ? g_ascii_strtoll(generation, NULL, 10) : 0;
    }
    free(xml);
    g_hash_table_insert(link->marks, g_steal_pointer(&key), mark);
    return mark;
}

static guint64 number_of(const virTypedParameter *params, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(params[i].field, name) != 0)
            continue;
        switch (params[i].type) {
        case VIR_TYPED_PARAM_INT:
            return (guint64)MAX(params[i].value.i, 0);
        case VIR_TYPED_PARAM_UINT:
            return params[i].value.ui;
        case VIR_TYPED_PARAM_LLONG:
            return (guint64)MAX(params[i].value.l, 0);
        case VIR_TYPED_PARAM_ULLONG:
            return params[i].value.ul;
        default:
            return 0;
        }
    }
    return 0;
}

/* NULL if it went away meanwhile (NO_DOMAIN), or cannot be asked. */
static HostDomain *read_domain(Link *link, virDomainPtr domain)
{
    HostDomain *out = g_new0(HostDomain, 1);
    const char *name = virDomainGetName(domain);
    const Mark *mark = NULL;

    if (!name || virDomainGetUUIDString(domain, out->uuid) < 0 ||
        !(mark = mark_of(link, domain, out->uuid))) {
        g_free(out);
        return NULL;
    }
    out->name = g_strdup(name);
    out->desktop_id = g_strdup(mark->desktop_id);
    out->incarnation = g_strdup(mark->incarnation);
    out->generation = mark->generation;
    return out;
}

/* Each is asked now and then, as many at a look as go quickly: the others come at the next one. */
static void note_addresses(Link *link, virDomainPtr domain, HostDomain *out, gint64 until_us)
{
    Mark *mark = mark_of(link, domain, out->uuid);
    gint64 now_us = g_get_monotonic_time();

    if (!mark || !mark->desktop_id)
        return;
    if (out->state == DOMAIN_RUNNING && mark->next_ask_us <= now_us && now_us < until_us) {
        g_free(mark->addresses);
        mark->addresses = libvirt_addresses(domain);
        mark->next_ask_us = g_get_monotonic_time() +
                            (mark->addresses ? ADDRESSES_MS : NO_ADDRESSES_MS) * 1000;
    }
    out->addresses = g_strdup(mark->addresses);
}

static HostDomain *read_record(Link *link, const virDomainStatsRecord *record)
{
    HostDomain *out = read_domain(link, record->dom);
    const virTypedParameter *p = record->params;

    if (!out)
        return NULL;
    out->state = state_of((int)number_of(p, record->nparams, "state.state"),
                          (int)number_of(p, record->nparams, "state.reason"));
    out->cpu_ns = number_of(p, record->nparams, "cpu.time");
    out->n_cpus = (guint)number_of(p, record->nparams, "vcpu.current");
    out->memory_bytes = number_of(p, record->nparams, "balloon.current") * 1024;
    return out;
}

static GPtrArray *link_domains(gpointer data, GError **error)
{
    const unsigned int wanted = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL |
                                VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_BALLOON;
    Link *link = data;
    virDomainStatsRecordPtr *records = NULL;
    int n = virConnectGetAllDomainStats(link->conn, wanted, &records,
                                        VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

    if (n < 0) {
        set_error(error, "cannot ask for the host's domains");
        return NULL;
    }
    GPtrArray *out = g_ptr_array_new_with_free_func(host_domain_free);
    gint64 until_us = g_get_monotonic_time() + ASK_MS * 1000;
    for (int i = 0; out && i < n; i++) {
        HostDomain *domain = read_record(link, records[i]);
        if (domain) {
            g_ptr_array_add(out, domain);
            note_addresses(link, records[i]->dom, domain, until_us);
        } else if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN) { /* what is missing is not gone */
            set_error(error, "cannot ask for the host's domains");
            g_clear_pointer(&out, g_ptr_array_unref);
        }
    }
    virDomainStatsRecordListFree(records);
    if (g_hash_table_size(link->marks) > 4 * (guint)n + 100)
        g_hash_table_remove_all(link->marks); /* of runs that have ended, mostly */
    return out;
}

static virDomainPtr lookup(Link *link, const char *uuid, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(link->conn, uuid);

    if (!domain)
        set_error(error, "cannot find the domain");
    return domain;
}

virDomainPtr driver_libvirt_lookup(gpointer link, const char *uuid, GError **error)
{
    return lookup(link, uuid, error);
}

gboolean driver_libvirt_error(GError **error, const char *what)
{
    return set_error(error, what);
}

static HostDomain *link_find(gpointer data, const char *uuid, GError **error)
{
    Link *link = data;
    virDomainPtr domain = lookup(link, uuid, error);
    int state, reason;

    if (!domain)
        return NULL;
    HostDomain *out = read_domain(link, domain);
    if (out && virDomainGetState(domain, &state, &reason, 0) == 0)
        out->state = state_of(state, reason);
    else
        g_clear_pointer(&out, host_domain_free);
    if (!out)
        set_error(error, "cannot ask for the domain");
    virDomainFree(domain);
    return out;
}

static gboolean link_create(gpointer data, const char *xml, GError **error)
{
    virDomainPtr domain = virDomainCreateXML(((Link *)data)->conn, xml, 0);

    if (!domain)
        return set_error(error, "the host did not start it");
    virDomainFree(domain);
    return TRUE;
}

static gboolean link_make_network(gpointer data, const char *xml, GError **error)
{
    virNetworkPtr network = virNetworkCreateXML(((Link *)data)->conn, xml);
    int code = virGetLastErrorCode();

    if (!network && code != VIR_ERR_NETWORK_EXIST && code != VIR_ERR_OPERATION_INVALID &&
        code != VIR_ERR_OPERATION_FAILED)
        return set_error(error, "the host did not make the network");
    if (network)
        virNetworkFree(network);
    return TRUE;
}

/* One of libvirt's calls on a domain. */
typedef int (*DomainCall)(virDomainPtr domain);

static gboolean call(gpointer data, const char *uuid, const char *what, DomainCall function,
                     GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    gboolean ok = domain && function(domain) == 0;

    if (domain && !ok)
        set_error(error, what);
    if (domain)
        virDomainFree(domain);
    return ok;
}

static int reboot(virDomainPtr domain)
{
    return virDomainReboot(domain, 0);
}

static gboolean link_destroy(gpointer data, const char *uuid, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (call(data, uuid, "cannot switch it off", virDomainDestroy, &local) ||
        g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean link_shut_down(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot ask it to shut down", virDomainShutdown, error);
}

static gboolean link_reboot(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot ask it to restart", reboot, error);
}

static gboolean link_pause(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot pause it", virDomainSuspend, error);
}

static gboolean link_resume(gpointer data, const char *uuid, GError **error)
{
    return call(data, uuid, "cannot resume it", virDomainResume, error);
}

static gboolean link_set_ticket(gpointer data, const char *uuid, const HostTicket *ticket,
                                HostDisplay *ret, GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    gboolean ok = domain && display_set_ticket(domain, ticket, ret, error);

    if (domain && !ok && error && !*error)
        set_error(error, "cannot set the password of its display");
    if (domain)
        virDomainFree(domain);
    return ok;
}

static GPtrArray *link_clients(gpointer data, const char *uuid, GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    GPtrArray *out = domain ? display_clients(domain, uuid) : NULL;

    if (domain && !out)
        set_error(error, "cannot ask who sees its display");
    if (domain)
        virDomainFree(domain);
    return out;
}

static int link_open_vnc(gpointer data, const char *uuid, GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    int fd = domain ? display_open_vnc(domain) : -1;

    if (domain && fd < 0)
        set_error(error, "cannot open its VNC display");
    if (domain)
        virDomainFree(domain);
    return fd;
}

static char *link_agent(gpointer data, const char *uuid, const char *command, guint timeout_s,
                        GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    char *answer = domain ? virDomainQemuAgentCommand(domain, command, (int)timeout_s, 0) : NULL;

    if (domain && !answer) {
        g_autoptr(GError) local = NULL;
        set_error(&local, "its guest agent does not answer");
        g_set_error_literal(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, local->message);
    }
    if (domain)
        virDomainFree(domain);
    return answer;
}

#define MAX_DISKS 8

/* QEMU remembers for each disk why it stopped the guest, until that goes on. */
static gboolean link_is_full(gpointer data, const char *uuid, gboolean *ret, GError **error)
{
    virDomainDiskError errors[MAX_DISKS];
    virDomainPtr domain = lookup(data, uuid, error);
    int n = domain ? virDomainGetDiskErrors(domain, errors, MAX_DISKS, 0) : -1;

    if (domain && n < 0)
        set_error(error, "cannot ask what is wrong with its disks");
    *ret = n > 0;
    for (int i = 0; i < n; i++) {
        *ret = *ret && errors[i].error == VIR_DOMAIN_DISK_ERROR_NO_SPACE;
        free(errors[i].disk);
    }
    if (domain)
        virDomainFree(domain);
    return n >= 0;
}

static gboolean link_save(gpointer data, const char *uuid, const char *path, GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    gboolean ok = domain && virDomainSaveFlags(domain, path, NULL, 0) == 0;

    if (domain && !ok)
        set_error(error, "cannot save its memory");
    if (domain)
        virDomainFree(domain);
    return ok;
}

/* The guest goes on with the devices, down to their addresses, that it had: as the file tells. */
static gboolean link_restore(gpointer data, const char *path, const char *saved_incarnation,
                             const char *incarnation, GError **error)
{
    virConnectPtr conn = ((Link *)data)->conn;
    char *text = virDomainSaveImageGetXMLDesc(conn, path, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    g_autoptr(GString) xml = g_string_new(text);
    gboolean ok = text != NULL;

    free(text);
    if (ok && g_string_replace(xml, saved_incarnation, incarnation, 0) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "its memory is of another run");
        return FALSE;
    }
    ok = ok && virDomainRestoreFlags(conn, path, xml->str, VIR_DOMAIN_SAVE_RUNNING) == 0;
    return ok || set_error(error, "the host did not go on with its memory");
}

/* All that the stream has, up to MAX_PICTURE. */
static GByteArray *receive(virStreamPtr stream)
{
    GByteArray *out = g_byte_array_new();
    char buffer[65536];
    int n = 1;

    while (n > 0 && out->len <= MAX_PICTURE) {
        n = virStreamRecv(stream, buffer, sizeof buffer);
        if (n > 0)
            g_byte_array_append(out, (guint8 *)buffer, (guint)n);
    }
    if (n == 0 && virStreamFinish(stream) == 0)
        return out;
    virStreamAbort(stream);
    g_byte_array_unref(out);
    return NULL;
}

static GByteArray *link_screenshot(gpointer data, const char *uuid, char **ret_type, GError **error)
{
    virDomainPtr domain = lookup(data, uuid, error);
    virStreamPtr stream = domain ? virStreamNew(((Link *)data)->conn, 0) : NULL;
    char *type = stream ? virDomainScreenshot(domain, stream, 0, 0) : NULL;
    GByteArray *out = type ? receive(stream) : NULL;

    if (domain && !out)
        set_error(error, "cannot take a picture of it");
    *ret_type = out ? g_strdup(type) : NULL;
    free(type);
    if (stream)
        virStreamFree(stream);
    if (domain)
        virDomainFree(domain);
    return out;
}

const HostDriver driver_libvirt = {
    .open = link_open,
    .close = link_close,
    .is_alive = link_is_alive,
    .facts = link_facts,
    .domains = link_domains,
    .find = link_find,
    .create = link_create,
    .make_network = link_make_network,
    .destroy = link_destroy,
    .shut_down = link_shut_down,
    .reboot = link_reboot,
    .pause = link_pause,
    .resume = link_resume,
    .save = link_save,
    .restore = link_restore,
    .screenshot = link_screenshot,
    .set_ticket = link_set_ticket,
    .clients = link_clients,
    .open_vnc = link_open_vnc,
    .agent = link_agent,
    .live = &driver_libvirt_live,
    .is_full = link_is_full,
};
