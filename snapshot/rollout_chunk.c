/* rollout_chunk.c: see rollout_chunk.h. */
#include "snapshot/rollout_chunk.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"

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
                           .former_layer_id = g_strdup(query_text(q, "former_layer_id")) };
    return item;
}

void rollout_chunk_init(RolloutChunk *chunk, World *world, const Rollout *rollout,
                        const char *state, guint n)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT r.*, coalesce(d.name, r.name) AS now_name FROM rollout_desktop r"
                        " LEFT JOIN desktop d ON d.id = r.desktop_id WHERE r.rollout_id = ?1 AND"
                        " r.state = ?2 ORDER BY r.position LIMIT ?3",
                        "tti", rollout->id, state, (gint64)n);

    *chunk = (RolloutChunk){ .world = world,
                             .rollout = rollout,
                             .items = g_ptr_array_new_with_free_func(free_item),
                             .claimed = json_array(),
                             .list = json_array(),
                             .positions = g_array_new(FALSE, FALSE, sizeof(gint64)),
                             .notes = json_array() };
    while (query_next(q))
        g_ptr_array_add(chunk->items, read_item(q));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
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
