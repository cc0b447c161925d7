/* tree.h: the folders of a guest: its file systems, put together as it mounts them.
 *
 * Paths are the guest's: bytes.  Symbolic links lead about inside of the guest, as they do there,
 * and never out of it.  What another file system is mounted on that cannot be read here is
 * UNSUPPORTED. */
#pragma once

#include "imaged/guest/helper/ext.h"

typedef struct Tree Tree;

Tree *tree_new(void);
void tree_free(Tree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tree, tree_free)

/* Mount ext (taken over; NULL: something that cannot be read here) at an absolute path; the first
 * one is the root, "/". */
void tree_mount(Tree *tree, const char *where, Ext *ext);

typedef struct {
    Ext *ext; /* borrowed from the tree */
    guint32 inode;
    ExtStat stat;
} TreeNode;

/* Find path (from the root, with or without a slash before it).  With follow, a link at its very
 * end is followed as well.  NOT_FOUND, CORRUPT (too many links), UNSUPPORTED. */
gboolean tree_find(Tree *tree, const char *path, gboolean follow, TreeNode *ret, GError **error);

/* The bytes of a small file (links are followed), or NULL.  *ret_is_there is FALSE if it does not
 * exist, which is no error.  At most max bytes: CORRUPT beyond.  Caller unrefs. */
GByteArray *tree_read(Tree *tree, const char *path, gsize max, GError **error);

/* TRUE if error only says that there is no such file. */
gboolean tree_is_missing(const GError *error);
