/* archive_target.h: where archives lie, behind one struct of functions.
 *
 * A target keeps objects (each is one frozen layer, stored once) and points (small manifests that
 * name the objects of a whole chain).  An object is there before a point names it; a point is whole
 * or not there.  Kinds: "dir" (archive_dir.c: a mounted backup share) and "borg" (archive_borg.c).
 * A target may be shared by several managers; its marker holds its id.  Long calls take cancel.
 * One thread at a time per ArchiveTarget; open another one for another thread. */
#pragma once

#include <glib.h>

#include "cow/layer.h"

typedef struct ArchiveTarget ArchiveTarget;

typedef void (*ArchiveProgress)(guint64 done_bytes, guint64 total_bytes, gpointer data);

typedef struct {
    const char *layer_id;    /* of the frozen layer: a kind may name the object after it */
    Layer *layer;
    Layer *const *below;     /* its chain, the base first; without layer */
    guint n_below;
    const char *parent;      /* object of the layer below, or NULL for a base */
    const gint *cancel;
    ArchiveProgress progress;
    gpointer data;
} ArchivePut;

typedef struct {
    char name[80];   /* of the object: [0-9a-z-] */
    guint64 bytes;   /* stored for it by itself, as far as the kind can tell */
} ArchiveObject;

typedef gboolean (*ArchiveVisit)(const char *name, guint64 bytes, gpointer user, GError **error);

typedef struct {
    const char *kind;

    /* Sessions: shared for writing and reading, exclusive for collecting garbage.  BUSY. */
    gboolean (*lock)(ArchiveTarget *target, gboolean is_exclusive, GError **error);
    void (*unlock)(ArchiveTarget *target);

    /* Store a layer, durable on return.  The caller asks only for what it does not know to be there
     * whole, so an object of that name is made good again. */
    gboolean (*put_layer)(ArchiveTarget *target, const ArchivePut *put, ArchiveObject *ret,
                          GError **error);
    gboolean (*has_object)(ArchiveTarget *target, const char *name, gboolean *ret_has,
                           GError **error);
    /* An object as a qcow2 file open for reading, its content checked against its digest; spooled
     * to a nameless file in the folder scratch if need be. */
    int (*open_object)(ArchiveTarget *target, const char *name, int scratch, const gint *cancel,
                       ArchiveProgress progress, gpointer data, GError **error);
    /* Read it as a whole and compare: CORRUPT, NOT_FOUND. */
    gboolean (*verify_object)(ArchiveTarget *target, const char *name, const gint *cancel,
                              GError **error);
    gboolean (*list_objects)(ArchiveTarget *target, ArchiveVisit visit, gpointer user,
                             GError **error);
    /* Under the exclusive lock: objects that no point names. *ret_freed in bytes. */
    gboolean (*delete_objects)(ArchiveTarget *target, const char *const *names, guint n,
                               guint64 *ret_freed, GError **error);

    /* Points: the manifest's text, kept and given back unchanged (checksummed by archive_point.h).
     * Deleted ones are kept aside until purge_points(). */
    gboolean (*put_point)(ArchiveTarget *target, const char *id, const char *text, GError **error);
    char *(*get_point)(ArchiveTarget *target, const char *id, gboolean is_deleted, GError **error);
    gboolean (*list_points)(ArchiveTarget *target, gboolean deleted, ArchiveVisit visit,
                            gpointer user, GError **error);
    gboolean (*delete_point)(ArchiveTarget *target, const char *id, GError **error);
    gboolean (*undelete_point)(ArchiveTarget *target, const char *id, GError **error);
    /* Forget points that were deleted before this time (milliseconds since 1970). */
    gboolean (*purge_points)(ArchiveTarget *target, gint64 before_ms, GError **error);
    /* Forget one point at once, live or deleted; one that is not there is no error.  Its objects
     * stay until the next delete_objects(). */
    gboolean (*forget_point)(ArchiveTarget *target, const char *id, GError **error);

    void (*free)(ArchiveTarget *target);
} ArchiveTargetOps;

struct ArchiveTarget {
    const ArchiveTargetOps *ops;
    char *id;       /* the marker's */
    char *location;
    char *name; /* in the catalog, or NULL: set by archive_open(), freed by archive_target_free() */
};

typedef struct {
    const char *kind, *location;
    const char *expect_id;   /* the id that the catalog knows, or NULL */
    gboolean create;         /* make a target if the place is empty */
    const char *passphrase;  /* borg: or NULL */
    const char *encryption;  /* borg, when created: "none" or "repokey-blake2" */
    const char *state_dir;   /* borg: where its cache and configuration go */
} ArchiveTargetOptions;

#define ARCHIVE_POINT_TEXT_MAX (1024 * 1024) /* bytes of a manifest: longer ones are not read */

/* UNAVAILABLE (gone, not mounted, not the one expected), INVALID, UNSUPPORTED (no such kind). */
ArchiveTarget *archive_target_open(const ArchiveTargetOptions *options, GError **error);
void archive_target_free(ArchiveTarget *target);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ArchiveTarget, archive_target_free)

/* ---- the kinds, for archive_target.c ---- */

ArchiveTarget *archive_dir_open(const ArchiveTargetOptions *options, GError **error);
ArchiveTarget *archive_borg_open(const ArchiveTargetOptions *options, GError **error);
