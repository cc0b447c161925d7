/* files.c: see files.h. */
#include "imaged/guest/helper/files.h"

#include <string.h>
#include <sys/stat.h>

#include "imaged/base/error.h"
#include "imaged/base/escape.h"
#include "imaged/base/units.h"
#include "imaged/guest/helper/disk_view.h"
#include "imaged/guest/helper/texts.h"

#define TIME_MAX 200000000000ll /* seconds: beyond it no year has four digits */
#define NAMES_MAX (1u << 20)

static const char *type_of(guint32 mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "folder";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "pipe";
    case S_IFSOCK:
        return "socket";
    default:
        return "device";
    }
}

json_t *files_entry_json(const FilesEntry *e, const char *owner, const char *group)
{
    g_autofree char *name = escape_bytes(e->name, e->name_len);
    g_autofree char *target = NULL;
    g_autofree char *time = units_format_time(CLAMP(e->mtime_s, -TIME_MAX, TIME_MAX) * 1000);
    gsize n;

    if (e->target) {
        const char *bytes = g_bytes_get_data(e->target, &n);
        target = escape_bytes(bytes, n);
    }
    return json_pack("{s:s,s:s,s:i,s:I,s:I,s:s,s:s,s:I,s:s?,s:s?}", "name", name, "type",
                     type_of(e->mode), "mode", (int)(e->mode & 07777), "uid", (json_int_t)e->uid,
                     "gid", (json_int_t)e->gid, "owner", owner, "group", group, "size",
                     (json_int_t)MIN(e->size, (guint64)G_MAXINT64), "mtime", time, "target",
                     target);
}

/* ---- The disk ---- */

typedef struct {
    DiskView *view;
    GByteArray *users, *groups; /* the guest's, or NULL */
    GHashTable *names;          /* "u1000" -> name */
    char *path;                 /* bytes */
} Look;

