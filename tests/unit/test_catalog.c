/* test_catalog.c: rows, group commit, the order of journal and commit, replay, migrations. */
#include "tests/unit/catalog_fixture.h"

#include "imaged/catalog/record.h"
#include "imaged/catalog/schema.h"
#include "imaged/catalog/writer.h"

static const char *const texts[] = {
    "plain",
    "",
    "'; DROP TABLE desktop; --",
    "a\"b\\c/d\\u0041",
    "line\nbreak\ttab\r\x01\x1f\x7f",
    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa9",
    "\xef\xbf\xbf\xe2\x80\xa8\xe2\x80\xae",
    "%s%n?1:x@y$z",
    "{\"put\":[]}],\"del\":[",
    "?1",
    "NULL",
};

static void check_same(RowKind kind, gconstpointer a, gconstpointer b)
{
    g_autoptr(GString) one = g_string_new(NULL), two = g_string_new(NULL);

    row_to_json(kind, a, one);
    row_to_json(kind, b, two);
    g_assert_cmpstr(one->str, ==, two->str);
}

/* Struct -> JSON -> struct -> tables -> struct. */
static void round_trip(Db *db, RowKind kind, const char *text, gint64 salt)
{
    static const char *const by_id[ROW_N_KINDS] = {
        "SELECT * FROM template WHERE id = ?1", "SELECT * FROM version WHERE id = ?1",
        "SELECT * FROM layer WHERE id = ?1",    "SELECT * FROM desktop WHERE id = ?1",
        "SELECT * FROM trash WHERE id = ?1",
        "SELECT * FROM snapshot WHERE id = ?1",
        "SELECT * FROM archive_target WHERE id = ?1",
        "SELECT * FROM archive_schedule WHERE id = ?1",
    };
    g_autofree gpointer row = g_malloc0(row_size(kind)), parsed = g_malloc0(row_size(kind)),
                        stored = g_malloc0(row_size(kind));
    g_autoptr(GString) json = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    Id id = id_new();

    make_row(kind, id.s, text, text, fake_store[0], salt, row);
    row_to_json(kind, row, json);
    json_t *object = json_loads(json->str, 0, NULL);
    g_assert_nonnull(object);
    g_assert_true(row_from_json(kind, object, parsed, &error));
    g_assert_no_error(error);
    json_decref(object);
    check_same(kind, row, parsed);
    row_put(db, kind, parsed, &error);
    g_assert_no_error(error);
    Query *q = db_query(db, by_id[kind], "t", id.s);
    g_assert_true(query_next(q));
    row_read(kind, q, stored);
    g_assert_true(query_end(q, NULL));
    check_same(kind, row, stored);
    g_assert_cmpstr(row_id(stored), ==, id.s);
    g_assert_true(row_delete(db, kind, id.s, NULL));
    g_assert_true(row_delete(db, kind, id.s, NULL));
    gpointer copy = row_copy(kind, row);
    check_same(kind, row, copy);
    row_free(kind, copy);
    row_clear(kind, row);
    row_clear(kind, parsed);
    row_clear(kind, stored);
}

static void test_round_trips(void)
{
    g_autoptr(Db) db = db_open("file::memory:", TRUE, NULL);

    g_assert_true(schema_migrate(db, NULL));
    g_assert_true(db_script(db, "PRAGMA foreign_keys=OFF", NULL));
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        for (RowKind kind = 0; kind < ROW_N_KINDS; kind++) {
            round_trip(db, kind, texts[i], i);
            round_trip(db, kind, texts[i], i % 2 ? G_MININT64 + 2000000 : G_MAXINT64 - 2000000);
        }
    }
}

