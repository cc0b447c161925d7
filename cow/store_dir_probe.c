/* store_dir_probe.c: may a store be made in this folder?  Only in one where nothing is that could
 * be somebody's, and on a file system that has what layers need: that is tried, not guessed. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cow/store_dir.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"

/* ---- What lies there ---- */

/* What a stop in the middle of the making of a store may have left: the marker comes last. */
static gboolean is_half_made(const char *name)
{
    if (g_str_equal(name, OWNER_NAME) || g_str_equal(name, "." MARKER_NAME ".new") ||
        g_str_equal(name, "lost+found"))
        return TRUE;
    for (int i = 0; i < STORE_N_PLACES; i++) {
        if (g_str_equal(name, store_place_name(i)))
            return TRUE;
    }
    return FALSE;
}

static gboolean visit_root(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    *(gboolean *)user |= !is_half_made(name);
    return TRUE;
}

static gboolean visit_place(const char *name, const StoreStat *stat, gpointer user, GError **error)
{
    *(gboolean *)user |= !g_str_has_prefix(name, "probe-");
    return TRUE;
}

gboolean store_dir_look_for_content(DirStore *s, gboolean *ret_is_used, GError **error)
{
    *ret_is_used = FALSE;
    if (!store_dir_visit_folder(s->root, visit_root, ret_is_used, error))
        return FALSE;
    for (int i = 0; i < STORE_N_PLACES && !*ret_is_used; i++) {
        auto_fd place =
            openat(s->root, store_place_name(i), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (place < 0 && errno != ENOENT)
            *ret_is_used = TRUE;
        else if (place >= 0 && !store_dir_visit_folder(place, visit_place, ret_is_used, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- What its file system can do ---- */

static gboolean probe_with(DirStore *s, int a, int b)
{
    StoreFeatures *f = &s->base.features;

    f->has_locks = image_lock_probe(a, b);
    f->has_rename = durable_rename(s->place[STORE_TMP], "probe-a", s->place[STORE_LAYERS],
                                   "probe-a", FALSE, NULL);
    auto_fd direct = openat(s->place[STORE_TMP], "probe-b", O_RDWR | O_DIRECT | O_CLOEXEC);
    f->has_direct_io = direct >= 0;
    return f->has_rename;
}

static gboolean remove_probes(DirStore *s, GError **error)
{
    return durable_unlink(s->place[STORE_TMP], "probe-a", error) &&
           durable_unlink(s->place[STORE_LAYERS], "probe-a", error) &&
           durable_unlink(s->place[STORE_TMP], "probe-b", error);
}

gboolean store_dir_probe(DirStore *s, gboolean force, GError **error)
{
    int tmp = s->place[STORE_TMP];

    if (!remove_probes(s, error)) /* of a making that was stopped */
        return FALSE;
    auto_fd a = durable_create(tmp, "probe-a", 0, 0600, error);
    if (a < 0)
        return FALSE;
    auto_fd again = openat(tmp, "probe-a", O_RDWR | O_CLOEXEC);
    auto_fd b = durable_create(tmp, "probe-b", 0, 0600, error);
    gboolean ok = b >= 0 && again >= 0 && probe_with(s, a, again);
    if (ok)
        s->base.features.has_reflink = durable_write(a, "x", 1, 0, NULL) && durable_clone(b, a);
    if (!remove_probes(s, ok ? error : NULL) && ok)
        return FALSE; /* one that stays would be taken for a layer */
    if (!ok || (!s->base.features.has_locks && !force)) {
        g_clear_error(error);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "the file system at '%s' has no working %s", s->base.location,
                    ok ? "locks" : "rename");
        if (ok)
            imaged_error_hint(error, "without locks two hosts can start the same disk; --force "
                                     "accepts that");
        return FALSE;
    }
    return TRUE;
}
