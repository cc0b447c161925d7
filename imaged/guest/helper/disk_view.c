/* disk_view.c: see disk_view.h. */
#include "imaged/guest/helper/disk_view.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/fs_probe.h"
#include "imaged/guest/helper/texts.h"

#define FSTAB_MAX (256u << 10)

static void free_fs(gpointer data)
{
    DiskFs *f = data;

    g_free(f->device);
    g_free(f->label);
    g_free(f->uuid);
    g_free(f->where);
    block_unref(f->block);
    g_free(f);
}

void disk_view_free(DiskView *v)
{
    if (!v)
        return;
    tree_free(v->tree);
    if (v->file_systems)
        g_ptr_array_unref(v->file_systems);
    partitions_free(v->table);
    block_unref(v->disk);
    g_free(v);
}

static void describe(DiskView *v, DiskFs *f)
{
    FsProbe probe;

    f->ext = ext_probe(f->block);
    f->used = -1;
    if (f->ext == EXT_CLEAN) {
        g_autoptr(Ext) ext = ext_open(f->block, v->trace, NULL);
        if (ext) {
            f->type = ext_type(ext);
            f->label = texts_clean(ext_label(ext), strlen(ext_label(ext)));
            f->uuid = g_strdup(ext_uuid(ext));
            f->used = (gint64)ext_used(ext);
            f->size = ext_size(ext);
            return;
        }
    }
    fs_probe(f->block, v->trace, &probe);
    f->type = f->ext != EXT_NOT ? "ext4" : probe.type;
    f->label = texts_clean(probe.label, strlen(probe.label));
    f->uuid = g_strdup(probe.uuid);
}

DiskView *disk_view_open(Block *disk, Trace *trace, GError **error)
{
    g_autoptr(DiskView) v = g_new0(DiskView, 1);

    v->disk = block_ref(disk);
    v->trace = trace;
    v->file_systems = g_ptr_array_new_with_free_func(free_fs);
    if (!(v->table = partitions_read(disk, error)))
        return NULL;
    for (guint i = 0; trace && i < v->table->read->len; i++) {
        const PartitionRange *r = &g_array_index(v->table->read, PartitionRange, i);
        trace_add(trace, 'd', r->offset, r->length);
    }
    for (guint i = 0; i < v->table->parts->len; i++) {
        const Partition *part = &g_array_index(v->table->parts, Partition, i);
        DiskFs *f = g_new0(DiskFs, 1);
        f->part = part;
        f->size = part->length;
        f->device =
            part->number ? g_strdup_printf("/dev/sda%u", part->number) : g_strdup("/dev/sda");
        f->block = block_part(disk, part->start, part->length);
        describe(v, f);
        g_ptr_array_add(v->file_systems, f);
    }
    return g_steal_pointer(&v);
}

/* ---- Mounting ---- */

/* A device of fstab, on this disk; NULL if it is on none that we see. */
static DiskFs *find_device(DiskView *v, const char *spec)
{
    static const char *const numbered[] = { "/dev/sda",  "/dev/vda",      "/dev/hda",
                                            "/dev/xvda", "/dev/nvme0n1p", "/dev/mmcblk0p" };
    const char *by = strrchr(spec, '/');

    for (guint i = 0; i < v->file_systems->len; i++) {
        DiskFs *f = v->file_systems->pdata[i];
        if (g_str_has_prefix(spec, "UUID=")    ? *f->uuid && !g_ascii_strcasecmp(spec + 5, f->uuid)
            : g_str_has_prefix(spec, "LABEL=") ? *f->label && g_str_equal(spec + 6, f->label)
            : g_str_has_prefix(spec, "PARTUUID=")
                ? *f->part->uuid && !g_ascii_strcasecmp(spec + 9, f->part->uuid)
            : g_str_has_prefix(spec, "/dev/disk/by-uuid/")
                ? *f->uuid && g_str_equal(by + 1, f->uuid)
                : FALSE)
            return f;
        for (guint n = 0; n < G_N_ELEMENTS(numbered); n++) {
            g_autofree char *name = g_strdup_printf("%s%u", numbered[n], f->part->number);
            if (f->part->number && g_str_equal(spec, name))
                return f;
        }
    }
    return NULL;
}

