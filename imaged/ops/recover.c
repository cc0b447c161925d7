/* recover.c: the catalog and the stores' journals carry one sequence number per store.
 *
 *   equal                   nothing to do
 *   the journal is ahead    a stop between journal and commit, or an old backup of the catalog that
 *                           somebody put back: replay
 *   the catalog is ahead    the journal was lost or the store is an older copy: a new journal is
 *                           written from the catalog, and disks that are not there are said
 *
 * Jobs of an old backup are not taken up: what they would do again happened long ago. */
#include "imaged/ops/recover.h"

#include <fcntl.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/adopt.h"
#include "imaged/ops/args.h"
#include "snapshot/trash.h"

typedef struct {
    World *world;
    const char *store_id;
    guint n;
} Replay;

static gboolean replay_one(guint64 seq, const char *data, gsize len, gpointer user, GError **error)
{
    Replay *r = user;

    r->n++;
    return catalog_replay(r->world->catalog, r->store_id, seq, data, len, error);
}

/* Jobs of an old copy are not taken up, and roll-outs stand still until somebody looks at them. */
static void drop_jobs(World *world, GError **error)
{
    Changes *changes = changes_new();

    changes_sql(
        changes,
        "UPDATE job SET state = 'failed', error_code = 'failed', error_message ="
        " 'the catalog was an old copy when imaged started', finished_at = ?1 WHERE state IN"
        " ('queued', 'running')",
        "i", units_now_ms());
    /* A roll-out would wait for its job for ever.  Its rows are counted anew when it goes on. */
    changes_sql(changes,
                "UPDATE rollout SET state = 'stopped', wants_pause = 0, reason = 'the catalog was"
                " an old copy when imaged started' WHERE state IN ('planned', 'canary', 'gate',"
                " 'rolling', 'waiting', 'rolling-back')",
                "");
    /* Who was given what since is not known: of a pool's desktops only those are given that are
     * made fresh now; one that somebody had, and that was not replaced since, is still his. */
    changes_sql(changes,
                "UPDATE pool_desktop SET state = 'returning', reason = 'the catalog was an old copy"
                " when imaged started' WHERE state IN ('free', 'making') OR state = 'given' AND"
                " clean_generation <> (SELECT d.generation FROM desktop d WHERE d.id ="
                " desktop_id)",
                "");
    catalog_commit(world->catalog, changes, error);
}

static void say(World *world, const char *severity, const char *object, const char *message)
{
    Changes *changes = changes_new();

    changes_event(changes, "catalog.recover", severity, object, NULL, "%s", message);
    catalog_commit(world->catalog, changes, NULL);
}

static gboolean compare_seq(World *world, Store *store, const char *store_id, GError **error)
{
    Replay replay = { world, store_id, 0 };
    Db *db = catalog_read_begin(world->catalog);
    guint64 known = (guint64)lookup_int(db, "SELECT seq FROM store WHERE id = ?1", "t", store_id);
    guint64 last = journal_last_seq(store->journal);

    catalog_read_end(world->catalog, db);
    if (last == known)
        return TRUE;
    if (last < known) {
        say(world, "alarm", store->location,
            "the store's journal was older than the catalog; it was written anew from the catalog");
        return catalog_compact(world->catalog, store_id, error);
    }
    if (!journal_read(store->journal, known, replay_one, &replay, error))
        return FALSE;
    if (replay.n > 1) {
        drop_jobs(world, NULL);
        say(world, "warning", store->location,
            "the catalog was older than the store; it was brought up to date from the store");
    }
    /* The stop may have come from a flush of the journal that failed: what we have just read may be
     * nowhere but in memory.  So it is written anew; without room for that it is as good as it was.
     */
    catalog_compact(world->catalog, store_id, NULL);
    return TRUE;
}

gboolean recover_store(World *world, const char *store_id, GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);

    return store && compare_seq(world, store, store_id, error) &&
           trash_sweep(world, store_id, error);
}

