/* ext.c: libext2fs reads through an io_manager of ours that knows one operation: reading. */
#include "imaged/guest/helper/ext.h"

#include <errno.h>
#include <et/com_err.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "imaged/base/error.h"

#define PIECE (256u << 10)
#define SUPER_OFFSET 1024u

struct Ext {
    Block *part;
    ext2_filsys fs;
    Trace *trace;
    char uuid[37], label[17];
};

/* ---- The io_manager ---- */

static struct struct_io_manager manager;

static errcode_t io_open(const char *name, int flags, io_channel *ret)
{
    void *part;

    if ((flags & IO_FLAG_RW) || sscanf(name, "%p", &part) != 1)
        return EROFS;
    io_channel c = g_new0(struct struct_io_channel, 1);
    c->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    c->manager = &manager;
    c->name = strdup(name);
    c->block_size = SUPER_OFFSET;
    c->refcount = 1;
    c->private_data = part;
    *ret = c;
    return 0;
}

static errcode_t io_close(io_channel c)
{
    if (--c->refcount > 0)
        return 0;
    free(c->name);
    g_free(c);
    return 0;
}

static errcode_t io_set_block_size(io_channel c, int size)
{
    c->block_size = size;
    return 0;
}

static errcode_t io_read64(io_channel c, unsigned long long block, int count, void *data)
{
    guint64 len = count < 0 ? (guint64) - (gint64)count : (guint64)count * (guint64)c->block_size;

    if (block > G_MAXINT64 / (guint64)c->block_size || len > G_MAXINT32)
        return EXT2_ET_BAD_BLOCK_NUM;
    return block_read(c->private_data, data, (gsize)len, block * (guint64)c->block_size, NULL)
               ? 0
               : EXT2_ET_SHORT_READ;
}

static errcode_t io_read(io_channel c, unsigned long block, int count, void *data)
{
    return io_read64(c, block, count, data);
}

static errcode_t io_write64(io_channel c, unsigned long long block, int count, const void *data)
{
    return EROFS;
}

static errcode_t io_write(io_channel c, unsigned long block, int count, const void *data)
{
    return EROFS;
}

static errcode_t io_flush(io_channel c)
{
    return 0;
}

/* Filled once, never changed: libext2fs wants a table that is not const. */
static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "imaged",
    .open = io_open,
    .close = io_close,
    .set_blksize = io_set_block_size,
    .read_blk = io_read,
    .write_blk = io_write,
    .flush = io_flush,
    .read_blk64 = io_read64,
    .write_blk64 = io_write64,
};

/* ---- Opening ---- */

static gboolean fail(errcode_t code, GError **error, const char *what)
{
    g_set_error(error, IMAGED_ERROR,
                code == EXT2_ET_NO_MEMORY ? IMAGED_ERROR_FAILED : IMAGED_ERROR_CORRUPT,
                "%s: the file system is damaged: %s", what, error_message(code));
    return FALSE;
}

static gboolean read_super(Block *part, struct ext2_super_block *ret)
{
    return block_size(part) >= SUPER_OFFSET + sizeof *ret &&
           block_read(part, ret, sizeof *ret, SUPER_OFFSET, NULL) &&
           GUINT16_FROM_LE(ret->s_magic) == EXT2_SUPER_MAGIC;
}

ExtKind ext_probe(Block *part)
{
    struct ext2_super_block super;

    if (!read_super(part, &super))
        return EXT_NOT;
    return GUINT32_FROM_LE(super.s_feature_incompat) & EXT3_FEATURE_INCOMPAT_RECOVER ? EXT_DIRTY
                                                                                     : EXT_CLEAN;
}

/* What libext2fs would trust. */
static gboolean check_super(Block *part, GError **error)
{
    struct ext2_super_block super;

    if (!read_super(part, &super)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "it is no ext file system");
        return FALSE;
    }
    guint32 incompat = GUINT32_FROM_LE(super.s_feature_incompat);
    guint32 log_size = GUINT32_FROM_LE(super.s_log_block_size);
    guint64 blocks = GUINT32_FROM_LE(super.s_blocks_count);
    if (incompat & EXT4_FEATURE_INCOMPAT_64BIT)
        blocks |= (guint64)GUINT32_FROM_LE(super.s_blocks_count_hi) << 32;
    if (incompat & EXT3_FEATURE_INCOMPAT_RECOVER) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "its journal has to be replayed first");
        return FALSE;
    }
    if (incompat & (EXT4_FEATURE_INCOMPAT_ENCRYPT | EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "it is a journal, or has encrypted folders");
        return FALSE;
    }
    guint inode_size =
        GUINT32_FROM_LE(super.s_rev_level) == 0 ? 128 : GUINT16_FROM_LE(super.s_inode_size);
    if (log_size > 6 || blocks == 0 || blocks > block_size(part) >> (10 + log_size) ||
        inode_size < 128 || inode_size > 1024u << log_size || (inode_size & (inode_size - 1))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the file system's superblock is not sound");
        return FALSE;
    }
    return TRUE;
}

