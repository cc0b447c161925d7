/* test_store_dir.c: a store in a folder: whose it is, whether it is there, and its slots. */
#include "tests/unit/image_fixture.h"

#include <sys/stat.h>

#include "cow/identity.h"
#include "cow/store.h"
#include "imaged/base/durable.h"
#include "imaged/base/ident.h"

#define ME "11111111111111111111111111111111"
#define OTHER "22222222222222222222222222222222"
#define BASE "0000000000000000000000000000000b"

static char *self;

static Store *try_open(const StoreOpenOptions *options, GError **error)
{
    g_autofree char *path = fixture_path("store");

    return store_dir_open(path, options, error);
}

static Store *open_store(void)
{
    StoreOpenOptions options = { .create = TRUE, .owner_id = ME };
    g_autoptr(GError) error = NULL;
    Store *store = try_open(&options, &error);

    g_assert_no_error(error);
    return store;
}

static void remove_store(void)
{
    g_free(run("rm -rf store elsewhere"));
}

static gboolean has_file(const char *place, const char *name)
{
    g_autofree char *path = g_build_filename(fixture_folder, "store", place, name, NULL);
    struct stat st;

    return lstat(path, &st) == 0;
}

static void write_in_store(const char *place, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture_folder, "store", place, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

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

/* ---- Slots ---- */

static void make_base(void)
{
    g_free(run("qemu-img create -q -f qcow2 store/layers/%s 64M", BASE));
}

/* Fill in n overlays on the base; the strings are borrowed from ids. */
static void make_overlays(StoreOverlay *overlays, Id *ids, guint n)
{
    for (guint i = 0; i < n; i++) {
        g_autofree char *number = g_strdup_printf("%u", i);
        ids[i] = id_derive("slot", number, "");
        overlays[i] = (StoreOverlay){ ids[i].s, BASE, "{}", 64 * MIB, 0, FALSE };
    }
}

static gboolean count_one(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    guint64 *sums = user;

    sums[0]++;
    sums[1] += stat->disk_bytes;
    return TRUE;
}

static guint64 count_slots(Store *store, StorePlace place)
{
    guint64 sums[2] = { 0 };

    g_assert_true(store->ops->list(store, place, count_one, sums, NULL));
    return sums[0];
}

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
    if (argc == 3 && g_str_equal(argv[1], "--batch"))
        return make_batch(argv[2], 3);
    g_test_init(&argc, &argv, NULL);
    self = g_file_read_link("/proc/self/exe", NULL);
    fixture_start();
    g_test_add_func("/store-dir/owners", test_owners);
    g_test_add_func("/store-dir/markers", test_markers);
    g_test_add_data_func("/store-dir/made-again/kill", "kill", test_made_again);
    g_test_add_data_func("/store-dir/made-again/eio", "eio", test_made_again);
    g_test_add_func("/store-dir/online", test_online);
    g_test_add_func("/store-dir/overlays", test_overlays);
    g_test_add_data_func("/store-dir/batch/kill", "kill", test_batch_faults);
    g_test_add_data_func("/store-dir/batch/eio", "eio", test_batch_faults);
    g_test_add_func("/store-dir/places", test_places);
    g_test_add_func("/store-dir/reclaim", test_reclaim);
    g_test_add_func("/store-dir/files", test_files);
    int ret = g_test_run();
    remove_store();
    fixture_end();
    g_free(self);
    return ret;
}
