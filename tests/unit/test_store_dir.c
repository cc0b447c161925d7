/* test_store_dir.c: a store in a folder: whose it is, whether it is there, and what lies in it
 * beside the slots. */
#include "tests/unit/store_fixture.h"

#include "imaged/base/durable.h"

#define OTHER "22222222222222222222222222222222"

/* ---- Whose is it ---- */

static void refuse(StoreOpenOptions options, int code)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(try_open(&options, &error));
    g_assert_error(error, IMAGED_ERROR, code);
}

static void test_owners(void)
{
    const StoreOpenOptions mine = { .owner_id = ME }, make = { .create = TRUE, .owner_id = ME };
    g_autoptr(GError) error = NULL;

    remove_store();
    refuse(mine, IMAGED_ERROR_UNAVAILABLE); /* no folder */
    g_free(run("mkdir store"));
    refuse(mine, IMAGED_ERROR_UNAVAILABLE); /* an empty mount point */
    write_in_store("", "holiday.jpg", "x");
    refuse(make, IMAGED_ERROR_UNAVAILABLE); /* somebody's folder */
    g_free(run("rm store/holiday.jpg"));
    g_free(run("mkdir store/layers"));
    write_in_store("layers", "anything", "x");
    refuse(make, IMAGED_ERROR_UNAVAILABLE); /* a store that lost its marker */
    remove_store();

    Store *store = open_store();
    g_autofree char *id = g_strdup(store->id);
    g_assert_true(id_is_valid(id));
    g_assert_cmpstr(store->owner_id, ==, ME);
    g_assert_true(store->features.has_locks);
    refuse(mine, IMAGED_ERROR_UNAVAILABLE); /* open already */
    store_unref(store_ref(store));
    g_assert_true(store->ops->check_online(store, &error));
    store_unref(store);

    refuse((StoreOpenOptions){ .owner_id = ME, .expect_id = OTHER }, IMAGED_ERROR_UNAVAILABLE);
    refuse((StoreOpenOptions){ .owner_id = OTHER }, IMAGED_ERROR_UNAVAILABLE);
    StoreOpenOptions good[] = { { .owner_id = ME, .expect_id = id },
                                { .create = TRUE, .owner_id = ME },
                                { .owner_id = NULL },
                                { .owner_id = OTHER, .force = TRUE },
                                { .owner_id = OTHER } };
    for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
        store = try_open(&good[i], &error);
        g_assert_no_error(error);
        g_assert_cmpstr(store->id, ==, id);
        g_assert_cmpstr(store->owner_id, ==, i < 3 ? ME : OTHER);
        store_unref(store);
    }
    g_assert_null(store_dir_open("some/where", &make, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
}

static void test_markers(void)
{
    static const char *const bad[] = {
        "",
        "{}",
        "null",
        "[1]",
        "not json",
        "{\"format\":1}",
        "{\"format\":2,\"id\":\"" ME "\",\"owner\":\"" ME "\",\"layer_format\":\"extended\","
        "\"features\":{\"locks\":true,\"reflink\":false,\"direct_io\":true,\"rename\":true}}",
        "{\"format\":1,\"id\":\"../etc\",\"owner\":\"" ME "\",\"layer_format\":\"extended\","
        "\"features\":{\"locks\":true,\"reflink\":false,\"direct_io\":true,\"rename\":true}}",
        "{\"format\":1,\"id\":\"" ME "\",\"owner\":\"" ME "\",\"layer_format\":\"huge\","
        "\"features\":{\"locks\":true,\"reflink\":false,\"direct_io\":true,\"rename\":true}}",
    };

    remove_store();
    store_unref(open_store());
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        write_in_store("", "imaged-store.json", bad[i]);
        refuse((StoreOpenOptions){ .create = TRUE, .owner_id = ME }, IMAGED_ERROR_UNAVAILABLE);
    }
    g_autofree char *big = g_strnfill(5000, ' ');
    write_in_store("", "imaged-store.json", big);
    refuse((StoreOpenOptions){ .create = TRUE, .owner_id = ME }, IMAGED_ERROR_UNAVAILABLE);
}

