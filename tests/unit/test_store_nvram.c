/* test_store_nvram.c: what firmware keeps is never of another generation. */
#include "tests/unit/store_fixture.h"

#include "cow/store_nvram.h"

#define DESKTOP "22222222222222222222222222222222"

static char *template_path;

static void fill(Store *store, gint64 generation, const char *text)
{
    g_autofree char *name = g_strdup_printf("%s-%" G_GINT64_FORMAT ".nvram", DESKTOP, generation);
    g_autoptr(GError) error = NULL;

    store->ops->put_config(store, name, text, strlen(text), &error);
    g_assert_no_error(error);
}

/* What a start in this generation finds. */
static void check(Store *store, gint64 generation, gint64 layer_generation, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path =
        store_nvram_make(store, DESKTOP, generation, layer_generation, template_path, &error);
    g_autofree char *got = NULL;
    struct stat st;

    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(path, &got, NULL, NULL));
    g_assert_cmpstr(got, ==, text);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0660); /* as a layer that is written */
}

static void test_generations(void)
{
    g_autoptr(Store) store = open_store();

    check(store, 1, 1, "blank");
    fill(store, 1, "of one");
    check(store, 1, 1, "of one"); /* kept from start to start */
    check(store, 2, 2, "blank");  /* another disk */
    fill(store, 2, "of two");
    g_assert_true(store_nvram_is_there(store, DESKTOP, 1));
    check(store, 3, 1, "of one"); /* the first disk was brought back */
    g_assert_false(store_nvram_is_there(store, DESKTOP, 1));
    fill(store, 3, "of three");
    check(store, 3, 1, "of three");
    check(store, 4, 2, "of two");
    check(store, 5, 5, "blank");
    store_nvram_remove(store, DESKTOP, 5);
    store_nvram_remove(store, DESKTOP, 5);
    check(store, 5, 4, "of two");
    g_clear_pointer(&store, store_unref);
    remove_store();
}

static void test_copy(void)
{
    g_autoptr(Store) store = open_store();
    g_autoptr(GError) error = NULL;

    fill(store, 9, "left over");
    g_assert_true(store_nvram_copy(store, DESKTOP, 8, 8, store, 9, &error));
    g_assert_no_error(error);
    g_assert_false(store_nvram_is_there(store, DESKTOP, 9)); /* there is nothing to take along */
    fill(store, 8, "of eight");
    fill(store, 9, "left over");
    g_assert_true(store_nvram_copy(store, DESKTOP, 8, 8, store, 9, &error));
    check(store, 9, 9, "of eight");
    g_assert_true(store_nvram_copy(store, DESKTOP, 12, 9, store, 13, &error)); /* brought back */
    check(store, 13, 13, "of eight");
    g_clear_pointer(&store, store_unref);
    remove_store();
}

static void test_trouble(void)
{
    g_autoptr(Store) store = open_store();
    g_autoptr(GError) error = NULL;

    g_assert_null(store_nvram_make(store, DESKTOP, 1, 1, "/nonexistent", &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    /* What cannot be read is not replaced by a new one, nor by another's. */
    check(store, 1, 1, "blank");
    g_autofree char *path = fixture_path("store/config/" DESKTOP "-1.nvram");
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(symlink(template_path, path), ==, 0);
    g_assert_null(store_nvram_make(store, DESKTOP, 1, 1, template_path, &error));
    g_assert_nonnull(error);
    g_clear_pointer(&store, store_unref);
    remove_store();
}

static void test_names(void)
{
    static const struct {
        const char *end;
        gboolean is_ours;
        StoreConfigKind kind;
    } cases[] = { { "-7.iso", TRUE, CONFIG_DISK },
                  { "-7.mem", TRUE, CONFIG_MEMORY },
                  { "-7.nvram", TRUE, CONFIG_NVRAM },
                  { "-7.nvram2", FALSE, 0 },
                  { "-.nvram", FALSE, 0 },
                  { "-7nvram", FALSE, 0 },
                  { "-7.nvram/../x", FALSE, 0 } };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strconcat(DESKTOP, cases[i].end, NULL);
        StoreConfigKind kind = 0;
        gint64 generation = 0;
        char id[ID_LEN + 1];
        g_assert_cmpint(store_config_name_parse(name, id, &generation, &kind), ==,
                        cases[i].is_ours);
        g_assert_true(!cases[i].is_ours || (kind == cases[i].kind && generation == 7));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    umask(0007); /* as the daemon's */
    fixture_start();
    (void)self; /* nothing here stops on the way */
    template_path = fixture_path("template.fd");
    g_assert_true(g_file_set_contents(template_path, "blank", -1, NULL));
    g_test_add_func("/store-nvram/generations", test_generations);
    g_test_add_func("/store-nvram/copy", test_copy);
    g_test_add_func("/store-nvram/trouble", test_trouble);
    g_test_add_func("/store-nvram/names", test_names);
    int ret = g_test_run();
    fixture_end();
    g_free(template_path);
    return ret;
}
