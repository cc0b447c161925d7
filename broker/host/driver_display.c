/* driver_display.c: see driver_display.h.
 *
 * libvirt changes a password by an update of the whole <graphics> element, in which nothing else
 * may differ from what it shows itself; so its own text is taken and given other attributes. */
#include "broker/host/driver_display.h"

#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

/* ---- The element ---- */

/* What is read of the domain's XML, which libvirt wrote. */
typedef struct {
    GString *out; /* the element so far, or NULL before it */
    gboolean is_done;
    const HostTicket *ticket;
    HostDisplay *display;
} Reader;

static void put(GString *out, const char *name, const char *value)
{
    g_autofree char *text = g_markup_printf_escaped(" %s='%s'", name, value);

    g_string_append(out, text);
}

static void put_ticket(GString *out, const HostTicket *ticket)
{
    g_autofree char *until = units_format_time(MAX(ticket->valid_until, 1000));

    g_strdelimit(until, "Z", '\0'); /* libvirt wants UTC, and no letter that says so */
    put(out, "passwd", ticket->password);
    put(out, "passwdValidTo", until);
    put(out, "connected", ticket->cuts ? "disconnect" : "keep");
}

static gboolean is_ours(const char *name)
{
    static const char *const ours[] = { "passwd", "passwdValidTo", "connected", NULL };

    return g_strv_contains(ours, name);
}

static guint port_of(const char *text)
{
    gint64 n = g_ascii_strtoll(text, NULL, 10);

    return n > 0 && n < 65536 ? (guint)n : 0;
}

static const char *attribute_of(const char **names, const char **values, const char *name)
{
    for (guint i = 0; names[i]; i++) {
        if (g_str_equal(names[i], name))
            return values[i];
    }
    return NULL;
}

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
                     const char **values, gpointer user, GError **error)
{
    Reader *r = user;
    gboolean is_display = g_str_equal(element, "graphics");

    if (is_display && !r->out && g_strcmp0(attribute_of(names, values, "type"), "spice") == 0) {
        const char *port = attribute_of(names, values, "port");
        const char *tls_port = attribute_of(names, values, "tlsPort");
        *r->display =
            (HostDisplay){ TRUE, port ? port_of(port) : 0, tls_port ? port_of(tls_port) : 0 };
        r->out = g_string_new(NULL);
    } else if (is_display || !r->out || r->is_done) {
        return;
    }
    g_string_append_printf(r->out, "<%s", element);
    for (guint i = 0; names[i]; i++) {
        if (!is_display || !is_ours(names[i]))
            put(r->out, names[i], values[i]);
    }
    if (is_display)
        put_ticket(r->out, r->ticket);
    g_string_append_c(r->out, '>');
}

static void on_end(GMarkupParseContext *context, const char *element, gpointer user, GError **error)
{
    Reader *r = user;

    if (!r->out || r->is_done)
        return;
    g_string_append_printf(r->out, "</%s>", element);
    r->is_done = g_str_equal(element, "graphics");
}

char *display_element(const char *xml, const HostTicket *ticket, HostDisplay *ret)
{
    static const GMarkupParser parser = { .start_element = on_start, .end_element = on_end };
    Reader r = { .ticket = ticket, .display = ret };
    GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &r, NULL);

    g_markup_parse_context_parse(context, xml, (gssize)strlen(xml), NULL);
    g_markup_parse_context_free(context);
    if (r.is_done)
        return g_string_free(r.out, FALSE);
    if (r.out)
        g_string_free(r.out, TRUE);
    return NULL;
}

gboolean display_set_ticket(virDomainPtr domain, const HostTicket *ticket, HostDisplay *ret,
                            GError **error)
{
    HostDisplay display = { 0 };
    char *xml = virDomainGetXMLDesc(domain, 0);

    if (!xml)
        return FALSE;
    g_autofree char *element = display_element(xml, ticket, &display);
    free(xml);
    if (!element) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "it has no SPICE display");
        return FALSE;
    }
    if (ret)
        *ret = display;
    return virDomainUpdateDeviceFlags(domain, element, VIR_DOMAIN_AFFECT_LIVE) == 0;
}

