/* live.c: the table of sessions that are open, and what is due with them. */
#include "broker/session/live_private.h"

#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define TICK_MS 1000
#define ASK_MS 10000        /* between two questions who is logged in */
#define ASK_AGAIN_MS 300000 /* at most, where no agent answers */

World *sessions_world(Sessions *s)
{
    return s->world;
}

static void live_free(gpointer data)
{
    Live *live = data;

    g_free(live->session_id);
    g_free(live->host_id);
    g_free(live->uuid);
    g_free(live->incarnation);
    if (live->password)
        sodium_memzero(live->password, strlen(live->password));
    g_free(live->password);
    clients_clear(&live->clients);
    g_free(live);
}

void live_add(Sessions *s, const SessionRow *row, const char *password, gint64 now_ms)
{
    g_mutex_lock(&s->lock);
    Live *live = g_hash_table_lookup(s->by_uuid, row->uuid);
    if (!live || !g_str_equal(live->session_id, row->id)) {
        live = g_new0(Live, 1);
        live->session_id = g_strdup(row->id);
        live->uuid = g_strdup(row->uuid);
        live->n_users = row->logged_in_at ? 1 : -1; /* as it was before a restart */
        g_hash_table_replace(s->by_uuid, live->uuid, live);
    }
    g_free(live->host_id);
    live->host_id = g_strdup(row->host_id);
    g_free(live->incarnation);
    live->incarnation = g_strdup(row->incarnation);
    if (password) {
        g_free(live->password);
        live->password = g_strdup(password);
        clients_arm(&live->clients, now_ms);
    }
    g_mutex_unlock(&s->lock);
}

void live_drop(Sessions *s, const char *uuid, const char *session_id)
{
    g_mutex_lock(&s->lock);
    Live *live = uuid ? g_hash_table_lookup(s->by_uuid, uuid) : NULL;
    if (live && g_str_equal(live->session_id, session_id))
        g_hash_table_remove(s->by_uuid, uuid);
    g_mutex_unlock(&s->lock);
}

gboolean live_is_over(Sessions *s, const char *uuid, const char *password)
{
    g_mutex_lock(&s->lock);
    const Live *live = g_hash_table_lookup(s->by_uuid, uuid);
    gboolean is = live && !live->clients.deadline_ms && g_strcmp0(live->password, password) == 0;
    g_mutex_unlock(&s->lock);
    return is;
}

gboolean live_is_wanted(Sessions *s, const char *uuid, const char *password)
{
    g_mutex_lock(&s->lock);
    const Live *live = g_hash_table_lookup(s->by_uuid, uuid);
    gboolean is = live && g_strcmp0(live->password, password) == 0;
    g_mutex_unlock(&s->lock);
    return is;
}

static void forget_password(Live *live)
{
    if (live->password)
        sodium_memzero(live->password, strlen(live->password));
    g_clear_pointer(&live->password, g_free);
}

void live_forbid(Sessions *s, const char *uuid, const char *session_id)
{
    g_mutex_lock(&s->lock);
    Live *live = uuid ? g_hash_table_lookup(s->by_uuid, uuid) : NULL;
    if (live && g_str_equal(live->session_id, session_id)) {
        forget_password(live);
        live->clients.deadline_ms = 0;
    }
    g_mutex_unlock(&s->lock);
}

void live_claim_end(Sessions *s, const char *session_id)
{
    session_ends_claim(s->ends, session_id);
}

void live_release_end(Sessions *s, const char *session_id)
{
    session_ends_release(s->ends, session_id);
}

guint sessions_count(Sessions *s)
{
    g_mutex_lock(&s->lock);
    guint n = g_hash_table_size(s->by_uuid);
    g_mutex_unlock(&s->lock);
    return n;
}

/* ---- What is due ---- */

void live_session_free(gpointer data)
{
    LiveSession *session = data;

    g_free(session->session_id);
    g_free(session->host_id);
    g_free(session->uuid);
    g_free(session->incarnation);
    g_free(session->password);
    g_free(session);
}

/* Those of whom that is true, of LiveSession. */
static GPtrArray *copy_due(Sessions *s, gboolean (*is_due)(Live *live, gint64 now_ms),
                           gint64 now_ms)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(live_session_free);
    GHashTableIter iter;
    gpointer value;

    g_mutex_lock(&s->lock);
    g_hash_table_iter_init(&iter, s->by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Live *live = value;
        if (!is_due(value, now_ms))
            continue;
        LiveSession *session = g_new(LiveSession, 1);
        *session = (LiveSession){ g_strdup(live->session_id), g_strdup(live->host_id),
                                  g_strdup(live->uuid), g_strdup(live->incarnation),
                                  g_strdup(live->password) };
        g_ptr_array_add(out, session);
    }
    g_mutex_unlock(&s->lock);
    return out;
}

