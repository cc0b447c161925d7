/* catalog_fixture.h: a catalog in a folder of its own, a journal in memory that can be told to
 * fail, and a picture of all facts as text, for the unit tests of imaged/catalog and imaged/job. */
#pragma once

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/catalog.h"
#include "imaged/catalog/lookup.h"

#define N_FAKE_STORES 2
static const char *const fake_store[N_FAKE_STORES] = { "0000000000000000000000000000000a",
                                                       "0000000000000000000000000000000b" };
static char *catalog_folder;

static inline void catalog_fixture_start(void)
{
    catalog_folder = g_dir_make_tmp("imaged-unit-XXXXXX", NULL);
    g_assert_nonnull(catalog_folder);
}

static inline void catalog_fixture_empty(void)
{
    GDir *dir = g_dir_open(catalog_folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(catalog_folder, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
}

static inline void catalog_fixture_end(void)
{
    catalog_fixture_empty();
    g_rmdir(catalog_folder);
    g_clear_pointer(&catalog_folder, g_free);
}

/* A test between set_up and tear_down, all of them of type GTestFixtureFunc. */
static inline void catalog_fixture_add(const char *name, GTestFixtureFunc set_up,
                                       GTestFixtureFunc func, GTestFixtureFunc tear_down)
{
    g_test_add_vtable(name, 0, NULL, set_up, func, tear_down);
}

static inline char *catalog_uri(const char *name)
{
    return g_strdup_printf("file:%s/%s", catalog_folder, name);
}

static inline gboolean commit(Catalog *catalog, Changes *changes)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = catalog_commit(catalog, changes, &error);

    g_assert_no_error(error);
    return ok;
}

/* A catalog that knows the two stores. */
static inline Catalog *catalog_open_named(const char *name)
{
    g_autofree char *uri = catalog_uri(name);
    g_autoptr(GError) error = NULL;
    Catalog *catalog = catalog_open(uri, &error);

    g_assert_no_error(error);
    Changes *changes = changes_new();
    for (guint i = 0; i < N_FAKE_STORES; i++)
        changes_sql(changes,
                    "INSERT INTO store (id, name, kind, location, state, is_default, seq,"
                    " created_at) VALUES (?1, ?1, 'dir', '', 'ok', 0, 0, 0) ON CONFLICT (id) DO"
                    " NOTHING",
                    "t", fake_store[i]);
    commit(catalog, changes);
    return catalog;
}

static inline gint64 count_of(Catalog *catalog, const char *sql)
{
    Db *db = catalog_read_begin(catalog);
    gint64 n = lookup_int(db, sql, "");

    catalog_read_end(catalog, db);
    return n;
}

/* ---- A journal in memory ---- */

typedef struct {
    guint64 seq;
    char *text;
} FakeRecord;

typedef struct {
    GMutex lock; /* guards all of it */
    GCond changed;
    GArray *records[N_FAKE_STORES]; /* of FakeRecord */
    gboolean fails[N_FAKE_STORES];
    gboolean is_closed;               /* append waits until it is opened again */
    guint n_waiting, n_failed, wants; /* wants: bit i = store i wants compaction */
    void (*seen)(gpointer user, const char *text);
    gpointer user;
} FakeJournal;

static inline guint fake_index(const char *store_id)
{
    return g_str_equal(store_id, fake_store[1]);
}

static inline void clear_fake_record(gpointer data)
{
    g_free(((FakeRecord *)data)->text);
}

static inline guint64 fake_last(FakeJournal *j, guint i)
{
    GArray *r = j->records[i];

    return r->len ? g_array_index(r, FakeRecord, r->len - 1).seq : 0;
}

static inline guint64 fake_last_seq(gpointer user, const char *store_id)
{
    FakeJournal *j = user;

    g_mutex_lock(&j->lock);
    guint64 seq = fake_last(j, fake_index(store_id));
    g_mutex_unlock(&j->lock);
    return seq;
}

static inline gboolean fake_append(gpointer user, const char *store_id, guint64 seq,
                                   const char *data, gsize len, GError **error)
{
    FakeJournal *j = user;
    guint i = fake_index(store_id);
    FakeRecord record = { seq, g_strndup(data, len) };

    g_mutex_lock(&j->lock);
    j->n_waiting++;
    g_cond_broadcast(&j->changed);
    while (j->is_closed)
        g_cond_wait(&j->changed, &j->lock);
    j->n_waiting--;
    gboolean ok = !j->fails[i];
    g_assert_cmpuint(seq, >, fake_last(j, i));
    if (ok && j->seen)
        j->seen(j->user, data);
    if (ok)
        g_array_append_val(j->records[i], record);
    else
        clear_fake_record(&record);
    g_mutex_unlock(&j->lock);
    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "store %u is gone", i);
    return ok;
}

