/* stream.c: see stream.h.  The reader is called in the connection's own thread and may block. */
#include "imaged/http/stream.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define TICK_MS 1000
#define KEEPALIVE_MS 15000

typedef struct {
    World *world;
    const gint *stopping;
    char *job;        /* NULL: events */
    char *visible;    /* the condition on them, or NULL: all */
    guint64 stamp;    /* of the job queue */
    gint64 last_event;
    GString *out;     /* not sent yet */
    gboolean is_over;
    gint64 last_sent;
} Stream;

static void put(Stream *s, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    g_string_append_printf(s->out, "data: %s\n\n", text);
    free(text);
    json_decref(object);
}

static void next_job(Stream *s)
{
    job_wait_change(s->world->jobs, &s->stamp, TICK_MS);
    json_t *job = job_to_json(s->world->jobs, s->job, TRUE, NULL);
    const char *state = json_string_value(json_object_get(job, "state"));

    s->is_over = !job || !(g_str_equal(state, "queued") || g_str_equal(state, "running"));
    if (job)
        put(s, job);
}

static void next_events(Stream *s)
{
    gint64 last = catalog_wait_event(s->world->catalog, s->last_event, TICK_MS);

    if (last <= s->last_event)
        return;
    Db *db = catalog_read_begin(s->world->catalog);
    g_autofree char *sql = g_strdup_printf(
        "SELECT CAST(e.id AS TEXT) AS id, e.kind AS name, e.time AS time__time, e.severity,"
        " e.object, e.who, e.address, e.message FROM event e WHERE e.id > ?1 AND e.id <= ?2"
        " AND %s ORDER BY e.id", s->visible ? s->visible : "1");
    Query *q = db_query_once(db, sql, "ii", s->last_event, last);
    while (query_next(q))
        put(s, view_object(q));
    query_end(q, NULL);
    catalog_read_end(s->world->catalog, db);
    s->last_event = last;
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
    g_free(s->job);
    g_free(s->visible);
    g_free(s);
}

enum MHD_Result stream_start(World *world, const gint *stopping, struct MHD_Connection *c,
                             const Caller *caller, json_t *args)
{
    Stream *s = g_new0(Stream, 1);

    s->world = world;
    s->stopping = stopping;
    s->job = g_strdup(json_string_value(json_object_get(args, "job")));
    s->visible = access_visible_sql(caller, "event", "e");
    s->out = g_string_new(NULL);
    s->last_event = catalog_wait_event(world->catalog, G_MAXINT64, 0);
    s->last_sent = units_boottime_ms();
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream,
                                                               s, free_stream);
    MHD_add_response_header(r, "Content-Type", "text/event-stream");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return result;
}
