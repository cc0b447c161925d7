/* digest_cache.h: digests of layers (cow/block_digest.h), kept in STATE/digests.
 *
 * One file per layer, named by its id, at 0.4 % of what the layer holds.  A frozen layer's is good
 * for as long as the layer lives; that of an active layer at rest is good while its file is what it
 * was.  A cache and no more: what is missing or damaged is made again.  Any thread. */
#pragma once

#include "cow/block_digest.h"
#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

typedef struct {
    World *world;
    const gint *cancel;                             /* or NULL */
    void (*progress)(guint64 bytes, gpointer data); /* guest data dealt with; or NULL */
    gpointer data;
    guint64 n_made, n_kept; /* counted */
    guint64 made_bytes;     /* of guest data that was read */
} DigestCache;

/* The digest of a layer, made if it is not kept.  BUSY if QEMU has the layer open for writing, or
 * if it changed while it was read: nothing that runs is read, and nobody is kept from starting it.
 * NO_SPACE, UNAVAILABLE, CORRUPT, CANCELLED. */
BlockDigest *digest_cache_open(DigestCache *cache, const LayerRow *row, GError **error);

/* Forget the digest of a layer that is no more. */
void digest_cache_forget(World *world, const char *layer_id);

/* Forget all that belong to no layer in the catalog. */
void digest_cache_trim(World *world);

/* A file without a name in the same folder: gone when it is closed.  -1 on an error. */
int digest_cache_scratch(World *world, GError **error);
