/* vfs.c: each file of ours holds the wrapped VFS's file behind its own struct, and a table of
 * methods of the same version as the wrapped file's, so that SQLite asks for nothing which that
 * cannot do. */
#include "imaged/catalog/vfs.h"

#include <errno.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

/* Whoever looks at a change from outside (tests/functional/no_bypass.t) sees by the stack that it
 * passed here: so none of these functions may leave the stack before its change is made. */
#pragma GCC optimize("no-optimize-sibling-calls")

typedef struct {
    sqlite3_file base; /* must be first: SQLite sees this alone */
    gint flush_failed; /* atomic: never reset */
} VfsFile;

/* The wrapped file stands behind ours; VfsFile's size keeps it aligned. */
G_STATIC_ASSERT(sizeof(VfsFile) % 8 == 0);

static sqlite3_file *real_file(sqlite3_file *file)
{
    return (sqlite3_file *)((VfsFile *)file + 1);
}

static sqlite3_vfs *real_vfs(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

/* SQLITE_OK, or what the operation returns when the fault strikes.  A full file system is
 * SQLITE_FULL only where the unix VFS says so too, which is in writing. */
static int fault(int code)
{
    int err = durable_fault_point();

    if (!err)
        return SQLITE_OK;
    return err == ENOSPC && code == SQLITE_IOERR_WRITE ? SQLITE_FULL : code;
}

/* ---- files: what changes something ---- */

/* Never put into its caller: tests look for it on the stack. */
G_GNUC_NO_INLINE static int file_write(sqlite3_file *file, const void *data, int len,
                                       sqlite3_int64 offset)
{
    int code = fault(SQLITE_IOERR_WRITE);

    return code ? code : real_file(file)->pMethods->xWrite(real_file(file), data, len, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int code = fault(SQLITE_IOERR_TRUNCATE);

    return code ? code : real_file(file)->pMethods->xTruncate(real_file(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    int code = fault(SQLITE_IOERR_FSYNC);

    if (!code)
        code = real_file(file)->pMethods->xSync(real_file(file), flags);
    if (code)
        g_atomic_int_set(&((VfsFile *)file)->flush_failed, 1);
    return code;
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    const sqlite3_io_methods *real = real_file(file)->pMethods;
    int code = real->xShmMap(real_file(file), region, size, 0, out);

    if (code || *out || !extend)
        return code;
    if ((code = fault(SQLITE_IOERR_SHMSIZE)))
        return code;
    return real->xShmMap(real_file(file), region, size, extend, out);
}

/* ---- files: what changes nothing ---- */

static int file_close(sqlite3_file *file)
{
    return real_file(file)->pMethods->xClose(real_file(file));
}

static int file_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
    return real_file(file)->pMethods->xRead(real_file(file), data, len, offset);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_file(file)->pMethods->xFileSize(real_file(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return real_file(file)->pMethods->xLock(real_file(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real_file(file)->pMethods->xUnlock(real_file(file), level);
}

static int file_is_reserved(sqlite3_file *file, int *is_reserved)
{
    return real_file(file)->pMethods->xCheckReservedLock(real_file(file), is_reserved);
}

/* The hints that make the unix VFS grow a file (chunk size, size hint) are not given to it, and
 * none may map the database, where a write would pass us by. */
static int file_control(sqlite3_file *file, int op, void *argument)
{
    if (op == SQLITE_FCNTL_CHUNK_SIZE || op == SQLITE_FCNTL_SIZE_HINT ||
        op == SQLITE_FCNTL_MMAP_SIZE)
        return SQLITE_NOTFOUND;
    return real_file(file)->pMethods->xFileControl(real_file(file), op, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return real_file(file)->pMethods->xSectorSize(real_file(file));
}

static int file_traits(sqlite3_file *file)
{
    return real_file(file)->pMethods->xDeviceCharacteristics(real_file(file));
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_file(file)->pMethods->xShmLock(real_file(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    real_file(file)->pMethods->xShmBarrier(real_file(file));
}

/* The file of the shared memory may go with its last user; it holds nothing that anybody needs. */
static int file_shm_unmap(sqlite3_file *file, int delete_it)
{
    return real_file(file)->pMethods->xShmUnmap(real_file(file), delete_it);
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2, /* 3 would be reading through a mapping */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_traits,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    sqlite3_vfs *real = real_vfs(vfs);
    VfsFile *f = (VfsFile *)file;
    int is_there = name != NULL, code = SQLITE_OK;

    f->base.pMethods = NULL; /* SQLite closes a file that has some, even if opening it fails */
    f->flush_failed = 0;
    if (name && (flags & SQLITE_OPEN_CREATE))
        code = real->xAccess(real, name, SQLITE_ACCESS_EXISTS, &is_there);
    if (!code && !is_there)
        code = fault(SQLITE_CANTOPEN);
    if (!code)
        code = real->xOpen(real, name, real_file(file), flags, ret_flags);
    if (!code)
        f->base.pMethods = &file_methods;
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    int is_there = 1,
        code = real_vfs(vfs)->xAccess(real_vfs(vfs), name, SQLITE_ACCESS_EXISTS, &is_there);

    if (!code && is_there)
        code = fault(SQLITE_IOERR_DELETE);
    return code ? code : real_vfs(vfs)->xDelete(real_vfs(vfs), name, sync_dir);
}

static gpointer register_vfs(gpointer unused)
{
    static sqlite3_vfs vfs;

    if (sqlite3_initialize() != SQLITE_OK)
        return NULL;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    vfs = *real; /* all that only asks (time, randomness, paths) is the wrapped one's */
    vfs.pNext = NULL;
    vfs.iVersion = MIN(real->iVersion, 2); /* 3 would be replacing system calls: by its own name */
    vfs.szOsFile = (int)sizeof(VfsFile) + real->szOsFile;
    vfs.zName = "imaged";
    vfs.pAppData = real;
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    return sqlite3_vfs_register(&vfs, FALSE) == SQLITE_OK ? (gpointer)vfs.zName : NULL;
}

const char *vfs_name(void)
{
    static GOnce once = G_ONCE_INIT;
    const char *name = g_once(&once, register_vfs, NULL);

    if (!name)
        g_error("SQLite takes no VFS"); /* only for want of memory */
    return name;
}

/* The connection's database or (_JOURNAL_) WAL, if it is open and ours. */
static sqlite3_file *file_of(sqlite3 *db, int which)
{
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(db, "main", which, &file);

    return code == SQLITE_OK && file && file->pMethods == &file_methods ? file : NULL;
}

static gboolean is_failed(sqlite3 *db, int which)
{
    VfsFile *f = (VfsFile *)file_of(db, which);

    return f && g_atomic_int_get(&f->flush_failed);
}

gboolean vfs_flush_failed(sqlite3 *db)
{
    return is_failed(db, SQLITE_FCNTL_FILE_POINTER) || is_failed(db, SQLITE_FCNTL_JOURNAL_POINTER);
}

gboolean vfs_rewrite_wal(sqlite3 *db, GError **error)
{
    sqlite3_file *wal = file_of(db, SQLITE_FCNTL_JOURNAL_POINTER);
    g_autofree char *buffer = g_malloc(MIB);
    sqlite3_int64 size = 0;
    int code = SQLITE_OK;

    if (!wal || (code = file_size(wal, &size)) != SQLITE_OK || size == 0)
        return code == SQLITE_OK;
    for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size; at += MIB) {
        int len = (int)MIN((sqlite3_int64)MIB, size - at);
        code = file_read(wal, buffer, len, at);
        if (code == SQLITE_OK)
            code = file_write(wal, buffer, len, at);
    }
    if (code == SQLITE_OK)
        code = file_sync(wal, SQLITE_SYNC_DATAONLY | SQLITE_SYNC_NORMAL);
    if (code == SQLITE_OK || code == SQLITE_FULL)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "catalog: %s", sqlite3_errstr(code));
    return FALSE;
}
