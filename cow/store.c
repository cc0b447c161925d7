/* store.c: what all kinds of stores have in common. */
#include "cow/store.h"

#include "cow/blank.h"
#include "imaged/base/error.h"

static const char *const place_names[STORE_N_PLACES] = { "layers", "trash", "tmp", "quarantine" };
static const char *const format_names[] = { "extended", "compatible" };

const char *store_place_name(StorePlace place)
{
    return place_names[place];
}

const char *store_layer_format_name(StoreLayerFormat format)
{
    return format_names[format];
}

gboolean store_layer_format_parse(const char *text, StoreLayerFormat *ret_format, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(format_names); i++) {
        if (g_str_equal(text, format_names[i])) {
            *ret_format = i;
            return TRUE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%.40s' is not a layer format", text);
    imaged_error_hint(error, "extended (subclusters, needs QEMU 5.2) or compatible");
    return FALSE;
}

void store_geometry(const Store *store, guint32 *ret_cluster_bits, gboolean *ret_has_subclusters)
{
    gboolean extended = store->layer_format == STORE_EXTENDED;

    *ret_cluster_bits = extended ? BLANK_DEFAULT_CLUSTER_BITS : BLANK_COMPATIBLE_CLUSTER_BITS;
    *ret_has_subclusters = extended;
}

Store *store_ref(Store *store)
{
    g_atomic_int_inc(&store->refs);
    return store;
}

void store_unref(Store *store)
{
    if (store && g_atomic_int_dec_and_test(&store->refs))
        store->ops->free(store);
}

/* TRUE (and *error cleared) if it was not in layers/, so that trash/ is worth a look. */
static gboolean look_in_trash(gboolean found, GError **error, GError **local)
{
    if (found || g_error_matches(*local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_clear_error(local);
        return !found;
    }
    g_propagate_error(error, g_steal_pointer(local));
    return FALSE;
}

Layer *store_open_layer(Store *store, const char *slot, gboolean *ret_is_live, GError **error)
{
    g_autoptr(GError) local = NULL;
    int fd = store->ops->open(store, STORE_LAYERS, slot, ret_is_live, &local);

    if (look_in_trash(fd >= 0, error, &local))
        fd = store->ops->open(store, STORE_TRASH, slot, ret_is_live, error);
    return fd < 0 ? NULL : layer_open_fd(fd, slot, error);
}

gboolean store_stat_layer(Store *store, const char *slot, StoreStat *ret_stat, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean ok = store->ops->stat(store, STORE_LAYERS, slot, ret_stat, &local);

    return look_in_trash(ok, error, &local)
               ? store->ops->stat(store, STORE_TRASH, slot, ret_stat, error)
               : ok;
}

gboolean store_lock_layer(Store *store, const char *slot, ImageLock *ret_lock, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean ok = store->ops->lock(store, STORE_LAYERS, slot, ret_lock, &local);

    return look_in_trash(ok, error, &local)
               ? store->ops->lock(store, STORE_TRASH, slot, ret_lock, error)
               : ok;
}

gboolean store_hold_layer(Store *store, const char *slot, ImageLock *ret_lock, StoreStat *ret_stat,
                          gboolean *ret_is_there, GError **error)
{
    GError *local = NULL;

    *ret_is_there = store_stat_layer(store, slot, ret_stat, &local);
    if (*ret_is_there)
        return store_lock_layer(store, slot, ret_lock, error);
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_error_free(local);
    return TRUE;
}
