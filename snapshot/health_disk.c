/* health_disk.c: see health_disk.h. */
#include "snapshot/health_disk.h"

#include "cow/export_child.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/folder.h"
#include "imaged/guest/guest.h"
#include "snapshot/chain.h"

#define READY_LIMIT_MS 20000
#define STOP_LIMIT_MS 2000

struct HealthDisk {
    char *folder, *uri;
    ExportChild *child;
    Claims *claims; /* borrowed */
    json_t *keys;   /* shared: none of its layers is given back meanwhile; or NULL */
};

/* Its chain as rows, and no writer on it. */
static gboolean find_chain(World *world, const char *desktop_id, LookupRows *ret, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    gboolean is_live = FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop_by_id(db, desktop_id, &desktop, error) &&
                  chain_rows(db, desktop.layer_id, ret, error);

    catalog_read_end(world->catalog, db);
    if (!ok)
        return FALSE;
    const LayerRow *top = ret->rows->pdata[ret->rows->len - 1];
    g_autoptr(Store) store = store_set_get(world->stores, top->store_id, error);
    auto_fd fd = store ? store->ops->open(store, STORE_LAYERS, top->slot, &is_live, error) : -1;
    if (fd < 0 || !is_live)
        return fd >= 0;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the disk is in use by QEMU");
    return FALSE;
}

/* Hold of every layer of its chain, as an export has.  Claim, then read again: a chain that was
 * another one at the first look is BUSY. */
static gboolean take_chain(HealthDisk *disk, World *world, const char *desktop_id, LookupRows *ret,
                           GError **error)
{
    g_auto(LookupRows) seen = { 0 };
    json_t *keys = json_array();

    if (!find_chain(world, desktop_id, &seen, error)) {
        json_decref(keys);
        return FALSE;
    }
    for (guint i = 0; i < seen.rows->len; i++)
        claims_add(keys, 's', "layer", row_id(seen.rows->pdata[i]));
    if (!claims_take(world->claims, keys, "health", error)) {
        json_decref(keys);
        return FALSE;
    }
    disk->claims = world->claims;
    disk->keys = keys;
    if (!find_chain(world, desktop_id, ret, error))
        return FALSE;
    gboolean is_same = seen.rows->len == ret->rows->len;
    for (guint i = 0; is_same && i < seen.rows->len; i++)
        is_same = g_str_equal(row_id(seen.rows->pdata[i]), row_id(ret->rows->pdata[i]));
    if (!is_same)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "its layers are being changed");
    return is_same;
}

static gboolean start(HealthDisk *disk, const GPtrArray *layers, int listen_fd, GError **error)
{
    const char *const names[] = { "disk", NULL };
    g_autofree int *fds = g_new(int, layers->len);
    ExportChildSpec spec = { .fds = fds,
                             .n_fds = layers->len,
                             .listen_fd = listen_fd,
                             .names = names,
                             .tls = EXPORT_TLS_NONE };

    for (guint i = 0; i < layers->len; i++)
        fds[i] = layer_fd(layers->pdata[i]);
    disk->child = export_child_start(&spec, error);
    return disk->child && export_child_wait_ready(disk->child, READY_LIMIT_MS, error);
}

gboolean health_disk_user(const World *world, HealthUser *ret, GError **error)
{
    const char *name = world->settings.health_user;
    uid_t helper;

    if (!health_command_user(name, ret, error))
        return FALSE;
    if (!ret->drops || !world->guest || !guest_user(world->guest, &helper) || helper != ret->uid)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "health commands can't run as '%s': the guest helper does, and reads disks", name);
    imaged_error_hint(error, "give each a user of its own: make a user imaged-guest, or set "
                             "guest_user or health_user in imaged.conf");
    return FALSE;
}

HealthDisk *health_disk_serve(World *world, const char *desktop_id, GError **error)
{
    g_autoptr(HealthDisk) disk = g_new0(HealthDisk, 1);
    g_auto(LookupRows) rows = { 0 };
    g_autofree char *path = NULL;
    HealthUser user;

    if (!health_disk_user(world, &user, error) ||
        !take_chain(disk, world, desktop_id, &rows, error))
        return NULL;
    GuestOwner owner = { user.drops, user.uid, user.drops ? user.gid : (gid_t)-1 };
    g_autoptr(GPtrArray) layers = chain_open(world, &rows, error);
    disk->folder = layers ? guest_run_folder_make(world->state_dir, &owner, FALSE, error) : NULL;
    auto_fd fd =
        disk->folder ? guest_run_folder_listen(disk->folder, "disk", &owner, &path, error) : -1;
    if (fd < 0 || !start(disk, layers, fd, error))
        return NULL;
    g_autofree char *escaped = g_uri_escape_string(path, "/", FALSE);
    disk->uri = g_strdup_printf("nbd+unix:///?socket=%s", escaped);
    return g_steal_pointer(&disk);
}

const char *health_disk_uri(const HealthDisk *disk)
{
    return disk->uri;
}

void health_disk_free(HealthDisk *disk)
{
    if (disk->child)
        export_child_stop(disk->child, STOP_LIMIT_MS);
    g_clear_pointer(&disk->child, export_child_free);
    if (disk->keys)
        claims_release(disk->claims, disk->keys);
    json_decref(disk->keys);
    if (disk->folder)
        guest_run_folder_remove(disk->folder, NULL, NULL);
    g_free(disk->folder);
    g_free(disk->uri);
    g_free(disk);
}
