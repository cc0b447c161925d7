/* rollout_chunk.c: see rollout_chunk.h. */
#include "snapshot/rollout_chunk.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define RUNNING_AT_ONCE 8

static void free_item(gpointer data)
{
    RolloutItem *item = data;

    g_free(item->desktop_id);
    g_free(item->name);
    g_free(item->version_id);
    g_free(item->layer_id);
    g_free(item->trash_id);
    g_free(item->back_id);
    g_free(item->former_layer_id);
    g_free(item->start_id);
    g_free(item->start_host);
    g_free(item->start_state);
    g_free(item);
}

static RolloutItem *read_item(Query *q)
{
    RolloutItem *item = g_new0(RolloutItem, 1);

    *item = (RolloutItem){ .position = query_int(q, "position"),
                           .generation = query_int(q, "generation"),
                           .desktop_id = g_strdup(query_text(q, "desktop_id")),
                           .name = g_strdup(query_text(q, "now_name")),
                           .version_id = g_strdup(query_text(q, "version_id")),
                           .layer_id = g_strdup(query_text(q, "layer_id")),
                           .trash_id = g_strdup(query_text(q, "trash_id")),
                           .back_id = g_strdup(query_text(q, "back_id")),
                           .former_layer_id = g_strdup(query_text(q, "former_layer_id")),
                           .start_id = g_strdup(query_text(q, "start_id")),
                           .start_host = g_strdup(query_text(q, "start_host")),
                           .start_state = g_strdup(query_text(q, "start_state")) };
    return item;
}

#define ITEMS                                                                                      \
    "SELECT r.*, coalesce(d.name, r.name) AS now_name FROM rollout_desktop r LEFT JOIN desktop d"  \
    " ON d.id = r.desktop_id WHERE r.rollout_id = ?1 AND "

static GPtrArray *read_items(Query *q)
{
    GPtrArray *items = g_ptr_array_new_with_free_func(free_item);

    while (query_next(q))
        g_ptr_array_add(items, read_item(q));
    query_end(q, NULL);
    return items;
}

static void init(RolloutChunk *chunk, World *world, const Rollout *rollout, GPtrArray *items)
{
    *chunk = (RolloutChunk){ .world = world,
                             .rollout = rollout,
                             .items = items,
                             .claimed = json_array(),
                             .list = json_array(),
                             .positions = g_array_new(FALSE, FALSE, sizeof(gint64)),
                             .notes = json_array() };
}

void rollout_chunk_init(RolloutChunk *chunk, World *world, const Rollout *rollout,
                        const char *state, guint n)
{
    Db *db = catalog_read_begin(world->catalog);

    init(chunk, world, rollout,
         read_items(db_query(db, ITEMS "r.state = ?2 ORDER BY r.position LIMIT ?3", "tti",
                             rollout->id, state, (gint64)n)));
    catalog_read_end(world->catalog, db);
}

void rollout_chunk_init_one(RolloutChunk *chunk, World *world, const Rollout *rollout,
                            gint64 position)
{
    Db *db = catalog_read_begin(world->catalog);

    init(chunk, world, rollout,
         read_items(db_query(db, ITEMS "r.position = ?2", "ti", rollout->id, position)));
    catalog_read_end(world->catalog, db);
}

GPtrArray *rollout_to_start(World *world, const Rollout *rollout)
{
    Db *db = catalog_read_begin(world->catalog);
    GPtrArray *items = read_items(db_query(db,
                                           ITEMS "r.start_state = 'to do' AND r.state <> 'waiting'"
                                                 " ORDER BY r.position",
                                           "t", rollout->id));

    catalog_read_end(world->catalog, db);
    return items;
}

void rollout_put_start(Changes *changes, const Rollout *rollout, gint64 position,
                       const char *start_id, const char *host_id, const char *state)
{
    changes_sql(changes,
                "UPDATE rollout_desktop SET start_id = ?3, start_host = ?4, start_state = ?5 WHERE"
                " rollout_id = ?1 AND position = ?2",
                "tittt", rollout->id, position, start_id, host_id, state);
}

void rollout_chunk_clear(RolloutChunk *chunk)
{
    if (chunk->claimed)
        claims_release(chunk->world->claims, chunk->claimed);
    json_decref(chunk->claimed);
    json_decref(chunk->list);
    json_decref(chunk->notes);
    g_clear_pointer(&chunk->items, g_ptr_array_unref);
    g_clear_pointer(&chunk->positions, g_array_unref);
}

gboolean rollout_chunk_claim(RolloutChunk *chunk, json_t *keys, GError **error)
{
    gboolean ok = claims_take(chunk->world->claims, keys, "rollout", error);

    if (ok)
        json_array_extend(chunk->claimed, keys);
    json_decref(keys);
    return ok;
}

void rollout_chunk_claim_items(RolloutChunk *chunk, json_t *(*keys_of)(const RolloutItem *item),
                               const char *state)
{
    for (guint i = 0; i < chunk->items->len;) {
        const RolloutItem *item = chunk->items->pdata[i];
        g_autoptr(GError) why = NULL;
        if (rollout_chunk_claim(chunk, keys_of(item), &why)) {
            i++;
            continue;
        }
        rollout_chunk_note_error(chunk, item->position, state, why);
        g_ptr_array_remove_index(chunk->items, i);
    }
}

void rollout_chunk_add(RolloutChunk *chunk, const RolloutItem *item, json_t *batch_item)
{
    if (!batch_item) { /* somebody changed the row */
        rollout_chunk_note(chunk, item->position, "failed", "its row in the roll-out is not whole");
        return;
    }
    json_array_append_new(chunk->list, batch_item);
    g_array_append_val(chunk->positions, item->position);
}

