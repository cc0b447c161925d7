/* rollout_return.c: bringing desktops of a roll-out back to the disks that it replaced.
 *
 * By the very entries of the trash that the roll-out made.  A desktop whose disk was replaced since
 * by somebody else, or whose former disk is gone, keeps what it has, with a word.  What an error is
 * in the way of (it is in use, a store is away) may be gone tomorrow: it is held, with its former
 * disk, until somebody says that it is to be tried again. */
#include "snapshot/reimage.h"
#include "snapshot/rollout_chunk.h"

static json_t *keys_of(const RolloutItem *item)
{
    json_t *keys = json_array();

    claims_add(keys, 'x', "desktop", item->desktop_id);
    claims_add(keys, 'x', "trash", item->trash_id);
    claims_add(keys, 's', "version", item->version_id);
    return keys;
}

/* What became of a desktop that is not to be brought back now: its state, and a word of why, or
 * NULL, in *ret_why; NULL if it is. */
static const char *verdict(Db *db, const RolloutItem *item, const char **ret_why)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(TrashRow) entry = { 0 };

    *ret_why = NULL;
    if (!lookup_desktop_by_id(db, item->desktop_id, &desktop, NULL) || desktop.is_trashed) {
        *ret_why = "it was deleted since";
        return "kept";
    }
    /* Committed to the journal just before a stop, or undone by somebody. */
    if (g_strcmp0(desktop.layer_id, item->former_layer_id) == 0)
        return "returned";
    if (desktop.generation != item->generation) {
        *ret_why = "its disk was replaced since by something else";
        return "kept";
    }
    if (!lookup_trash(db, item->trash_id, &entry, NULL)) {
        *ret_why = "its former disk is in the trash no more";
        return "kept";
    }
    return NULL;
}

static void sort_out(RolloutChunk *c, Db *db, const RolloutItem *item)
{
    const char *why, *state = verdict(db, item, &why);

    if (state)
        rollout_chunk_note(c, item->position, state, why);
    else
        rollout_chunk_add(c, item,
                          json_pack("{s:s,s:s,s:s,s:s}", "id", item->desktop_id, "name", item->name,
                                    "entry", item->trash_id, "trash", item->back_id));
}

static void swap(BatchChunk *chunk)
{
    Db *db = catalog_read_begin(chunk->world->catalog);

    for (guint i = 0; i < chunk->n; i++) {
        g_auto(TrashRow) entry = { 0 };
        if (lookup_trash(db, batch_text(chunk, i, "entry"), &entry, &chunk->errors[i]))
            reimage_swap(chunk, i, db, &entry, batch_text(chunk, i, "trash"), "rollback",
                         &chunk->errors[i]);
    }
    catalog_read_end(chunk->world->catalog, db);
}

/* What is in the chunk, whose desktops are claimed. */
static gboolean return_chunk(RolloutChunk *c, Job *job, Changes *changes, GError **error)
{
    /* Nothing to undo: a disk moved back to layers/ is found there as well as in trash/. */
    static const BatchType type = { NULL, NULL, batch_move_now };
    Db *db = catalog_read_begin(c->world->catalog); /* after the claims: nothing of it is old */

    for (guint i = 0; i < c->items->len; i++)
        sort_out(c, db, c->items->pdata[i]);
    catalog_read_end(c->world->catalog, db);
    g_autoptr(BatchChunk) chunk = batch_chunk_new(job, c->world, NULL, c->list, changes);
    swap(chunk);
    for (guint i = 0; i < chunk->n; i++) {
        gint64 position = g_array_index(c->positions, gint64, i);
        if (chunk->errors[i])
            rollout_chunk_note_error(c, position, "held", chunk->errors[i]);
        else
            rollout_chunk_note(c, position, "returned", NULL);
    }
    rollout_chunk_put_notes(c, chunk->changes);
    return batch_chunk_commit(chunk, &type, error);
}

/* One that was running, with its desktop claimed. */
static gboolean return_stopped(Job *job, World *world, const Rollout *rollout,
                               const RolloutItem *item, GError **error)
{
    g_auto(RolloutChunk) c = { 0 };

    rollout_chunk_init_one(&c, world, rollout, item->position);
    json_t *keys = keys_of(item);
    json_array_remove(keys, 0); /* the desktop's own */
    return rollout_chunk_claim(&c, keys, error) && return_chunk(&c, job, changes_new(), error);
}

gboolean rollout_return(Job *job, World *world, const Rollout *rollout, guint n, Changes *changes,
                        GError **error)
{
    static const RolloutWay way = {
        "moved", "held", "held", keys_of, return_chunk, return_stopped
    };

    return rollout_chunk_go(&way, job, world, rollout, n, changes, error);
}
