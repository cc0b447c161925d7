/* package_cache.c: a file's time of change says when it was used last. */
#include "imaged/guest/helper/package_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"

#define DIGEST_LEN 64
#define PART (256u << 10)

static gboolean is_digest(const char *text)
{
    return strlen(text) == DIGEST_LEN && strspn(text, "0123456789abcdef") == DIGEST_LEN;
}

/* Copy all bytes; the digest of what was copied.  Caller frees; NULL on an error. */
static char *copy(int from, int to)
{
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree guint8 *buffer = g_malloc(PART);
    guint64 offset = 0;
    gsize n;

    do {
        if (!durable_pread(from, buffer, PART, offset, &n) ||
            (n && !durable_write(to, buffer, n, offset, NULL)))
            return NULL;
        g_checksum_update(checksum, buffer, (gssize)n);
        offset += n;
    } while (n);
    return g_strdup(g_checksum_get_string(checksum));
}

/* As a whole or not at all. */
static gboolean copy_checked(const char *source, const char *target, const char *sha256,
                             gboolean *ret_differs)
{
    g_autofree char *partial = g_strdup_printf("%s.%d", target, (int)getpid());
    auto_fd from = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    auto_fd to =
        from < 0 ? -1 : open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    g_autofree char *digest = to < 0 ? NULL : copy(from, to);
    gboolean is_same = digest && g_str_equal(digest, sha256);

    *ret_differs = digest && !is_same;
    if (is_same && rename(partial, target) == 0)
        return TRUE;
    if (to >= 0)
        unlink(partial);
    return FALSE;
}

gboolean package_cache_take(const char *cache, const char *sha256, const char *target)
{
    gboolean differs = FALSE;

    if (!cache || !is_digest(sha256))
        return FALSE;
    g_autofree char *path = g_build_filename(cache, sha256, NULL);
    if (!copy_checked(path, target, sha256, &differs)) {
        if (differs)
            unlink(path);
        return FALSE;
    }
    utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
    return TRUE;
}

void package_cache_keep(const char *cache, const char *sha256, const char *source)
{
    gboolean differs;

    if (!cache || !is_digest(sha256))
        return;
    g_autofree char *path = g_build_filename(cache, sha256, NULL);
    if (access(path, F_OK) != 0)
        copy_checked(source, path, sha256, &differs);
}

typedef struct {
    char *path;
    guint64 bytes;
    gint64 used_at;
} Kept;

static void kept_free(gpointer data)
{
    Kept *kept = data;

    g_free(kept->path);
    g_free(kept);
}

static int oldest_first(gconstpointer a, gconstpointer b)
{
    const Kept *one = *(Kept *const *)a, *other = *(Kept *const *)b;

    return one->used_at < other->used_at ? -1 : one->used_at > other->used_at;
}

void package_cache_trim(const char *cache, guint64 max_bytes)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(kept_free);
    g_autoptr(GDir) dir = cache ? g_dir_open(cache, 0, NULL) : NULL;
    guint64 total = 0;
    const char *name;
    struct stat st;

    while (dir && (name = g_dir_read_name(dir))) {
        Kept *kept = g_new0(Kept, 1);
        kept->path = g_build_filename(cache, name, NULL);
        g_ptr_array_add(all, kept);
        if (lstat(kept->path, &st) == 0) {
            kept->bytes = (guint64)st.st_blocks * 512;
            /* Half a file of a fetch that was killed goes first. */
            kept->used_at = is_digest(name) ? (gint64)st.st_mtime : 0;
            total += kept->bytes;
        }
    }
    g_ptr_array_sort(all, oldest_first);
    for (guint i = 0; i < all->len && total > max_bytes; i++) {
        const Kept *kept = all->pdata[i];
        if (unlink(kept->path) == 0)
            total -= kept->bytes;
    }
}
