/* session_ends.c: see session_ends.h.
 *
 * A row that is to end is handed to a thread, which writes "ending", has the host cut off the
 * client, and then writes "ended".  What does not succeed is found again at a later tick. */
#include "broker/session/session_ends.h"

#include <jansson.h>
#include <string.h>

#include "broker/session/live.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define N_THREADS 16
#define CUT_LIMIT_MS 5000
#define ROWS_MS 2000 /* between two looks at the rows */
#define N_UNUSED 500 /* of them, in one commit */
#define KEPT_MS (90 * 86400000ll)
#define FORGET_MS 3600000

struct SessionEnds {
    Sessions *sessions;
    GThreadPool *pool; /* of Work */
    GMutex lock;       /* guards busy */
    GCond idle;
    GHashTable *busy; /* ids of sessions that threads are at */
    gint64 next_rows_ms, next_forget_ms;
    GAsyncQueue *answers; /* of Answer; a reference goes with each question */
};

typedef struct {
    SessionRow row;
    char *reason; /* NULL: it is ending already */
    gboolean is_off;
    gint64 now_ms;
} Work;

static void work_free(Work *work)
{
    session_row_clear(&work->row);
    g_free(work->reason);
    g_free(work);
}

/* ---- Ending ---- */

void session_ends_claim(SessionEnds *e, const char *session_id)
{
    g_mutex_lock(&e->lock);
    while (g_hash_table_contains(e->busy, session_id))
        g_cond_wait(&e->idle, &e->lock);
    g_hash_table_add(e->busy, g_strdup(session_id));
    g_mutex_unlock(&e->lock);
}

void session_ends_release(SessionEnds *e, const char *session_id)
{
    g_mutex_lock(&e->lock);
    g_hash_table_remove(e->busy, session_id);
    g_cond_broadcast(&e->idle);
    g_mutex_unlock(&e->lock);
}

