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
/* Add the claims "making" of a store and of that of a data disk's layer (or NULL). */
void chain_claim_making(Db *db, json_t *keys, const char *store_id, const char *data_layer_id);

/* ---- freezing ---- */

/* What to freeze: new_id and new_data_id are of the overlays on the disk and the data disk, if
 * there is one. */
typedef struct {
    const char *desktop_id, *new_id, *new_data_id;
    gboolean only_if_changed; /* a layer that holds nothing is left, the one below has the state */
} ChainFreeze;

/* The layers that hold the present states; data_layer_id is NULL if there is no data disk. */
typedef struct {
    char *layer_id, *data_layer_id;
} ChainFrozen;
void chain_frozen_clear(ChainFrozen *frozen);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ChainFrozen, chain_frozen_clear)

/* Under the caller's exclusive claim on the desktop (and shared ones on "making/STORE"): freeze its
 * active layers and put fresh overlays on them, as one committed step of job.  Done already (before
 * a stop) is done.  BUSY while QEMU runs on one of them. */
gboolean chain_freeze(Job *job, World *world, const ChainFreeze *freeze, gint64 next_step,
                      ChainFrozen *ret_frozen, GError **error);
