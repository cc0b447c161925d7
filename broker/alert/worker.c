/* worker.c: see worker.h.
 *
 *   look -> (nothing) wait for events -> look
 *        -> (some) give -> taken: note it in the catalog -> look
 *                       -> not taken: wait 1, 2, 4 ... 300 s -> give the same again
 *
 * position is what has been looked at and needs no telling.  It gets into the catalog with what is
 * taken; what lies between and did not match the filter is only looked at again after a stop. */
#include "broker/alert/worker.h"

#include <unistd.h>

#include "broker/alert/message.h"
#include "broker/alert/send.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define EVENTS_AT_ONCE 100
#define NEAR 2000         /* so many are looked at one by one: further off, by their kinds */
#define NOTE_EVERY 20000  /* events that did not match, until they are noted all the same */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 300000
#define FAILURES_TOLD 3 /* after so many in a row there is an event */

struct AlertWorker {
    World *world;
    AlertRow row;
    char *secret;
    EventFilter filter;
    GThread *thread;
    gint is_ended; /* atomic */
    gint64 backoff_ms;
    guint n_failures; /* in a row */

    GMutex lock; /* guards what follows */
    GCond wake;
    gboolean is_woken, is_hurried;
    gboolean is_sending;
    char *last_error;
    gint64 next_try, last_sent, n_sent, position, noted;
};

/* ---- Giving ---- */

static char *hostname(void)
{
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) < 0 || !*name)
        return g_strdup("localhost");
    for (char *c = name; *c; c++) {
        if (!g_ascii_isalnum(*c) && *c != '.' && *c != '-')
            *c = '-';
    }
    return g_strdup(name);
}

gboolean alert_give(World *world, const AlertRow *row, const char *secret, GPtrArray *events,
                    gint64 n_lost, const gint *is_ended, GError **error)
{
    const Settings *s = &world->settings;
    AlertMessage message = { row->name, world->manager_id, events, n_lost };
    SendLimits limits = { s->alert_ca, s->alert_timeout_ms, is_ended };

    if (g_str_equal(row->kind, "mail")) {
        g_autofree char *host = hostname();
        g_autofree char *mail =
            alert_message_mail(&message, s->mail_from, row->target, host, units_now_ms());
        return send_mail(s->sendmail, mail, &limits, error);
    }
    g_autofree char *body = alert_message_json(&message, units_now_ms());
    g_autofree char *signature = secret ? alert_message_sign(body, secret) : NULL;
    return send_webhook(row->target, body, signature, &limits, error);
}

/* ---- Looking ---- */

static AlertEvent *read_event(Query *q)
{
    AlertEvent *e = g_new0(AlertEvent, 1);

    e->id = query_int(q, "id");
    e->time = query_int(q, "time");
    e->kind = g_strdup(query_text(q, "kind"));
    e->severity = g_strdup(query_text(q, "severity"));
    e->object = g_strdup(query_text(q, "object"));
    e->who = g_strdup(query_text(q, "who"));
    e->message = g_strdup(query_text(q, "message"));
    return e;
}

/* Of those behind from, up to last. */
static gboolean find(const AlertWorker *w, Db *db, gint64 from, gint64 last, GPtrArray *events)
{
    const char *sql = last - from <= NEAR
                          ? "SELECT * FROM event WHERE event.id > ?3 AND event.id < ?4"
                            " AND " EVENT_FILTER_SQL " ORDER BY event.id LIMIT ?5"
                          : EVENT_FIND_SQL("event.*", "ASC");
    Query *q = db_query(db, sql, "ttiii", w->filter.severities, w->filter.kinds, from, last + 1,
                        (gint64)EVENTS_AT_ONCE);

    while (query_next(q))
        g_ptr_array_add(events, read_event(q));
    return query_end(q, NULL);
}

/* What matches of the next events, and up to which one that is; FALSE if there are no more. */
static gboolean scan(AlertWorker *w, GPtrArray *events, gint64 *position, gint64 *n_lost)
{
    Db *db = catalog_read_begin(w->world->catalog);
    Query *q = db_query(db,
                        "SELECT coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last"
                        " FROM event",
                        "");
    gboolean ok = query_next(q);
    gint64 first = ok ? query_int(q, "first") : 0, last = ok ? query_int(q, "last") : 0;

    ok = query_end(q, NULL) && ok && last > *position;
    if (ok) {
        *n_lost = MAX(first - 1 - *position, 0);
        ok = find(w, db, MAX(*position, first - 1), last, events);
        *position = events->len == EVENTS_AT_ONCE
                        ? ((AlertEvent *)events->pdata[events->len - 1])->id
                        : last;
    }
    catalog_read_end(w->world->catalog, db);
    return ok;
}

/* works_again: an event tells it. */
static void note_position(AlertWorker *w, gint64 position, gboolean works_again)
{
    Changes *changes = changes_new();

    changes_sql(changes, "UPDATE alert SET last_event = ?2 WHERE id = ?1", "ti", w->row.id,
                position);
    if (works_again)
        changes_event(changes, "alert.working", "info", w->row.name, NULL,
                      "its receiver takes events again");
    catalog_commit(w->world->catalog, changes, NULL);
}

/* Nothing of it is to be told. */
static void pass_over(AlertWorker *w, gint64 position)
{
    g_mutex_lock(&w->lock);
    w->position = position;
    gboolean is_far = position - w->noted >= NOTE_EVERY;
    if (is_far)
        w->noted = position;
    g_mutex_unlock(&w->lock);
    if (is_far)
        note_position(w, position, FALSE);
}

/* ---- Waiting ---- */

