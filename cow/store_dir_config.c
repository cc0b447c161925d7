/* store_dir_config.c: the folder config/ of a dir store: small files that QEMU reads beside the
 * layers (broker/config_disk.h), and what firmware keeps (cow/store_nvram.h), which QEMU writes.
 * It is made when the first one is stored.  Nothing is moved to the trash. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cow/store_dir.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define CONFIG_MODE 0640 /* passwords are in it: for QEMU's group and nobody else */
#define NVRAM_MODE 0660  /* as a layer that is written */

static int open_config(DirStore *s, gboolean create, GError **error)
{
    if (create && !durable_mkdir(s->root, CONFIG_NAME, 02770, error))
        return -1;
    int fd = openat(s->root, CONFIG_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open the store's folder '%s'", CONFIG_NAME);
    return fd;
}

static gboolean says_the_same(int folder, const char *name, const void *data, gsize len)
{
    g_autofree char *text = NULL;
    gsize got;

    return durable_read(folder, name, STORE_CONFIG_MAX, &text, &got, NULL) && got == len &&
           memcmp(text, data, len) == 0;
}

static mode_t mode_of(const char *name)
{
    char id[ID_LEN + 1];
    gint64 generation;
    StoreConfigKind kind;
    gboolean is_ours = store_config_name_parse(name, id, &generation, &kind);

    return is_ours && kind == CONFIG_NVRAM ? NVRAM_MODE : CONFIG_MODE;
}

gboolean store_dir_put_config(Store *store, const char *name, const void *data, gsize len,
                              GError **error)
{
    DirStore *s = (DirStore *)store;
    auto_fd folder = open_config(s, TRUE, error);

    if (folder < 0)
        return FALSE;
    if (says_the_same(folder, name, data, len))
        return TRUE;
    /* In tmp/, where a stop leaves nothing behind; with a name of its own, since two may ask. */
    Id tmp = id_new();
    auto_fd fd = durable_create(s->place[STORE_TMP], tmp.s, 0, mode_of(name), error);
    if (fd < 0)
        return FALSE;
    if (durable_write(fd, data, len, 0, error) && durable_sync(fd, error) &&
        durable_rename(s->place[STORE_TMP], tmp.s, folder, name, TRUE, error))
        return durable_sync_dir(folder, error);
    durable_unlink(s->place[STORE_TMP], tmp.s, NULL);
    return FALSE;
}

gboolean store_dir_get_config(Store *store, const char *name, char **ret_data, gsize *ret_len,
                              GError **error)
{
    auto_fd folder = open_config((DirStore *)store, FALSE, error);

    return folder >= 0 && durable_read(folder, name, STORE_CONFIG_MAX, ret_data, ret_len, error);
}

gboolean store_dir_rename_config(Store *store, const char *from, const char *to, GError **error)
{
    auto_fd folder = open_config((DirStore *)store, FALSE, error);

    return folder >= 0 && durable_rename(folder, from, folder, to, FALSE, error) &&
           durable_sync_dir(folder, error);
}

gboolean store_dir_remove_config(Store *store, const char *name, GError **error)
{
    auto_fd folder = open_config((DirStore *)store, FALSE, error);

    return folder >= 0 && durable_unlink(folder, name, error);
}

gboolean store_dir_list_config(Store *store, StoreVisit visit, gpointer user, GError **error)
{
    g_autoptr(GError) local = NULL;
    auto_fd folder = open_config((DirStore *)store, FALSE, &local);

    if (folder >= 0)
        return store_dir_visit_folder(folder, visit, user, error);
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

char *store_dir_config_path(Store *store, const char *name, GError **error)
{
    return g_build_filename(store->location, CONFIG_NAME, name, NULL);
}

gboolean store_config_name_parse(const char *name, char *ret_id, gint64 *ret_generation,
                                 StoreConfigKind *ret_kind)
{
    static const char *const ends[] = { ".iso", ".mem", ".nvram" };
    char *end;

    if (strlen(name) < ID_LEN + 6 || name[ID_LEN] != '-' || !g_ascii_isdigit(name[ID_LEN + 1]))
        return FALSE;
    g_strlcpy(ret_id, name, ID_LEN + 1);
    *ret_generation = g_ascii_strtoll(name + ID_LEN + 1, &end, 10);
    for (guint i = 0; i < G_N_ELEMENTS(ends); i++) {
        if (g_str_equal(end, ends[i])) {
            *ret_kind = (StoreConfigKind)i;
            return id_is_valid(ret_id);
        }
    }
    return FALSE;
}