static void look_clear(Look *l)
{
    g_clear_pointer(&l->view, disk_view_free);
    g_clear_pointer(&l->users, g_byte_array_unref);
    g_clear_pointer(&l->groups, g_byte_array_unref);
    g_clear_pointer(&l->names, g_hash_table_unref);
    g_clear_pointer(&l->path, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Look, look_clear)

/* Without an ext file system the appliance may read what is there. */
static gboolean mount_view(DiskView *view, GError **error)
{
    GError *local = NULL;

    if (disk_view_mount(view, &local))
        return TRUE;
    for (guint i = 0; tree_is_missing(local) && i < view->file_systems->len; i++) {
        const DiskFs *f = view->file_systems->pdata[i];
        if (!g_str_equal(f->type, "unknown") && !g_str_equal(f->type, "swap"))
            local->code = IMAGED_ERROR_UNSUPPORTED;
    }
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean look_open(Look *l, Block *disk, const char *path, GError **error)
{
    if (!(l->path = escape_undo(path, error)) || !(l->view = disk_view_open(disk, NULL, error)) ||
        !mount_view(l->view, error))
        return FALSE;
    l->users = tree_read(l->view->tree, "etc/passwd", NAMES_MAX, NULL);
    l->groups = tree_read(l->view->tree, "etc/group", NAMES_MAX, NULL);
    l->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return TRUE;
}

/* What the guest calls an id; the number if it has no name.  Owned by l. */
static const char *name_of(Look *l, char kind, guint32 id)
{
    const GByteArray *text = kind == 'u' ? l->users : l->groups;
    char *key = g_strdup_printf("%c%u", kind, id);
    char *name = g_hash_table_lookup(l->names, key);

    if (name) {
        g_free(key);
        return name;
    }
    name = text ? id_name_parse((const char *)text->data, text->len, id) : NULL;
    if (!name)
        name = g_strdup(key + 1);
    g_hash_table_insert(l->names, key, name);
    return name;
}

static json_t *describe(Look *l, Ext *ext, guint32 inode, const ExtStat *stat, const char *name,
                        gsize len)
{
    FilesEntry e = { .name = name,
                     .name_len = len,
                     .mode = stat->mode,
                     .uid = stat->uid,
                     .gid = stat->gid,
                     .size = stat->size,
                     .mtime_s = stat->mtime_s };
    g_autoptr(GBytes) target = S_ISLNK(stat->mode) ? ext_read_link(ext, inode, NULL) : NULL;

    e.target = target;
    return files_entry_json(&e, name_of(l, 'u', stat->uid), name_of(l, 'g', stat->gid));
}

/* ---- Lists ---- */

typedef struct {
    char *name;
    gsize len;
    guint32 inode;
} Found;

typedef struct {
    GArray *found; /* of Found */
    gboolean is_cut;
} Listing;

static gboolean add_found(const char *name, gsize len, guint32 inode, gpointer data)
{
    Listing *listing = data;
    Found f = { g_strndup(name, len), len, inode };

    g_array_append_val(listing->found, f);
    listing->is_cut = listing->found->len >= FILES_MAX;
    return !listing->is_cut;
}

static gint compare(gconstpointer a, gconstpointer b)
{
    return strcmp(((const Found *)a)->name, ((const Found *)b)->name);
}

static void clear_found(gpointer data)
{
    g_free(((Found *)data)->name);
}

static json_t *list_folder(Look *l, const TreeNode *folder, gboolean *ret_cut, GError **error)
{
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(Found));
    Listing listing = { .found = found };
    json_t *out = json_array();

    g_array_set_clear_func(found, clear_found);
    gboolean ok = ext_list(folder->ext, folder->inode, add_found, &listing, error);
    g_array_sort(found, compare);
    for (guint i = 0; ok && i < found->len; i++) {
        const Found *f = &g_array_index(found, Found, i);
        ExtStat stat;
        ok = ext_stat(folder->ext, f->inode, &stat, error);
        if (ok)
            json_array_append_new(out, describe(l, folder->ext, f->inode, &stat, f->name, f->len));
    }
    *ret_cut = listing.is_cut;
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

/* Find what the path names; in the user's words if it is not there.  A slash at its end means a
 * folder, as in a shell: a link to one is followed. */
static gboolean find(Look *l, const char *path, TreeNode *ret, GError **error)
{
    gboolean is_folder = g_str_has_suffix(l->path, "/");
    gboolean ok = tree_find(l->view->tree, l->path, is_folder, ret, error);

    if (ok && is_folder && !S_ISDIR(ret->stat.mode)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "no such folder");
        ok = FALSE;
    }
    if (!ok)
        g_prefix_error(error, "'%s': ", path);
    return ok;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

json_t *files_list(Block *disk, const char *path, GError **error)
{
    g_auto(Look) l = { 0 };
    TreeNode node;
    json_t *entries;
    gboolean is_cut = FALSE;

    if (!look_open(&l, disk, path, error) || !find(&l, path, &node, error))
        return NULL;
    if (S_ISDIR(node.stat.mode)) {
        entries = list_folder(&l, &node, &is_cut, error);
    } else {
        const char *name = last_name(l.path);
        entries = json_array();
        json_array_append_new(entries,
                              describe(&l, node.ext, node.inode, &node.stat, name, strlen(name)));
    }
    return entries ? json_pack("{s:o,s:b}", "entries", entries, "cut", is_cut) : NULL;
}

/* ---- One file ---- */

gboolean files_check_is_file(guint32 mode, const char *path, GBytes *target, GError **error)
{
    if (S_ISREG(mode))
        return TRUE;
    if (S_ISLNK(mode) && target) {
        gsize n;
        const char *bytes = g_bytes_get_data(target, &n);
        g_autofree char *shown = escape_bytes(bytes, n);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is a link to '%s'", path,
                    shown);
        imaged_error_hint(error, "ask for the file that it points to");
        return FALSE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is a %s, not a file", path,
                type_of(mode));
    if (S_ISDIR(mode))
        imaged_error_hint(error, "'files ls' lists what is in it");
    return FALSE;
}

typedef struct {
    FilesData data;
    gpointer user;
} Sink;

static gboolean pass_on(const guint8 *bytes, gsize len, gpointer data, GError **error)
{
    const Sink *sink = data;

    return sink->data(sink->user, bytes, len, error);
}

json_t *files_get(Block *disk, const char *path, FilesData data, gpointer user, GError **error)
{
    g_auto(Look) l = { 0 };
    Sink sink = { data, user };
    TreeNode node;

    if (!look_open(&l, disk, path, error) || !find(&l, path, &node, error))
        return NULL;
    g_autoptr(GBytes) target =
        S_ISLNK(node.stat.mode) ? ext_read_link(node.ext, node.inode, NULL) : NULL;
    if (!files_check_is_file(node.stat.mode, path, target, error) ||
        !ext_read_file(node.ext, node.inode, pass_on, &sink, error))
        return NULL;
    const char *name = last_name(l.path);
    return describe(&l, node.ext, node.inode, &node.stat, name, strlen(name));
}