static void wait_ms(AlertWorker *w, gint64 ms, gboolean until_events)
{
    gint64 until = g_get_monotonic_time() + ms * 1000;

    g_mutex_lock(&w->lock);
    while (!g_atomic_int_get(&w->is_ended) && !w->is_hurried && !(until_events && w->is_woken) &&
           g_get_monotonic_time() < until)
        g_cond_wait_until(&w->wake, &w->lock, until);
    w->is_hurried = FALSE;
    w->is_woken = FALSE;
    w->next_try = 0;
    g_mutex_unlock(&w->lock);
}

static void set_sending(AlertWorker *w, gboolean is)
{
    g_mutex_lock(&w->lock);
    w->is_sending = is;
    g_mutex_unlock(&w->lock);
}

/* ---- What came of it ---- */

static void note_taken(AlertWorker *w, guint n, gint64 position)
{
    note_position(w, position, w->n_failures >= FAILURES_TOLD);
    w->n_failures = 0;
    w->backoff_ms = BACKOFF_MIN_MS;
    g_mutex_lock(&w->lock);
    w->position = w->noted = position;
    w->n_sent += n;
    w->last_sent = units_now_ms();
    g_clear_pointer(&w->last_error, g_free);
    g_mutex_unlock(&w->lock);
}

static void note_failed(AlertWorker *w, const GError *error)
{
    g_autofree char *why = imaged_error_message(error);

    g_mutex_lock(&w->lock);
    g_free(w->last_error);
    w->last_error = g_strdup(why);
    w->next_try = units_now_ms() + w->backoff_ms;
    g_mutex_unlock(&w->lock);
    if (++w->n_failures == FAILURES_TOLD) {
        Changes *changes = changes_new();
        changes_event(changes, "alert.failing", "warning", w->row.name, NULL,
                      "its receiver takes no events: %s", why);
        catalog_commit(w->world->catalog, changes, NULL);
    }
}

/* Until they are taken, or it is ended. */
static void deliver(AlertWorker *w, GPtrArray *events, gint64 position, gint64 n_lost)
{
    while (!g_atomic_int_get(&w->is_ended)) {
        g_autoptr(GError) error = NULL;
        set_sending(w, TRUE);
        gboolean ok =
            alert_give(w->world, &w->row, w->secret, events, n_lost, &w->is_ended, &error);
        set_sending(w, FALSE);
        if (ok) {
            note_taken(w, events->len, position);
            if (g_str_equal(w->row.kind, "mail"))
                wait_ms(w, w->world->settings.mail_interval_ms, FALSE);
            return;
        }
        if (g_atomic_int_get(&w->is_ended))
            return;
        note_failed(w, error);
        wait_ms(w, w->backoff_ms, FALSE);
        w->backoff_ms = MIN(2 * w->backoff_ms, BACKOFF_MAX_MS);
    }
}

static gpointer run(gpointer data)
{
    AlertWorker *w = data;
    gint64 position = w->row.last_event;

    while (!g_atomic_int_get(&w->is_ended)) {
        g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(alert_event_free);
        gint64 n_lost = 0;
        if (!w->row.is_on || !scan(w, events, &position, &n_lost))
            wait_ms(w, 60000, TRUE);
        else if (events->len)
            deliver(w, events, position, n_lost);
        else
            pass_over(w, position);
    }
    return NULL;
}

/* ---- From outside ---- */

AlertWorker *alert_worker_new(World *world, const AlertRow *row, const char *secret)
{
    AlertWorker *w = g_new0(AlertWorker, 1);

    w->world = world;
    w->row = (AlertRow){ .id = g_strdup(row->id),
                         .name = g_strdup(row->name),
                         .kind = g_strdup(row->kind),
                         .target = g_strdup(row->target),
                         .is_on = row->is_on,
                         .last_event = row->last_event };
    w->secret = g_strdup(secret);
    w->backoff_ms = BACKOFF_MIN_MS;
    w->position = w->noted = row->last_event;
    event_filter_init(&w->filter, row->severity, row->kinds, NULL);
    g_mutex_init(&w->lock);
    g_cond_init(&w->wake);
    w->thread = g_thread_new("alert", run, w);
    return w;
}

void alert_worker_end(AlertWorker *w)
{
    g_mutex_lock(&w->lock);
    g_atomic_int_set(&w->is_ended, TRUE);
    g_cond_broadcast(&w->wake);
    g_mutex_unlock(&w->lock);
    g_thread_join(w->thread);
    if (w->position > w->noted)
        note_position(w, w->position, FALSE);
    alert_row_clear(&w->row);
    event_filter_clear(&w->filter);
    g_free(w->secret);
    g_free(w->last_error);
    g_mutex_clear(&w->lock);
    g_cond_clear(&w->wake);
    g_free(w);
}

void alert_worker_wake(AlertWorker *w, gboolean now)
{
    g_mutex_lock(&w->lock);
    w->is_woken = TRUE;
    w->is_hurried |= now;
    g_cond_broadcast(&w->wake);
    g_mutex_unlock(&w->lock);
}

void alert_worker_view(AlertWorker *w, AlertView *ret)
{
    g_mutex_lock(&w->lock);
    *ret = (AlertView){ .state = !w->row.is_on   ? "off"
                                 : w->last_error ? "failing"
                                 : w->is_sending ? "sending"
                                                 : "idle",
                        .last_error = g_strdup(w->last_error),
                        .next_try = w->next_try,
                        .last_sent = w->last_sent,
                        .n_sent = w->n_sent,
                        .position = w->position };
    g_mutex_unlock(&w->lock);
}
