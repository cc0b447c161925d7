/* export_ref.h: what is to be exported, found in the catalog and opened.
 *
 *   DESKTOP             its disk as it is
 *   DESKTOP@SNAPSHOT    a snapshot of it
 *   DESKTOP/data, DESKTOP@SNAPSHOT/data   the same of its data disk
 *   TEMPLATE[:VERSION]  a template version (the newest published one)
 *   archive:POINT       an archive point
 *   archive:POINT/data  the data disk in it
 *
 * Any thread. */
#pragma once

#include "imaged/job/world.h"

typedef struct {
    char *kind; /* desktop, data, snapshot, snapshot-data, version, archive, archive-data */
    char *object_id;
    char *name;       /* canonical: "golden:3", "lab-1@before" */
    char *version_id; /* of the template below; NULL for an archive */
    char *layer_id;   /* the topmost layer; likewise */
    char *store_id;
    gint64 generation;
    gboolean is_read_write;
    gboolean is_glance; /* opened without a lock: who reads it looks afterwards if it changed */
} ExportRef;

void export_ref_clear(ExportRef *ref);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ExportRef, export_ref_clear)

/* Find by what a user wrote.  INVALID, NOT_FOUND. */
gboolean export_ref_find(World *world, const char *text, gboolean is_read_write, ExportRef *ret,
                         GError **error);

/* The same thing again, as it is by now. */
gboolean export_ref_find_by_id(World *world, const char *kind, const char *object_id,
                               gboolean is_read_write, ExportRef *ret, GError **error);

/* The claims that an export of it holds.  Caller unrefs. */
json_t *export_ref_claims(World *world, const ExportRef *ref);

/* Open its layers, the base first: descriptors (int) are appended to fds, which closes none.
 * BUSY if QEMU writes it; a disk that is read stays locked against that while its descriptor is
 * open anywhere. */
gboolean export_ref_open(World *world, const ExportRef *ref, GArray *fds, GError **error);
