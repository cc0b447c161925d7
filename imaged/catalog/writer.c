/* writer.c: the writer thread takes all changes that wait, applies each in a savepoint, appends the
 * facts of those that hold to the stores' journals, and commits.  The order matters:
 *
 *   apply (a broken rule fails here, alone) -> journal, flushed -> COMMIT, flushed -> answer
 *
 * Stopped before the journal: nothing happened.  Stopped after it: the next start replays. */
#include "imaged/catalog/writer.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/record.h"
#include "imaged/catalog/vfs.h"

#define MAX_GROUP 512
#define BIG_SET 64 /* changes; a bigger set is committed alone: savepoints grow slow with it */
#define CACHE_KEPT (int)(4 * MIB)

static gboolean begin(Db *db, GError **error)
{
    return db_run(db, error, "BEGIN IMMEDIATE", "");
}

static void roll_back(Db *db)
{
    if (!sqlite3_get_autocommit(db_handle(db)))
        db_run(db, NULL, "ROLLBACK", "");
}

static void fail(Request *r, const GError *error)
{
    r->failed = TRUE;
    if (!r->error)
        r->error = g_error_copy(error);
}

/* Apply every request in a savepoint of its own; one that fails is undone and left out.  Not so
 * once is_journaled: the facts of each are in a journal then. */
static gboolean apply_group(Catalog *c, GPtrArray *group, gboolean is_journaled, GError **error)
{
    for (guint i = 0; i < group->len; i++) {
        Request *r = group->pdata[i];
        g_autoptr(GError) local = NULL;
        if (r->failed)
            continue;
        if (group->len == 1) { /* no savepoint needed: the transaction is all its own */
            if (changes_apply(r->changes, c->writer, error))
                continue;
            return FALSE;
        }
        if (!db_run(c->writer, error, "SAVEPOINT one", ""))
            return FALSE;
        if (changes_apply(r->changes, c->writer, &local)) {
            if (!db_run(c->writer, error, "RELEASE one", ""))
                return FALSE;
            continue;
        }
        fail(r, local);
        if (is_journaled || sqlite3_get_autocommit(db_handle(c->writer))) {
            g_propagate_error(error, g_steal_pointer(&local)); /* a full disk ends all of it */
            return FALSE;
        }
        if (!db_run(c->writer, error, "ROLLBACK TO one", "") ||
            !db_run(c->writer, error, "RELEASE one", ""))
            return FALSE;
    }
    return TRUE;
}

static gboolean next_seq(Catalog *c, const char *store_id, guint64 *ret_seq, GError **error)
{
    Query *q = db_query(c->writer, "SELECT seq FROM store WHERE id = ?1", "t", store_id);
    gboolean found = query_next(q);
    guint64 seq = found ? (guint64)query_int(q, "seq") : 0;

    if (!query_end(q, error))
        return FALSE;
    if (!found) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the store is not known");
        return FALSE;
    }
    *ret_seq =
        MAX(seq, c->journal.last_seq ? c->journal.last_seq(c->journal_user, store_id) : 0) + 1;
    return TRUE;
}

static gboolean note_seq(Catalog *c, const char *store_id, guint64 seq, GError **error)
{
    return db_run(c->writer, error, "UPDATE store SET seq = ?2 WHERE id = ?1", "ti", store_id,
                  (gint64)seq);
}

/* journaled: store -> the sequence number that its journal has got for this group. */
static gboolean journal_store(Catalog *c, GPtrArray *group, const char *store_id,
                              GHashTable *journaled, GError **error)
{
    const guint64 *before = g_hash_table_lookup(journaled, store_id);
    if (before)
        return note_seq(c, store_id, *before, error);

    g_autoptr(GString) put = g_string_new(NULL), del = g_string_new(NULL);
    guint64 seq;

    for (guint i = 0; i < group->len; i++) {
        Request *r = group->pdata[i];
        if (!r->failed)
            changes_to_json(r->changes, store_id, put, del);
    }
    if (!next_seq(c, store_id, &seq, error))
        return FALSE;
    if (c->journal.append) {
        g_autoptr(GString) record = record_make(put->str, del->str, FALSE);
        if (!c->journal.append(c->journal_user, store_id, seq, record->str, record->len, error))
            return FALSE;
    }
    g_hash_table_insert(journaled, g_strdup(store_id), g_memdup2(&seq, sizeof seq));
    return note_seq(c, store_id, seq, error);
}

/* Fail the requests that touch a store.  FALSE if one of them is in another's journal already. */
static gboolean fail_store(GPtrArray *group, const char *store_id, GHashTable *journaled,
                           const GError *error)
{
    gboolean is_clean = !g_hash_table_contains(journaled, store_id);
    GHashTableIter iter;
    gpointer other;

    for (guint i = 0; i < group->len; i++) {
        Request *r = group->pdata[i];
        if (r->failed || !changes_touch_store(r->changes, store_id))
            continue;
        fail(r, error);
        g_hash_table_iter_init(&iter, journaled);
        while (g_hash_table_iter_next(&iter, &other, NULL))
            is_clean &= !changes_touch_store(r->changes, other);
    }
    return is_clean;
}

