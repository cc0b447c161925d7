/* archive_layers.h: the layers of which archive points consist: what a target lacks of them is
 * reckoned, and stored.
 *
 * Which layers make up a point, and when it is whole, is said by archive_create.c, to which this is
 * internal.  In the job's thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"
#include "snapshot/archive_point.h"
#include "snapshot/archive_target.h"

/* A job archive.create at work. */
typedef struct {
    Job *job;
    World *world;
    ArchiveTarget *target;
    guint64 done, total; /* of the progress: bytes on disk of the layers to store */
    guint64 layer_bytes; /* of the one at hand */
} ArchiveWork;

/* One disk of a point. */
typedef struct {
    const LookupRows *rows; /* its layers, the base first */
    GPtrArray *layers;      /* of Layer *: those, opened */
    guint n_template;       /* so many, the lowest, belong to the template version */
    gboolean is_data;       /* the data disk */
} ArchiveChain;

/* Bytes on disk of the layers that will have to be stored for the plan's items from that one on, as
 * things are now: for the progress. */
guint64 archive_layers_reckon(ArchiveWork *w, gsize from);

/* See that the target has all layers of the chain, each once, and list them in the point.  What was
 * stored before an error stays, and serves the next try.  CANCELLED; errors of the target, or of
 * reading the layers. */
gboolean archive_layers_store(ArchiveWork *w, const ArchiveChain *chain, ArchivePoint *point,
                              GError **error);
