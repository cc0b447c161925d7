/* store_dir_files.c: the files of a dir store that are no layers: what they take (its own, and
 * those that nobody put there), and how one comes into it (the copy of the catalog). */
#include <errno.h>
#include <unistd.h>

#include "cow/store_dir.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

typedef struct {
    guint64 bytes;
    guint n_files;
    StoreVisit visit;
    gpointer user;
} MetadataSum;

static gboolean add_metadata(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    static const char *const ours[] = { MARKER_NAME, OWNER_NAME,  JOURNAL_NAME, "catalog.backup",
                                        "layers",    "trash",     "tmp",        "quarantine",
                                        CONFIG_NAME, "lost+found" };
    MetadataSum *sum = user;

    sum->bytes += stat->disk_bytes;
    sum->n_files++;
    for (guint i = 0; i < G_N_ELEMENTS(ours); i++) {
        if (g_str_equal(name, ours[i]))
            return TRUE;
    }
    return !sum->visit || sum->visit(name, stat, sum->user, error);
}

static gboolean add_config(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    MetadataSum *sum = user;
    char id[ID_LEN + 1];
    gint64 generation;
    StoreConfigKind kind;

    sum->bytes += stat->disk_bytes;
    sum->n_files++;
    if (store_config_name_parse(name, id, &generation, &kind) || !sum->visit)
        return TRUE;
    g_autofree char *shown = g_strdup_printf("%s/%s", CONFIG_NAME, name);
    return sum->visit(shown, stat, sum->user, error);
}

gboolean store_dir_metadata_bytes(Store *store, guint64 *ret_bytes, guint *ret_n_files,
                                  StoreVisit visit, gpointer user, GError **error)
{
    DirStore *s = (DirStore *)store;
    MetadataSum sum = { .visit = visit, .user = user };
    struct stat st;

    if (!store_dir_visit_folder(s->root, add_metadata, &sum, error) ||
        !store_dir_list_config(store, add_config, &sum, error))
        return FALSE;
    if (fstat(s->root, &st) == 0)
        sum.bytes += (guint64)st.st_blocks * 512;
    *ret_bytes = sum.bytes;
    *ret_n_files = sum.n_files;
    return TRUE;
}

/* All that can be read from fd, to out; flushed. */
static gboolean copy_file(int fd, int out, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(MIB);
    guint64 offset = 0;

    for (;;) {
        gssize got = pread(fd, buffer, MIB, (off_t)offset);
        if (got < 0) {
            imaged_error_set_errno(error, errno, "cannot read what is to be stored");
            return FALSE;
        }
        if (got == 0)
            return durable_sync(out, error);
        if (!durable_write(out, buffer, got, offset, error))
            return FALSE;
        offset += got;
    }
}

gboolean store_dir_put_file(Store *store, const char *name, int fd, GError **error)
{
    DirStore *s = (DirStore *)store;
    g_autofree char *tmp = g_strdup_printf("%s.new", name);

    if (!durable_unlink(s->place[STORE_TMP], tmp, error))
        return FALSE;
    auto_fd out = durable_create(s->place[STORE_TMP], tmp, 0, 0640, error);
    if (out < 0)
        return FALSE;
    if (copy_file(fd, out, error) &&
        durable_rename(s->place[STORE_TMP], tmp, s->root, name, TRUE, error))
        return durable_sync_dir(s->root, error);
    durable_unlink(s->place[STORE_TMP], tmp, NULL);
    return FALSE;
}
