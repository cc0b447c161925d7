/* store_nvram.c: see store_nvram.h.  A file is only ever made for the generation that the desktop
 * has, so that a later one never finds another's under its number; and it is renamed, not linked,
 * so that there is one owner at any time. */
#include "cow/store_nvram.h"

#include <fcntl.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

static char *name_of(const char *desktop_id, gint64 generation)
{
    return g_strdup_printf("%s-%" G_GINT64_FORMAT ".nvram", desktop_id, generation);
}

/* NULL without an error if there is none. */
static char *read_one(Store *store, const char *name, gsize *ret_len, GError **error)
{
    g_autoptr(GError) local = NULL;
    char *data = NULL;

    if (store->ops->get_config(store, name, &data, ret_len, &local))
        return data;
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

gboolean store_nvram_is_there(Store *store, const char *desktop_id, gint64 generation)
{
    g_autofree char *name = name_of(desktop_id, generation);
    gsize len;
    g_autofree char *data = read_one(store, name, &len, NULL);

    return data != NULL;
}

static gboolean put_new(Store *store, const char *name, const char *template_path, GError **error)
{
    g_autofree char *data = NULL;
    gsize len;

    if (!durable_read(AT_FDCWD, template_path, STORE_CONFIG_MAX, &data, &len, NULL) || !len) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "there is nothing to begin its UEFI variables with: no '%s' here",
                    template_path);
        imaged_error_hint(error, "install the package ovmf where imaged runs");
        return FALSE;
    }
    return store->ops->put_config(store, name, data, len, error);
}

char *store_nvram_make(Store *store, const char *desktop_id, gint64 generation,
                       gint64 layer_generation, const char *template_path, GError **error)
{
    g_autofree char *name = name_of(desktop_id, generation);
    g_autofree char *former = name_of(desktop_id, layer_generation);
    g_autoptr(GError) local = NULL;
    gsize len;
    g_autofree char *there = read_one(store, name, &len, &local);
    gboolean ok = there != NULL;

    if (!ok && !local && layer_generation < generation)
        ok = store->ops->rename_config(store, former, name, &local);
    if (local && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL; /* not a new one over what cannot be read just now */
    }
    if (!ok && !put_new(store, name, template_path, error))
        return NULL;
    return store->ops->config_path(store, name, error);
}

gboolean store_nvram_copy(Store *from, const char *desktop_id, gint64 generation,
                          gint64 layer_generation, Store *to, gint64 to_generation, GError **error)
{
    g_autofree char *name = name_of(desktop_id, generation);
    g_autofree char *former = name_of(desktop_id, layer_generation);
    g_autofree char *new_name = name_of(desktop_id, to_generation);
    g_autoptr(GError) local = NULL;
    gsize len = 0;
    g_autofree char *data = read_one(from, name, &len, &local);

    if (!data && !local && layer_generation < generation)
        data = read_one(from, former, &len, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (data)
        return to->ops->put_config(to, new_name, data, len, error);
    store_nvram_remove(to, desktop_id, to_generation);
    return TRUE;
}

void store_nvram_remove(Store *store, const char *desktop_id, gint64 generation)
{
    g_autofree char *name = name_of(desktop_id, generation);

    store->ops->remove_config(store, name, NULL);
}
