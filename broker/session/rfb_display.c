/* rfb_display.c: see rfb_display.h. */
#include "broker/session/rfb_display.h"

#include <string.h>

#include "broker/host/hosts.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define OPEN_LIMIT_MS 10000
#define LOG_IN_S 10
#define MAX_KINDS 255 /* of security that a display can name */

typedef struct {
    char *uuid, *incarnation;
    int fd;
} Opening;

static void opening_clear(gpointer data)
{
    Opening *o = data;

    g_free(o->uuid);
    g_free(o->incarnation);
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
    if (!driver->open_vnc) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "its host cannot");
        return FALSE;
    }
    o->fd = driver->open_vnc(link, o->uuid, error);
    return o->fd >= 0;
}

gboolean rfb_display_open(World *world, const SessionRow *row, Wire *ret, GError **error)
{
    Opening *o = g_atomic_rc_box_new0(Opening);

    *ret = (Wire){ .fd = -1 };
    *o = (Opening){ g_strdup(row->uuid), g_strdup(row->incarnation), -1 };
    if (hosts_call(world->hosts, row->host_id, open_display, o, opening_clear, OPEN_LIMIT_MS,
                   error)) {
        ret->fd = o->fd;
        o->fd = -1;
    }
    g_atomic_rc_box_release_full(o, opening_clear);
    return ret->fd >= 0;
}

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
    return FALSE;
}