static inline gboolean fake_wants(gpointer user, const char *store_id)
{
    FakeJournal *j = user;

    return j->wants & (1u << fake_index(store_id));
}

static inline gboolean fake_compact(gpointer user, const char *store_id, guint64 seq,
                                    const char *data, gsize len, GError **error)
{
    FakeJournal *j = user;
    guint i = fake_index(store_id);
    FakeRecord record = { seq, g_strndup(data, len) };

    g_assert_cmpuint(seq, >, fake_last(j, i));
    g_array_set_size(j->records[i], 0);
    g_array_append_val(j->records[i], record);
    return TRUE;
}

static inline void fake_failed(gpointer user, const char *why)
{
    g_assert_nonnull(why);
    ((FakeJournal *)user)->n_failed++;
}

static const CatalogJournal fake_ops = { .last_seq = fake_last_seq,
                                         .append = fake_append,
                                         .wants_compaction = fake_wants,
                                         .compact = fake_compact,
                                         .failed = fake_failed };

static inline void fake_journal_init(FakeJournal *j)
{
    memset(j, 0, sizeof *j);
    g_mutex_init(&j->lock);
    g_cond_init(&j->changed);
    for (guint i = 0; i < N_FAKE_STORES; i++) {
        j->records[i] = g_array_new(FALSE, FALSE, sizeof(FakeRecord));
        g_array_set_clear_func(j->records[i], clear_fake_record);
    }
}

static inline void fake_journal_clear(FakeJournal *j)
{
    for (guint i = 0; i < N_FAKE_STORES; i++)
        g_array_unref(j->records[i]);
    g_mutex_clear(&j->lock);
    g_cond_clear(&j->changed);
}

/* Close or open the gate in front of every append. */
static inline void fake_gate(FakeJournal *j, gboolean is_closed)
{
    g_mutex_lock(&j->lock);
    j->is_closed = is_closed;
    g_cond_broadcast(&j->changed);
    g_mutex_unlock(&j->lock);
}

static inline void fake_wait_for_append(FakeJournal *j)
{
    g_mutex_lock(&j->lock);
    while (!j->n_waiting)
        g_cond_wait(&j->changed, &j->lock);
    g_mutex_unlock(&j->lock);
}

/* Apply what the journal has of store i above after. */
static inline void fake_replay(FakeJournal *j, guint i, Catalog *into, guint64 after)
{
    for (guint k = 0; k < j->records[i]->len; k++) {
        const FakeRecord *r = &g_array_index(j->records[i], FakeRecord, k);
        g_autoptr(GError) error = NULL;
        if (r->seq <= after)
            continue;
        catalog_replay(into, fake_store[i], r->seq, r->text, strlen(r->text), &error);
        g_assert_no_error(error);
    }
}

/* ---- Rows ---- */

/* A row of which every text says what it is (hostile is put into the free ones) and every integer
 * comes from salt.  ids: of the row, and of what it refers to.  Caller clears. */