/* One store's facts: from its journal, and where that is lost or damaged, from its layers. */
static gboolean rebuild_store(World *world, const char *store_id, json_t *notes, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(Store) store = store_set_get(world->stores, store_id, &local);
    Replay replay = { world, store_id, 0 };

    if (!store) {
        json_array_append_new(notes, json_string(local->message));
        return TRUE;
    }
    gboolean is_sound = journal_read(store->journal, 0, replay_one, &replay, &local);
    if (!is_sound && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CORRUPT)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!is_sound || replay.n == 0) {
        g_autofree char *note = g_strdup_printf("%s: the journal is %s; layers were taken by what"
                                                " their own headers say",
                                                store->location, is_sound ? "empty" : "damaged");
        json_array_append_new(notes, json_string(note));
        if (!adopt_layers(world, store, error))
            return FALSE;
    }
    return catalog_compact(world->catalog, store_id, error) &&
           trash_sweep(world, store_id, error);
}

/* The catalog is whole again. */
static gboolean end_rebuild(World *world, const char *who, GError **error)
{
    Changes *changes = changes_new();

    changes_sql(changes, "DELETE FROM meta WHERE key IN ('rescue', 'rebuild')", "");
    changes_event(changes, "catalog.rebuild", "warning", NULL, who,
                  "the catalog was made anew from the stores");
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    g_atomic_pointer_set(&world->rescue_reason, NULL);
    return TRUE;
}

json_t *recover_rebuild(World *world, const char *who, GError **error)
{
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);
    json_t *notes = json_array();
    gboolean ok = catalog_forget_facts(world->catalog, error);

    for (guint i = 0; ok && i < ids->len; i++)
        ok = rebuild_store(world, ids->pdata[i], notes, error);
    if (!ok || !end_rebuild(world, who, error)) {
        json_decref(notes);
        return NULL;
    }
    Db *db = catalog_read_begin(world->catalog);
    json_t *out = json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:o}", "id", world->manager_id, "name", "rebuild",
        "n_templates", (json_int_t)lookup_int(db, "SELECT count(*) FROM template", ""),
        "n_versions", (json_int_t)lookup_int(db, "SELECT count(*) FROM version", ""),
        "n_desktops",
        (json_int_t)lookup_int(db, "SELECT count(*) FROM desktop WHERE is_trashed = 0", ""),
        "n_layers", (json_int_t)lookup_int(db, "SELECT count(*) FROM layer", ""), "n_trash",
        (json_int_t)lookup_int(db, "SELECT count(*) FROM trash", ""), "notes", notes);
    catalog_read_end(world->catalog, db);
    return out;
}

json_t *ops_catalog_rebuild(OpsCall *call, GError **error)
{
    World *world = call->world;
    g_autoptr(GError) local = NULL;
    gboolean force;

    if (!args_check(call, "force", error) || !args_bool(call, "force", &force, error))
        return NULL;
    if (!world->rescue_reason && !force) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the catalog is there; it is made anew only with force");
        imaged_error_hint(error, "imagectl catalog rebuild --force");
        return NULL;
    }
    if (job_n_running(world->jobs)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "jobs are running");
        return NULL;
    }
    json_t *out = recover_rebuild(world, call->who, &local);
    if (!out) {
        g_autofree char *is_begun = catalog_get_meta(world->catalog, "rebuild");
        /* A catalog by half would call layers orphans and desktops lost: nobody may see it. */
        if (is_begun)
            catalog_abandon(world->catalog, local->message);
        g_propagate_error(error, g_steal_pointer(&local));
    }
    return out;
}

gboolean recover_backup(World *world, guint64 *ret_bytes, GError **error)
{
    g_autofree char *path = g_build_filename(world->state_dir, "catalog.copy", NULL);
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);
    gboolean ok = catalog_backup(world->catalog, path, error);
    auto_fd fd = ok ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    *ret_bytes = fd >= 0 ? (guint64)lseek(fd, 0, SEEK_END) : 0;
    for (guint i = 0; ok && fd >= 0 && i < ids->len; i++) {
        g_autoptr(Store) store = store_set_get(world->stores, ids->pdata[i], NULL);
        if (store)
            ok = store->ops->put_file(store, "catalog.backup", fd, error);
    }
    durable_unlink(AT_FDCWD, path, NULL);
    return ok;
}

json_t *ops_catalog_backup(OpsCall *call, GError **error)
{
    guint64 bytes;

    if (!args_check(call, "", error) || !recover_backup(call->world, &bytes, error))
        return NULL;
    return json_pack("{s:s,s:s,s:I}", "id", call->world->manager_id, "name", "backup", "bytes",
                     (json_int_t)bytes);
}
