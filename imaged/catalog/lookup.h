/* lookup.h: questions that more than one verb asks of the catalog.
 *
 * Each takes a borrowed reading connection (catalog_read_begin).  Rows are filled in and cleared by
 * the caller.  NOT_FOUND names the thing in the user's words. */
#pragma once

#include <glib.h>

#include "imaged/catalog/rows.h"

gboolean lookup_template(Db *db, const char *name, TemplateRow *ret, GError **error);
gboolean lookup_template_by_id(Db *db, const char *id, TemplateRow *ret, GError **error);

/* ref is NAME or NAME:VERSION.  Without a version: the newest published one if published is set,
 * else the newest one. */
gboolean lookup_version(Db *db, const char *ref, gboolean published, VersionRow *ret,
                        GError **error);
gboolean lookup_version_by_id(Db *db, const char *id, VersionRow *ret, GError **error);

gboolean lookup_desktop(Db *db, const char *name, DesktopRow *ret, GError **error);
gboolean lookup_desktop_by_id(Db *db, const char *id, DesktopRow *ret, GError **error);
gboolean lookup_layer(Db *db, const char *id, LayerRow *ret, GError **error);

/* Is this layer the disk or the data disk of a desktop, be that in the trash, but for the desktop
 * with the id except ("": of any)?  Then no trash entry of it may be given up or brought back. */
gboolean lookup_is_used(Db *db, const char *layer_id, const char *except);

gboolean lookup_trash(Db *db, const char *id, TrashRow *ret, GError **error);

gboolean lookup_snapshot(Db *db, const char *desktop_id, const char *name, SnapshotRow *ret,
                         GError **error);
gboolean lookup_snapshot_by_id(Db *db, const char *id, SnapshotRow *ret, GError **error);
/* The layer that is in this slot of this store. */
gboolean lookup_slot(Db *db, const char *store_id, const char *slot, LayerRow *ret, GError **error);

/* The layer of this template version that lies in this store (frozen), or NOT_FOUND. */
gboolean lookup_version_layer(Db *db, const char *version_id, const char *store_id, LayerRow *ret,
                              GError **error);

/* Of a desktop d: the trash entries x whose disks an undo brings back.  Those of a data disk that
 * was taken away since are the trash's business alone. */
#define LOOKUP_UNDO_OF_D                                                                           \
    "x.desktop_id = d.id AND x.reason IN ('reset', 'revert', 'archive', 'rollout') AND"            \
    " (x.kind = 'disk' OR x.kind = 'data' AND d.data_layer_id IS NOT NULL)"

/* The newest trash entry that undoing a reset of this desktop would bring back: of its disk, its
 * data disk, or both. */
gboolean lookup_undo(Db *db, const char *desktop_id, TrashRow *ret, GError **error);

/* All rows that a statement with the table's columns yields.  Cleared with lookup_rows_clear(). */
typedef struct {
    RowKind kind;
    GPtrArray *rows;
} LookupRows;
gboolean lookup_rows(Db *db, RowKind kind, LookupRows *ret, GError **error, const char *sql,
                     const char *types, ...);
void lookup_rows_clear(LookupRows *rows);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LookupRows, lookup_rows_clear)

/* Is name fit for a new template or desktop (what says which), and free?  INVALID, EXISTS. */
gboolean lookup_check_new_name(Db *db, const char *what, const char *name, GError **error);

/* One integer (0 if there is no row). */
gint64 lookup_int(Db *db, const char *sql, const char *types, ...);

/* "NAME:VERSION" of a version's id.  Caller frees. */
char *lookup_version_name(Db *db, const char *version_id);