Ext *ext_open(Block *part, Trace *trace, GError **error)
{
    g_autoptr(Ext) e = g_new0(Ext, 1);
    char name[32];

    initialize_ext2_error_table();
    if (!check_super(part, error))
        return NULL;
    e->part = block_ref(part);
    e->trace = trace;
    g_snprintf(name, sizeof name, "%p", (void *)part);
    errcode_t code = ext2fs_open2(name, NULL, EXT2_FLAG_64BITS, 0, 0, &manager, &e->fs);
    if (code == EXT2_ET_UNSUPP_FEATURE || code == EXT2_ET_RO_UNSUPP_FEATURE) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "%s", error_message(code));
        return NULL;
    }
    if (code) {
        fail(code, error, "cannot open it");
        return NULL;
    }
    const guint8 *u = e->fs->super->s_uuid;
    g_snprintf(e->uuid, sizeof e->uuid,
               "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
               u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
               u[15]);
    memcpy(e->label, e->fs->super->s_volume_name, 16);
    if (trace)
        trace_add(trace, 's', block_start(part) + SUPER_OFFSET, sizeof(struct ext2_super_block));
    return g_steal_pointer(&e);
}

void ext_free(Ext *e)
{
    if (!e)
        return;
    if (e->fs)
        ext2fs_free(e->fs);
    block_unref(e->part);
    g_free(e);
}

const char *ext_type(const Ext *e)
{
    return ext2fs_has_feature_extents(e->fs->super)   ? "ext4"
           : ext2fs_has_feature_journal(e->fs->super) ? "ext3"
                                                      : "ext2";
}

const char *ext_label(const Ext *e)
{
    return e->label;
}

const char *ext_uuid(const Ext *e)
{
    return e->uuid;
}

guint64 ext_size(const Ext *e)
{
    return ext2fs_blocks_count(e->fs->super) * e->fs->blocksize;
}

guint64 ext_used(const Ext *e)
{
    guint64 all = ext2fs_blocks_count(e->fs->super);

    return (all - MIN(all, ext2fs_free_blocks_count(e->fs->super))) * e->fs->blocksize;
}

/* ---- What an answer hangs on ---- */

static int trace_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref, int offset,
                       void *data)
{
    Ext *e = data;

    if (*block >= ext2fs_blocks_count(fs->super))
        return BLOCK_ABORT; /* crafted: reading it fails as well */
    trace_add(e->trace, 'd', block_start(e->part) + *block * fs->blocksize, fs->blocksize);
    return 0;
}

/* The inode, its group's descriptor, and all blocks of its tree and its contents. */
static void trace_inode(Ext *e, guint32 inode)
{
    ext2_filsys fs = e->fs;
    struct ext2_inode i;

    if (!e->trace || inode == 0 || inode > fs->super->s_inodes_count)
        return;
    dgrp_t group = ext2fs_group_of_ino(fs, inode);
    guint64 at =
        ext2fs_inode_table_loc(fs, group) * fs->blocksize +
        (guint64)((inode - 1) % EXT2_INODES_PER_GROUP(fs->super)) * EXT2_INODE_SIZE(fs->super);
    trace_add(e->trace, 'i', block_start(e->part) + at, EXT2_INODE_SIZE(fs->super));
    guint per_block = (guint)EXT2_DESC_PER_BLOCK(fs->super);
    blk64_t block =
        ext2fs_descriptor_block_loc2(fs, fs->super->s_first_data_block, group / per_block);
    trace_add(e->trace, 'g',
              block_start(e->part) + block * fs->blocksize +
                  (guint64)(group % per_block) * EXT2_DESC_SIZE(fs->super),
              EXT2_DESC_SIZE(fs->super));
    if (ext2fs_read_inode(fs, inode, &i) == 0 && ext2fs_inode_has_valid_blocks2(fs, &i))
        ext2fs_block_iterate3(fs, inode, BLOCK_FLAG_READ_ONLY, NULL, trace_block, e);
}

/* ---- Reading ---- */

