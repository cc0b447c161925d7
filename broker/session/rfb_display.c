/* rfb_display.c: see rfb_display.h. */
#include "broker/session/rfb_display.h"

#include <string.h>

#include "broker/host/hosts.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define OPEN_LIMIT_MS 10000
#define LOG_IN_S 10
#define MAX_KINDS 255 /* of security that a display can name */

static gboolean find_host(World *world, const char *host_id, HostRow *ret, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = host_lookup(db, host_id, ret, error);

    catalog_read_end(world->catalog, db);
    return ok;
}

static gboolean check_reach(const HostRow *host, GError **error)
{
    if (host_sockets(host->uri) != SOCKETS_OUT_OF_REACH)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "the VNC displays of its host '%s' do not come here by TLS or TCP", host->name);
    imaged_error_hint(error, "they do from hosts that were added by qemu+ssh:, or on imaged's own"
                             " machine by qemu:///system");
    return FALSE;
}

gboolean rfb_display_check(World *world, const char *host_id, GError **error)
{
    g_auto(HostRow) host = { 0 };

    /* a host that is not there fails for what it is asked, with better words */
    return !host_id || !find_host(world, host_id, &host, NULL) || check_reach(&host, error);
}

/* ---- Asking the host ---- */

typedef struct {
    char *uuid, *incarnation;
    gboolean is_by_ssh;
    int fd;     /* the answer */
    char *path; /* or this */
} Opening;

static void opening_clear(gpointer data)
{
    Opening *o = data;

    g_free(o->uuid);
    g_free(o->incarnation);
    g_free(o->path);
    durable_close(&o->fd);
}

/* On the host's thread. */
static gboolean open_display(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Opening *o = data;
    HostDomain *there = driver->find(link, o->uuid, error);
    gboolean is_ours = there && g_strcmp0(there->incarnation, o->incarnation) == 0;

    if (there && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was started anew meanwhile");
    host_domain_free(there);
    if (!is_ours)
        return FALSE;
    if (o->is_by_ssh ? !driver->vnc_socket : !driver->open_vnc) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "its host cannot");
        return FALSE;
    }
    if (o->is_by_ssh)
        o->path = driver->vnc_socket(link, o->uuid, error);
    else
        o->fd = driver->open_vnc(link, o->uuid, error);
    return o->path || o->fd >= 0;
}

gboolean rfb_display_open(World *world, const SessionRow *row, SshSocketGoesOn goes_on,
                          gpointer user, RfbDisplay *ret, GError **error)
{
    g_auto(HostRow) host = { 0 };

    *ret = (RfbDisplay)RFB_DISPLAY_NONE;
    if (!find_host(world, row->host_id ? row->host_id : "", &host, error) ||
        !check_reach(&host, error))
        return FALSE;
    Opening *o = g_atomic_rc_box_new0(Opening);
    *o = (Opening){ g_strdup(row->uuid), g_strdup(row->incarnation),
                    host_sockets(host.uri) == SOCKETS_BY_SSH, -1, NULL };
    if (hosts_call(world->hosts, row->host_id, open_display, o, opening_clear, OPEN_LIMIT_MS,
                   error)) {
        ret->wire.fd = o->fd;
        o->fd = -1;
        if (o->is_by_ssh)
            ret->ssh = ssh_socket_open(host.uri, o->path, goes_on, user, &ret->wire.fd, error);
    }
    g_atomic_rc_box_release_full(o, opening_clear);
    return ret->wire.fd >= 0;
}

void rfb_display_close(RfbDisplay *d)
{
    wire_close(&d->wire); /* first: ssh ends by itself then */
    g_clear_pointer(&d->ssh, ssh_socket_free);
}

/* ---- Its log-in ---- */

/* QEMU's, by the way around its passwords: version 3.8, no security, fine. */
static gboolean shake_hands(Wire *display, gint64 end_us)
{
    static const guint8 version[] = "RFB 003.008\n", none[] = { 1 };
    guint8 data[MAX_KINDS], n;

    return wire_read(display, data, sizeof version - 1, end_us) &&
           memcmp(data, "RFB 003.", 8) == 0 &&
           wire_send(display, version, sizeof version - 1, end_us) &&
           wire_read(display, &n, 1, end_us) && wire_read(display, data, n, end_us) &&
           memchr(data, 1, n) && wire_send(display, none, 1, end_us) &&
           wire_read(display, data, 4, end_us) && memcmp(data, "\0\0\0\0", 4) == 0;
}

gboolean rfb_display_log_in(Wire *display, GError **error)
{
    if (shake_hands(display, g_get_monotonic_time() + LOG_IN_S * G_USEC_PER_SEC))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "its display lets nobody in");
    imaged_error_hint(error, "qemu.conf there must not set vnc_password, vnc_tls or vnc_sasl");
    return FALSE;
}
