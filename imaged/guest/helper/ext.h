/* ext.h: an ext2, ext3 or ext4 file system, read by libext2fs out of a Block.
 *
 * Nothing is mounted, nothing is written.  Names and contents are the guest's: bytes, of any kind.
 * A journal that was not replayed makes what the file system says stale: it is not opened then.
 * libext2fs checks much but not all of a crafted file system: this runs in the sandbox alone. */
#pragma once

#include "imaged/guest/helper/block.h"
#include "imaged/guest/helper/trace.h"

typedef struct Ext Ext;

typedef enum {
    EXT_NOT, /* something else */
    EXT_CLEAN,
    EXT_DIRTY, /* its journal has to be replayed first */
} ExtKind;

/* What is it?  What tells lies at the beginning. */
ExtKind ext_probe(Block *part);

/* trace (may be NULL, borrowed) learns what an answer hangs on.  CORRUPT; UNSUPPORTED if it is
 * dirty or has features that libext2fs does not read. */
Ext *ext_open(Block *part, Trace *trace, GError **error);
void ext_free(Ext *ext);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ext, ext_free)

const char *ext_type(const Ext *ext);  /* "ext2", "ext3", "ext4" */
const char *ext_label(const Ext *ext); /* bytes */
const char *ext_uuid(const Ext *ext);
guint64 ext_size(const Ext *ext); /* bytes */
guint64 ext_used(const Ext *ext);

#define EXT_ROOT 2u /* inode of the top folder */

typedef struct {
    guint32 mode, uid, gid, n_links;
    guint64 size;
    gint64 mtime_s; /* seconds since 1970 */
} ExtStat;

gboolean ext_stat(Ext *ext, guint32 inode, ExtStat *ret, GError **error);

/* The inode with this name in folder.  NOT_FOUND. */
gboolean ext_lookup(Ext *ext, guint32 folder, const char *name, gsize len, guint32 *ret_inode,
                    GError **error);

/* All names in folder but . and ..; visit returns FALSE to stop. */
typedef gboolean (*ExtVisit)(const char *name, gsize len, guint32 inode, gpointer data);
gboolean ext_list(Ext *ext, guint32 folder, ExtVisit visit, gpointer data, GError **error);

/* Where a symbolic link points; at most EXT_LINK_MAX bytes. */
#define EXT_LINK_MAX 4096u
GBytes *ext_read_link(Ext *ext, guint32 inode, GError **error);

/* Hand the bytes of a file over, piece by piece, until visit returns FALSE (with error set). */
typedef gboolean (*ExtPiece)(const guint8 *bytes, gsize len, gpointer data, GError **error);
gboolean ext_read_file(Ext *ext, guint32 inode, ExtPiece piece, gpointer data, GError **error);
