/* clients.c: see clients.h. */
#include "broker/session/clients.h"

static guint size(const GHashTable *set)
{
    return set ? g_hash_table_size((GHashTable *)set) : 0;
}

static gboolean add(GHashTable **set, char *key)
{
    if (!*set)
        *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return g_hash_table_add(*set, key);
}

static gboolean drop(GHashTable *set, const char *key)
{
    return set && g_hash_table_remove(set, key);
}

static char *key_of(const ClientEvent *event)
{
    return g_strconcat(event->address, " ", event->port, NULL);
}

void clients_arm(Clients *c, gint64 now_ms)
{
    c->deadline_ms = now_ms + TICKET_MS;
    c->changed_ms = 0; /* those that are up came by another password */
}

static ClientsChange change_from(guint before, guint now)
{
    return !before && now ? CLIENTS_CAME : before && !now ? CLIENTS_LEFT : CLIENTS_SAME;
}

ClientsChange clients_note(Clients *c, const ClientEvent *event, gint64 now_ms)
{
    guint before = size(c->up);
    g_autofree char *key = key_of(event);

    if (event->act == CLIENT_CONNECTED) {
        add(&c->coming, g_steal_pointer(&key));
    } else {
        drop(c->coming, key);
        if (event->act == CLIENT_GONE) {
            drop(c->up, key);
        } else {
            add(&c->up, g_steal_pointer(&key));
            c->changed_ms = now_ms;
        }
    }
    return change_from(before, size(c->up));
}

ClientsChange clients_replace(Clients *c, const GPtrArray *events, gint64 now_ms)
{
    guint before = size(c->up);

    g_clear_pointer(&c->coming, g_hash_table_unref);
    g_clear_pointer(&c->up, g_hash_table_unref);
    for (guint i = 0; i < events->len; i++)
        add(&c->up, key_of(events->pdata[i]));
    if (events->len)
        c->changed_ms = now_ms;
    return change_from(before, size(c->up));
}

gboolean clients_is_over(Clients *c, gint64 now_ms)
{
    gboolean are_up =
        c->changed_ms && size(c->up) && !size(c->coming) && now_ms - c->changed_ms >= QUIET_MS;

    if (!c->deadline_ms || (!are_up && now_ms < c->deadline_ms))
        return FALSE;
    c->deadline_ms = 0;
    return TRUE;
}

guint clients_count(const Clients *c)
{
    return size(c->up);
}

void clients_clear(Clients *c)
{
    g_clear_pointer(&c->coming, g_hash_table_unref);
    g_clear_pointer(&c->up, g_hash_table_unref);
    *c = (Clients){ 0 };
}
