/* test_merge_runs.c: which layers of a desktop may be merged, on drawn trees.
 *
 * A tree is a string of layers "NAME<PARENT[flags]": t a template's, * the active one, s a snapshot
 * on it, x a snapshot in the trash, d in the trash itself.  D: of the data disk, where snapshots
 * name it as the second of their layers. */
#include "tests/unit/catalog_fixture.h"
#include "snapshot/merge_runs.h"

static void put_layer(Changes *changes, char name, char parent, const char *flags)
{
    char id[2] = { name, 0 }, below[2] = { parent, 0 };
    gboolean is_template = strchr(flags, 't') != NULL;
    LayerRow row = { .id = id,
                     .slot = id,
                     .store_id = (char *)fake_store[0],
                     .parent_id = parent == '-' ? NULL : below,
                     .owner_kind = is_template          ? "template"
                                   : strchr(flags, 'D') ? "data"
                                                        : "desktop",
                     .owner_id = is_template ? "v" : "d",
                     .state = strchr(flags, 'd')   ? "trashed"
                              : strchr(flags, '*') ? "active"
                                                   : "frozen",
                     .place = "layers",
                     .virtual_size = 512 };

    changes_put(changes, ROW_LAYER, &row, row.store_id);
    for (const char *p = flags; *p; p++) {
        if (*p != 's' && *p != 'x')
            continue;
        g_autofree char *snapshot_id = g_strdup_printf("%c%c", *p, name);
        SnapshotRow snapshot = { .id = snapshot_id,
                                 .desktop_id = "d",
                                 .name = snapshot_id,
                                 .description = "",
                                 .layer_id = strchr(flags, 'D') ? "elsewhere" : id,
                                 .data_layer_id = strchr(flags, 'D') ? id : NULL,
                                 .store_id = (char *)fake_store[0],
                                 .version_id = "v",
                                 .is_trashed = *p == 'x' };
        changes_put(changes, ROW_SNAPSHOT, &snapshot, fake_store[0]);
    }
}

static Catalog *draw(const char *name, const char *tree, DesktopRow *ret)
{
    Catalog *catalog = catalog_open_named(name);
    Changes *changes = changes_new();
    g_auto(GStrv) words = g_strsplit(tree, " ", -1);
    char active[2] = { 0 }, data[2] = { 0 };
    TemplateRow template = { .id = "t", .name = "t" };
    VersionRow version = { .id = "v",
                           .template_id = "t",
                           .version = 1,
                           .state = "published",
                           .layer_id = "t",
                           .os = "",
                           .description = "",
                           .source = "",
                           .notes = "" };

    changes_put(changes, ROW_TEMPLATE, &template, fake_store[0]);
    changes_put(changes, ROW_VERSION, &version, fake_store[0]);
    for (guint i = 0; words[i]; i++) {
        put_layer(changes, words[i][0], words[i][2], words[i] + 3);
        if (strchr(words[i] + 3, '*'))
            (strchr(words[i], 'D') ? data : active)[0] = words[i][0];
    }
    DesktopRow row = { .id = "d",
                       .name = "d",
                       .version_id = "v",
                       .owner = "",
                       .layer_id = active,
                       .store_id = (char *)fake_store[0],
                       .mac = "",
                       .uuid = "",
                       .state = "ok",
                       .data_layer_id = *data ? data : NULL };
    changes_put(changes, ROW_DESKTOP, &row, fake_store[0]);
    commit(catalog, changes);
    Db *db = catalog_read_begin(catalog);
    g_assert_true(lookup_desktop(db, "d", ret, NULL));
    catalog_read_end(catalog, db);
    return catalog;
}

static char *runs_text(Catalog *catalog, const DesktopRow *desktop, const char *layer_id)
{
    GString *out = g_string_new(NULL);
    Db *db = catalog_read_begin(catalog);
    g_autoptr(GArray) runs = runs_of_disk(db, desktop, layer_id, NULL);

    catalog_read_end(catalog, db);
    g_assert_nonnull(runs);
    for (guint i = 0; i < runs->len; i++) {
        const Run *run = &g_array_index(runs, Run, i);
        g_string_append_printf(out, "%s%s..%s/%s=%u%s", i ? " " : "", run->bottom, run->top,
                               run->frozen_top ? run->frozen_top : "-", run->n,
                               run->is_active ? "*" : "");
    }
    return g_string_free(out, FALSE);
}

