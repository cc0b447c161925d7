/* archive_borg_points.c: the points of a borg repository.
 *
 * Deleting one renames it to deleted-<id>-<ms>; undeleting renames it back.  A run of borg takes a
 * third of a second, so manifests that were read or written are kept in points/ of our own folder,
 * named by borg's id of the archive: that is made from the content, so they never get stale. */
#include "snapshot/archive_borg.h"

#include <string.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/archive_point.h"

#define MANIFEST "manifest.json"

static gboolean not_found(const char *id, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the target has no point %s", id);
    return FALSE;
}

/* The archives are listed when a session begins; some calls need none. */
static gboolean have_list(BorgTarget *t, GError **error)
{
    return t->archives || borg_list(t, error);
}

static const BorgArchive *find_point(const BorgTarget *t, const char *id, gboolean is_deleted)
{
    g_autofree char *name =
        g_strconcat(is_deleted ? BORG_DELETED : BORG_POINT, id, is_deleted ? "-" : "", NULL);

    return is_deleted ? borg_find_prefix(t, name) : borg_find(t, name);
}

/* All objects of a point that was just put are there: somebody may have collected meanwhile. */
static gboolean check_objects(BorgTarget *t, const ArchivePoint *point, GError **error)
{
    const ArchiveLayer *layer;

    for (guint i = 0; (layer = archive_point_layer(point, i)); i++) {
        const char *object = layer->object;
        if (!borg_find(t, object)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "borg repository '%s': %s was collected by another manager meanwhile",
                        t->place.location, object);
            imaged_error_hint(error, "archive it again");
            return FALSE;
        }
    }
    return TRUE;
}

gboolean borg_put_point(ArchiveTarget *target, const char *id, const char *text, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autofree char *name = g_strconcat(BORG_POINT, id, NULL);
    g_autoptr(GPtrArray) undo = g_ptr_array_new();
    g_autoptr(ArchivePoint) point = archive_point_parse(text, strlen(text), id, error);
    guint64 added;

    if (!point || !borg_note_manager(t, error))
        return FALSE;
    if (borg_find(t, name)) { /* put before a stop; a point never changes */
        g_autofree char *there = borg_get_point(target, id, FALSE, error);
        if (!there)
            return FALSE;
        if (g_str_equal(there, text))
            return TRUE;
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "the target has another point %s",
                    id);
        return FALSE;
    }
    auto_fd fd = borg_input_file(text, error);
    const BorgRun run = { .input = fd };
    if (fd < 0 || !borg_create(t, name, MANIFEST, &run, &added, error) || !borg_list(t, error))
        return FALSE;
    if (check_objects(t, point, error)) {
        const BorgArchive *archive = borg_find(t, name);
        if (archive)
            durable_replace(t->points_fd, archive->id, text, strlen(text), 0600, NULL);
        return TRUE;
    }
    g_ptr_array_add(undo, name);
    borg_delete(t, undo, NULL);
    return FALSE;
}

char *borg_get_point(ArchiveTarget *target, const char *id, gboolean is_deleted, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    const BorgArchive *archive = have_list(t, error) ? find_point(t, id, is_deleted) : NULL;
    char *text = NULL;

    if (!archive) {
        if (t->archives)
            not_found(id, error);
        return NULL;
    }
    g_autofree char *cached = g_strdup(archive->id), *where = borg_where(t, archive->name);
    if (durable_read(t->points_fd, cached, ARCHIVE_POINT_TEXT_MAX, &text, NULL, NULL)) {
        g_autoptr(ArchivePoint) point = archive_point_parse(text, strlen(text), id, NULL);
        if (point)
            return text;
        g_clear_pointer(&text, g_free); /* damaged here: read it there */
    }
    const char *const argv[] = { "extract", "--stdout", where, MANIFEST, NULL };
    const BorgRun run = { .input = -1, .ret_text = &text, .max_text = ARCHIVE_POINT_TEXT_MAX };
    if (!borg_run(&t->place, argv, &run, error))
        return NULL;
    durable_replace(t->points_fd, cached, text, strlen(text), 0600, NULL);
    return text;
}

gboolean borg_list_points(ArchiveTarget *target, gboolean deleted, ArchiveVisit visit,
                          gpointer user, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    gsize skip = strlen(BORG_POINT);

    if (!have_list(t, error))
        return FALSE;
    g_autoptr(GArray) archives = g_array_ref(t->archives); /* visit may list anew */
    for (guint i = 0; i < archives->len; i++) {
        const char *name = g_array_index(archives, BorgArchive, i).name;
        char id[ID_LEN + 1] = "";
        gint64 ms;
        if (deleted ? !borg_split(name, BORG_DELETED, id, &ms)
                    : !g_str_has_prefix(name, BORG_POINT) || !id_is_valid(name + skip))
            continue;
        if (!visit(deleted ? id : name + skip, 0, user, error))
            return FALSE;
    }
    return TRUE;
}

gboolean borg_delete_point(ArchiveTarget *target, const char *id, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autofree char *name = g_strconcat(BORG_POINT, id, NULL);
    g_autofree char *aside =
        g_strdup_printf(BORG_DELETED "%s-%" G_GINT64_FORMAT, id, units_now_ms());

    if (!have_list(t, error))
        return FALSE;
    if (!borg_find(t, name)) /* deleted before a stop? */
        return find_point(t, id, TRUE) ? TRUE : not_found(id, error);
    return borg_rename(t, name, aside, error);
}

gboolean borg_undelete_point(ArchiveTarget *target, const char *id, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autofree char *name = g_strconcat(BORG_POINT, id, NULL);

    if (!have_list(t, error))
        return FALSE;
    const BorgArchive *aside = find_point(t, id, TRUE);
    if (!aside) /* brought back before a stop? */
        return borg_find(t, name) ? TRUE : not_found(id, error);
    g_autofree char *from = g_strdup(aside->name);
    return borg_rename(t, from, name, error);
}

static gboolean forget(BorgTarget *t, const GPtrArray *archives, GError **error)
{
    for (guint i = 0; i < archives->len; i++) {
        const BorgArchive *archive = borg_find(t, archives->pdata[i]);
        if (archive)
            durable_unlink(t->points_fd, archive->id, NULL);
    }
    return borg_delete(t, archives, error);
}

gboolean borg_purge_points(ArchiveTarget *target, gint64 before_ms, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    if (!have_list(t, error))
        return FALSE;
    for (guint i = 0; i < t->archives->len; i++) {
        const char *name = g_array_index(t->archives, BorgArchive, i).name;
        char id[ID_LEN + 1];
        gint64 ms;
        if (borg_split(name, BORG_DELETED, id, &ms) && ms < before_ms)
            g_ptr_array_add(names, g_strdup(name));
    }
    return forget(t, names, error);
}

gboolean borg_forget_point(ArchiveTarget *target, const char *id, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    if (!have_list(t, error))
        return FALSE;
    for (guint i = 0; i < 2; i++) {
        const BorgArchive *archive = find_point(t, id, i > 0);
        if (archive)
            g_ptr_array_add(names, g_strdup(archive->name));
    }
    return forget(t, names, error);
}