/* It may have been ended, and another begun, since its row was read. */
static gboolean is_open(World *world, const Work *work)
{
    g_auto(SessionRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = session_lookup(db, work->row.id, &row, NULL) && !row.ended_at &&
                  (!work->reason || !g_str_equal(row.state, "connected") || work->is_off ||
                   g_str_equal(work->row.state, "connected"));

    catalog_read_end(world->catalog, db);
    return is;
}

static gboolean begin_end(World *world, const Work *work)
{
    Changes *changes = changes_new();

    if (!work->is_off)
        session_set_ending(changes, work->row.id, work->reason);
    changes_event(changes, "session.end", "info", work->row.desktop_name, NULL, "of %s: %s",
                  work->row.user_name, work->reason);
    return catalog_commit(world->catalog, changes, NULL);
}

static void end_one(gpointer data, gpointer user)
{
    Work *work = data;
    SessionEnds *e = user;
    World *world = sessions_world(e->sessions);

    if (is_open(world, work) && (!work->reason || begin_end(world, work))) {
        if (work->is_off)
            sessions_finish(e->sessions, &work->row, work->reason, work->now_ms, NULL);
        else
            sessions_cut_and_finish(e->sessions, &work->row, work->now_ms, CUT_LIMIT_MS, NULL);
    }
    session_ends_release(e, work->row.id);
    work_free(work);
}

/* Takes the row's content over. */
static void push(SessionEnds *e, SessionRow *row, const char *reason, gboolean is_off,
                 gint64 now_ms)
{
    g_mutex_lock(&e->lock);
    gboolean is_new = g_hash_table_add(e->busy, g_strdup(row->id));
    g_mutex_unlock(&e->lock);
    if (!is_new)
        return;
    Work *work = g_new0(Work, 1);
    *work = (Work){ *row, g_strdup(reason), is_off, now_ms };
    *row = (SessionRow){ 0 };
    g_thread_pool_push(e->pool, work, NULL);
}

static void push_all(SessionEnds *e, GPtrArray *rows, const char *reason, gboolean is_off,
                     gint64 now_ms)
{
    for (guint i = 0; rows && i < rows->len; i++)
        push(e, rows->pdata[i], reason, is_off, now_ms);
    if (rows)
        g_ptr_array_unref(rows);
}

/* ---- Rows ---- */

/* Those that nobody came to become disconnected, so that their time runs.  After a storm of log-ins
 * they are many, and others' commits wait: so some at each look. */
static void note_unused(World *world, gint64 now_ms)
{
    Db *db = catalog_read_begin(world->catalog);
    g_autoptr(GPtrArray) rows =
        session_rows(db,
                     SESSION_SELECT "WHERE s.ended_at IS NULL AND s.state = 'opening' AND"
                                    " s.created_at < ?1 LIMIT ?2",
                     "ii", now_ms - TICKET_MS - 5000, (gint64)N_UNUSED);

    catalog_read_end(world->catalog, db);
    if (!rows || !rows->len)
        return;
    Changes *changes = changes_new();
    for (guint i = 0; i < rows->len; i++)
        session_set_disconnected(changes, ((SessionRow *)rows->pdata[i])->id, "opening", now_ms);
    catalog_commit(world->catalog, changes, NULL);
}

static void look_at_rows(SessionEnds *e, gint64 now_ms)
{
    World *world = sessions_world(e->sessions);

    note_unused(world, now_ms);
    Db *db = catalog_read_begin(world->catalog);
    /* A migration keeps the incarnation. */
    GPtrArray *off = session_rows(db,
                                  SESSION_SELECT "LEFT JOIN run r ON r.desktop_id = s.desktop_id"
                                                 " WHERE s.ended_at IS NULL AND r.incarnation IS"
                                                 " NOT s.incarnation",
                                  "");
    GPtrArray *over =
        g_atomic_int_get(&world->expiry_held) /* the clock has jumped */
            ? NULL
            : session_rows(db,
                           SESSION_SELECT "LEFT JOIN pool p ON p.id = s.pool_id WHERE s.ended_at IS"
                                          " NULL AND s.state = 'disconnected' AND"
                                          " coalesce(p.disconnect_limit_s, ?2) >= 0 AND"
                                          " s.disconnected_at + 1000 *"
                                          " coalesce(p.disconnect_limit_s, ?2) <= ?1",
                           "ii", now_ms, (gint64)SESSION_DISCONNECT_LIMIT_S);
    GPtrArray *barred = session_rows(db,
                                     SESSION_SELECT "WHERE s.ended_at IS NULL AND s.state <>"
                                                    " 'ending' AND s.user_id <> '' AND"
                                                    " coalesce(u.is_disabled, 1)",
                                     "");
    GPtrArray *ending =
        session_rows(db, SESSION_SELECT "WHERE s.ended_at IS NULL AND s.state = 'ending'", "");
    catalog_read_end(world->catalog, db);
    push_all(e, off, "its desktop was switched off", TRUE, now_ms);
    push_all(e, barred, "its user is disabled", FALSE, now_ms);
    push_all(e, over, "nobody was connected for too long", FALSE, now_ms);
    push_all(e, ending, NULL, FALSE, now_ms);
}

static void forget_old(World *world, gint64 now_ms)
{
    Changes *changes = changes_new();

    changes_sql(changes, "DELETE FROM session WHERE ended_at IS NOT NULL AND ended_at < ?1", "i",
                now_ms - KEPT_MS);
    catalog_commit(world->catalog, changes, NULL);
}

/* ---- Guests ---- */

/* A question to a guest's agent, and its answer. */
typedef struct {
    char *session_id, *uuid, *incarnation;
    GAsyncQueue *answers;
} Question;

typedef struct {
    char *session_id, *uuid;
    gint n_users;
} Answer;

static void question_clear(gpointer data)
{
    Question *q = data;

    g_free(q->session_id);
    g_free(q->uuid);
    g_free(q->incarnation);
    g_async_queue_unref(q->answers);
}

static void answer_free(gpointer data)
{
    Answer *answer = data;

    g_free(answer->session_id);
    g_free(answer->uuid);
    g_free(answer);
}

#define AGENT_LIMIT_S 2

/* On the host's thread. */
static gboolean ask_users(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    const Question *q = data;
    char *text = driver->agent ? driver->agent(link, q->uuid, "{\"execute\":\"guest-get-users\"}",
                                               AGENT_LIMIT_S, error)
                               : NULL;
    json_auto_t *json = text ? json_loads(text, 0, NULL) : NULL;
    const json_t *users = json_object_get(json, "return");

    free(text);
    if (!json_is_array(users))
        return FALSE;
    Answer *answer = g_new0(Answer, 1);
    *answer = (Answer){ g_strdup(q->session_id), g_strdup(q->uuid),
                        (gint)MIN(json_array_size(users), 1000) };
    g_async_queue_push(q->answers, answer);
    return TRUE;
}

static void ask_guests(SessionEnds *e, gint64 now_ms)
{
    g_autoptr(GPtrArray) due = live_ask_due(e->sessions, now_ms);

    for (guint i = 0; i < due->len; i++) {
        const LiveSession *ask = due->pdata[i];
        Question *q = g_atomic_rc_box_new0(Question);
        *q = (Question){ g_strdup(ask->session_id), g_strdup(ask->uuid), g_strdup(ask->incarnation),
                         g_async_queue_ref(e->answers) };
        /* the answer comes by the queue */
        hosts_post(sessions_world(e->sessions)->hosts, ask->host_id, ask_users, q, question_clear);
        g_atomic_rc_box_release_full(q, question_clear);
    }
}

static void note_users(World *world, const char *session_id, gint64 now_ms)
{
    Changes *changes = changes_new();

    session_set_logged_in(changes, session_id, now_ms);
    catalog_commit(world->catalog, changes, NULL);
}

static void take_answers(SessionEnds *e, gint64 now_ms)
{
    World *world = sessions_world(e->sessions);
    Answer *answer;

    while ((answer = g_async_queue_try_pop(e->answers))) {
        UsersChange change =
            live_note_users(e->sessions, answer->uuid, answer->session_id, answer->n_users, now_ms);
        if (change == USERS_CAME)
            note_users(world, answer->session_id, now_ms);
        if (change == USERS_LEFT) {
            Db *db = catalog_read_begin(world->catalog);
            GPtrArray *rows =
                session_rows(db, SESSION_SELECT "WHERE s.id = ?1 AND s.ended_at IS NULL", "t",
                             answer->session_id);
            catalog_read_end(world->catalog, db);
            push_all(e, rows, "logged off", FALSE, now_ms);
        }
        answer_free(answer);
    }
}

/* ---- Passwords ---- */

static void end_passwords(SessionEnds *e, gint64 now_ms)
{
    g_autoptr(GPtrArray) over = live_over(e->sessions, now_ms);

    for (guint i = 0; i < over->len; i++)
        sessions_end_password(e->sessions, over->pdata[i]);
}

/* ---- From outside ---- */

void session_ends_tick(SessionEnds *e, gint64 now_ms)
{
    end_passwords(e, now_ms);
    take_answers(e, now_ms);
    ask_guests(e, now_ms);
    if (now_ms >= e->next_rows_ms || now_ms < e->next_rows_ms - 2 * ROWS_MS) {
        look_at_rows(e, now_ms);
        e->next_rows_ms = now_ms + ROWS_MS;
    }
    if (now_ms >= e->next_forget_ms) {
        forget_old(sessions_world(e->sessions), now_ms);
        e->next_forget_ms = now_ms + FORGET_MS;
    }
}

SessionEnds *session_ends_new(Sessions *sessions)
{
    SessionEnds *e = g_new0(SessionEnds, 1);

    e->sessions = sessions;
    g_mutex_init(&e->lock);
    g_cond_init(&e->idle);
    e->busy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    e->answers = g_async_queue_new_full(answer_free);
    e->pool = g_thread_pool_new(end_one, e, N_THREADS, FALSE, NULL);
    return e;
}

void session_ends_wait(SessionEnds *e)
{
    g_mutex_lock(&e->lock);
    while (g_hash_table_size(e->busy))
        g_cond_wait(&e->idle, &e->lock);
    g_mutex_unlock(&e->lock);
}

void session_ends_free(SessionEnds *e)
{
    g_thread_pool_free(e->pool, FALSE, TRUE);
    g_async_queue_unref(e->answers);
    g_hash_table_unref(e->busy);
    g_mutex_clear(&e->lock);
    g_cond_clear(&e->idle);
    g_free(e);
}
