/* guest_agent.c: see guest_agent.h. */
#include "broker/run/guest_agent.h"

#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"

#define AGENT_LIMIT_S 5
#define CALL_LIMIT_MS 10000
#define MAX_ANSWER (4 * 1024 * 1024)

typedef struct {
    char *uuid, *incarnation, *command;
    char *answer;
} Question;

static void question_clear(gpointer data)
{
    Question *q = data;

    g_free(q->uuid);
    g_free(q->incarnation);
    g_free(q->command);
    free(q->answer);
}

/* On the host's thread. */
static gboolean ask(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Question *q = data;
    HostDomain *there = driver->find(link, q->uuid, error);
    gboolean is_ours = there && g_strcmp0(there->incarnation, q->incarnation) == 0;

    if (there && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was started anew meanwhile");
    host_domain_free(there);
    if (is_ours && !driver->agent)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "its host knows no agents");
    q->answer = is_ours && driver->agent
                    ? driver->agent(link, q->uuid, q->command, AGENT_LIMIT_S, error)
                    : NULL;
    return q->answer != NULL;
}

json_t *guest_agent_ask(World *world, const RunRow *run, const json_t *command, GError **error)
{
    Question *q = g_atomic_rc_box_new0(Question);
    char *text = json_dumps(command, JSON_COMPACT);
    json_t *out = NULL;

    *q = (Question){ .uuid = g_strdup(run->uuid),
                     .incarnation = g_strdup(run->incarnation),
                     .command = g_strdup(text) };
    free(text);
    if (hosts_call(world->hosts, run->host_id, ask, q, question_clear, CALL_LIMIT_MS, error)) {
        json_auto_t *answer =
            strlen(q->answer) <= MAX_ANSWER ? json_loads(q->answer, 0, NULL) : NULL;
        out = json_incref(json_object_get(answer, "return"));
        if (!out)
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "its guest agent answers what makes no sense");
    }
    g_atomic_rc_box_release_full(q, question_clear);
    return out;
}

/* Of every graphical session, and of terminals.  $1 is the text. */
static const char linux_script[] =
    "for b in /run/user/*/bus; do [ -S \"$b\" ] || continue; u=$(stat -c %U \"$b\") || continue;"
    " command -v notify-send >/dev/null || continue; runuser -u \"$u\" -- env"
    " DBUS_SESSION_BUS_ADDRESS=unix:path=\"$b\" notify-send -u critical -- Desktop \"$1\"; done;"
    " printf '%s\\n' \"$1\" | wall";

gboolean guest_agent_tell(World *world, const RunRow *run, const char *os_type, const char *text,
                          GError **error)
{
    gboolean is_windows = g_strcmp0(os_type, "windows") == 0;
    json_auto_t *command =
        is_windows ? json_pack("{s:s,s:{s:s,s:[s,s,s]}}", "execute", "guest-exec", "arguments",
                               "path", "msg.exe", "arg", "*", "/time:300", text)
                   : json_pack("{s:s,s:{s:s,s:[s,s,s,s]}}", "execute", "guest-exec", "arguments",
                               "path", "/bin/sh", "arg", "-c", linux_script, "sh", text);
    json_auto_t *answer = guest_agent_ask(world, run, command, error);

    return answer != NULL;
}

static gboolean is_reachable(const char *text)
{
    g_autoptr(GInetAddress) address = text ? g_inet_address_new_from_string(text) : NULL;

    return address && !g_inet_address_get_is_loopback(address) &&
           !g_inet_address_get_is_link_local(address) && !g_inet_address_get_is_any(address) &&
           !g_inet_address_get_is_multicast(address);
}

char *guest_agent_address(World *world, const RunRow *run, GError **error)
{
    json_auto_t *command = json_pack("{s:s}", "execute", "guest-network-get-interfaces");
    json_auto_t *cards = guest_agent_ask(world, run, command, error);
    size_t i, k;
    json_t *card, *address;

    if (!cards)
        return NULL;
    json_array_foreach (cards, i, card) {
        json_array_foreach (json_object_get(card, "ip-addresses"), k, address) {
            const char *text = json_string_value(json_object_get(address, "ip-address"));
            if (is_reachable(text))
                return g_strdup(text);
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the guest has no address");
    return NULL;
}