static inline void make_row(RowKind kind, const char *id, const char *name, const char *above,
                            const char *store_id, gint64 salt, gpointer ret)
{
    Id layer = id_derive("layer", id, "");
    gint64 t = 1000000 + salt;

    switch (kind) {
    case ROW_TEMPLATE:
        *(TemplateRow *)ret = (TemplateRow){ g_strdup(id), g_strdup(name), salt, 0, t, t };
        break;
    case ROW_VERSION:
        *(VersionRow *)ret = (VersionRow){ g_strdup(id),
                                           g_strdup(above),
                                           salt,
                                           g_strdup("published"),
                                           0,
                                           g_strdup(layer.s),
                                           salt,
                                           salt,
                                           g_strdup(name),
                                           g_strdup(name),
                                           g_strdup(name),
                                           g_strdup(name),
                                           t,
                                           t };
        break;
    case ROW_LAYER:
        *(LayerRow *)ret = (LayerRow){ g_strdup(id),
                                       g_strdup(id),
                                       g_strdup(store_id),
                                       NULL,
                                       g_strdup("template"),
                                       g_strdup(above),
                                       salt,
                                       g_strdup("frozen"),
                                       g_strdup("layers"),
                                       salt,
                                       salt % 2 ? g_strdup(id) : NULL,
                                       t };
        break;
    case ROW_DESKTOP:
        *(DesktopRow *)ret = (DesktopRow){ g_strdup(id),
                                           g_strdup(name),
                                           g_strdup(above),
                                           g_strdup(name),
                                           salt,
                                           g_strdup(layer.s),
                                           g_strdup(store_id),
                                           g_strdup("52:54:00:00:00:00"),
                                           g_strdup(id),
                                           g_strdup("ok"),
                                           0,
                                           t,
                                           t,
                                           .data_layer_id = g_strdup(layer.s),
                                           .disk_size = salt };
        break;
    case ROW_SNAPSHOT:
        *(SnapshotRow *)ret = (SnapshotRow){ g_strdup(id),      g_strdup(above),
                                             g_strdup(name),    g_strdup(name),
                                             g_strdup(layer.s), g_strdup(store_id),
                                             g_strdup(above),   salt,
                                             0,                 t,
                                             t,                 g_strdup(layer.s) };
        break;
    case ROW_ARCHIVE_TARGET:
        *(ArchiveTargetRow *)ret = (ArchiveTargetRow){ g_strdup(id),    g_strdup(name),
                                                       g_strdup("dir"), g_strdup(above),
                                                       g_strdup(store_id), t };
        break;
    case ROW_ARCHIVE_SCHEDULE:
        *(ArchiveScheduleRow *)ret = (ArchiveScheduleRow){ g_strdup(id),
                                                           g_strdup(name),
                                                           g_strdup(above),
                                                           g_strdup("{}"),
                                                           g_strdup(name),
                                                           g_strdup(store_id),
                                                           salt,
                                                           t };
        break;
    default:
        *(TrashRow *)ret = (TrashRow){ g_strdup(id),
                                       g_strdup("disk"),
                                       g_strdup("reset"),
                                       g_strdup(name),
                                       salt % 2 ? g_strdup(id) : NULL,
                                       g_strdup(above),
                                       g_strdup(layer.s),
                                       g_strdup(store_id),
                                       salt,
                                       salt,
                                       t,
                                       t };
    }
}

static inline void put_row(Changes *changes, RowKind kind, const char *id, const char *name,
                           const char *above, const char *store_id, gint64 salt)
{
    g_autofree gpointer row = g_malloc0(row_size(kind));

    make_row(kind, id, name, above, store_id, salt, row);
    changes_put(changes, kind, row, store_id);
    row_clear(kind, row);
}

/* All facts as lines of JSON. */
static inline char *dump_facts(Catalog *catalog)
{
    static const char *const all[ROW_N_KINDS] = {
        "SELECT * FROM template ORDER BY id", "SELECT * FROM version ORDER BY id",
        "SELECT * FROM layer ORDER BY id",    "SELECT * FROM desktop ORDER BY id",
        "SELECT * FROM trash ORDER BY id",
        "SELECT * FROM snapshot ORDER BY id",
        "SELECT * FROM archive_target ORDER BY id",
        "SELECT * FROM archive_schedule ORDER BY id",
    };
    GString *out = g_string_new(NULL);
    Db *db = catalog_read_begin(catalog);

    for (RowKind kind = 0; kind < ROW_N_KINDS; kind++) {
        g_autofree gpointer row = g_malloc0(row_size(kind));
        Query *q = db_query(db, all[kind], "");
        while (query_next(q)) {
            row_read(kind, q, row);
            g_string_append_printf(out, "%s ", row_kind_name(kind));
            row_to_json(kind, row, out);
            g_string_append_c(out, '\n');
            row_clear(kind, row);
        }
        g_assert_true(query_end(q, NULL));
    }
    catalog_read_end(catalog, db);
    return g_string_free(out, FALSE);
}
