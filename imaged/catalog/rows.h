/* rows.h: the facts that the catalog holds and the stores' journals repeat.
 *
 * One struct per table.  A table of columns (rows.c) turns a struct into bound values, into a JSON
 * object of the journal, and back, so that the two can never differ.  Text fields are owned by the
 * struct.  Any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/catalog/db.h"

typedef struct {
    char *id, *name;
    gint64 last_version; /* numbers of versions are never used twice */
    gint64 is_trashed;
    gint64 created_at, changed_at; /* milliseconds since 1970, here and below */
} TemplateRow;

typedef struct {
    char *id, *template_id;
    gint64 version;
    char *state; /* draft, published, retired */
    gint64 is_trashed;
    char *layer_id; /* where it was made; other stores hold layers with owner_id = id */
    gint64 cpus, memory_bytes;
    char *os, *description, *source, *notes; /* notes: lines */
    gint64 created_at, changed_at;
    char *firmware;   /* bios or uefi; NULL: nobody has said */
    gint64 sealed_at; /* 0: what it holds of its first machine was not removed */
    char *recipe;     /* the text that it was built from, or NULL */
    char *identity;   /* JSON: what its desktops are told at their first boot, or NULL */
    char *video;      /* qxl or virtio; NULL: nobody has said */
    char *hardware;   /* JSON: the rest of its hardware (broker/run/hardware.h), or NULL */
} VersionRow;

/* A layer between a template version and some of its desktops (snapshot/stand_in.h). */
#define LAYER_STAND_IN "stand-in"

typedef struct {
    char *id, *slot, *store_id;
    char *parent_id;  /* NULL for a base */
    char *owner_kind; /* template, desktop, data (of a desktop's data disk), LAYER_STAND_IN */
    char *owner_id;   /* of the version or the desktop; a stand-in is its own */
    gint64 generation;
    char *state;      /* active, frozen, trashed, reclaim (being given back), missing */
    char *place;      /* layers, trash */
    gint64 virtual_size;
    char *checksum; /* of a frozen layer's file, or NULL */
    gint64 created_at;
} LayerRow;

typedef struct {
    char *id, *name, *version_id, *owner;
    gint64 generation;
    char *layer_id, *store_id, *mac, *uuid;
    char *state; /* ok, missing */
    gint64 is_trashed;
    gint64 created_at, changed_at;
    char *draft_of; /* the template whose next version is made in it, or NULL */
    char *identity; /* JSON: what it is told beyond what its version says, or NULL */
    char *data_layer_id; /* the active layer of its data disk, or NULL */
    gint64 disk_size;    /* bytes that its disk has at least; 0: as its template */
    char *hardware;      /* JSON: what differs from its version's hardware, or NULL */
} DesktopRow;

typedef struct {
    char *id;
    char *kind;   /* disk, data (a data disk), desktop, template_version, snapshot, layer (replaced
                   * by a merge), stand_in */
    char *reason; /* reset, undo, restore, deleted, moved, revert, archive, merged, rollout,
                   * rollback, unused, detached */
    char *name;
    char *desktop_id; /* NULL for a template version */
    char *version_id, *layer_id, *store_id;
    gint64 generation, disk_bytes, trashed_at, expires_at;
    char *snapshot_id; /* of kind snapshot, else NULL */
    char *slot;        /* of kind layer: the slot that a merge took it from, else NULL */
    char *data_layer_id; /* of kind disk: the data disk that was replaced with it, or NULL */
} TrashRow;

typedef struct {
    char *id, *desktop_id, *name, *description;
    char *layer_id, *store_id; /* the frozen layer that holds the state */
    char *version_id;          /* what that stands on */
    gint64 generation;         /* of the desktop then */
    gint64 is_trashed, created_at, changed_at;
    char *data_layer_id; /* the same of the data disk; NULL: there was none */
} SnapshotRow;

typedef struct {
    char *id;       /* as in its marker */
    char *name, *kind, *location;
    char *store_id; /* in whose journal this stands: the default store's */
    gint64 created_at;
} ArchiveTargetRow;

typedef struct {
    char *id, *name, *target_id;
    char *what;     /* the selection, as JSON: {"names": [...]}, {"prefix": P} or {"template": T} */
    char *timing;   /* "every day 02:00, keep ...", see archive_schedule.h */
    char *store_id;
    gint64 last_run, created_at;
} ArchiveScheduleRow;

typedef enum {
    ROW_TEMPLATE, /* in this order a journal is applied: references point backwards */
    ROW_VERSION,
    ROW_LAYER,
    ROW_DESKTOP,
    ROW_TRASH,
    ROW_SNAPSHOT,
    ROW_ARCHIVE_TARGET,
    ROW_ARCHIVE_SCHEDULE,
    ROW_N_KINDS
} RowKind;

const char *row_kind_name(RowKind kind);
gboolean row_kind_parse(const char *name, RowKind *ret_kind);
gsize row_size(RowKind kind);

/* A copy with texts of its own, and freeing one (the struct too). */
gpointer row_copy(RowKind kind, gconstpointer row);
void row_free(RowKind kind, gpointer row);
/* Free the texts alone. */
void row_clear(RowKind kind, gpointer row);

/* Is it a desktop's own layer, of its disk or its data disk?  Else it is a template version's. */
gboolean layer_row_is_own(const LayerRow *row);
gboolean layer_row_is_data(const LayerRow *row);

const char *row_id(gconstpointer row); /* the first field of each struct */

/* Fill row from the current row of query, which must have the table's columns. */
void row_read(RowKind kind, Query *query, gpointer ret_row);

/* Insert or replace by id; delete by id (one that is not there is no error). */
gboolean row_put(Db *db, RowKind kind, gconstpointer row, GError **error);
gboolean row_delete(Db *db, RowKind kind, const char *id, GError **error);

/* As a JSON object, appended to out; and back (CORRUPT). */
void row_to_json(RowKind kind, gconstpointer row, GString *out);
gboolean row_from_json(RowKind kind, const json_t *object, gpointer ret_row, GError **error);

static inline void template_row_clear(TemplateRow *row)
{
    row_clear(ROW_TEMPLATE, row);
}
static inline void version_row_clear(VersionRow *row)
{
    row_clear(ROW_VERSION, row);
}
static inline void layer_row_clear(LayerRow *row)
{
    row_clear(ROW_LAYER, row);
}
static inline void desktop_row_clear(DesktopRow *row)
{
    row_clear(ROW_DESKTOP, row);
}
static inline void trash_row_clear(TrashRow *row)
{
    row_clear(ROW_TRASH, row);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TemplateRow, template_row_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VersionRow, version_row_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LayerRow, layer_row_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DesktopRow, desktop_row_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TrashRow, trash_row_clear)
static inline void snapshot_row_clear(SnapshotRow *row)
{
    row_clear(ROW_SNAPSHOT, row);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SnapshotRow, snapshot_row_clear)
static inline void archive_target_row_clear(ArchiveTargetRow *row)
{
    row_clear(ROW_ARCHIVE_TARGET, row);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ArchiveTargetRow, archive_target_row_clear)
static inline void archive_schedule_row_clear(ArchiveScheduleRow *row)
{
    row_clear(ROW_ARCHIVE_SCHEDULE, row);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ArchiveScheduleRow, archive_schedule_row_clear)
