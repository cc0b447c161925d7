/* test_catalog_replay.c: the journals' records give the same tables again, from the beginning and
 * from any old copy of the catalog; backups; migrations. */
#include "tests/unit/catalog_fixture.h"

#include "imaged/catalog/schema.h"

#define N_VERSIONS 8
#define N_DESKTOPS 20
#define N_STEPS 250

/* One store's worth of ids, made from a number so that they come again. */
static Id numbered(const char *what, guint n)
{
    g_autofree char *text = g_strdup_printf("%u", n);

    return id_derive(what, text, "");
}

typedef struct {
    gboolean has_version[N_VERSIONS], has_desktop[N_DESKTOPS];
    guint layer_of[N_DESKTOPS];
    guint step;
} Model;

static void put_version(Model *m, guint n, Changes *changes)
{
    Id t = numbered("t", n), v = numbered("v", n), l = numbered("l", n);
    g_autofree char *name = g_strdup_printf("template-%u", n);
    const char *store = fake_store[n % 2];

    put_row(changes, ROW_TEMPLATE, t.s, name, NULL, store, m->step);
    put_row(changes, ROW_VERSION, v.s, name, t.s, store, m->step);
    put_row(changes, ROW_LAYER, l.s, NULL, v.s, store, m->step);
    m->has_version[n] = TRUE;
}

static void delete_version(Model *m, guint n, Changes *changes)
{
    const char *store = fake_store[n % 2];

    for (guint d = n; d < N_DESKTOPS; d += N_VERSIONS) {
        if (m->has_desktop[d])
            return;
    }
    changes_delete(changes, ROW_LAYER, numbered("l", n).s, store);
    changes_delete(changes, ROW_VERSION, numbered("v", n).s, store);
    changes_delete(changes, ROW_TEMPLATE, numbered("t", n).s, store);
    m->has_version[n] = FALSE;
}

/* A desktop, or a new disk for one: the old one goes to the trash. */
static void put_desktop(Model *m, guint n, Changes *changes)
{
    Id d = numbered("d", n), v = numbered("v", n % N_VERSIONS), l = numbered("dl", m->step);
    g_autofree char *name = g_strdup_printf("desktop-%u", n);
    const char *store = fake_store[n % N_VERSIONS % 2];

    if (!m->has_version[n % N_VERSIONS])
        return;
    if (m->has_desktop[n])
        put_row(changes, ROW_TRASH, numbered("dl", m->layer_of[n]).s, name, v.s, store, m->step);
    put_row(changes, ROW_LAYER, l.s, NULL, d.s, store, m->step);
    put_row(changes, ROW_DESKTOP, d.s, name, v.s, store, m->step);
    m->has_desktop[n] = TRUE;
    m->layer_of[n] = m->step;
}

static void delete_desktop(Model *m, guint n, Changes *changes)
{
    const char *store = fake_store[n % N_VERSIONS % 2];
    Id l = numbered("dl", m->layer_of[n]);

    if (!m->has_desktop[n])
        return;
    changes_delete(changes, ROW_DESKTOP, numbered("d", n).s, store);
    changes_delete(changes, ROW_LAYER, l.s, store);
    changes_delete(changes, ROW_TRASH, l.s, store);
    m->has_desktop[n] = FALSE;
}

static void random_step(Model *m, GRand *rand, Catalog *catalog)
{
    guint v = g_rand_int_range(rand, 0, N_VERSIONS), d = g_rand_int_range(rand, 0, N_DESKTOPS);
    Changes *changes = changes_new();

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
    case 1:
        put_version(m, v, changes);
        break;
    case 2:
        delete_version(m, v, changes);
        break;
    case 3:
    case 4:
    case 5:
        put_desktop(m, d, changes);
        break;
    default:
        delete_desktop(m, d, changes);
    }
    commit(catalog, changes);
    m->step++;
}