/* Mount what the system's fstab says about this disk. */
static gboolean mount_others(DiskView *v, const DiskFs *root, GError **error)
{
    g_autoptr(GError) local = NULL;
    GByteArray *text = tree_read(v->tree, "etc/fstab", FSTAB_MAX, &local);

    if (!text && tree_is_missing(local))
        return TRUE;
    if (!text) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    g_autoptr(GPtrArray) mounts = fstab_parse((const char *)text->data, text->len);
    g_byte_array_unref(text);
    for (guint i = 0; i < mounts->len; i++) {
        const GuestMount *m = mounts->pdata[i];
        DiskFs *f = find_device(v, m->device);
        if (!f || f == root || f->where || g_str_equal(m->where, "/"))
            continue;
        f->where = texts_clean(m->where, strlen(m->where));
        Ext *ext = f->ext == EXT_CLEAN ? ext_open(f->block, v->trace, error) : NULL;
        if (f->ext == EXT_CLEAN && !ext)
            return FALSE;
        tree_mount(v->tree, m->where, ext);
    }
    return TRUE;
}

static gboolean exists(Tree *tree, const char *path, GError **error)
{
    TreeNode node;
    GError *local = NULL;

    if (tree_find(tree, path, TRUE, &node, &local))
        return TRUE;
    if (tree_is_missing(local))
        g_clear_error(&local);
    else
        g_propagate_error(error, local);
    return FALSE;
}

/* Does it have what every Linux system has?  An error is an error, not a no. */
static gboolean is_system(Tree *tree, gboolean *ret, GError **error)
{
    GError *local = NULL;

    *ret = exists(tree, "etc/os-release", &local) ||
           (!local && exists(tree, "usr/lib/os-release", &local)) ||
           (!local && exists(tree, "etc/passwd", &local) && exists(tree, "bin/sh", &local));
    if (!local)
        return TRUE;
    g_propagate_error(error, local);
    return FALSE;
}

/* TRUE if it is the root (then v->tree is set), or on an error. */
static gboolean try_root(DiskView *v, DiskFs *f, gboolean any, GError **error)
{
    GError *local = NULL;
    Ext *ext = ext_open(f->block, v->trace, error);

    if (!ext)
        return TRUE;
    g_autoptr(Tree) tree = tree_new();
    tree_mount(tree, "/", ext);
    if (!any && !is_system(tree, &v->has_system, &local)) {
        g_prefix_error(&local, "%s: ", f->device);
        g_propagate_error(error, local);
        return TRUE;
    }
    if (!any && !v->has_system)
        return FALSE;
    f->where = g_strdup("/");
    v->tree = g_steal_pointer(&tree);
    return TRUE;
}

/* Another file system that may hold the system: the appliance is needed. */
static const DiskFs *find_hidden(const DiskView *v)
{
    for (guint i = 0; i < v->file_systems->len; i++) {
        const DiskFs *f = v->file_systems->pdata[i];
        FsProbe probe;
        fs_probe(f->block, v->trace, &probe);
        if (f->ext == EXT_DIRTY || (f->ext == EXT_NOT && probe.can_hide_system))
            return f;
    }
    return NULL;
}

/* The first clean ext file system that is a system's root (or just the first one, with any). */
static gboolean find_root(DiskView *v, gboolean any, DiskFs **ret, GError **error)
{
    GError *local = NULL;

    *ret = NULL;
    for (guint i = 0; i < v->file_systems->len; i++) {
        DiskFs *f = v->file_systems->pdata[i];
        if (f->ext != EXT_CLEAN || !try_root(v, f, any, &local))
            continue;
        if (local)
            break;
        *ret = f;
        return TRUE;
    }
    if (!local)
        return TRUE;
    g_propagate_error(error, local);
    return FALSE;
}

gboolean disk_view_mount(DiskView *v, GError **error)
{
    DiskFs *root;

    if (!find_root(v, FALSE, &root, error))
        return FALSE;
    if (root)
        return mount_others(v, root, error);
    const DiskFs *hidden = find_hidden(v);
    if (hidden) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "%s: %s", hidden->device,
                    hidden->ext == EXT_DIRTY ? "its journal has to be replayed first"
                                             : hidden->type);
        return FALSE;
    }
    if (!find_root(v, TRUE, &root, error))
        return FALSE;
    if (root)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "the disk has no file system that is known");
    return FALSE;
}