static gboolean password_is_over(Live *live, gint64 now_ms)
{
    return clients_is_over(&live->clients, now_ms);
}

GPtrArray *live_over(Sessions *s, gint64 now_ms)
{
    return copy_due(s, password_is_over, now_ms);
}

static gboolean ask_is_due(Live *live, gint64 now_ms)
{
    if (!live->ask_ms)
        live->ask_ms = now_ms + ASK_MS;
    if (now_ms < live->ask_ms)
        return FALSE;
    live->wait_ms = CLAMP(2 * live->wait_ms, ASK_MS, ASK_AGAIN_MS);
    live->ask_ms = now_ms + live->wait_ms; /* unless an answer comes */
    return TRUE;
}

GPtrArray *live_ask_due(Sessions *s, gint64 now_ms)
{
    return copy_due(s, ask_is_due, now_ms);
}

UsersChange live_note_users(Sessions *s, const char *uuid, const char *session_id, gint n_users,
                            gint64 now_ms)
{
    UsersChange change = USERS_SAME;

    g_mutex_lock(&s->lock);
    Live *live = g_hash_table_lookup(s->by_uuid, uuid);
    if (live && g_str_equal(live->session_id, session_id)) {
        change = live->n_users > 0 && !n_users   ? USERS_LEFT
                 : live->n_users <= 0 && n_users ? USERS_CAME
                                                 : USERS_SAME;
        live->n_users = n_users;
        live->ask_ms = now_ms + ASK_MS;
        live->wait_ms = 0;
    }
    g_mutex_unlock(&s->lock);
    return change;
}

/* ---- Beginning and end ---- */

static gboolean load(Sessions *s, GError **error)
{
    Db *db = catalog_read_begin(s->world->catalog);
    g_autoptr(GPtrArray) rows = session_rows(db, SESSION_SELECT "WHERE s.ended_at IS NULL", "");

    catalog_read_end(s->world->catalog, db);
    if (!rows) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "cannot read the sessions");
        return FALSE;
    }
    Changes *changes = changes_new();
    for (guint i = 0; i < rows->len; i++) {
        const SessionRow *row = rows->pdata[i];
        live_add(s, row, NULL, 0);
        if (g_str_equal(row->protocol, "vnc")) /* relays have ended with us */
            session_set_disconnected(changes, row->id, "connected", units_now_ms());
    }
    return catalog_commit(s->world->catalog, changes, error);
}

Sessions *sessions_new(World *world, GError **error)
{
    Sessions *s = g_new0(Sessions, 1);

    s->world = world;
    g_mutex_init(&s->lock);
    g_cond_init(&s->wake);
    s->by_uuid = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, live_free);
    s->to_ask = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    s->ends = session_ends_new(s);
    if (!load(s, error))
        g_clear_pointer(&s, sessions_free);
    return s;
}

static gpointer run(gpointer data)
{
    Sessions *s = data;

    g_mutex_lock(&s->lock);
    while (!s->is_stopping) {
        g_cond_wait_until(&s->wake, &s->lock, g_get_monotonic_time() + TICK_MS * 1000);
        if (s->is_stopping)
            break;
        g_mutex_unlock(&s->lock);
        sessions_tick(s, units_now_ms());
        g_mutex_lock(&s->lock);
    }
    g_mutex_unlock(&s->lock);
    return NULL;
}

void sessions_start(Sessions *s)
{
    s->thread = g_thread_new("sessions", run, s);
}

void sessions_stop(Sessions *s)
{
    g_mutex_lock(&s->lock);
    s->is_stopping = TRUE;
    g_cond_signal(&s->wake);
    g_mutex_unlock(&s->lock);
    if (s->thread)
        g_thread_join(s->thread);
    s->thread = NULL;
    session_ends_wait(s->ends);
}

void sessions_free(Sessions *s)
{
    if (!s)
        return;
    session_ends_free(s->ends);
    g_hash_table_unref(s->by_uuid);
    g_hash_table_unref(s->to_ask);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->wake);
    g_free(s);
}

void sessions_tick(Sessions *s, gint64 now_ms)
{
    session_ends_tick(s->ends, now_ms);
}

void sessions_settle(Sessions *s)
{
    session_ends_wait(s->ends);
}
