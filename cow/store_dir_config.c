/* store_dir_config.c: the folder config/ of a dir store: small files that QEMU reads beside the
 * layers (broker/config_disk.h).  It is made when the first one is stored.  What lies there can be
 * made again at any time, so nothing is moved to the trash. */
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

    return durable_read(folder, name, MIB, &text, &got, NULL) && got == len &&
           memcmp(text, data, len) == 0;
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
    auto_fd fd = durable_create(s->place[STORE_TMP], tmp.s, 0, CONFIG_MODE, error);
    if (fd < 0)
        return FALSE;
    if (durable_write(fd, data, len, 0, error) && durable_sync(fd, error) &&
        durable_rename(s->place[STORE_TMP], tmp.s, folder, name, TRUE, error))
        return durable_sync_dir(folder, error);
    durable_unlink(s->place[STORE_TMP], tmp.s, NULL);
    return FALSE;
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
                                 gboolean *ret_is_memory)
{
    char *end;

    if (strlen(name) < ID_LEN + 6 || name[ID_LEN] != '-' || !g_ascii_isdigit(name[ID_LEN + 1]))
        return FALSE;
    g_strlcpy(ret_id, name, ID_LEN + 1);
    *ret_generation = g_ascii_strtoll(name + ID_LEN + 1, &end, 10);
    *ret_is_memory = g_str_equal(end, ".mem");
    return id_is_valid(ret_id) && (*ret_is_memory || g_str_equal(end, ".iso"));
}