static void break_down(Catalog *c, const char *why)
{
    g_atomic_int_set(&c->broken, 1);
    if (c->journal.failed)
        c->journal.failed(c->journal_user, why);
}

/* Append the group's facts to every journal they belong to.  A store that cannot be written fails
 * the requests that touch it; *ret_retry says to do the group again without them. */
static gboolean journal_group(Catalog *c, GPtrArray *group, GHashTable *journaled,
                              gboolean *ret_retry, GError **error)
{
    g_autoptr(GPtrArray) stores = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < group->len; i++) {
        Request *r = group->pdata[i];
        if (!r->failed)
            changes_add_stores(r->changes, stores);
    }
    for (guint i = 0; i < stores->len; i++) {
        const char *store_id = stores->pdata[i];
        g_autoptr(GError) local = NULL;
        if (journal_store(c, group, store_id, journaled, &local))
            continue;
        if (c->journal.is_unknown && c->journal.is_unknown(c->journal_user, store_id))
            break_down(c, local->message);
        *ret_retry = fail_store(group, store_id, journaled, local);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    return TRUE;
}

static void fail_all(GPtrArray *group, const GError *error)
{
    for (guint i = 0; i < group->len; i++)
        fail(group->pdata[i], error);
}

static gboolean try_group(Catalog *c, GPtrArray *group, GHashTable *journaled, gboolean *ret_retry)
{
    g_autoptr(GError) error = NULL;

    *ret_retry = FALSE;
    if (begin(c->writer, &error) &&
        apply_group(c, group, g_hash_table_size(journaled) > 0, &error) &&
        journal_group(c, group, journaled, ret_retry, &error) &&
        db_run(c->writer, &error, "COMMIT", ""))
        return TRUE;
    roll_back(c->writer);
    if (!*ret_retry && g_hash_table_size(journaled) > 0) {
        /* Some journal has what the database will never get: only a new start can mend that. */
        break_down(c, error->message);
    }
    if (!*ret_retry)
        fail_all(group, error);
    return FALSE;
}

static gboolean compact_store(Catalog *c, gpointer store_id, GError **error)
{
    g_autoptr(GString) record = record_snapshot(c->writer, store_id, error);
    guint64 seq;

    return record && next_seq(c, store_id, &seq, error) &&
           c->journal.compact(c->journal_user, store_id, seq, record->str, record->len, error) &&
           note_seq(c, store_id, seq, error);
}

static void compact_if_wanted(Catalog *c, GPtrArray *group)
{
    g_autoptr(GPtrArray) stores = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < group->len; i++)
        changes_add_stores(((Request *)group->pdata[i])->changes, stores);
    for (guint i = 0; i < stores->len; i++) {
        char *id = stores->pdata[i];
        if (c->journal.wants_compaction && c->journal.wants_compaction(c->journal_user, id))
            compact_store(c, id, NULL); /* if it fails, the long journal serves as well */
    }
}

static void note_commit(Catalog *c, GPtrArray *group)
{
    gboolean has_events = FALSE;
    gint64 last = 0;

    for (guint i = 0; i < group->len; i++)
        has_events |= changes_has_events(((Request *)group->pdata[i])->changes);
    if (has_events) {
        Query *q = db_query(c->writer, "SELECT coalesce(max(id), 0) AS id FROM event", "");
        last = query_next(q) ? query_int(q, "id") : 0;
        query_end(q, NULL);
    }
    g_mutex_lock(&c->lock);
    c->n_commits++;
    c->last_event = MAX(c->last_event, last);
    if (has_events)
        g_cond_broadcast(&c->changed);
    g_mutex_unlock(&c->lock);
}

static void finish(Request *r)
{
    g_mutex_lock(&r->lock);
    r->done = TRUE;
    g_cond_signal(&r->cond);
    g_mutex_unlock(&r->lock);
}

static void run_group(Catalog *c, GPtrArray *group)
{
    g_autoptr(GHashTable) journaled =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    gboolean retry = TRUE, ok = FALSE;

    if (g_atomic_int_get(&c->broken)) {
        g_autoptr(GError) error = g_error_new(IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                                              "the catalog has failed and must be opened anew");
        fail_all(group, error);
        retry = FALSE;
    }
    while (retry && !ok)
        ok = try_group(c, group, journaled, &retry);
    if (ok) {
        compact_if_wanted(c, group);
        note_commit(c, group);
    }
    int used = 0, most = 0;
    sqlite3_db_status(db_handle(c->writer), SQLITE_DBSTATUS_CACHE_USED, &used, &most, 0);
    if (used > CACHE_KEPT)
        sqlite3_db_release_memory(db_handle(c->writer));
}

/* What a flush that failed was to make durable may be lost, and the next flush would not tell: all
 * ends here, before anybody is answered, and the next start looks at what there is. */