/* Stopped or failing at every change, making a store can be begun again. */
static void test_made_again(gconstpointer how)
{
    for (guint n = 1; n < 100; n++) {
        g_autofree char *path = fixture_path("store");
        g_autofree char *fault = g_strdup_printf("%s:%u", (const char *)how, n);
        const char *argv[] = { self, "--make", path, NULL };
        g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "IMAGED_FAULT", fault, TRUE);
        g_autofree char *out = NULL;

        remove_store();
        g_spawn_sync(NULL, (char **)argv, env, 0, NULL, NULL, &out, NULL, NULL, NULL);
        store_unref(open_store());
        if (*out && (guint64)atoi(out) < n)
            return; /* the fault came too late to matter */
    }
    g_test_fail_printf("the child never ended");
}

static int make_store(const char *path)
{
    StoreOpenOptions options = { .create = TRUE, .owner_id = ME };

    store_unref(store_dir_open(path, &options, NULL));
    g_print("%d", (int)durable_n_changes());
    return 0;
}

/* ---- Is it there ---- */

static void check_online(Store *store, gboolean is_online)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(store->ops->check_online(store, &error) == is_online);
    if (!is_online)
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
}

static void test_online(void)
{
    remove_store();
    g_autoptr(Store) store = open_store();

    check_online(store, TRUE);
    g_free(run("mv store elsewhere"));
    check_online(store, FALSE);
    g_free(run("cp -r elsewhere store"));
    check_online(store, FALSE); /* a copy is another folder */
    g_free(run("rm -r store"));
    g_free(run("mv elsewhere store"));
    check_online(store, TRUE);
    g_free(run("mv store/imaged-store.json elsewhere"));
    check_online(store, FALSE);
    g_free(run("cp elsewhere store/imaged-store.json"));
    check_online(store, FALSE);
    g_free(run("mv elsewhere store/imaged-store.json"));
    check_online(store, TRUE);
}

/* ---- Its files ---- */

static gboolean note_foreign(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    g_string_append_printf(user, "%s ", name);
    return TRUE;
}

static void test_files(void)
{
    g_autoptr(GString) foreign = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    guint64 bytes, sums[2] = { 0 };
    StoreOverlay overlays[3];
    guint n_files;
    Id ids[3];

    remove_store();
    g_autoptr(Store) store = open_store();
    make_base();
    make_overlays(overlays, ids, 3);
    g_assert_true(store->ops->create_overlays(store, overlays, 3, &error));
    auto_fd fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (guint round = 0; round < 2; round++) {
        store->ops->put_file(store, "catalog.backup", fd, &error);
        g_assert_no_error(error);
    }
    g_free(run("cmp %s store/catalog.backup", self));
    g_free(run("cp %s store/stranger", self));
    g_assert_true(
        store->ops->metadata_bytes(store, &bytes, &n_files, note_foreign, foreign, &error));
    g_assert_cmpstr(foreign->str, ==, "stranger ");
    for (int place = 0; place < STORE_N_PLACES; place++)
        g_assert_true(store->ops->list(store, place, count_one, sums, &error));
    g_assert_cmpuint(sums[0], ==, 4);
    g_autofree char *du = run("du -s -B1 store");
    g_assert_cmpuint(bytes + sums[1], ==, g_ascii_strtoull(du, NULL, 10));
    StoreSpace space;
    g_assert_true(store->ops->space(store, &space, &error));
    g_assert_cmpuint(space.free_bytes, <=, space.total_bytes);
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], "--make"))
        return make_store(argv[2]);
    g_test_init(&argc, &argv, NULL);
    self = g_file_read_link("/proc/self/exe", NULL);
    fixture_start();
    g_test_add_func("/store-dir/owners", test_owners);
    g_test_add_func("/store-dir/markers", test_markers);
    g_test_add_data_func("/store-dir/made-again/kill", "kill", test_made_again);
    g_test_add_data_func("/store-dir/made-again/eio", "eio", test_made_again);
    g_test_add_func("/store-dir/online", test_online);
    g_test_add_func("/store-dir/files", test_files);
    int ret = g_test_run();
    remove_store();
    fixture_end();
    g_free(self);
    return ret;
}
