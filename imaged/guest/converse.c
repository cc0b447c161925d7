/* converse.c: one loop that sends the request, listens, drains complaints, and looks every 100 ms
 * whether the run is still wanted and has time left.  Whether what comes is allowed is talk.c's. */
#include "imaged/guest/converse.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "imaged/base/error.h"
#include "imaged/guest/folder.h"
#include "imaged/guest/protocol.h"
#include "imaged/guest/talk.h"

#define LOOK_MS 100
#define STREAM_LIMIT_MS (24 * 3600 * 1000) /* of its processor time, if it may send so long */
#define GOODBYE_MS 20000                   /* from the result to the end of the process */

typedef struct {
    const GuestRun *run;
    GuestChild *child;
    GuestTalk *talk;
    char *request; /* with its newline */
    gsize sent, length;
    gint64 end_us;          /* monotonic */
    gboolean was_looked_at; /* and did not please */
} Conversation;

/* disks is taken over. */
static char *make_request(const GuestRun *run, const GuestPlace *place, json_t *disks)
{
    json_t *root = run->request ? json_deep_copy(run->request) : json_object();
    g_autofree char *tmp = g_build_filename(place->folder, GUEST_RUN_TMP, NULL);
    gint64 limit_ms = run->is_stream ? STREAM_LIMIT_MS : run->limit_ms;

    json_object_set_new(root, "version", json_integer(GUEST_PROTOCOL_VERSION));
    json_object_set_new(root, "role", json_string(guest_role_name(run->role)));
    json_object_set_new(root, "task", json_string(run->task));
    json_object_set_new(root, "limit_ms", json_integer(limit_ms));
    json_object_set_new(root, "disks", disks);
    json_object_set_new(root, "tmp", json_string(tmp));
    if (run->folder)
        json_object_set_new(root, "folder", json_string(run->folder));
    if (place->appliance) {
        json_object_set_new(root, "appliance", json_string(place->appliance));
        json_object_set_new(root, "accelerator", json_string(place->accelerator));
    }
    char *text = json_dumps(root, JSON_COMPACT);
    char *line = g_strconcat(text, "\n", NULL);
    free(text);
    json_decref(root);
    return line;
}

static gboolean check_limits(Conversation *c, GError **error)
{
    const GuestRun *run = c->run;

    if (run->cancel && g_atomic_int_get(run->cancel)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (run->look && !run->look(run->look_user, error)) {
        c->was_looked_at = TRUE;
        return FALSE;
    }
    if (g_get_monotonic_time() < c->end_us)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it was killed after %d s%s",
                (int)(run->limit_ms / 1000), run->is_stream ? " of silence" : "");
    return FALSE;
}

/* It may have hung up.  Then what was to be read is read first, so that is no error here. */
static void send_request(Conversation *c)
{
    ssize_t n = send(guest_child_socket(c->child), c->request + c->sent, c->length - c->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0)
        c->sent += (gsize)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        c->sent = c->length;
}

static gint64 limit_from_now(const GuestRun *run)
{
    return g_get_monotonic_time() + run->limit_ms * 1000;
}

/* Read what there is.  *ret_is_over: it has hung up. */
static gboolean listen_to(Conversation *c, gboolean *ret_is_over, GError **error)
{
    char bytes[65536];
    ssize_t n = recv(guest_child_socket(c->child), bytes, sizeof bytes, MSG_DONTWAIT);

    *ret_is_over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n <= 0)
        return TRUE;
    guint64 before = guest_talk_n_data(c->talk);
    gboolean ok = guest_talk_take(c->talk, bytes, (gsize)n, error);
    /* Words are cheap: only what was asked for shows that it is at work. */
    if (c->run->is_stream && guest_talk_n_data(c->talk) > before)
        c->end_us = limit_from_now(c->run); /* only now: data() may have waited for a slow client */
    return ok;
}

/* Until the result, the helper's error (error is set), or its end (neither). */
static json_t *converse(Conversation *c, GError **error)
{
    for (;;) {
        gboolean is_over = FALSE;
        short want = c->sent < c->length ? POLLIN | POLLOUT : POLLIN;
        struct pollfd fds[] = { { guest_child_socket(c->child), want, 0 },
                                { guest_child_stderr(c->child), POLLIN, 0 } };
        if (!check_limits(c, error))
            return NULL;
        if (poll(fds, G_N_ELEMENTS(fds), LOOK_MS) < 0)
            continue;
        if (fds[1].revents)
            guest_child_drain(c->child);
        if (fds[0].revents & POLLOUT)
            send_request(c);
        if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) && !listen_to(c, &is_over, error))
            return NULL;
        json_t *result = guest_talk_steal_result(c->talk);
        if (result || is_over)
            return result;
    }
}

json_t *guest_converse(const GuestRun *run, const GuestPlace *place, GuestChild *child,
                       json_t *disks, GError **error)
{
    g_autoptr(GuestTalk) talk = guest_talk_new(&run->events);
    g_autofree char *request = make_request(run, place, disks);
    Conversation c = { .run = run,
                       .child = child,
                       .talk = talk,
                       .request = request,
                       .length = strlen(request),
                       .end_us = limit_from_now(run) };
    GError *local = NULL;
    json_t *result = converse(&c, &local);
    /* One that said its last word is left time to end well; one that broke a limit is not. */
    gboolean is_rude =
        local && (c.was_looked_at || g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED) ||
                  g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE));
    g_autofree char *end = guest_child_end(child, is_rude ? 0 : GOODBYE_MS);

    if (!result && !local)
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "it %s",
                    end ? end : "ended without an answer");
    if (local) {
        if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE))
            g_prefix_error(&local, "the helper for '%s': ", run->what);
        g_propagate_error(error, local);
    }
    return result;
}