static void test_runs(void)
{
    static const struct {
        const char *tree, *runs;
    } cases[] = {
        { "T<-t a<T*", "a..a/-=1*" },
        { "T<-t a<Ts b<a*", "a..a/a=1 b..b/-=1*" },
        { "T<-t a<T b<a c<b d<c*", "a..d/c=4*" }, /* archives leave such */
        { "T<-t a<T b<as c<b d<cs e<d*", "a..b/b=2 c..d/d=2 e..e/-=1*" },
        { "T<-t a<Tx b<a*", "a..b/a=2*" },                  /* a deleted snapshot's layer */
        { "T<-t a<T b<a* c<ad", "a..b/a=2*" },              /* a former disk stands on it */
        { "T<-t a<T b<a* c<as", "a..a/a=1 b..b/-=1*" },     /* a branch with a snapshot */
        { "T<-t a<T b<a* c<ax", "a..b/a=2*" },              /* with a deleted one */
        { "T<-t a<T b<a* c<a e<cs", "a..a/a=1 b..b/-=1*" }, /* further up on the branch */
        { "a<- b<a*", "a..b/a=2*" },                        /* flat: no template below */
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("runs-%u.db", i);
        g_auto(DesktopRow) desktop = { 0 };
        Catalog *catalog = draw(name, cases[i].tree, &desktop);
        g_autofree char *text = runs_text(catalog, &desktop, desktop.layer_id);
        g_assert_cmpstr(text, ==, cases[i].runs);
        catalog_close(catalog);
    }
}

/* The data disk's runs: by the same rules, apart from the disk's. */
static void test_data_runs(void)
{
    static const struct {
        const char *tree, *runs;
    } cases[] = {
        { "T<-t a<T* p<-D*", "p..p/-=1*" },
        { "T<-t a<T b<a* p<-D q<pD*", "p..q/p=2*" },
        { "T<-t a<Ts b<a* p<-Ds q<pD*", "p..p/p=1 q..q/-=1*" },
        { "T<-t a<T* p<-Dx q<pD*", "p..q/p=2*" },
        { "T<-t a<T* p<-D q<pD* r<pDd", "p..q/p=2*" },
        { "T<-t a<T* p<-D q<pD* r<pDs", "p..p/p=1 q..q/-=1*" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("data-runs-%u.db", i);
        g_auto(DesktopRow) desktop = { 0 };
        Catalog *catalog = draw(name, cases[i].tree, &desktop);
        g_autofree char *text = runs_text(catalog, &desktop, desktop.data_layer_id);
        g_assert_cmpstr(text, ==, cases[i].runs);
        catalog_close(catalog);
    }
}

static char *child_of(Catalog *catalog, const char *except, const char *layer, guint *ret_n)
{
    Db *db = catalog_read_begin(catalog);
    g_autoptr(GHashTable) live = runs_live_layers(db, "d", except);
    char *child = runs_live_child(db, live, layer, ret_n);

    catalog_read_end(catalog, db);
    return child;
}

/* What a snapshot is merged into when it goes. */
static void test_live(void)
{
    g_auto(DesktopRow) desktop = { 0 };
    Catalog *catalog = draw("live.db", "T<-t a<Ts b<as c<b* e<as f<ad g<ex", &desktop);
    guint n;
    g_autofree char *two = child_of(catalog, NULL, "a", &n);

    g_assert_null(two);
    g_assert_cmpuint(n, ==, 2); /* b and e; f is in the trash */
    g_autofree char *one = child_of(catalog, "se", "a", &n);
    g_assert_cmpstr(one, ==, "b");
    g_autofree char *tip = child_of(catalog, NULL, "e", &n);
    g_assert_null(tip);
    g_assert_cmpuint(n, ==, 0); /* g is kept by a deleted snapshot alone */
    g_autofree char *active = child_of(catalog, "sb", "b", &n);
    g_assert_cmpstr(active, ==, "c");
    catalog_close(catalog);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    catalog_fixture_start();
    g_test_add_func("/merge-runs/runs", test_runs);
    g_test_add_func("/merge-runs/data-runs", test_data_runs);
    g_test_add_func("/merge-runs/live", test_live);
    int ret = g_test_run();
    catalog_fixture_end();
    return ret;
}
