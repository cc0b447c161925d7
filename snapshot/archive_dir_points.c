/* archive_dir_points.c: manifests in a folder, and those of deleted points beside them. */
#include "snapshot/archive_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

typedef struct {
    ArchiveVisit visit;
    gpointer user;
    gint64 before_ms;   /* of a purge */
    const char *wanted; /* of a search */
    char *found;
} Walk;

static char *point_file(const char *id)
{
    return g_strconcat(id, ".json", NULL);
}

/* "ID-MS.json" -> ID and MS. */
static gboolean split_deleted(const char *name, char **ret_id, gint64 *ret_ms)
{
    g_autofree char *id = g_strndup(name, ID_LEN);
    char *end = NULL;

    if (!id_is_valid(id) || name[ID_LEN] != '-' || !g_ascii_isdigit(name[ID_LEN + 1]))
        return FALSE;
    *ret_ms = g_ascii_strtoll(name + ID_LEN + 1, &end, 10);
    if (!g_str_equal(end, ".json"))
        return FALSE;
    *ret_id = g_steal_pointer(&id);
    return TRUE;
}

static gboolean match_deleted(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *id = NULL;
    gint64 ms;

    if (split_deleted(name, &id, &ms) && g_str_equal(id, walk->wanted)) {
        g_free(walk->found);
        walk->found = g_strdup(name);
    }
    return TRUE;
}

/* The file in deleted/ of this point, or NULL (without an error if there is none). */
static char *find_deleted(DirTarget *t, const char *id, GError **error)
{
    Walk walk = { .wanted = id };

    if (archive_dir_each(t, t->place[DIR_DELETED], match_deleted, &walk, error))
        return walk.found;
    g_free(walk.found);
    return NULL;
}

static gboolean not_found(const char *id, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the target has no point %s", id);
    return FALSE;
}

gboolean archive_dir_put_point(ArchiveTarget *target, const char *id, const char *text,
                               GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    Id tmp = id_new();
    auto_fd fd = durable_create(t->place[DIR_TMP], tmp.s, 0, 0640, error);

    if (fd < 0)
        return archive_dir_prefixed(FALSE, t, error);
    if (durable_write(fd, text, strlen(text), 0, error) && durable_sync(fd, error) &&
        archive_dir_check(t, error) &&
        durable_rename(t->place[DIR_TMP], tmp.s, t->place[DIR_POINTS], file, TRUE, error) &&
        durable_sync_dir(t->place[DIR_POINTS], error))
        return TRUE;
    durable_unlink(t->place[DIR_TMP], tmp.s, NULL);
    return archive_dir_prefixed(FALSE, t, error);
}

char *archive_dir_get_point(ArchiveTarget *target, const char *id, gboolean is_deleted,
                            GError **error)
{
    DirTarget *t = (DirTarget *)target;
    GError *local = NULL;
    g_autofree char *file = is_deleted ? find_deleted(t, id, &local) : point_file(id);
    char *text = NULL;

    if (local) {
        g_propagate_error(error, local);
        return NULL;
    }
    gsize len = 0;
    if (!file || !durable_read(t->place[is_deleted ? DIR_DELETED : DIR_POINTS], file,
                               ARCHIVE_POINT_TEXT_MAX, &text, &len, &local)) {
        if (!file || g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
            not_found(id, error);
        else if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_INVALID))
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "point %s: %s", id,
                        local->message);
        else
            g_propagate_error(error, g_steal_pointer(&local));
        g_clear_error(&local);
        return NULL;
    }
    if (strlen(text) != len) {
        g_free(text);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "point %s is no text", id);
        return NULL;
    }
    return text;
}

static gboolean visit_point(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *id = g_strndup(name, ID_LEN);

    return !id_is_valid(id) || !g_str_equal(name + ID_LEN, ".json") ||
           walk->visit(id, 0, walk->user, error);
}

static gboolean visit_deleted(DirTarget *t, const char *name, gpointer user, GError **error)
{
    Walk *walk = user;
    g_autofree char *id = NULL;
    gint64 ms;

    return !split_deleted(name, &id, &ms) || walk->visit(id, 0, walk->user, error);
}

gboolean archive_dir_list_points(ArchiveTarget *target, gboolean deleted, ArchiveVisit visit,
                                 gpointer user, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    Walk walk = { .visit = visit, .user = user };

    return archive_dir_each(t, t->place[deleted ? DIR_DELETED : DIR_POINTS],
                            deleted ? visit_deleted : visit_point, &walk, error);
}

static gboolean move_point(DirTarget *t, int from, const char *old, int to, const char *new,
                           GError **error)
{
    return archive_dir_prefixed(
        durable_rename(t->place[from], old, t->place[to], new, TRUE, error) &&
            durable_sync_dir(t->place[to], error) && durable_sync_dir(t->place[from], error),
        t, error);
}

gboolean archive_dir_delete_point(ArchiveTarget *target, const char *id, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    g_autofree char *aside = g_strdup_printf("%s-%" G_GINT64_FORMAT ".json", id, units_now_ms());
    g_autofree char *before = NULL;
    GError *local = NULL;
    struct stat st;

    if (fstatat(t->place[DIR_POINTS], file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return move_point(t, DIR_POINTS, file, DIR_DELETED, aside, error);
    if ((before = find_deleted(t, id, &local)))
        return TRUE; /* before a stop */
    if (!local)
        return not_found(id, error);
    g_propagate_error(error, local);
    return FALSE;
}

gboolean archive_dir_undelete_point(ArchiveTarget *target, const char *id, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    GError *local = NULL;
    g_autofree char *aside = find_deleted(t, id, &local);
    struct stat st;

    if (aside)
        return move_point(t, DIR_DELETED, aside, DIR_POINTS, file, error);
    if (!local && fstatat(t->place[DIR_POINTS], file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return TRUE; /* before a stop */
    if (!local)
        return not_found(id, error);
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean purge_one(DirTarget *t, const char *name, gpointer user, GError **error)
{
    const Walk *walk = user;
    g_autofree char *id = NULL;
    gint64 ms;

    return !split_deleted(name, &id, &ms) || ms >= walk->before_ms ||
           durable_unlink(t->place[DIR_DELETED], name, error);
}

gboolean archive_dir_purge_points(ArchiveTarget *target, gint64 before_ms, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    Walk walk = { .before_ms = before_ms };

    return archive_dir_prefixed(
        archive_dir_each(t, t->place[DIR_DELETED], purge_one, &walk, error) &&
            durable_sync_dir(t->place[DIR_DELETED], error),
        t, error);
}

gboolean archive_dir_forget_point(ArchiveTarget *target, const char *id, GError **error)
{
    DirTarget *t = (DirTarget *)target;
    g_autofree char *file = point_file(id);
    GError *local = NULL;
    g_autofree char *aside = find_deleted(t, id, &local);

    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    return archive_dir_prefixed((!aside || durable_unlink(t->place[DIR_DELETED], aside, error)) &&
                                    durable_unlink(t->place[DIR_POINTS], file, error) &&
                                    durable_sync_dir(t->place[DIR_DELETED], error) &&
                                    durable_sync_dir(t->place[DIR_POINTS], error),
                                t, error);
}