void rollout_chunk_note(RolloutChunk *chunk, gint64 position, const char *state, const char *reason)
{
    json_array_append_new(chunk->notes, json_pack("[I,s,s?]", (json_int_t)position, state, reason));
}

void rollout_chunk_note_error(RolloutChunk *chunk, gint64 position, const char *state,
                              const GError *why)
{
    g_autofree char *message = imaged_error_message(why);

    rollout_chunk_note(chunk, position, state, message);
}

/* Most have nothing to say: those of one state go together. */
static void put_silent(const RolloutChunk *chunk, Changes *changes, const char *state,
                       const json_t *positions)
{
    char *text = json_dumps(positions, JSON_COMPACT);

    changes_sql(changes,
                "UPDATE rollout_desktop SET state = ?3, reason = NULL, changed_at = ?4 WHERE"
                " rollout_id = ?1 AND position IN (SELECT value FROM json_each(?2))",
                "ttti", chunk->rollout->id, text, state, units_now_ms());
    free(text);
}

void rollout_chunk_put_notes(const RolloutChunk *chunk, Changes *changes)
{
    json_auto_t *silent = json_object();
    const char *state;
    json_t *note, *positions;
    size_t i;

    json_array_foreach (chunk->notes, i, note) {
        json_t *position = json_array_get(note, 0), *reason = json_array_get(note, 2);
        state = json_string_value(json_array_get(note, 1));
        if (json_is_string(reason)) {
            changes_sql(changes,
                        "UPDATE rollout_desktop SET state = ?3, reason = ?4, changed_at = ?5 WHERE"
                        " rollout_id = ?1 AND position = ?2",
                        "titti", chunk->rollout->id, (gint64)json_integer_value(position), state,
                        json_string_value(reason), units_now_ms());
            continue;
        }
        if (!json_object_get(silent, state))
            json_object_set_new(silent, state, json_array());
        json_array_append(json_object_get(silent, state), position);
    }
    json_object_foreach (silent, state, positions) {
        put_silent(chunk, changes, state, positions);
    }
}

/* ---- those that run ---- */

GPtrArray *rollout_chunk_take_running(RolloutChunk *chunk, const char *later_state)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(free_item);
    const RolloutRuns *runs = chunk->rollout->runs;
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->items->len;) {
        RolloutItem *item = chunk->items->pdata[i];
        const char *why = NULL;
        RolloutTurn turn = runs ? runs->turn(db, chunk->rollout, item, &why) : ROLLOUT_TURN_OFF;
        if (turn == ROLLOUT_TURN_OFF) {
            i++;
            continue;
        }
        if (turn == ROLLOUT_TURN_LATER)
            rollout_chunk_note(chunk, item->position, later_state, why);
        else
            g_ptr_array_add(out, g_ptr_array_steal_index(chunk->items, i));
        if (turn == ROLLOUT_TURN_LATER)
            g_ptr_array_remove_index(chunk->items, i);
    }
    catalog_read_end(chunk->world->catalog, db);
    return out;
}

typedef struct {
    Job *job;
    World *world;
    const Rollout *rollout;
    RolloutDisk disk;
    const char *busy_state;
} Replacing;

static void note_refused(const Replacing *r, const RolloutItem *item, const GError *why)
{
    g_autofree char *message = imaged_error_message(why);
    gboolean is_busy = g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_BUSY) ||
                       g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    Changes *changes = changes_new();

    /* what a stop of it has begun is over: it runs on */
    changes_sql(changes,
                "UPDATE rollout_desktop SET state = ?3, reason = ?4, changed_at = ?5, start_state ="
                " NULL WHERE rollout_id = ?1 AND position = ?2 AND state IN ('waiting', 'moved')",
                "titti", r->rollout->id, item->position,
                is_busy || r->rollout->is_backward ? r->busy_state : "failed", message,
                units_now_ms());
    job_commit(r->job, changes, job_step(r->job) + 1, NULL);
}

/* In a thread of the pool. */
static void replace_one(gpointer data, gpointer user)
{
    const Replacing *r = user;
    const RolloutItem *item = data;
    g_autoptr(GError) why = NULL;

    if (job_check(r->job, NULL) &&
        !r->rollout->runs->replace(r->job, r->world, r->rollout, item, r->disk, &why) &&
        !job_is_stopping(r->job)) {
        if (!why)
            g_set_error(&why, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the catalog cannot be written");
        note_refused(r, item, why);
    }
}

gboolean rollout_replace_running(Job *job, World *world, const Rollout *rollout,
                                 const GPtrArray *items, RolloutDisk disk, const char *busy_state,
                                 GError **error)
{
    Replacing r = { job, world, rollout, disk, busy_state };
    GThreadPool *pool = g_thread_pool_new(replace_one, &r, RUNNING_AT_ONCE, FALSE, NULL);

    for (guint i = 0; i < items->len; i++)
        g_thread_pool_push(pool, items->pdata[i], NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    return !job_is_stopping(job) || job_check(job, error);
}

gboolean rollout_chunk_go(const RolloutWay *way, Job *job, World *world, const Rollout *rollout,
                          guint n, Changes *changes, GError **error)
{
    g_auto(RolloutChunk) c = { 0 };

    rollout_chunk_init(&c, world, rollout, way->from_state, n);
    g_autoptr(GPtrArray) running = rollout_chunk_take_running(&c, way->later_state);
    rollout_chunk_claim_items(&c, way->keys_of, way->busy_state);
    gboolean ok = way->replace(&c, job, changes, error);
    rollout_chunk_clear(&c);
    c = (RolloutChunk){ 0 };
    return ok && rollout_replace_running(job, world, rollout, running, way->replace_stopped,
                                         way->busy_state, error);
}