static void check_replay(FakeJournal *j, Catalog *into, const char *want)
{
    for (guint i = 0; i < N_FAKE_STORES; i++) {
        Db *db = catalog_read_begin(into);
        guint64 after = lookup_int(db, "SELECT seq FROM store WHERE id = ?1", "t", fake_store[i]);
        catalog_read_end(into, db);
        fake_replay(j, i, into, after);
    }
    g_autofree char *got = dump_facts(into);
    g_assert_cmpstr(got, ==, want);
}

static void test_replay(gconstpointer data)
{
    guint seed = GPOINTER_TO_UINT(data), n_copies = 0;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(Catalog) catalog = catalog_open_named("lives.db");
    g_autoptr(GError) error = NULL;
    Model m = { .step = 1 };
    FakeJournal j;

    fake_journal_init(&j);
    catalog_set_journal(catalog, &fake_ops, &j);
    while (m.step < N_STEPS) {
        random_step(&m, rand, catalog);
        if (m.step % 50 == 0) {
            g_autofree char *name = g_strdup_printf("copy-%u.db", n_copies++);
            g_autofree char *path = g_build_filename(catalog_folder, name, NULL);
            catalog_backup(catalog, path, &error);
            g_assert_no_error(error);
        }
        j.wants = seed && g_rand_int_range(rand, 0, 40) == 0 ? 3 : 0; /* sometimes compacted */
        if (seed && g_rand_int_range(rand, 0, 40) == 0) {
            catalog_compact(catalog, fake_store[m.step % 2], &error);
            g_assert_no_error(error);
        }
    }
    g_autofree char *want = dump_facts(catalog);
    g_autoptr(Catalog) fresh = catalog_open_named("fresh.db");
    check_replay(&j, fresh, want);
    check_replay(&j, catalog, want); /* nothing to do */
    for (guint i = 0; i < n_copies; i++) {
        g_autofree char *name = g_strdup_printf("copy-%u.db", i);
        g_autoptr(Catalog) copy = catalog_open_named(name);
        check_replay(&j, copy, want);
    }
    /* A rebuild: everything dropped, then read again. */
    g_assert_true(catalog_forget_facts(fresh, &error));
    g_autofree char *nothing = dump_facts(fresh);
    g_assert_cmpstr(nothing, ==, "");
    check_replay(&j, fresh, want);
    g_clear_pointer(&catalog, catalog_close);
    g_clear_pointer(&fresh, catalog_close);
    fake_journal_clear(&j);
    catalog_fixture_empty();
}

/* What was deleted for good before a compaction does not come back with an old copy. */
static void test_no_ghosts(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("ghost.db");
    g_autofree char *path = g_build_filename(catalog_folder, "ghost-copy.db", NULL);
    g_autoptr(GError) error = NULL;
    Model m = { .step = 1 };
    FakeJournal j;

    fake_journal_init(&j);
    catalog_set_journal(catalog, &fake_ops, &j);
    for (guint n = 0; n < 4; n++) {
        Changes *changes = changes_new();
        put_version(&m, n, changes);
        put_desktop(&m, n, changes);
        commit(catalog, changes);
    }
    g_assert_true(catalog_backup(catalog, path, &error));
    for (guint n = 0; n < 2; n++) {
        Changes *changes = changes_new();
        delete_desktop(&m, n, changes);
        delete_version(&m, n, changes);
        commit(catalog, changes);
        g_assert_true(catalog_compact(catalog, fake_store[n], &error));
    }
    g_autofree char *want = dump_facts(catalog);
    g_autoptr(Catalog) copy = catalog_open_named("ghost-copy.db");
    check_replay(&j, copy, want);
    g_clear_pointer(&catalog, catalog_close);
    fake_journal_clear(&j);
}

