/* live_hosts.c: what hosts tell of the clients of sessions that are open.
 *
 * Events come one by one; those that came while nobody listened, or before it was known that a
 * desktop is there, are made up for by one question to the host (to_ask). */
#include "broker/session/live_private.h"
#include "imaged/base/units.h"

/* The session of a desktop now has a client, or none any more. */
static void follow(World *world, const char *session_id, ClientsChange change, const char *address)
{
    Changes *changes;
    gint64 now = units_now_ms();

    if (change == CLIENTS_SAME)
        return;
    changes = changes_new();
    if (change == CLIENTS_CAME)
        session_set_connected(changes, session_id, address, now);
    else
        session_set_disconnected(changes, session_id, "connected", now);
    catalog_commit(world->catalog, changes, NULL);
}

void sessions_client(gpointer user, const char *host_id, const ClientEvent *event)
{
    World *world = user;
    Sessions *s = world->sessions;
    ClientsChange change = CLIENTS_SAME;
    g_autofree char *session_id = NULL;

    g_mutex_lock(&s->lock);
    Live *live = g_hash_table_lookup(s->by_uuid, event->uuid);
    if (live) {
        change = clients_note(&live->clients, event, units_now_ms());
        session_id = g_strdup(live->session_id);
    }
    g_mutex_unlock(&s->lock);
    if (session_id)
        follow(world, session_id, change, event->address);
}

/* What was told meanwhile is lost: ask it once it is there. */
void sessions_host(gpointer user, const char *host_id, HostState state, const char *why)
{
    Sessions *s = ((World *)user)->sessions;

    g_mutex_lock(&s->lock);
    if (state == HOST_UP)
        g_hash_table_add(s->to_ask, g_strdup(host_id));
    g_mutex_unlock(&s->lock);
}

/* Those that came there before this was known are asked for. */
void sessions_moved(Sessions *s, const char *uuid, const char *host_id)
{
    g_mutex_lock(&s->lock);
    Live *live = g_hash_table_lookup(s->by_uuid, uuid);
    if (live) {
        g_free(live->host_id);
        live->host_id = g_strdup(host_id);
        g_hash_table_add(s->to_ask, g_strdup(host_id));
    }
    g_mutex_unlock(&s->lock);
}

static void ask_one(World *world, const char *uuid, const HostDriver *driver, gpointer link)
{
    Sessions *s = world->sessions;
    g_autoptr(GPtrArray) events = driver->clients ? driver->clients(link, uuid, NULL) : NULL;
    g_autofree char *session_id = NULL;

    if (!events)
        return;
    g_mutex_lock(&s->lock);
    Live *live = g_hash_table_lookup(s->by_uuid, uuid);
    if (live) {
        clients_replace(&live->clients, events, units_now_ms());
        session_id = g_strdup(live->session_id);
    }
    g_mutex_unlock(&s->lock);
    if (session_id) /* the row may say something else, whatever was known here */
        follow(world, session_id, events->len ? CLIENTS_CAME : CLIENTS_LEFT,
               events->len ? ((ClientEvent *)events->pdata[0])->address : NULL);
}

void sessions_seen(World *world, const char *host_id, const HostDriver *driver, gpointer link)
{
    Sessions *s = world->sessions;
    g_autoptr(GPtrArray) uuids = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer value;

    g_mutex_lock(&s->lock);
    if (g_hash_table_remove(s->to_ask, host_id)) {
        g_hash_table_iter_init(&iter, s->by_uuid);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            if (g_strcmp0(((Live *)value)->host_id, host_id) == 0)
                g_ptr_array_add(uuids, g_strdup(((Live *)value)->uuid));
        }
    }
    g_mutex_unlock(&s->lock);
    for (guint i = 0; i < uuids->len; i++)
        ask_one(world, uuids->pdata[i], driver, link);
}
