/* tree.c: a path is walked name by name with a stack of the folders above, so that ".." means what
 * was passed on the way here and nothing that the disk says. */
#include "imaged/guest/helper/tree.h"

#include <string.h>
#include <sys/stat.h>

#include "imaged/base/error.h"

#define LINKS_MAX 40u
#define PATH_LIMIT 65536u
#define DEPTH_MAX 1024u

typedef struct {
    char *where; /* "/home"; "" for the root */
    Ext *ext;    /* or NULL */
} Mount;

struct Tree {
    GPtrArray *mounts; /* of Mount */
};

static void free_mount(gpointer data)
{
    Mount *m = data;

    ext_free(m->ext);
    g_free(m->where);
    g_free(m);
}

Tree *tree_new(void)
{
    Tree *t = g_new0(Tree, 1);

    t->mounts = g_ptr_array_new_with_free_func(free_mount);
    return t;
}

void tree_free(Tree *t)
{
    if (!t)
        return;
    g_ptr_array_unref(t->mounts);
    g_free(t);
}

void tree_mount(Tree *t, const char *where, Ext *ext)
{
    Mount *m = g_new0(Mount, 1);

    m->where = g_str_equal(where, "/") ? g_strdup("") : g_strdup(where);
    m->ext = ext;
    while (g_str_has_suffix(m->where, "/"))
        m->where[strlen(m->where) - 1] = 0;
    g_ptr_array_add(t->mounts, m);
}

static const Mount *mount_at(const Tree *t, const char *path)
{
    for (guint i = 0; i < t->mounts->len; i++) {
        const Mount *m = t->mounts->pdata[i];
        if (g_str_equal(m->where, path))
            return m;
    }
    return NULL;
}

/* ---- Walking ---- */

typedef struct {
    Ext *ext;
    guint32 inode;
    gsize path_len; /* of its parent */
} Step;

typedef struct {
    Tree *tree;
    GArray *steps; /* of Step: the root first */
    GString *path; /* of where we are: "" or "/a/b" */
    GString *rest; /* still to be walked */
    guint n_links;
} Walk;

static gboolean push(Walk *w, Ext *ext, guint32 inode, const char *name, gsize len, GError **error)
{
    Step step = { ext, inode, w->path->len };

    if (w->steps->len >= DEPTH_MAX || w->path->len + len > PATH_LIMIT) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the path is too long");
        return FALSE;
    }
    g_string_append_c(w->path, '/');
    g_string_append_len(w->path, name, (gssize)len);
    const Mount *m = mount_at(w->tree, w->path->str);
    if (m && !m->ext) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "'%s' is on a file system that is not ext4", m->where);
        return FALSE;
    }
    if (m) {
        step.ext = m->ext;
        step.inode = EXT_ROOT;
    }
    g_array_append_val(w->steps, step);
    return TRUE;
}

static void pop(Walk *w)
{
    if (w->steps->len == 1)
        return;
    g_string_truncate(w->path, g_array_index(w->steps, Step, w->steps->len - 1).path_len);
    g_array_set_size(w->steps, w->steps->len - 1);
}

static gboolean begin(Walk *w, GError **error)
{
    const Mount *root = mount_at(w->tree, "");
    Step first = { root ? root->ext : NULL, EXT_ROOT, 0 };

    if (!first.ext) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the root file system is not ext4");
        return FALSE;
    }
    g_array_set_size(w->steps, 0);
    g_array_append_val(w->steps, first);
    g_string_truncate(w->path, 0);
    return TRUE;
}

/* Walk where a link points, then the rest. */
static gboolean follow_link(Walk *w, Ext *ext, guint32 inode, GError **error)
{
    g_autoptr(GBytes) target = ext_read_link(ext, inode, error);
    gsize len;

    if (!target)
        return FALSE;
    const char *text = g_bytes_get_data(target, &len);
    if (++w->n_links > LINKS_MAX || w->rest->len + len > PATH_LIMIT || len == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "too many symbolic links");
        return FALSE;
    }
    g_string_prepend_c(w->rest, '/');
    g_string_prepend_len(w->rest, text, (gssize)strnlen(text, len));
    return *text != '/' || begin(w, error);
}

/* The next name of the rest: a child of the folder that we are in. */
static gboolean enter(Walk *w, const char *name, gsize len, gboolean is_last, gboolean follow,
                      GError **error)
{
    const Step here = g_array_index(w->steps, Step, w->steps->len - 1);
    ExtStat stat;
    guint32 inode;

    if (!ext_stat(here.ext, here.inode, &stat, error))
        return FALSE;
    if (!S_ISDIR(stat.mode)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "no such file or folder");
        return FALSE;
    }
    if (!ext_lookup(here.ext, here.inode, name, len, &inode, error) ||
        !ext_stat(here.ext, inode, &stat, error))
        return FALSE;
    if (S_ISLNK(stat.mode) && (!is_last || follow))
        return follow_link(w, here.ext, inode, error);
    return push(w, here.ext, inode, name, len, error);
}

static gboolean walk(Walk *w, gboolean follow, GError **error)
{
    while (w->rest->len) {
        gsize len = strcspn(w->rest->str, "/");
        g_autofree char *name = g_strndup(w->rest->str, len);
        gsize skip = len + strspn(w->rest->str + len, "/");
        g_string_erase(w->rest, 0, (gssize)MAX(skip, 1));
        if (len == 0 || g_str_equal(name, "."))
            continue;
        if (g_str_equal(name, ".."))
            pop(w);
        else if (!enter(w, name, len, w->rest->len == 0, follow, error))
            return FALSE;
    }
    return TRUE;
}

gboolean tree_find(Tree *t, const char *path, gboolean follow, TreeNode *ret, GError **error)
{
    Walk w = { .tree = t,
               .steps = g_array_new(FALSE, FALSE, sizeof(Step)),
               .path = g_string_new(NULL),
               .rest = g_string_new(path) };
    gboolean ok = w.rest->len <= PATH_LIMIT;

    if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the path is too long");
    ok = ok && begin(&w, error) && walk(&w, follow, error);
    if (ok) {
        Step *last = &g_array_index(w.steps, Step, w.steps->len - 1);
        ret->ext = last->ext;
        ret->inode = last->inode;
        ok = ext_stat(last->ext, last->inode, &ret->stat, error);
    }
    g_array_unref(w.steps);
    g_string_free(w.path, TRUE);
    g_string_free(w.rest, TRUE);
    return ok;
}

/* ---- Small files ---- */

typedef struct {
    GByteArray *bytes;
    gsize max;
} Whole;

static gboolean add_piece(const guint8 *bytes, gsize len, gpointer data, GError **error)
{
    Whole *whole = data;

    if (whole->bytes->len + len > whole->max) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "the file is larger than %zu bytes",
                    whole->max);
        return FALSE;
    }
    g_byte_array_append(whole->bytes, bytes, (guint)len);
    return TRUE;
}

gboolean tree_is_missing(const GError *error)
{
    return g_error_matches(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
}

GByteArray *tree_read(Tree *t, const char *path, gsize max, GError **error)
{
    Whole whole = { .max = max };
    TreeNode node;

    if (!tree_find(t, path, TRUE, &node, error))
        return NULL;
    if (!S_ISREG(node.stat.mode)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "'%s' is not a file", path);
        return NULL;
    }
    whole.bytes = g_byte_array_new();
    if (ext_read_file(node.ext, node.inode, add_piece, &whole, error))
        return whole.bytes;
    g_byte_array_unref(whole.bytes);
    g_prefix_error(error, "%s: ", path);
    return NULL;
}
