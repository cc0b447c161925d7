/* inspect_appliance.c: libguestfs finds the system and its applications; the partition table and
 * the plain file systems are read as in the quick way. */
#include "imaged/guest/helper/inspect_appliance.h"

#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/appliance_mount.h"
#include "imaged/guest/helper/inspect_out.h"

#define SMALL_MAX (1u << 20)

/* Takes over text (malloc'd, may be NULL; libguestfs says "unknown" where we say nothing). */
static void set_text(json_t *out, const char *key, char *text)
{
    g_autofree char *clean = text && strcmp(text, "unknown") ? texts_clean(text, strlen(text))
                                                             : g_strdup("");

    json_object_set_new(out, key, json_string(clean));
    free(text);
}

static void set_system(json_t *out, const ApplianceMount *m)
{
    guestfs_h *g = m->g;
    int major = m->root ? guestfs_inspect_get_major_version(g, m->root) : 0;
    int minor = m->root ? guestfs_inspect_get_minor_version(g, m->root) : 0;
    g_autofree char *version = major <= 0   ? g_strdup("")
                               : minor <= 0 ? g_strdup_printf("%d", major)
                                            : g_strdup_printf("%d.%d", major, minor);
    char *type = m->root ? guestfs_inspect_get_type(g, m->root) : NULL;

    json_object_set_new(out, "type", json_string(type ? type : "unknown"));
    free(type);
    set_text(out, "distribution", m->root ? guestfs_inspect_get_distro(g, m->root) : NULL);
    set_text(out, "product_name", m->root ? guestfs_inspect_get_product_name(g, m->root) : NULL);
    json_object_set_new(out, "version", json_string(version));
    set_text(out, "architecture", m->root ? guestfs_inspect_get_arch(g, m->root) : NULL);
    set_text(out, "hostname", m->root ? guestfs_inspect_get_hostname(g, m->root) : NULL);
    set_text(out, "package_format",
             m->root ? guestfs_inspect_get_package_format(g, m->root) : NULL);
}

/* ---- Applications ---- */

static void add_application(Packages *packages, const struct guestfs_application2 *a)
{
    gboolean has_display = a->app2_display_name && *a->app2_display_name;
    g_autofree char *epoch = a->app2_epoch ? g_strdup_printf("%d:", a->app2_epoch) : g_strdup("");
    gboolean has_release = a->app2_release && *a->app2_release;
    g_autofree char *version =
        g_strconcat(epoch, a->app2_version ? a->app2_version : "", has_release ? "-" : "",
                    has_release ? a->app2_release : "", NULL);

    packages_add(packages, has_display ? a->app2_display_name : a->app2_name, version,
                 a->app2_arch ? a->app2_arch : "");
}

/* Windows has drivers, not packages of them. */
static void add_windows_drivers(Packages *packages, const ApplianceMount *m)
{
    static const char *const paths[] = { "/Windows/System32/drivers/qxldod.sys",
                                         "/Windows/System32/drivers/qxl.sys" };

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        char *path = guestfs_case_sensitive_path(m->g, paths[i]);
        if (path && guestfs_exists(m->g, path) == 1) {
            packages_add(packages, "Red Hat QXL driver", "", "");
            free(path);
            return;
        }
        free(path);
    }
}

static void set_applications(json_t *out, const ApplianceMount *m)
{
    g_auto(Packages) packages;
    struct guestfs_application2_list *list =
        m->root ? guestfs_inspect_list_applications2(m->g, m->root) : NULL;

    packages_init(&packages);
    for (guint i = 0; list && i < list->len; i++)
        add_application(&packages, &list->val[i]);
    if (list)
        guestfs_free_application2_list(list);
    if (m->is_windows)
        add_windows_drivers(&packages, m);
    inspect_out_packages(out, &packages);
    inspect_out_agents(out, &packages);
}

/* ---- Users ---- */

