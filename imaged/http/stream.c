/* stream.c: see stream.h.  The reader is called in the connection's own thread and may block.
 *
 * A stream may go on for days, so its caller is looked at again before anything is put into it:
 * one who has lost a role sees less from then on, and one who is disabled nothing. */
#include "imaged/http/stream.h"

#include <string.h>

#include "broker/access/tokens.h"
#include "broker/alert/event_filter.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define TICK_MS 1000
#define KEEPALIVE_MS 15000
#define EVENTS_AT_ONCE 500

typedef struct {
    World *world;
    const gint *stopping;
    Caller *caller; /* as he was when he was looked at last */
    char *job;      /* NULL: events */
    guint64 stamp;  /* of the job queue */
    EventFilter filter;
    gint64 last_event; /* looked at so far */
    GString *out;      /* not sent yet */
    gboolean is_over;
    gint64 last_sent;
} Stream;

/* id: what a client that comes back asks from, or NULL. */
static void put(Stream *s, const char *id, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    if (id)
        g_string_append_printf(s->out, "id: %s\n", id);
    g_string_append_printf(s->out, "data: %s\n\n", text);
    free(text);
    json_decref(object);
}

/* FALSE: he may see nothing any more, and the stream is over. */
static gboolean look_at_caller(Stream *s, Db *db)
{
    Caller *now = token_caller_again(db, s->caller, NULL);

    s->is_over = !now || (s->job && !access_check_id(db, now, PERMISSION_JOB_SEE, "job", s->job,
                                                     s->job, NULL));
    if (now) {
        caller_free(s->caller);
        s->caller = now;
    }
    return !s->is_over;
}

static void next_job(Stream *s)
{
    job_wait_change(s->world->jobs, &s->stamp, TICK_MS);
    Db *db = catalog_read_begin(s->world->catalog);
    gboolean ok = look_at_caller(s, db);

    catalog_read_end(s->world->catalog, db);
    json_t *job = ok ? job_to_json(s->world->jobs, s->job, TRUE, NULL) : NULL;
    const char *state = json_string_value(json_object_get(job, "state"));

    s->is_over = !job || !(g_str_equal(state, "queued") || g_str_equal(state, "running"));
    if (job)
        put(s, NULL, job);
}

static void next_events(Stream *s)
{
    gint64 last = catalog_wait_event(s->world->catalog, s->last_event, TICK_MS);
    gint64 end = MIN(last, s->last_event + EVENTS_AT_ONCE);

    if (last <= s->last_event)
        return;
    Db *db = catalog_read_begin(s->world->catalog);
    if (look_at_caller(s, db)) {
        g_autofree char *visible = access_visible_sql(s->caller, "event", "event");
        g_autofree char *sql = g_strdup_printf("SELECT " EVENT_COLUMNS_SQL
                                               " FROM event WHERE event.id > ?3 AND event.id <= ?4"
                                               " AND " EVENT_FILTER_SQL " AND %s ORDER BY event.id",
                                               visible ? visible : "1");
        Query *q = db_query_once(db, sql, "ttii", s->filter.severities, s->filter.kinds,
                                 s->last_event, end);
        while (query_next(q))
            put(s, query_text(q, "id"), view_object(q));
        query_end(q, NULL);
    }
    catalog_read_end(s->world->catalog, db);
    s->last_event = end;
}

static ssize_t read_stream(void *user, uint64_t pos, char *buffer, size_t max)
{
    Stream *s = user;

    if (s->out->len == 0) {
        if (s->is_over || g_atomic_int_get(s->stopping))
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (s->job)
            next_job(s);
        else
            next_events(s);
        if (s->out->len == 0 && units_boottime_ms() - s->last_sent > KEEPALIVE_MS)
            g_string_append(s->out, ": still here\n\n");
        if (s->out->len == 0)
            return 0;
    }
    size_t n = MIN(max, s->out->len);
    memcpy(buffer, s->out->str, n);
    g_string_erase(s->out, 0, (gssize)n);
    s->last_sent = units_boottime_ms();
    return (ssize_t)n;
}

static void free_stream(void *user)
{
    Stream *s = user;

    g_string_free(s->out, TRUE);
    event_filter_clear(&s->filter);
    g_free(s->job);
    caller_free(s->caller);
    g_free(s);
}

/* Of events: which, and from where on. */
static gboolean take_args(Stream *s, json_t *args, GError **error)
{
    OpsCall call = { .world = s->world, .args = args };
    gint64 newest = catalog_wait_event(s->world->catalog, G_MAXINT64, 0), since;

    s->job = g_strdup(json_string_value(json_object_get(args, "job")));
    if (s->job)
        return TRUE;
    if (!args_check(&call, "since severity kind", error) ||
        !args_are_texts(&call, "severity kind", error) ||
        !args_int(&call, "since", -1, 0, G_MAXINT64, &since, error))
        return FALSE;
    s->last_event = since < 0 ? newest : MIN(since, newest);
    return event_filter_init(&s->filter, args_text(&call, "severity", FALSE, NULL),
                             args_text(&call, "kind", FALSE, NULL), error);
}

enum MHD_Result stream_start(World *world, const gint *stopping, struct MHD_Connection *c,
                             const Caller *caller, json_t *args, GError **error)
{
    Stream *s = g_new0(Stream, 1);

    s->world = world;
    s->stopping = stopping;
    s->out = g_string_new(NULL);
    s->last_sent = units_boottime_ms();
    Db *db = catalog_read_begin(world->catalog);
    s->caller = token_caller_again(db, caller, error);
    catalog_read_end(world->catalog, db);
    if (!s->caller || !take_args(s, args, error)) {
        free_stream(s);
        return MHD_NO;
    }
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, s, free_stream);
    MHD_add_response_header(r, "Content-Type", "text/event-stream");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return result;
}
