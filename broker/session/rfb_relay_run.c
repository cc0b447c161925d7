/* rfb_relay_run.c: what a relay does: wait for its client, open the display, pass on what both say.
 *
 * It ends with its session, or when it is told to; what it cannot do is told to its client, in
 * words that VNC's clients show, and is an event. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/session/rfb_display.h"
#include "broker/session/rfb_login.h"
#include "broker/session/rfb_pump.h"
#include "broker/session/rfb_relay_private.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define LOOK_MS 1000 /* between two looks whether the session is open */
#define STEP_MS 100  /* between two looks whether it is to end */
#define ANSWER_S 10  /* for the client to take the answer to his log-in */

static gboolean is_cut(const Relay *r)
{
    g_mutex_lock(&r->relays->lock);
    gboolean is = r->relays->is_stopping || r->is_cut;
    g_mutex_unlock(&r->relays->lock);
    return is;
}

static gboolean is_open(const Relay *r)
{
    World *world = r->relays->world;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db,
                          "SELECT count(*) FROM session WHERE id = ?1 AND ended_at IS NULL AND"
                          " state <> 'ending'",
                          "t", r->row.id);

    catalog_read_end(world->catalog, db);
    return n > 0;
}

static gboolean goes_on(gpointer data)
{
    Relay *r = data;
    gint64 now_us = g_get_monotonic_time();

    if (is_cut(r))
        return FALSE;
    if (now_us < r->look_us)
        return TRUE;
    r->look_us = now_us + LOOK_MS * 1000;
    return is_open(r);
}

static int wait_for_client(const Relay *r)
{
    struct pollfd fd = { .fd = r->listen_fd, .events = POLLIN };

    for (gint waited = 0; waited < RELAY_WAIT_MS && !is_cut(r); waited += STEP_MS) {
        if (waited % LOOK_MS == 0 && !is_open(r))
            return -1;
        if (poll(&fd, 1, STEP_MS) > 0)
            return accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    }
    return -1;
}

static void say(const Relay *r, const char *format, const char *text)
{
    Changes *changes = changes_new();
    g_autofree char *message = g_strconcat(format, text, NULL);

    changes_event(changes, "session.shadow", "info", r->row.desktop_name, r->who, "%s", message);
    catalog_commit(r->relays->world->catalog, changes, NULL);
}

/* The session's row, of its own user's client. */
static void follow(const Relay *r, gboolean has_come, const char *address)
{
    Changes *changes = changes_new();

    if (has_come)
        session_set_connected(changes, r->row.id, address, units_now_ms());
    else
        session_set_disconnected(changes, r->row.id, "connected", units_now_ms());
    catalog_commit(r->relays->world->catalog, changes, NULL);
}

static void serve(Relay *r, Wire *client, Wire *display, const char *address)
{
    RfbFilter filter = { .may_control = r->may_control,
                         .step = r->path ? 0 : RFB_FILTER_LOGGED_IN };

    if (r->who)
        say(r, r->may_control ? "looks on and may control" : "looks on", "");
    else
        follow(r, TRUE, address);
    rfb_pump(&filter, client, display, goes_on, r);
    if (r->who)
        say(r, "looks on no more", "");
    else
        follow(r, FALSE, NULL);
}

static void end(Relay *r)
{
    Relays *s = r->relays;

    g_mutex_lock(&s->lock);
    g_ptr_array_remove_fast(s->all, r);
    relay_free(r);
    g_cond_broadcast(&s->ended);
    g_mutex_unlock(&s->lock);
}

/* Caller frees. */
static char *words_of(const GError *error)
{
    g_autofree char *message =
        error ? imaged_error_message(error) : g_strdup("its host does not say why");
    const char *hint = error ? imaged_error_get_hint(error) : NULL;

    return hint ? g_strdup_printf("%s (%s)", message, hint) : g_steal_pointer(&message);
}

/* Its program shows why, as if the display itself had said so. */
static void refuse(Wire *client, const char *why)
{
    g_autoptr(GByteArray) greeting = g_byte_array_new();
    g_autoptr(GByteArray) refusal = g_byte_array_new();
    gint64 end_us = g_get_monotonic_time() + ANSWER_S * G_USEC_PER_SEC;
    guint8 version[RFB_LOGIN_N_VERSION];

    rfb_login_begin(NULL, greeting);
    rfb_login_refusal(refusal, why);
    if (wire_send(client, greeting->data, greeting->len, end_us) &&
        wire_read(client, version, sizeof version, end_us))
        wire_send(client, refusal->data, refusal->len, end_us);
}

gpointer relay_run(gpointer data)
{
    Relay *r = data;
    g_autoptr(GError) error = NULL;
    g_auto(RfbDisplay) display = RFB_DISPLAY_NONE;
    g_auto(Wire) client = { .fd = wait_for_client(r) };
    gboolean is_there =
        client.fd >= 0 && rfb_display_open(r->relays->world, &r->row, goes_on, r, &display, &error);

    unlink(r->path); /* for one client */
    if (is_there)
        serve(r, &client, &display.wire, NULL);
    else if (client.fd >= 0 && !is_cut(r)) {
        g_autofree char *why = words_of(error);
        say(r, "could not see the screen: ", why);
        refuse(&client, why);
    }
    wire_close(&client); /* before anybody hears that it has ended */
    rfb_display_close(&display);
    end(r);
    return NULL;
}

void relay_serve(Relay *r, Wire *client, const char *address)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) result = g_byte_array_new();
    g_autofree char *why_not = NULL;
    g_auto(RfbDisplay) display = RFB_DISPLAY_NONE;
    gboolean is_there = rfb_display_open(r->relays->world, &r->row, goes_on, r, &display, &error) &&
                        rfb_display_log_in(&display.wire, &error);

    if (!is_there) {
        why_not = words_of(error);
        say(r, "could not see the screen: ", why_not);
    }
    rfb_login_result(result, why_not);
    if (wire_send(client, result->data, result->len,
                  g_get_monotonic_time() + ANSWER_S * G_USEC_PER_SEC) &&
        is_there)
        serve(r, client, &display.wire, address);
    wire_shut(client);
    rfb_display_close(&display);
    end(r);
}
