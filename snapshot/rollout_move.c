/* rollout_move.c: moving some desktops to the new version: a reset of a chunk of them.
 *
 *   claims -> what became of them since -> overlays, durable -> facts and rows in one commit
 *
 * A desktop that runs is stopped and started again around this, or its turn comes later, as the
 * roll-out says; else it is busy, and so unavailable. */
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/reimage.h"
#include "snapshot/rollout_chunk.h"

/* The store must have the version, and let something be made in it while the chunk is at work. */
static gboolean claim_store(RolloutChunk *c, Db *db, const char *store_id, GHashTable *known,
                            GError **error)
{
    if (g_hash_table_contains(known, store_id))
        return TRUE;
    if (!rollout_can_reach(c->world, db, c->rollout->version_id, store_id, error))
        return FALSE;
    json_t *keys = json_array();
    claims_add(keys, 's', "making", store_id);
    if (!rollout_chunk_claim(c, keys, error))
        return FALSE;
    g_hash_table_add(known, g_strdup(store_id));
    return TRUE;
}

static json_t *keys_of(const RolloutItem *item)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', "desktop", item->desktop_id);
    return keys;
}

/* Was it moved already?  Committed to the journal just before a stop: its layer may have been
 * replaced since by a snapshot, a merge or a larger one, but the entry with its former disk is
 * there. */
static gboolean is_moved(Db *db, const RolloutItem *item, const DesktopRow *desktop)
{
    g_auto(TrashRow) entry = { 0 };

    return !desktop->is_trashed && !g_str_equal(desktop->layer_id, item->layer_id) &&
           lookup_trash(db, item->trash_id, &entry, NULL);
}

/* A word of why this desktop is not to be moved (caller frees), or NULL. */
static char *why_skipped(Db *db, const Rollout *rollout, const RolloutItem *item,
                         const DesktopRow *desktop)
{
    g_auto(LayerRow) layer = { 0 };

    if (desktop->is_trashed)
        return g_strdup("it was deleted meanwhile");
    /* Its own layer: committed to the journal just before a stop. */
    if (g_str_equal(desktop->layer_id, item->layer_id))
        return NULL;
    /* By an old catalog it waits still: its layer is in the trash, and is not to be made anew. */
    if (lookup_layer(db, item->layer_id, &layer, NULL))
        return g_strdup("it was moved, and brought back since");
    if (desktop->draft_of)
        return g_strdup("a template's next version is made in it");
    if (g_str_equal(desktop->version_id, rollout->version_id))
        return g_strdup("it stands on the version already");
    if (!g_str_equal(desktop->version_id, item->version_id)) {
        g_autofree char *now = lookup_version_name(db, desktop->version_id);
        return g_strdup_printf("it was moved to %s meanwhile", now);
    }
    return NULL;
}

/* Is this (claimed) desktop to be moved?  Else it is noted, or added to moved. */
static void sort_out(RolloutChunk *c, Db *db, const RolloutItem *item, GHashTable *stores,
                     json_t *moved)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_autoptr(GError) why = NULL;

    if (!lookup_desktop_by_id(db, item->desktop_id, &desktop, NULL)) {
        rollout_chunk_note(c, item->position, "skipped", "it was deleted meanwhile");
        return;
    }
    if (is_moved(db, item, &desktop)) {
        json_array_append_new(moved, json_integer(item->position));
        return;
    }
    g_autofree char *skipped = why_skipped(db, c->rollout, item, &desktop);
    if (skipped)
        rollout_chunk_note(c, item->position, "skipped", skipped);
    else if (!claim_store(c, db, desktop.store_id, stores, &why))
        rollout_chunk_note_error(c, item->position, "unavailable", why);
    else
        rollout_chunk_add(c, item,
                          json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "id", item->desktop_id, "name",
                                    desktop.name, "layer", item->layer_id, "trash", item->trash_id,
                                    "version", c->rollout->version_id, "store", desktop.store_id));
}

static gboolean is_unavailable(const GError *why)
{
    return g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_BUSY) ||
           g_error_matches(why, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
}

/* Generation and former layer are those of the facts in the same set: the entry in the trash has
 * them also where the desktop has gone on since. */
static void put_moved(const RolloutChunk *c, Changes *changes, const json_t *positions)
{
    char *text = json_dumps(positions, JSON_COMPACT);

    changes_sql(changes,
                "UPDATE rollout_desktop SET state = 'moved', reason = NULL, health = ?3,"
                " changed_at = ?4, generation = coalesce((SELECT t.generation + 1 FROM trash t"
                " WHERE t.id = trash_id), (SELECT d.generation FROM desktop d WHERE"
                " d.id = desktop_id)), former_layer_id = (SELECT t.layer_id FROM trash t WHERE"
                " t.id = trash_id) WHERE rollout_id = ?1 AND position IN"
                " (SELECT value FROM json_each(?2))",
                "ttti", c->rollout->id, text, c->rollout->health ? "unchecked" : NULL,
                units_now_ms());
    free(text);
}

/* The rows of what was moved and of what was not. */
static void put_rows(RolloutChunk *c, BatchChunk *chunk, json_t *moved)
{
    for (guint i = 0; i < chunk->n; i++) {
        gint64 position = g_array_index(c->positions, gint64, i);
        const GError *why = chunk->errors[i];
        if (why)
            rollout_chunk_note_error(c, position, is_unavailable(why) ? "unavailable" : "failed",
                                     why);
        else
            json_array_append_new(moved, json_integer(position));
    }
    put_moved(c, chunk->changes, moved);
    rollout_chunk_put_notes(c, chunk->changes);
}

/* What is in the chunk, whose desktops are claimed. */
static gboolean move_chunk(RolloutChunk *c, Job *job, Changes *changes, GError **error)
{
    static const BatchType type = { NULL, reimage_undo_prepare, batch_move_now };
    g_autoptr(GHashTable) stores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_auto_t *plan = json_pack("{s:s}", "reason", "rollout");
    json_auto_t *moved = json_array(); /* positions */
    Db *db = catalog_read_begin(c->world->catalog); /* after the claims: nothing of it is old */

    for (guint i = 0; i < c->items->len; i++)
        sort_out(c, db, c->items->pdata[i], stores, moved);
    catalog_read_end(c->world->catalog, db);
    g_autoptr(BatchChunk) chunk = batch_chunk_new(job, c->world, plan, c->list, changes);
    if (!reimage_prepare(chunk, error))
        return FALSE;
    put_rows(c, chunk, moved);
    return batch_chunk_commit(chunk, &type, error);
}

/* One that was running, with its desktop claimed. */
static gboolean move_stopped(Job *job, World *world, const Rollout *rollout,
                             const RolloutItem *item, GError **error)
{
    g_auto(RolloutChunk) c = { 0 };

    rollout_chunk_init_one(&c, world, rollout, item->position);
    return move_chunk(&c, job, changes_new(), error);
}

gboolean rollout_move(Job *job, World *world, const Rollout *rollout, guint n, Changes *changes,
                      GError **error)
{
    static const RolloutWay way = { "waiting", "deferred", "unavailable",
                                    keys_of,   move_chunk, move_stopped };

    return rollout_chunk_go(&way, job, world, rollout, n, changes, error);
}