/* What a journal from before data disks says: they are none, and the disk is as its template's. */
static void test_older_json(void)
{
    static const struct {
        RowKind kind;
        const char *json;
    } older[] = {
        { ROW_DESKTOP, "{\"id\":\"i\",\"name\":\"n\",\"version_id\":\"v\",\"owner\":\"\","
                       "\"generation\":1,\"layer_id\":\"l\",\"store_id\":\"s\",\"mac\":\"\","
                       "\"uuid\":\"\",\"state\":\"ok\",\"is_trashed\":0,\"created_at\":1,"
                       "\"changed_at\":1}" },
        { ROW_TRASH, "{\"id\":\"i\",\"kind\":\"disk\",\"reason\":\"reset\",\"name\":\"n\","
                     "\"desktop_id\":null,\"version_id\":\"v\",\"layer_id\":\"l\","
                     "\"store_id\":\"s\",\"generation\":1,\"disk_bytes\":1,\"trashed_at\":1,"
                     "\"expires_at\":1,\"snapshot_id\":null,\"slot\":null}" },
        { ROW_SNAPSHOT, "{\"id\":\"i\",\"desktop_id\":\"d\",\"name\":\"n\",\"description\":\"\","
                        "\"layer_id\":\"l\",\"store_id\":\"s\",\"version_id\":\"v\","
                        "\"generation\":1,\"is_trashed\":0,\"created_at\":1,\"changed_at\":1}" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(older); i++) {
        g_autofree gpointer row = g_malloc0(row_size(older[i].kind));
        json_t *object = json_loads(older[i].json, 0, NULL);
        g_autoptr(GError) error = NULL;
        g_assert_true(row_from_json(older[i].kind, object, row, &error));
        g_assert_no_error(error);
        const char *data = older[i].kind == ROW_DESKTOP ? ((DesktopRow *)row)->data_layer_id
                           : older[i].kind == ROW_TRASH ? ((TrashRow *)row)->data_layer_id
                                                        : ((SnapshotRow *)row)->data_layer_id;
        g_assert_null(data);
        if (older[i].kind == ROW_DESKTOP)
            g_assert_cmpint(((DesktopRow *)row)->disk_size, ==, 0);
        row_clear(older[i].kind, row);
        json_decref(object);
    }
}

static void test_bad_json(void)
{
    static const char *const bad[] = {
        "null",
        "[]",
        "{}",
        "{\"id\":1}",
        "\"text\"",
        "{\"id\":\"i\",\"name\":null,\"last_version\":0,\"is_trashed\":0,\"created_at\":0,"
        "\"changed_at\":0}",
        "{\"id\":\"i\",\"name\":\"n\",\"last_version\":\"0\",\"is_trashed\":0,\"created_at\":0,"
        "\"changed_at\":0}",
        "{\"id\":\"i\",\"name\":\"n\",\"last_version\":1.0,\"is_trashed\":0,\"created_at\":0,"
        "\"changed_at\":0}",
    };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        json_t *object = json_loads(bad[i], JSON_DECODE_ANY, NULL);
        for (RowKind kind = 0; kind < ROW_N_KINDS; kind++) {
            g_autofree gpointer row = g_malloc0(row_size(kind));
            g_autoptr(GError) error = NULL;
            g_assert_false(row_from_json(kind, object, row, &error));
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
        }
        json_decref(object);
    }
}

/* ---- Commits ---- */

typedef struct {
    Catalog *catalog;
    guint n, number, n_failed;
} Committer;

static gpointer commit_many(gpointer data)
{
    Committer *c = data;

    for (guint i = 0; i < c->n; i++) {
        g_autofree char *number = g_strdup_printf("%u-%u", c->number, i);
        g_autoptr(GError) error = NULL;
        Id id = id_derive("t", number, "");
        Changes *changes = changes_new();
        put_row(changes, ROW_TEMPLATE, id.s, number, NULL, fake_store[i % 2], i);
        changes_event(changes, "test", "info", NULL, NULL, "%s", number);
        if (i % 10 == 3) /* this set breaks a rule at its end: none of it may stay */
            put_row(changes, ROW_VERSION, id.s, "v", "nothing", fake_store[0], 1);
        if (catalog_commit(c->catalog, changes, &error))
            continue;
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_assert_cmpuint(i % 10, ==, 3);
        c->n_failed++;
    }
    return NULL;
}

