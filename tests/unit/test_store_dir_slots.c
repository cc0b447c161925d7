/* test_store_dir_slots.c: the slots of a store in a folder: made, moved, reclaimed. */
#include "tests/unit/store_fixture.h"

#include "imaged/base/durable.h"

#define N 20

static void test_overlays(void)
{
    StoreOverlay overlays[N];
    Id ids[N];
    g_autoptr(GError) error = NULL;

    remove_store();
    g_autoptr(Store) store = open_store();
    make_base();
    make_overlays(overlays, ids, N);
    overlays[1].cluster_bits = 16;
    overlays[2].cluster_bits = 16;
    overlays[2].has_subclusters = TRUE;
    for (guint n = 4; n <= N; n += 4) { /* what is there already is left as it is */
        store->ops->create_overlays(store, overlays, n, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(count_slots(store, STORE_LAYERS), ==, n + 1);
        g_assert_cmpuint(count_slots(store, STORE_TMP), ==, 0);
    }
    for (guint i = 0; i < N; i += 7)
        g_free(run("qemu-img check -q store/layers/%s", ids[i].s));
    g_autofree char *info = run("qemu-img info store/layers/%s", ids[1].s);
    g_assert_nonnull(strstr(info, "backing file: ../layers/" BASE));
    g_assert_nonnull(strstr(info, "cluster_size: 65536"));
    g_autofree char *path = store->ops->path(store, ids[0].s, &error);
    g_assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
    g_autoptr(Layer) layer = store_open_layer(store, ids[0].s, NULL, &error);
    g_assert_cmpuint(layer_virtual_size(layer), ==, 64 * MIB);

    /* a base: it stands on nothing */
    StoreOverlay blank = { overlays[3].slot, NULL, overlays[3].identity, 3 * GIB, 0, FALSE };
    store->ops->discard(store, STORE_LAYERS, &blank.slot, 1, NULL);
    g_assert_true(store->ops->create_overlays(store, &blank, 1, &error));
    g_autofree char *bare = run("qemu-img info store/layers/%s", blank.slot);
    g_assert_null(strstr(bare, "backing file"));
    g_assert_nonnull(strstr(bare, "virtual size: 3 GiB"));
    g_free(run("qemu-img check -q store/layers/%s", blank.slot));

    /* all or none: one that cannot be made takes the others with it */
    make_overlays(overlays, ids, N);
    store->ops->discard(store, STORE_LAYERS, (const char *[]){ ids[0].s, ids[1].s, "none" }, 3,
                        &error);
    g_assert_no_error(error);
    overlays[1].cluster_bits = 5;
    g_assert_false(store->ops->create_overlays(store, overlays, 2, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    g_assert_cmpuint(count_slots(store, STORE_LAYERS), ==, N - 1);
    g_assert_cmpuint(count_slots(store, STORE_TMP), ==, 0);
}

/* In the child: make overlays; then print how that went. */
static int make_batch(const char *path, guint n)
{
    StoreOpenOptions options = { .owner_id = ME };
    g_autofree StoreOverlay *overlays = g_new(StoreOverlay, n);
    g_autofree Id *ids = g_new(Id, n);
    g_autoptr(Store) store = store_dir_open(path, &options, NULL);

    if (!store)
        return 1;
    make_overlays(overlays, ids, n);
    gboolean ok = store->ops->create_overlays(store, overlays, n, NULL);
    g_print("%s %d", ok ? "ok" : "no", (int)durable_n_changes());
    return ok && count_slots(store, STORE_TMP) == 0 ? 0 : 1;
}

static void test_batch_faults(gconstpointer how)
{
    gboolean is_kill = g_str_equal(how, "kill");
    StoreOverlay overlays[3];
    Id ids[3];

    remove_store();
    g_autofree char *path = fixture_path("store");
    for (guint n = 1; n < 100; n++) {
        g_autofree char *fault = g_strdup_printf("%s:%u", (const char *)how, n), *out = NULL;
        const char *argv[] = { self, "--batch", path, NULL };
        g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "IMAGED_FAULT", fault, TRUE);
        Store *store = open_store();
        make_base();
        store_unref(store);
        g_spawn_sync(NULL, (char **)argv, env, 0, NULL, NULL, &out, NULL, NULL, NULL);
        gboolean ok = g_str_has_prefix(out, "ok");
        store = open_store();
        if (!is_kill && *out)
            g_assert_cmpuint(count_slots(store, STORE_LAYERS), ==, ok ? 4 : 1);
        g_assert_cmpuint(count_slots(store, STORE_TMP), ==, 0);
        make_overlays(overlays, ids, 3);
        g_assert_true(store->ops->create_overlays(store, overlays, 3, NULL));
        g_assert_cmpuint(count_slots(store, STORE_LAYERS), ==, 4);
        for (guint i = 0; i < 3; i++) {
            g_autoptr(Layer) layer = store_open_layer(store, ids[i].s, NULL, NULL);
            g_assert_nonnull(layer);
            store->ops->discard(store, STORE_LAYERS, &overlays[i].slot, 1, NULL);
        }
        store_unref(store);
        if (ok && (guint)atoi(out + 3) < n)
            return;
    }
    g_test_fail_printf("the child never ended");
}

static void test_places(void)
{
    g_autoptr(GError) error = NULL;
    GError *errors[3] = { NULL };
    StoreOverlay overlays[2];
    StoreStat stat;
    Id ids[2];

    remove_store();
    g_autoptr(Store) store = open_store();
    make_base();
    make_overlays(overlays, ids, 2);
    g_assert_true(store->ops->create_overlays(store, overlays, 2, &error));
    const char *slots[] = { ids[0].s, "missing", ids[1].s };
    for (guint round = 0; round < 2; round++) { /* the second time they are there already */
        g_assert_true(
            store->ops->move(store, slots, 3, STORE_LAYERS, STORE_TRASH, TRUE, errors, &error));
        g_assert_no_error(errors[0]);
        g_assert_error(errors[1], IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
        g_clear_error(&errors[1]);
        g_assert_no_error(errors[2]);
    }
    g_assert_cmpuint(count_slots(store, STORE_TRASH), ==, 2);
    g_assert_false(store->ops->stat(store, STORE_LAYERS, ids[0].s, &stat, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(store_stat_layer(store, ids[0].s, &stat, &error)); /* found in the trash */
    g_autoptr(Layer) layer = store_open_layer(store, ids[0].s, NULL, &error);
    g_assert_nonnull(layer);

    g_auto(ImageLock) one = IMAGE_LOCK_INIT, two = IMAGE_LOCK_INIT;
    g_assert_true(store_lock_layer(store, ids[0].s, &one, &error));
    g_assert_false(store->ops->lock(store, STORE_TRASH, ids[0].s, &two, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_false(store_lock_layer(store, "missing", &two, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    g_clear_error(&error);
    image_lock_release(&one);
    g_assert_true(store_lock_layer(store, ids[0].s, &two, &error));

    auto_fd fd = store->ops->create_tmp(store, "fresh", &error);
    g_assert_cmpint(fd, >=, 0);
    auto_fd newer = store->ops->create_tmp(store, "fresh", &error);
    g_assert_cmpint(newer, >=, 0);
    for (guint round = 0; round < 2; round++) {
        store->ops->publish_tmp(store, "fresh", TRUE, &error);
        g_assert_no_error(error);
    }
    g_autofree char *path = store->ops->path(store, "fresh", NULL);
    struct stat st;
    g_assert_cmpint(lstat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0440);
    g_assert_false(store->ops->publish_tmp(store, "never", TRUE, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

static void test_reclaim(void)
{
    g_autoptr(GError) error = NULL;
    guint64 freed, sum = 0;
    gboolean gone = FALSE;
    guint n = 0;

    remove_store();
    g_autoptr(Store) store = open_store();
    write_in_store("trash", "big", "x");
    g_autofree char *path = g_build_filename(fixture_folder, "store/trash/big", NULL);
    auto_fd fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(posix_fallocate(fd, 0, 300 * MIB), ==, 0);
    g_assert_cmpint(ftruncate(fd, 10 * GIB), ==, 0); /* most of it is a hole */
    g_assert_cmpint(fchmod(fd, 0440), ==, 0);
    while (!gone && n++ < 50) {
        store->ops->reclaim_step(store, STORE_TRASH, "big", &freed, &gone, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(freed, <=, 300 * MIB);
        sum += freed;
    }
    g_assert_true(gone);
    g_assert_cmpuint(n, >=, 2);
    g_assert_cmpuint(sum, >=, 300 * MIB);
    g_assert_cmpuint(sum, <=, 301 * MIB);
    g_assert_false(has_file("trash", "big"));
    store->ops->reclaim_step(store, STORE_TRASH, "big", &freed, &gone, &error);
    g_assert_no_error(error);
    g_assert_true(gone);
    g_assert_cmpuint(freed, ==, 0);
}

static gboolean fail_stat(Store *store, StorePlace place, const char *slot, StoreStat *ret_stat,
                          GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the disk has gone mad");
    return FALSE;
}

/* Only a file that is not there is gone; what can't be looked at may be open in QEMU. */
static void test_hold(void)
{
    g_autoptr(GError) error = NULL;
    StoreOverlay overlay[1];
    Id id[1];
    gboolean is_there = TRUE;
    StoreStat stat;

    remove_store();
    g_autoptr(Store) store = open_store();
    g_auto(ImageLock) one = IMAGE_LOCK_INIT, two = IMAGE_LOCK_INIT;
    make_base();
    make_overlays(overlay, id, 1);
    g_assert_true(store->ops->create_overlays(store, overlay, 1, &error));
    g_assert_true(store_hold_layer(store, "missing", &one, &stat, &is_there, &error));
    g_assert_false(is_there);
    g_assert_true(store_hold_layer(store, id[0].s, &one, &stat, &is_there, &error));
    g_assert_true(is_there);
    g_assert_cmpuint(stat.disk_bytes, >, 0);
    g_assert_false(store_hold_layer(store, id[0].s, &two, &stat, &is_there, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_clear_error(&error);

    const StoreOps *ops = store->ops;
    StoreOps sick = *ops;
    sick.stat = fail_stat;
    store->ops = &sick;
    g_assert_false(store_hold_layer(store, id[0].s, &two, &stat, &is_there, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
    store->ops = ops;
}

int main(int argc, char **argv)
{
    if (argc == 3 && g_str_equal(argv[1], "--batch"))
        return make_batch(argv[2], 3);
    g_test_init(&argc, &argv, NULL);
    self = g_file_read_link("/proc/self/exe", NULL);
    fixture_start();
    g_test_add_func("/store-dir-slots/overlays", test_overlays);
    g_test_add_data_func("/store-dir-slots/batch/kill", "kill", test_batch_faults);
    g_test_add_data_func("/store-dir-slots/batch/eio", "eio", test_batch_faults);
    g_test_add_func("/store-dir-slots/places", test_places);
    g_test_add_func("/store-dir-slots/hold", test_hold);
    g_test_add_func("/store-dir-slots/reclaim", test_reclaim);
    int ret = g_test_run();
    remove_store();
    fixture_end();
    g_free(self);
    return ret;
}