static void check_flushes(Catalog *c)
{
    if (!g_atomic_int_get(&c->broken) && vfs_flush_failed(db_handle(c->writer)))
        break_down(c, "a flush of the catalog failed");
}

/* A big set does, and one for several journals: its own order of them counts, since the last one's
 * facts tell whether all was done; a group would write them in the order of its first sets. */
static gboolean wants_to_be_alone(const Changes *changes)
{
    return changes_count(changes) > BIG_SET || changes_touch_many(changes);
}

gpointer catalog_writer_main(gpointer data)
{
    Catalog *c = data;
    Request *next = NULL;

    for (;;) {
        g_autoptr(GPtrArray) group = g_ptr_array_new();
        Request *r = next ? next : g_async_queue_pop(c->queue), *special = NULL;
        next = NULL;
        while (r && !special) {
            if (!r->changes) {
                special = r;
            } else if (!wants_to_be_alone(r->changes)) {
                g_ptr_array_add(group, r);
            } else if (group->len) {
                next = r;
                break;
            } else {
                g_ptr_array_add(group, r);
                break;
            }
            r = !special && group->len < MAX_GROUP ? g_async_queue_try_pop(c->queue) : NULL;
        }
        if (group->len)
            run_group(c, group);
        check_flushes(c);
        for (guint i = 0; i < group->len; i++)
            finish(group->pdata[i]);
        if (special) {
            gboolean stop = !special->task;
            if (!stop)
                special->failed = !special->task(c, special->data, &special->error);
            check_flushes(c);
            finish(special);
            if (stop)
                return NULL;
        }
    }
}

static gboolean abandon(Catalog *c, gpointer why, GError **error)
{
    break_down(c, why);
    return TRUE;
}

static gboolean submit(Catalog *c, Request *r, GError **error)
{
    g_mutex_init(&r->lock);
    g_cond_init(&r->cond);
    g_async_queue_push(c->queue, r);
    g_mutex_lock(&r->lock);
    while (!r->done)
        g_cond_wait(&r->cond, &r->lock);
    g_mutex_unlock(&r->lock);
    g_mutex_clear(&r->lock);
    g_cond_clear(&r->cond);
    if (r->error)
        g_propagate_error(error, r->error);
    return !r->failed;
}

gboolean catalog_commit(Catalog *c, Changes *changes, GError **error)
{
    Request r = { .changes = changes };
    gboolean ok = submit(c, &r, error);

    changes_free(changes);
    return ok;
}

/* Run task in the writer thread, between two groups. */
static gboolean run_in_writer(Catalog *c, WriterTask task, gpointer data, GError **error)
{
    Request r = { .task = task, .data = data };

    return submit(c, &r, error);
}

gboolean catalog_compact(Catalog *c, const char *store_id, GError **error)
{
    return run_in_writer(c, compact_store, (gpointer)store_id, error);
}

typedef struct {
    const char *store_id, *data;
    guint64 seq;
    gsize len;
} Replay;

static gboolean replay(Catalog *c, gpointer data, GError **error)
{
    Replay *r = data;

    if (!begin(c->writer, error))
        return FALSE;
    if (db_run(c->writer, error, "PRAGMA defer_foreign_keys = ON", "") &&
        record_apply(c->writer, r->store_id, r->data, r->len, error) &&
        db_run(c->writer, error, "UPDATE store SET seq = ?2 WHERE id = ?1", "ti", r->store_id,
               (gint64)r->seq) &&
        db_run(c->writer, error, "COMMIT", ""))
        return TRUE;
    roll_back(c->writer);
    return FALSE;
}

gboolean catalog_replay(Catalog *c, const char *store_id, guint64 seq, const char *data, gsize len,
                        GError **error)
{
    Replay r = { store_id, data, seq, len };

    return run_in_writer(c, replay, &r, error);
}

/* In one transaction with the note that says so. */
static gboolean forget_facts(Catalog *c, gpointer unused, GError **error)
{
    return db_script(
        c->writer,
        "BEGIN IMMEDIATE; DELETE FROM trash; DELETE FROM snapshot; DELETE FROM desktop;"
        "DELETE FROM version;"
        "DELETE FROM template; DELETE FROM layer; DELETE FROM layer_counts;"
        "DELETE FROM archive_schedule; DELETE FROM archive_target;"
        "DELETE FROM rollout_desktop; DELETE FROM rollout;"
        "UPDATE store SET seq = 0;"
        "INSERT INTO meta (key, value) VALUES ('rebuild', '1') ON CONFLICT DO NOTHING;"
        "COMMIT;",
        error);
}

gboolean catalog_forget_facts(Catalog *c, GError **error)
{
    return run_in_writer(c, forget_facts, NULL, error);
}

void catalog_abandon(Catalog *c, const char *why)
{
    run_in_writer(c, abandon, (gpointer)why, NULL);
}

void catalog_writer_stop(Catalog *c)
{
    Request stop = { 0 };

    submit(c, &stop, NULL);
    g_thread_join(c->thread);
}