#define N_THREADS 8
#define N_EACH 50

static void test_group_commit(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("group.db"), copy = NULL;
    Committer c[N_THREADS];
    GThread *threads[N_THREADS];
    FakeJournal j;

    fake_journal_init(&j);
    catalog_set_journal(catalog, &fake_ops, &j);
    for (guint i = 0; i < N_THREADS; i++) {
        c[i] = (Committer){ catalog, N_EACH, i, 0 };
        threads[i] = g_thread_new("committer", commit_many, &c[i]);
    }
    for (guint i = 0; i < N_THREADS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpuint(c[i].n_failed, ==, N_EACH / 10);
    }
    gint64 good = N_THREADS * (N_EACH - N_EACH / 10);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM template"), ==, good);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM event"), ==, good);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM version"), ==, 0);
    gint64 last = count_of(catalog, "SELECT max(id) FROM event");
    g_assert_cmpint(catalog_wait_event(catalog, last - 1, 10000), ==, last);

    copy = catalog_open_named("group-copy.db");
    for (guint i = 0; i < N_FAKE_STORES; i++)
        fake_replay(&j, i, copy, 0);
    g_autofree char *one = dump_facts(catalog), *two = dump_facts(copy);
    g_assert_cmpstr(one, ==, two);
    g_clear_pointer(&catalog, catalog_close);
    fake_journal_clear(&j);
}

static gint is_woken; /* atomic */

static gpointer wait_for_event(gpointer catalog)
{
    catalog_wait_event(catalog, G_MAXINT64, 60 * 1000);
    g_atomic_int_set(&is_woken, TRUE);
    return NULL;
}

/* Who waits for an event when the daemon ends need not wait until his time is over. */
static void test_wake(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("wake.db");
    GThread *waiter = g_thread_new("waiter", wait_for_event, catalog);

    /* One of these comes after it began to wait. */
    for (guint i = 0; i < 10000 && !g_atomic_int_get(&is_woken); i++) {
        g_usleep(2000);
        catalog_wake(catalog);
    }
    g_assert_true(g_atomic_int_get(&is_woken));
    g_thread_join(waiter);
}

/* A template called name, in store, from a thread of its own. */
typedef struct {
    Catalog *catalog;
    const char *name;
    guint store;
    gboolean ok;
    GError *error;
    GThread *thread;
} OneSet;

static gpointer commit_one(gpointer data)
{
    OneSet *s = data;
    Id id = id_derive("one", s->name, "");
    Changes *changes = changes_new();

    put_row(changes, ROW_TEMPLATE, id.s, s->name, NULL, fake_store[s->store], 1);
    s->ok = catalog_commit(s->catalog, changes, &s->error);
    return NULL;
}

/* Sets that wait while one is being journaled make one group.  A store that fails then fails the
 * sets that touch it; when another store's journal has the group already, all of it must end. */
static void check_failing_store(guint failing)
{
    g_autoptr(Catalog) catalog = catalog_open_named("fail.db");
    FakeJournal j;
    OneSet sets[] = { { catalog, "first", !failing },
                      { catalog, "a", 0 },
                      { catalog, "b", 1 },
                      { catalog, "c", 0 },
                      { catalog, "d", 1 } };

    fake_journal_init(&j);
    catalog_set_journal(catalog, &fake_ops, &j);
    j.is_closed = j.fails[failing] = TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
        sets[i].thread = g_thread_new("set", commit_one, &sets[i]);
        if (i == 0)
            fake_wait_for_append(&j);
    }
    g_usleep(20000); /* lets them queue; whether they did does not matter for the result */
    fake_gate(&j, FALSE);
    for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
        g_thread_join(sets[i].thread);
        g_assert_true(sets[i].ok == (sets[i].store != failing));
        if (sets[i].ok)
            g_assert_no_error(sets[i].error);
        else
            g_assert_error(sets[i].error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
        g_clear_error(&sets[i].error);
    }
    g_assert_cmpuint(j.n_failed, ==, 0);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM template"), ==, 3);
    /* The store is back, and so is the catalog; what failed is in no journal. */
    j.fails[failing] = FALSE;
    OneSet again = { catalog, "again", failing };
    commit_one(&again);
    g_assert_no_error(again.error);
    g_autoptr(Catalog) copy = catalog_open_named("fail-copy.db");
    for (guint i = 0; i < N_FAKE_STORES; i++)
        fake_replay(&j, i, copy, 0);
    g_autofree char *one = dump_facts(catalog), *two = dump_facts(copy);
    g_assert_cmpstr(one, ==, two);
    g_clear_pointer(&catalog, catalog_close);
    g_clear_pointer(&copy, catalog_close);
    fake_journal_clear(&j);
    catalog_fixture_empty();
}

