/* rfb_pump.c: see rfb_pump.h. */
#include "broker/session/rfb_pump.h"

#include <poll.h>

#define STEP_MS 100
#define SEND_S 10 /* for one piece */
#define PIECE 65536

static gint64 send_limit(void)
{
    return g_get_monotonic_time() + SEND_S * G_USEC_PER_SEC;
}

/* FALSE: it is over. */
static gboolean from_client(RfbFilter *filter, Wire *client, Wire *display, guint8 *piece)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    gssize n = wire_recv(client, piece, PIECE);

    return n >= 0 && rfb_filter_feed(filter, piece, (gsize)n, out, NULL) &&
           wire_send(display, out->data, out->len, send_limit());
}

static gboolean from_display(Wire *display, Wire *client, guint8 *piece)
{
    gssize n = wire_recv(display, piece, PIECE);

    return n >= 0 && wire_send(client, piece, (gsize)n, send_limit());
}

void rfb_pump(RfbFilter *filter, Wire *client, Wire *display, RfbPumpGoesOn goes_on, gpointer user)
{
    struct pollfd fds[] = { { .fd = client->fd, .events = POLLIN },
                            { .fd = display->fd, .events = POLLIN } };
    g_autofree guint8 *piece = g_malloc(PIECE);

    while (goes_on(user)) {
        gboolean has_more = wire_has_more(client);
        if (poll(fds, G_N_ELEMENTS(fds), has_more ? 0 : STEP_MS) < 0)
            fds[0].revents = fds[1].revents = 0; /* interrupted */
        if ((has_more || fds[0].revents) && !from_client(filter, client, display, piece))
            return;
        if (fds[1].revents && !from_display(display, client, piece))
            return;
    }
}