/* ---- Who is connected ---- */

static ClientEvent *event_new(const char *uuid, ClientAct act, const char *address,
                              const char *port)
{
    ClientEvent *event = g_new0(ClientEvent, 1);

    g_strlcpy(event->uuid, uuid, sizeof event->uuid);
    event->act = act;
    event->address = g_strdup(address ? address : "");
    event->port = g_strdup(port ? port : "");
    return event;
}

static void on_graphics(virConnectPtr conn, virDomainPtr domain, int phase,
                        const virDomainEventGraphicsAddress *local,
                        const virDomainEventGraphicsAddress *remote, const char *scheme,
                        const virDomainEventGraphicsSubject *subject, void *opaque)
{
    const HostListener *listener = opaque;
    char uuid[VIR_UUID_STRING_BUFLEN];
    ClientAct act = phase == VIR_DOMAIN_EVENT_GRAPHICS_CONNECT      ? CLIENT_CONNECTED
                    : phase == VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE ? CLIENT_LOGGED_IN
                                                                    : CLIENT_GONE;

    /* VNC is on a unix socket, for relays of ours: what they do is no news */
    if (remote->family == VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_UNIX)
        return;
    if (listener->client && virDomainGetUUIDString(domain, uuid) == 0)
        listener->client(listener->user, event_new(uuid, act, remote->node, remote->service));
}

int display_watch(virConnectPtr conn, const HostListener *listener)
{
    return virConnectDomainEventRegisterAny(conn, NULL, VIR_DOMAIN_EVENT_ID_GRAPHICS,
                                            VIR_DOMAIN_EVENT_CALLBACK(on_graphics),
                                            (void *)listener, NULL);
}

/* libvirt has no question for it; QEMU has. */
GPtrArray *display_clients(virDomainPtr domain, const char *uuid)
{
    char *text = NULL;
    size_t i;
    json_t *channel;

    if (virDomainQemuMonitorCommand(domain, "{\"execute\":\"query-spice\"}", &text, 0) < 0)
        return NULL;
    json_auto_t *answer = json_loads(text, 0, NULL);
    free(text);
    GPtrArray *out = g_ptr_array_new_with_free_func(client_event_free);
    json_array_foreach (json_object_get(json_object_get(answer, "return"), "channels"), i, channel)
        g_ptr_array_add(out, event_new(uuid, CLIENT_LOGGED_IN,
                                       json_string_value(json_object_get(channel, "host")),
                                       json_string_value(json_object_get(channel, "port"))));
    return out;
}

/* ---- VNC ---- */

typedef struct {
    gint n, vnc;  /* displays so far; which one it is, or -1 */
    char *socket; /* its path, or NULL */
} VncReader;

static void read_vnc(GMarkupParseContext *context, const char *element, const char **names,
                     const char **values, gpointer user, GError **error)
{
    VncReader *r = user;

    if (!g_str_equal(element, "graphics"))
        return;
    if (r->vnc < 0 && g_strcmp0(attribute_of(names, values, "type"), "vnc") == 0) {
        r->vnc = r->n;
        r->socket = g_strdup(attribute_of(names, values, "socket"));
    }
    r->n++;
}

static VncReader vnc_of(const char *xml)
{
    static const GMarkupParser parser = { .start_element = read_vnc };
    VncReader r = { 0, -1, NULL };
    GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &r, NULL);

    g_markup_parse_context_parse(context, xml, (gssize)strlen(xml), NULL);
    g_markup_parse_context_free(context);
    return r;
}

int display_open_vnc(virDomainPtr domain)
{
    char *xml = virDomainGetXMLDesc(domain, 0);

    if (!xml)
        return -1;
    VncReader r = vnc_of(xml);
    free(xml);
    g_free(r.socket);
    return virDomainOpenGraphicsFD(domain, (unsigned)MAX(r.vnc, 0),
                                   VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH);
}

char *display_vnc_socket(const char *xml)
{
    return vnc_of(xml).socket;
}
