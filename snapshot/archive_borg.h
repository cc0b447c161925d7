/* archive_borg.h: what the files of kind "borg" share.  See archive_borg.c.  No other file uses it.
 */
#pragma once

#include "imaged/base/ident.h"
#include "snapshot/archive_target.h"
#include "snapshot/borg_child.h"

#define BORG_FORGET_MS (24 * 3600 * (gint64)1000) /* longer than any session */

/* The archives of a repository, by what their names begin with. */
#define BORG_LAYER "layer-"     /* layer-<layer id>: an object */
#define BORG_GONE "gone-"       /* gone-<layer id>-<ms>: one that is to be deleted */
#define BORG_PUT "put-"         /* put-<layer id>-<random>: one that is not whole yet */
#define BORG_POINT "point-"     /* point-<id> */
#define BORG_DELETED "deleted-" /* deleted-<id>-<ms> */
#define BORG_MANAGER "manager-" /* manager-<id>: who uses the repository */

typedef struct {
    char name[120];
    char id[65];     /* borg's, of this content under this name */
    gint64 start_ms; /* when its making began */
} BorgArchive;

typedef struct {
    ArchiveTarget base;
    BorgPlace place;
    int base_fd;              /* of place.base_dir */
    int points_fd;            /* of "points" in it */
    int lock_fd;              /* "lock" in it */
    char manager[ID_LEN + 1]; /* of the folder place.base_dir, made with it */
    GArray *archives;         /* BorgArchive; NULL until they are listed */
} BorgTarget;

/* List the archives anew. */
gboolean borg_list(BorgTarget *t, GError **error);

/* Before writing: list the archives if they are not, and note in the repository that this manager
 * uses it. */
gboolean borg_note_manager(BorgTarget *t, GError **error);

/* The archive with this name, or the first that begins with it; NULL if there is none. */
const BorgArchive *borg_find(const BorgTarget *t, const char *name);
const BorgArchive *borg_find_prefix(const BorgTarget *t, const char *prefix);

/* "gone-ID-MS", "deleted-ID-MS" -> ID and MS; FALSE if name is none such. */
gboolean borg_split(const char *name, const char *prefix, char ret_id[ID_LEN + 1], gint64 *ret_ms);

/* Rename, also in our list.  Done before is done. */
gboolean borg_rename(BorgTarget *t, const char *from, const char *to, GError **error);

/* Delete these archives; those that are not there are no error.  Their space is given back by
 * borg_compact(). */
gboolean borg_delete(BorgTarget *t, const GPtrArray *names, GError **error);
gboolean borg_compact(BorgTarget *t, GError **error);

/* Bytes that the repository's chunks take. */
gboolean borg_stored_bytes(BorgTarget *t, guint64 *ret_bytes, GError **error);

/* Store input as the one file of a new archive; *ret_bytes: what was added to the repository. */
gboolean borg_create(BorgTarget *t, const char *archive, const char *file, const BorgRun *input,
                     guint64 *ret_added, GError **error);

/* A file in memory that holds what borg is to read, complete before it starts.  Caller closes. */
int borg_input_file(const char *text, GError **error);

/* "LOCATION::ARCHIVE".  Caller frees. */
char *borg_where(const BorgTarget *t, const char *archive);

/* ---- archive_borg_points.c and archive_borg_objects.c: the functions of ArchiveTargetOps ---- */
gboolean borg_put_point(ArchiveTarget *target, const char *id, const char *text, GError **error);
char *borg_get_point(ArchiveTarget *target, const char *id, gboolean is_deleted, GError **error);
gboolean borg_list_points(ArchiveTarget *target, gboolean deleted, ArchiveVisit visit,
                          gpointer user, GError **error);
gboolean borg_delete_point(ArchiveTarget *target, const char *id, GError **error);
gboolean borg_undelete_point(ArchiveTarget *target, const char *id, GError **error);
gboolean borg_purge_points(ArchiveTarget *target, gint64 before_ms, GError **error);
gboolean borg_forget_point(ArchiveTarget *target, const char *id, GError **error);

gboolean borg_put_layer(ArchiveTarget *target, const ArchivePut *put, ArchiveObject *ret,
                        GError **error);
gboolean borg_has_object(ArchiveTarget *target, const char *name, gboolean *ret_has,
                         GError **error);
int borg_open_object(ArchiveTarget *target, const char *name, int scratch, const gint *cancel,
                     ArchiveProgress progress, gpointer data, GError **error);
gboolean borg_verify_object(ArchiveTarget *target, const char *name, const gint *cancel,
                            GError **error);
gboolean borg_list_objects(ArchiveTarget *target, ArchiveVisit visit, gpointer user,
                           GError **error);
gboolean borg_delete_objects(ArchiveTarget *target, const char *const *names, guint n,
                             guint64 *ret_freed, GError **error);
