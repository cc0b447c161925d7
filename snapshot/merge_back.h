/* merge_back.h: a layer that a merge replaced, switched back into its slot.
 *
 * A merge changes nothing that a guest reads, so nobody should need this; it is there for the day
 * when somebody doubts it. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

/* Item i: the layer of this trash entry (kind layer) goes back into its slot, and what is there now
 * goes to the trash.  INVALID if another merge has been there since. */
gboolean merge_take_back(BatchChunk *chunk, guint i, Db *db, const TrashRow *entry, GError **error);

/* The facts were not committed: the slot gets back what it had. */
void merge_undo_take_back(BatchChunk *chunk, Db *db, const TrashRow *entry);