static void test_bad_records(void)
{
    static const char *const bad[] = {
        "",
        "nonsense",
        "[]",
        "{}",
        "{\"put\":[]}",
        "{\"put\":{},\"del\":[]}",
        "{\"put\":[1],\"del\":[]}",
        "{\"put\":[[\"planet\",{}]],\"del\":[]}",
        "{\"put\":[[\"template\",{}]],\"del\":[]}",
        "{\"put\":[],\"del\":[[\"trash\"]]}",
        "{\"put\":[],\"del\":[[\"trash\",5]]}",
        "{\"put\":[],\"del\":[[5,\"id\"]]}",
        "{\"snapshot\":true,\"put\":[[\"template\",null]],\"del\":[]}",
    };
    g_autoptr(Catalog) catalog = catalog_open_named("bad.db");
    Changes *changes = changes_new();

    put_row(changes, ROW_TEMPLATE, "t", "stays", NULL, fake_store[0], 1);
    put_row(changes, ROW_LAYER, "l", NULL, "t", fake_store[0], 1);
    commit(catalog, changes);
    g_autofree char *before = dump_facts(catalog);
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(catalog_replay(catalog, fake_store[0], 9, bad[i], strlen(bad[i]), &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
    }
    g_autofree char *after = dump_facts(catalog);
    g_assert_cmpstr(before, ==, after);
    g_assert_cmpint(count_of(catalog, "SELECT max(seq) FROM store"), ==, 1);
}

static void test_backup(void)
{
    g_autoptr(Catalog) catalog = catalog_open_named("live.db");
    g_autofree char *path = g_build_filename(catalog_folder, "saved.db", NULL);
    g_autofree char *wal = g_strconcat(path, "-wal", NULL);
    g_autoptr(GError) error = NULL;
    Changes *changes = changes_new();

    g_assert_true(g_file_set_contents(path, "an older file", -1, NULL));
    put_version(&(Model){ .step = 7 }, 3, changes);
    changes_set_meta(changes, "who", "me");
    commit(catalog, changes);
    g_assert_true(catalog_backup(catalog, path, &error));
    g_assert_no_error(error);
    g_assert_false(g_file_test(wal, G_FILE_TEST_EXISTS));
    g_autoptr(Catalog) copy = catalog_open_named("saved.db");
    g_autofree char *one = dump_facts(catalog), *two = dump_facts(copy);
    g_autofree char *who = catalog_get_meta(copy, "who");
    g_assert_cmpstr(one, ==, two);
    g_assert_cmpstr(who, ==, "me");
    g_assert_false(catalog_backup(catalog, "/nowhere/at/all", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
}

/* ---- Migrations ---- */

/* Rows that each version of the schema can hold: one literal per version that changed a table. */
static const char *const rows_of_version[] = {
    [1] = "INSERT INTO meta VALUES ('k', 'v');"
          "INSERT INTO store VALUES ('s', 'main', 'dir', '/s', 'ok', 1, 5, 1);"
          "INSERT INTO template VALUES ('t', 'debian', 1, 0, 1, 1);"
          "INSERT INTO layer VALUES ('l', 'l', 's', NULL, 'template', 'v', 1, 'frozen', 'layers',"
          " 512, NULL, 1);"
          "INSERT INTO version (id, template_id, version, state, is_trashed, layer_id, cpus,"
          " memory_bytes, os, description, source, notes, created_at, changed_at) VALUES ('v', "
          "'t', 1, 'published', 0, 'l', 1, 1, '', '', '', '', 1,"
          " 1);"
          "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id, store_id, mac,"
          " uuid, state, is_trashed, created_at, changed_at) VALUES ('d', 'desk-001', 'v', 'ann', "
          "1, 'l', 's', 'm', 'u', 'ok', 0,"
          " 1, 1);"
          "INSERT INTO trash (id, kind, reason, name, desktop_id, version_id, layer_id, store_id,"
          " generation, disk_bytes, trashed_at, expires_at) VALUES ('x', 'disk', 'reset',"
          " 'desk-001', 'd', 'v', 'l', 's', 1, 1, 1, 1);"
          "INSERT INTO job (id, kind, tier, state, owner, plan, step, done, total, unit, message,"
          " epoch, created_at) VALUES ('j', 'k', 'bulk', 'queued', '', '{}', 0, 0, 0, '', '', 0,"
          " 0);"
          "INSERT INTO event (id, time, kind, severity, object, who, message) VALUES (1, 1, 'k',"
          " 'info', '', '', 'm');",
};

/* What came with schema 3. */
static const char snapshot_rows[] =
    "INSERT INTO snapshot (id, desktop_id, name, description, layer_id, store_id, version_id,"
    " generation, is_trashed, created_at, changed_at) VALUES ('n', 'd', 'monday', '', 'l', 's', "
    "'v', 1, 0, 1, 1);"
    "UPDATE trash SET slot = 'z';";

static const char count_rows[] =
    "SELECT (SELECT count(*) FROM meta) + (SELECT count(*) FROM store) +"
    " (SELECT count(*) FROM template) + (SELECT count(*) FROM layer) +"
    " (SELECT count(*) FROM version) + (SELECT count(*) FROM desktop) +"
    " (SELECT count(*) FROM trash) + (SELECT count(*) FROM job) + (SELECT count(*) FROM event) +"
    " (SELECT count(*) FROM snapshot)";

static void test_migrations(void)
{
    for (int from = 0; from <= schema_version(); from++) {
        g_autofree char *name = g_strdup_printf("schema-%d.db", from);
        g_autofree char *uri = catalog_uri(name);
        g_autoptr(GError) error = NULL;
        g_autoptr(Db) db = db_open(uri, TRUE, &error);

        g_assert_true(schema_migrate_to(db, from, &error));
        g_assert_no_error(error);
        g_assert_cmpint(lookup_int(db, "PRAGMA user_version", ""), ==, from);
        if (from) {
            db_script(db, rows_of_version[MIN(from, (int)G_N_ELEMENTS(rows_of_version) - 1)],
                      &error);
            g_assert_no_error(error);
        }
        if (from >= 3)
            db_script(db, snapshot_rows, &error);
        g_assert_no_error(error);
        g_assert_true(schema_migrate(db, &error));
        g_assert_no_error(error);
        g_assert_cmpint(lookup_int(db, "PRAGMA user_version", ""), ==, schema_version());
        g_assert_cmpint(lookup_int(db, count_rows, ""), ==,
                        from >= 3 ? 10
                        : from    ? 9
                                  : 0);
        g_assert_cmpint(lookup_int(db, "SELECT count(*) FROM trash WHERE slot IS NULL AND"
                                       " snapshot_id IS NULL", ""), ==, from > 0 && from < 3);
        g_assert_true(schema_migrate(db, &error));       /* nothing to do */
        g_assert_true(schema_migrate_to(db, 1, &error)); /* never back */
        g_assert_cmpint(lookup_int(db, "PRAGMA user_version", ""), ==, schema_version());
        g_assert_cmpint(lookup_int(db, "SELECT count(*) FROM pragma_foreign_key_check", ""), ==, 0);
    }
}

static void test_newer(void)
{
    g_autofree char *uri = catalog_uri("newer.db");
    g_autoptr(GError) error = NULL;
    Db *db = db_open(uri, TRUE, &error);

    g_assert_true(schema_migrate(db, &error));
    g_autofree char *pragma = g_strdup_printf("PRAGMA user_version = %d", schema_version() + 1);
    g_assert_true(db_script(db, pragma, &error));
    db_close(db);
    g_assert_null(catalog_open(uri, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
    g_assert_nonnull(imaged_error_get_hint(error));
    g_clear_error(&error);

    g_autofree char *path = g_build_filename(catalog_folder, "noise.db", NULL);
    g_autofree char *noise = g_strnfill(8192, 'n'), *noise_uri = catalog_uri("noise.db");
    g_assert_true(g_file_set_contents(path, noise, -1, NULL));
    g_assert_null(catalog_open(noise_uri, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
    for (guint seed = 0; seed < 3; seed++) {
        g_autofree char *path = g_strdup_printf("/catalog/replay/%u", seed);
        g_test_add_data_func(path, GUINT_TO_POINTER(seed), test_replay);
    }
    g_test_add_func("/catalog/no-ghosts", test_no_ghosts);
    g_test_add_func("/catalog/bad-records", test_bad_records);
    g_test_add_func("/catalog/backup", test_backup);
    g_test_add_func("/catalog/migrations", test_migrations);
    g_test_add_func("/catalog/newer", test_newer);
    int ret = g_test_run();
    catalog_fixture_end();
    return ret;
}