/* In seconds: 34 bits of them, two of which stand with the nanoseconds. */
static gint64 time_of(guint32 seconds, guint32 extra)
{
    return (gint64)(gint32)seconds + ((gint64)(extra & 3) << 32);
}

gboolean ext_stat(Ext *e, guint32 inode, ExtStat *ret, GError **error)
{
    struct ext2_inode_large large = { 0 };
    struct ext2_inode *i = (struct ext2_inode *)&large;
    errcode_t code = ext2fs_read_inode_full(e->fs, inode, i, sizeof large);

    if (code)
        return fail(code, error, "cannot read an inode");
    gboolean has_extra = EXT2_INODE_SIZE(e->fs->super) > 128 && large.i_extra_isize >= 12;
    *ret = (ExtStat){ .mode = i->i_mode,
                      .uid = inode_uid(*i),
                      .gid = inode_gid(*i),
                      .n_links = i->i_links_count,
                      .size = EXT2_I_SIZE(i),
                      .mtime_s = time_of(i->i_mtime, has_extra ? large.i_mtime_extra : 0) };
    return TRUE;
}

gboolean ext_lookup(Ext *e, guint32 folder, const char *name, gsize len, guint32 *ret_inode,
                    GError **error)
{
    ext2_ino_t found = 0;

    trace_inode(e, folder);
    errcode_t code = len > EXT2_NAME_LEN
                         ? EXT2_ET_FILE_NOT_FOUND
                         : ext2fs_lookup(e->fs, folder, name, (int)len, NULL, &found);
    if (code == EXT2_ET_FILE_NOT_FOUND || code == EXT2_ET_NO_DIRECTORY) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "no such file or folder");
        return FALSE;
    }
    if (code)
        return fail(code, error, "cannot read a folder");
    *ret_inode = found;
    return TRUE;
}

typedef struct {
    ExtVisit visit;
    gpointer data;
} Listing;

static int list_entry(ext2_ino_t dir, int entry, struct ext2_dir_entry *d, int offset, int size,
                      char *buffer, void *data)
{
    Listing *l = data;
    gsize len = (gsize)ext2fs_dirent_name_len(d);

    if (d->inode == 0 || (len == 1 && d->name[0] == '.') ||
        (len == 2 && d->name[0] == '.' && d->name[1] == '.'))
        return 0;
    return l->visit(d->name, len, d->inode, l->data) ? 0 : DIRENT_ABORT;
}

gboolean ext_list(Ext *e, guint32 folder, ExtVisit visit, gpointer data, GError **error)
{
    Listing listing = { visit, data };

    trace_inode(e, folder);
    errcode_t code = ext2fs_dir_iterate2(e->fs, folder, 0, NULL, list_entry, &listing);
    return code ? fail(code, error, "cannot read a folder") : TRUE;
}

static gboolean append_piece(const guint8 *bytes, gsize len, gpointer data, GError **error)
{
    GByteArray *out = data;

    g_byte_array_append(out, bytes, (guint)MIN(len, EXT_LINK_MAX - MIN(out->len, EXT_LINK_MAX)));
    return TRUE;
}

GBytes *ext_read_link(Ext *e, guint32 inode, GError **error)
{
    struct ext2_inode i;
    errcode_t code = ext2fs_read_inode(e->fs, inode, &i);

    trace_inode(e, inode);
    if (code || i.i_size > EXT_LINK_MAX) {
        fail(code ? code : EXT2_ET_SYMLINK_LOOP, error, "cannot read a link");
        return NULL;
    }
    if (ext2fs_is_fast_symlink(&i))
        return g_bytes_new(i.i_block, MIN(i.i_size, sizeof i.i_block));
    GByteArray *out = g_byte_array_new();
    if (ext_read_file(e, inode, append_piece, out, error))
        return g_byte_array_free_to_bytes(out);
    g_byte_array_unref(out);
    return NULL;
}

gboolean ext_read_file(Ext *e, guint32 inode, ExtPiece piece, gpointer data, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(PIECE);
    ext2_file_t file;
    unsigned int got = 0;
    gboolean ok = TRUE;
    errcode_t code = ext2fs_file_open(e->fs, inode, 0, &file);

    trace_inode(e, inode);
    if (code)
        return fail(code, error, "cannot open a file");
    do {
        code = ext2fs_file_read(file, buffer, PIECE, &got);
        ok = !code && (!got || piece(buffer, got, data, error));
    } while (ok && got);
    ext2fs_file_close(file);
    return code ? fail(code, error, "cannot read a file") : ok;
}
