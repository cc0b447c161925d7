/* archive_point.h: the manifest of an archive point: built, written as text, and read back.
 *
 * A point is the state of one desktop or template version, with all that a restore needs: the
 * objects of its whole chain, identity, hardware.  The text is JSON in one form only (sorted keys,
 * one blank of indentation), and carries the BLAKE2b-256 of itself without the checksum:
 *     jq -S --indent 1 'del(.checksum)' POINT.json | b2sum -l 256
 * A target may be anybody's, so a text that is read is believed in nothing.  Pure; any thread. */
#pragma once

#include <glib.h>

#define ARCHIVE_CHAIN_MAX 1000u
#define ARCHIVE_OBJECT_MAX 79 /* characters of an object's name: [0-9a-z-] */

typedef struct {
    char *object;
    char *layer_id;
    guint64 bytes;        /* that the object takes in the target */
    gboolean is_template; /* a template version's layer, not the desktop's own */
} ArchiveLayer;

typedef struct {
    char *id;
    gint64 created_at; /* milliseconds since 1970 */
    gboolean is_template; /* of a template version, not of a desktop */
    char *name;        /* of the desktop, or of the template */
    char *description;
    char *manager_id;  /* who made it */

    /* Of a desktop, else NULL or 0. */
    char *desktop_id, *uuid, *mac, *owner;
    gint64 generation;
    char *snapshot;    /* name of the snapshot, or NULL */

    /* The template version that it stands on, or is. */
    char *template_id, *template_name, *version_id;
    gint64 version;
    gint64 cpus, memory_bytes;
    char *os, *version_description, *source, *notes;

    guint64 virtual_size;
    GArray *layers;    /* of ArchiveLayer, the base first; never empty */
    guint64 data_size; /* virtual size of a desktop's data disk; 0: it had none */
    GArray *data_layers; /* of ArchiveLayer, likewise; empty if it had none */
    guint64 new_bytes; /* stored for this point, because the target did not have it */
} ArchivePoint;

ArchivePoint *archive_point_new(void);
void archive_point_free(ArchivePoint *point);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ArchivePoint, archive_point_free)

void archive_point_add_layer(ArchivePoint *point, const char *object, const char *layer_id,
                             guint64 bytes, gboolean is_template);

void archive_point_add_data_layer(ArchivePoint *point, const char *object, const char *layer_id,
                                  guint64 bytes);

/* Layer i of all that it names, those of the data disk last; NULL: there are no more. */
const ArchiveLayer *archive_point_layer(const ArchivePoint *point, guint i);

/* Layers of the template version at the beginning of the chain. */
guint archive_point_n_template(const ArchivePoint *point);

/* Bytes of all its objects. */
guint64 archive_point_bytes(const ArchivePoint *point);

/* "alice", "alice@monday", "win11:3".  Caller frees. */
char *archive_point_title(const ArchivePoint *point);

/* The manifest.  Caller frees. */
char *archive_point_to_text(const ArchivePoint *point);

/* CORRUPT if it is not exactly such a text; UNSUPPORTED if it was made by a newer imaged.
 * expect_id (or NULL): the point it has to be. */
ArchivePoint *archive_point_parse(const char *text, gsize len, const char *expect_id,
                                  GError **error);

/* Is this a name that an object can have? */
gboolean archive_object_is_valid(const char *name);
