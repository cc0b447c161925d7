/* archive_dir.h: what the files of archive targets of kind dir share; for those files alone. */
#pragma once

#include <sys/types.h>

#include "snapshot/archive_target.h"

enum { DIR_LAYERS, DIR_POINTS, DIR_DELETED, DIR_TMP, DIR_N_PLACES };

typedef struct {
    ArchiveTarget base;
    int root, lock, place[DIR_N_PLACES]; /* -1 while not open */
    dev_t dev;
    ino_t ino;
} DirTarget;

/* Visit every name in a folder. */
typedef gboolean (*DirVisit)(DirTarget *t, const char *name, gpointer user, GError **error);
gboolean archive_dir_each(DirTarget *t, int folder, DirVisit visit, gpointer user, GError **error);

/* Is what is mounted there still what we hold?  UNAVAILABLE. */
gboolean archive_dir_check(DirTarget *t, GError **error);

/* Put the target's location before the error's message; returns ok. */
gboolean archive_dir_prefixed(gboolean ok, const DirTarget *t, GError **error);

/* archive_dir_points.c */
gboolean archive_dir_put_point(ArchiveTarget *target, const char *id, const char *text,
                               GError **error);
char *archive_dir_get_point(ArchiveTarget *target, const char *id, gboolean is_deleted,
                            GError **error);
gboolean archive_dir_list_points(ArchiveTarget *target, gboolean deleted, ArchiveVisit visit,
                                 gpointer user, GError **error);
gboolean archive_dir_delete_point(ArchiveTarget *target, const char *id, GError **error);
gboolean archive_dir_undelete_point(ArchiveTarget *target, const char *id, GError **error);
gboolean archive_dir_purge_points(ArchiveTarget *target, gint64 before_ms, GError **error);
gboolean archive_dir_forget_point(ArchiveTarget *target, const char *id, GError **error);

/* archive_dir_objects.c */
gboolean archive_dir_put_layer(ArchiveTarget *target, const ArchivePut *put, ArchiveObject *ret,
                               GError **error);
gboolean archive_dir_has_object(ArchiveTarget *target, const char *name, gboolean *ret,
                                GError **error);
int archive_dir_open_object(ArchiveTarget *target, const char *name, int scratch,
                            const gint *cancel, ArchiveProgress progress, gpointer data,
                            GError **error);
gboolean archive_dir_verify_object(ArchiveTarget *target, const char *name, const gint *cancel,
                                   GError **error);
gboolean archive_dir_list_objects(ArchiveTarget *target, ArchiveVisit visit, gpointer user,
                                  GError **error);
gboolean archive_dir_delete_objects(ArchiveTarget *target, const char *const *names, guint n,
                                    guint64 *ret_freed, GError **error);
