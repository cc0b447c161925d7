/* chain.h: the chain of layers under a desktop or a snapshot, as rows and as open layers.
 *
 * Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

/* The rows of the chain that ends with layer_id, the base first.  NOT_FOUND, CORRUPT (a cycle, or
 * deeper than CHAIN_MAX). */
#define CHAIN_MAX 1000u
gboolean chain_rows(Db *db, const char *layer_id, LookupRows *ret, GError **error);

/* Does the file hold the layer of this row?  While a merge switches a slot the catalog is behind
 * for a moment, and a chain of such rows and files would read as neither: BUSY. */
gboolean chain_check_layer(const Layer *layer, const LayerRow *row, GError **error);

/* Those layers opened (Layer *), in the same order: a chain lies in one store.  BUSY as above. */
GPtrArray *chain_open(World *world, const LookupRows *rows, GError **error);

/* The number of rows at the end of the chain that are the desktop's own, not a template's. */
guint chain_n_own(const LookupRows *rows);

/* The same with the stand-in that those may stand on (stand_in.h): all that is no template
 * version's, and so has to be taken along where the version alone is at the other end. */
guint chain_n_above_version(const LookupRows *rows);

/* What the desktop's own layers in this chain take on disk, in bytes. */
gint64 chain_own_bytes(World *world, Db *db, const char *layer_id);

/* ---- freezing ---- */

/* Under the caller's exclusive claim on the desktop (and a shared one on "making/STORE"): freeze
 * its active layer and put a fresh overlay (new_layer_id) on it, as one committed step of job, with
 * more changes (taken over, may be NULL).  *ret_frozen_id (caller frees) is the layer that holds
 * the present state.  If the active layer holds nothing and only_if_changed is set, nothing is done
 * and that is the layer below.  Done already (before a stop) is done.  BUSY while QEMU runs on it.
 */
gboolean chain_freeze(Job *job, World *world, const char *desktop_id, const char *new_layer_id,
                      gboolean only_if_changed, Changes *more, gint64 next_step,
                      char **ret_frozen_id, GError **error);