static void add_windows_users(json_t *list, const ApplianceMount *m)
{
    static const char *const not_people[] = { "Default", "Default User", "Public", "All Users",
                                              "desktop.ini", NULL };
    char *folder = guestfs_case_sensitive_path(m->g, "/Users");
    char **names = folder ? guestfs_ls(m->g, folder) : NULL;

    for (guint i = 0; names && names[i]; i++) {
        g_autofree char *clean = texts_clean(names[i], strlen(names[i]));
        g_autofree char *home = g_strconcat("/Users/", clean, NULL);
        if (!g_strv_contains(not_people, clean) && i < USERS_MAX && strlen(home) <= TEXT_MAX)
            json_array_append_new(list, json_pack("{s:s,s:n,s:s}", "name", clean, "uid", "home",
                                                  home));
        free(names[i]);
    }
    free(names);
    free(folder);
}

static void set_users(json_t *out, const ApplianceMount *m)
{
    json_t *list = json_array();
    GByteArray *text = m->root && !m->is_windows
                           ? appliance_mount_read(m, "/etc/passwd", SMALL_MAX)
                           : NULL;

    if (m->is_windows)
        add_windows_users(list, m);
    if (text) {
        inspect_out_users(list, text);
        g_byte_array_unref(text);
    }
    json_object_set_new(out, "users", list);
}

/* ---- File systems ---- */

/* What is mounted, and how full it is. */
static void complete_file_systems(json_t *out, const ApplianceMount *m)
{
    json_t *list = json_object_get(out, "file_systems"), *f;
    size_t i;

    for (guint n = 0; n + 1 < m->mounts->len; n += 2) {
        const char *where = m->mounts->pdata[n], *device = m->mounts->pdata[n + 1];
        struct guestfs_statvfs *s = guestfs_statvfs(m->g, where);
        g_autofree char *clean = texts_clean(where, strlen(where));
        json_array_foreach(list, i, f) {
            if (strcmp(json_string_value(json_object_get(f, "device")), device) != 0)
                continue;
            json_object_set_new(f, "mount", json_string(clean));
            if (s && s->blocks >= s->bfree)
                json_object_set_new(f, "used", json_integer((s->blocks - s->bfree) * s->frsize));
        }
        if (s)
            guestfs_free_statvfs(s);
    }
}

static void add_file_system(json_t *list, guestfs_h *g, const char *device, const char *type)
{
    g_autofree char *name = texts_clean(device, strlen(device));
    g_autofree char *kind = texts_clean(type, strlen(type));
    gint64 size = guestfs_blockdev_getsize64(g, device);

    json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:I,s:n,s:n}", "device", name, "type",
                                          kind, "label", "", "uuid", "", "size",
                                          (json_int_t)MAX(size, 0), "used", "mount"));
}

/* Logical volumes and the like, which have no partition of their own. */
static void add_volumes(json_t *out, const ApplianceMount *m)
{
    json_t *list = json_object_get(out, "file_systems");
    char **found = guestfs_list_filesystems(m->g);

    for (guint i = 0; found && found[i] && found[i + 1]; i += 2) {
        if (!g_str_has_prefix(found[i], "/dev/sd") && json_array_size(list) < 200)
            add_file_system(list, m->g, found[i], found[i + 1]);
        free(found[i]);
        free(found[i + 1]);
    }
    free(found);
}

json_t *inspect_appliance(Task *task, GError **error)
{
    g_auto(ApplianceMount) m = { 0 };
    g_autoptr(GError) local = NULL;
    g_autoptr(Block) disk = block_open_nbd(task_disk_socket(task, 0), error);
    g_autoptr(DiskView) view = disk ? disk_view_open(disk, NULL, error) : NULL;

    if (!view)
        return NULL;
    if (!appliance_mount(&m, task, &local) && !tree_is_missing(local)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    json_t *out = json_object();
    task_progress(task, 0, 0, "reading applications");
    set_system(out, &m);
    set_applications(out, &m);
    set_users(out, &m);
    inspect_out_disk(out, view);
    add_volumes(out, &m);
    complete_file_systems(out, &m);
    json_object_set_new(out, "ranges", json_null());
    json_object_set_new(out, "method", json_string("appliance"));
    return out;
}