/* Two templates in one set: the first in store 1's journal, the last in store 0's. */
static gpointer commit_two(gpointer data)
{
    OneSet *s = data;
    Id first = id_derive("two", "first", ""), last = id_derive("two", "last", "");
    Changes *changes = changes_new();

    put_row(changes, ROW_TEMPLATE, first.s, "to-be-first", NULL, fake_store[1], 1);
    put_row(changes, ROW_TEMPLATE, last.s, "to-be-last", NULL, fake_store[0], 1);
    s->ok = catalog_commit(s->catalog, changes, &s->error);
    return NULL;
}

static void note_order(gpointer user, const char *text)
{
    GString *order = user;

    g_string_append(order, strstr(text, "to-be-first") ? "first " : "");
    g_string_append(order, strstr(text, "to-be-last") ? "last " : "");
}

static void wait_for_queued(Catalog *catalog, gint n)
{
    while (g_async_queue_length(catalog->queue) < n)
        g_usleep(1000);
}

/* The journals are written in the order of the set, whatever waits before and behind it. */
static void test_order_of_journals(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("two.db");
    g_autoptr(GString) order = g_string_new(NULL);
    FakeJournal j;
    OneSet sets[] = { { catalog, "begin", 1 }, { catalog, "before", 0 }, { catalog, "", 0 },
                      { catalog, "behind", 0 } };

    fake_journal_init(&j);
    j.seen = note_order;
    j.user = order;
    catalog_set_journal(catalog, &fake_ops, &j);
    j.is_closed = TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
        sets[i].thread = g_thread_new("set", *sets[i].name ? commit_one : commit_two, &sets[i]);
        if (i == 0)
            fake_wait_for_append(&j);
        else
            wait_for_queued(catalog, (gint)i);
    }
    fake_gate(&j, FALSE);
    for (guint i = 0; i < G_N_ELEMENTS(sets); i++) {
        g_thread_join(sets[i].thread);
        g_assert_no_error(sets[i].error);
        g_assert_true(sets[i].ok);
    }
    g_assert_cmpstr(order->str, ==, "first last ");
    g_clear_pointer(&catalog, catalog_close);
    fake_journal_clear(&j);
    catalog_fixture_empty();
}

static void test_failing_store(gconstpointer data)
{
    check_failing_store(GPOINTER_TO_UINT(data));
}

static void look_from_outside(gpointer user, const char *text)
{
    Db *db = user;

    g_assert_cmpint(lookup_int(db, "SELECT count(*) AS n FROM template WHERE name = 'early'", ""),
                    ==, 0);
    g_assert_nonnull(strstr(text, "\"early\""));
}

