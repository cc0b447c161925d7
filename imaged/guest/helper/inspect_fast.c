/* inspect_fast.c: a few small files say what a Linux system is.  All that was read on the way is
 * traced, so that a clone whose bytes there are the same need not be read at all. */
#include "imaged/guest/helper/inspect_fast.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/disk_view.h"
#include "imaged/guest/helper/inspect_out.h"
#include "imaged/guest/helper/texts.h"

#define SMALL_MAX (1u << 20)
#define DATABASE_MAX (64u << 20)

/* The bytes of the first of these files that exists.  NULL without an error: none does. */
static GByteArray *read_first(Tree *tree, const char *const *paths, gsize max, GError **error)
{
    for (guint i = 0; paths[i]; i++) {
        GError *local = NULL;
        GByteArray *bytes = tree_read(tree, paths[i], max, &local);
        if (bytes)
            return bytes;
        if (!tree_is_missing(local)) {
            g_propagate_error(error, local);
            return NULL;
        }
        g_clear_error(&local);
    }
    return NULL;
}

#define FILES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void set_text(json_t *out, const char *key, char *text)
{
    json_object_set_new(out, key, json_string(text ? text : ""));
    g_free(text);
}

static gboolean read_release(Tree *tree, json_t *out, GError **error)
{
    GError *local = NULL;
    GByteArray *b =
        read_first(tree, FILES("etc/os-release", "usr/lib/os-release"), SMALL_MAX, &local);

    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    const char *text = b ? (const char *)b->data : "";
    gsize len = b ? b->len : 0;
    set_text(out, "distribution", os_release_get(text, len, "ID"));
    set_text(out, "product_name", os_release_get(text, len, "PRETTY_NAME"));
    set_text(out, "version", os_release_get(text, len, "VERSION_ID"));
    if (b)
        g_byte_array_unref(b);
    return TRUE;
}

static gboolean read_people(Tree *tree, json_t *out, GError **error)
{
    GError *local = NULL;
    json_t *list = json_array();
    GByteArray *name = read_first(tree, FILES("etc/hostname"), SMALL_MAX, &local);
    GByteArray *users = local ? NULL : read_first(tree, FILES("etc/passwd"), SMALL_MAX, &local);

    set_text(out, "hostname", name ? hostname_parse((const char *)name->data, name->len) : NULL);
    if (users) {
        inspect_out_users(list, users);
        g_byte_array_unref(users);
    }
    json_object_set_new(out, "users", list);
    if (name)
        g_byte_array_unref(name);
    if (local)
        g_propagate_error(error, local);
    return !local;
}

/* Databases that we do not read ourselves. */
static gboolean check_others(Tree *tree, GError **error)
{
    const char *const *paths = FILES("usr/lib/sysimage/rpm", "var/lib/rpm", "var/lib/pacman/local");
    TreeNode node;

    for (guint i = 0; paths[i]; i++) {
        GError *local = NULL;
        if (tree_find(tree, paths[i], TRUE, &node, &local)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                        "its packages are listed in '/%s'", paths[i]);
            return FALSE;
        }
        if (!tree_is_missing(local)) {
            g_propagate_error(error, local);
            return FALSE;
        }
        g_clear_error(&local);
    }
    return TRUE;
}

/* The system's own architecture: that of its package manager. */
static const char *arch_of(const Packages *packages)
{
    const char *found = "";

    for (guint i = 0; i < packages->list->len; i++) {
        const Package *p = packages->list->pdata[i];
        gboolean is_general = g_str_equal(p->arch, "all") || g_str_equal(p->arch, "noarch");
        if (g_str_equal(p->name, "dpkg") || (!*found && !is_general))
            found = p->arch;
    }
    return inspect_arch(found);
}

static gboolean read_packages(Tree *tree, json_t *out, GError **error)
{
    g_auto(Packages) packages;
    GError *local = NULL;
    const char *format = "deb";

    packages_init(&packages);
    GByteArray *b = read_first(tree, FILES("var/lib/dpkg/status"), DATABASE_MAX, &local);
    if (b) {
        dpkg_status_parse((const char *)b->data, b->len, &packages);
    } else if (!local &&
               (b = read_first(tree, FILES("lib/apk/db/installed", "usr/lib/apk/db/installed"),
                               DATABASE_MAX, &local))) {
        apk_installed_parse((const char *)b->data, b->len, &packages);
        format = "apk";
    } else if (local || !check_others(tree, &local)) {
        g_propagate_error(error, local);
        return FALSE;
    } else {
        format = "";
    }
    if (b)
        g_byte_array_unref(b);
    json_object_set_new(out, "package_format", json_string(format));
    json_object_set_new(out, "architecture", json_string(arch_of(&packages)));
    inspect_out_packages(out, &packages);
    inspect_out_agents(out, &packages);
    return TRUE;
}

/* A disk without a system: there is nothing to tell but its file systems. */
static void set_unknown(json_t *out)
{
    static const char *const texts[] = { "distribution", "product_name",   "version",
                                         "hostname",     "package_format", "architecture" };
    static const char *const lists[] = { "users", "applications", "agents" };

    json_object_set_new(out, "type", json_string("unknown"));
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        json_object_set_new(out, texts[i], json_string(""));
    for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
        json_object_set_new(out, lists[i], json_array());
    json_object_set_new(out, "applications_cut", json_false());
}

json_t *inspect_fast(Block *disk, GError **error)
{
    g_autoptr(Trace) trace = trace_new();
    g_autoptr(DiskView) view = disk_view_open(disk, trace, error);
    json_t *out = json_object();
    GError *local = NULL;
    gboolean ok = view && (disk_view_mount(view, &local) || tree_is_missing(local));

    if (ok && view->has_system) {
        json_object_set_new(out, "type", json_string("linux"));
        ok = read_release(view->tree, out, &local) && read_people(view->tree, out, &local) &&
             read_packages(view->tree, out, &local);
    } else if (ok) {
        g_clear_error(&local);
        set_unknown(out);
    }
    if (ok) {
        inspect_out_disk(out, view);
        json_object_set_new(out, "ranges", trace_to_json(trace));
        json_object_set_new(out, "method", json_string("fast"));
        return out;
    }
    if (local)
        g_propagate_error(error, local);
    json_decref(out);
    return NULL;
}
