/* serve.c: see serve.h. */
#include "imaged/guest/serve.h"

#include "cow/export_child.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define READY_LIMIT_MS 20000
#define STOP_LIMIT_MS 60000 /* a writer flushes to a busy disk */

struct GuestServers {
    GPtrArray *children; /* of ExportChild */
};

static gboolean start(GuestServers *s, const GuestDisk *disk, int listen_fd, GError **error)
{
    /* Our plugin takes the default name for the first one; QEMU wants to be told. */
    const char *const names[] = { "disk", disk->is_read_write ? "" : NULL, NULL };
    ExportChildSpec spec = { .is_read_write = disk->is_read_write,
                             .fds = disk->fds,
                             .n_fds = disk->n_fds,
                             .listen_fd = listen_fd,
                             .names = names,
                             .tls = EXPORT_TLS_NONE };
    ExportChild *child = export_child_start(&spec, error);

    if (!child)
        return FALSE;
    g_ptr_array_add(s->children, child);
    return TRUE;
}

GuestServers *guest_servers_start(const GuestRun *run, const char *folder, const GuestOwner *owner,
                                  json_t **ret_disks, GError **error)
{
    g_autoptr(GuestServers) s = g_new0(GuestServers, 1);
    json_t *disks = json_array();
    gboolean ok = TRUE;

    s->children = g_ptr_array_new_with_free_func((GDestroyNotify)export_child_free);
    for (guint i = 0; ok && i < run->n_disks; i++) {
        g_autofree char *name = g_strdup_printf("disk%u", i);
        g_autofree char *path = NULL;
        auto_fd fd = guest_run_folder_listen(folder, name, owner, &path, error);
        ok = fd >= 0 && start(s, &run->disks[i], fd, error);
        if (ok)
            json_array_append_new(disks, json_pack("{s:s, s:b}", "socket", path, "read_only",
                                                   !run->disks[i].is_read_write));
    }
    for (guint i = 0; ok && i < s->children->len; i++)
        ok = export_child_wait_ready(s->children->pdata[i], READY_LIMIT_MS, error);
    if (!ok) {
        json_decref(disks);
        return NULL;
    }
    *ret_disks = disks;
    return g_steal_pointer(&s);
}

/* What a writer has not written is missing in the layer. */
static gboolean check_ends(const GuestServers *s, GError **error)
{
    for (guint i = 0; i < s->children->len; i++) {
        ExportChild *child = s->children->pdata[i];
        if (!export_child_is_writer(child) || export_child_ended_well(child))
            continue;
        export_child_drain(child);
        g_autofree char *words = text_for_message(export_child_last_words(child), 300);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the server that wrote the disk did not end well: %s",
                    *words ? words : "it gave no reason");
        return FALSE;
    }
    return TRUE;
}

gboolean guest_servers_stop(GuestServers *s, GError **error)
{
    gint64 begin = g_get_monotonic_time();
    gboolean ok = TRUE;

    for (guint i = 0; i < s->children->len; i++) {
        if (export_child_has_ended(s->children->pdata[i]))
            ok = FALSE;
        export_child_ask(s->children->pdata[i]);
    }
    for (guint i = 0; i < s->children->len; i++)
        export_child_stop(s->children->pdata[i], STOP_LIMIT_MS);
    if (!ok) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the server of a disk ended before its time");
    } else if (g_get_monotonic_time() - begin >= STOP_LIMIT_MS * 1000ll) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the server of a disk did not end within %d s", STOP_LIMIT_MS / 1000);
        ok = FALSE;
    }
    return ok && check_ends(s, error);
}

void guest_servers_free(GuestServers *s)
{
    g_ptr_array_unref(s->children);
    g_free(s);
}
