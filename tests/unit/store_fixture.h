/* store_fixture.h: a store in a folder of its own, for the unit tests of cow/store_dir*.c. */
#pragma once

#include "tests/unit/image_fixture.h"

#include <sys/stat.h>

#include "cow/store.h"
#include "imaged/base/ident.h"

#define BASE "0000000000000000000000000000000b" /* a slot */
#define ME "11111111111111111111111111111111"   /* the store's owner */

static char *self; /* this program */

static inline Store *try_open(const StoreOpenOptions *options, GError **error)
{
    g_autofree char *path = fixture_path("store");

    return store_dir_open(path, options, error);
}

static inline Store *open_store(void)
{
    StoreOpenOptions options = { .create = TRUE, .owner_id = ME };
    g_autoptr(GError) error = NULL;
    Store *store = try_open(&options, &error);

    g_assert_no_error(error);
    return store;
}

static inline void remove_store(void)
{
    g_free(run("rm -rf store elsewhere"));
}

static inline gboolean has_file(const char *place, const char *name)
{
    g_autofree char *path = g_build_filename(fixture_folder, "store", place, name, NULL);
    struct stat st;

    return lstat(path, &st) == 0;
}

static inline void write_in_store(const char *place, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture_folder, "store", place, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static inline void make_base(void)
{
    g_free(run("qemu-img create -q -f qcow2 store/layers/%s 64M", BASE));
}

/* Fill in n overlays on the base; the strings are borrowed from ids. */
static inline void make_overlays(StoreOverlay *overlays, Id *ids, guint n)
{
    for (guint i = 0; i < n; i++) {
        g_autofree char *number = g_strdup_printf("%u", i);
        ids[i] = id_derive("slot", number, "");
        overlays[i] = (StoreOverlay){ ids[i].s, BASE, "{}", 64 * MIB, 0, FALSE };
    }
}

/* For list(): user is two sums, of files and of their bytes on disk. */
static inline gboolean count_one(const char *name, const StoreStat *stat, gpointer user,
                                 GError **error)
{
    guint64 *sums = user;

    sums[0]++;
    sums[1] += stat->disk_bytes;
    return TRUE;
}

static inline guint64 count_slots(Store *store, StorePlace place)
{
    guint64 sums[2] = { 0 };

    g_assert_true(store->ops->list(store, place, count_one, sums, NULL));
    return sums[0];
}