static void test_journal_comes_first(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("order.db");
    g_autofree char *uri = catalog_uri("order.db");
    g_autoptr(Db) db = db_open(uri, FALSE, NULL);
    FakeJournal j;

    fake_journal_init(&j);
    j.seen = look_from_outside;
    j.user = db;
    catalog_set_journal(catalog, &fake_ops, &j);
    OneSet set = { catalog, "early", 0 };
    commit_one(&set);
    g_assert_true(set.ok);
    g_assert_cmpint(count_of(catalog, "SELECT count(*) FROM template"), ==, 1);
    g_assert_cmpint(count_of(catalog, "SELECT sum(seq) FROM store"), ==, 1);
    /* A local set is none of the journal's business. */
    Changes *changes = changes_new();
    changes_set_meta(changes, "key", "value");
    commit(catalog, changes);
    g_autofree char *value = catalog_get_meta(catalog, "key");
    g_assert_cmpstr(value, ==, "value");
    g_assert_cmpuint(j.records[0]->len, ==, 1);
    g_clear_pointer(&catalog, catalog_close);
    fake_journal_clear(&j);
}

/* ---- Namespace ---- */

static void check_put(Catalog *catalog, RowKind kind, const char *id, const char *name,
                      gboolean trashed, int code)
{
    g_autofree gpointer row = g_malloc0(row_size(kind));
    g_autoptr(GError) error = NULL;
    Changes *changes = changes_new();

    make_row(kind, id, name, kind == ROW_DESKTOP ? "v" : NULL, fake_store[0], 1, row);
    if (kind == ROW_DESKTOP)
        ((DesktopRow *)row)->is_trashed = trashed;
    else
        ((TemplateRow *)row)->is_trashed = trashed;
    changes_put(changes, kind, row, fake_store[0]);
    row_clear(kind, row);
    catalog_commit(catalog, changes, &error);
    if (code < 0)
        g_assert_no_error(error);
    else
        g_assert_error(error, IMAGED_ERROR, code);
}

static void test_namespace(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("names.db");
    Changes *changes = changes_new();
    RowKind t = ROW_TEMPLATE, d = ROW_DESKTOP;

    put_row(changes, t, "t", "one", NULL, fake_store[0], 1);
    put_row(changes, ROW_VERSION, "v", "", "t", fake_store[0], 1);
    commit(catalog, changes);
    check_put(catalog, d, "d1", "one", FALSE, IMAGED_ERROR_EXISTS);
    check_put(catalog, d, "d1", "two", FALSE, -1);
    check_put(catalog, t, "t2", "two", FALSE, IMAGED_ERROR_EXISTS);
    check_put(catalog, t, "t2", "one", FALSE, IMAGED_ERROR_EXISTS);
    check_put(catalog, d, "d2", "two", FALSE, IMAGED_ERROR_EXISTS);
    check_put(catalog, d, "d2", "two", TRUE, -1); /* the trash takes no names */
    check_put(catalog, t, "t2", "two", TRUE, -1);
    check_put(catalog, d, "d1", "one", FALSE, IMAGED_ERROR_EXISTS); /* renamed onto a template */
    check_put(catalog, t, "t2", "two", FALSE, IMAGED_ERROR_EXISTS); /* brought back */
    check_put(catalog, d, "d2", "one", FALSE, IMAGED_ERROR_EXISTS);
    check_put(catalog, d, "d1", "two", TRUE, -1);
    check_put(catalog, t, "t2", "two", FALSE, -1); /* now it is free */
    check_put(catalog, d, "d1", "two", FALSE, IMAGED_ERROR_EXISTS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
    g_test_add_func("/catalog/rows/round-trips", test_round_trips);
    g_test_add_func("/catalog/rows/bad-json", test_bad_json);
    g_test_add_func("/catalog/rows/older-json", test_older_json);
    g_test_add_func("/catalog/group-commit", test_group_commit);
    g_test_add_data_func("/catalog/failing-store/0", GUINT_TO_POINTER(0), test_failing_store);
    g_test_add_data_func("/catalog/failing-store/1", GUINT_TO_POINTER(1), test_failing_store);
    g_test_add_func("/catalog/order-of-journals", test_order_of_journals);
    g_test_add_func("/catalog/journal-comes-first", test_journal_comes_first);
    g_test_add_func("/catalog/wake", test_wake);
    g_test_add_func("/catalog/namespace", test_namespace);
    int ret = g_test_run();
    catalog_fixture_end();
    return ret;
}
