/* replaced.h: disks of a desktop that others take the place of: to the trash, as one entry.
 *
 * For the files of this folder. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

typedef struct {
    LayerRow *layer;       /* changed to what it is then; NULL: this disk is not replaced */
    const StoreStat *stat; /* NULL: its file is missing, so the layer is forgotten */
} ReplacedDisk;

typedef struct {
    const DesktopRow *desktop; /* as it is before */
    ReplacedDisk disk, data;
    const char *trash_id; /* of the new entry */
    const char *reason;
    gint64 now;
} Replaced;

void replaced_put(World *world, Changes *changes, const Replaced *replaced);

/* The same for item i of a chunk, with moves for batch_move_now(). */
void replaced_put_item(BatchChunk *chunk, guint i, const Replaced *replaced);
