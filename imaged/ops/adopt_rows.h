/* adopt_rows.h: the catalog's rows of a layer that is known by its header alone.
 *
 * All of them go to changes, facts of store; strings stay the caller's.  Ids that no header tells
 * are derived from those that it does, so that the same layers give the same rows. */
#pragma once

#include "cow/identity.h"
#include "imaged/catalog/catalog.h"
#include "imaged/job/world.h"

/* A layer that was found. */
typedef struct Found Found;
struct Found {
    Identity identity;
    char *slot;
    char *backing_slot; /* or NULL */
    guint64 virtual_size;
    char *checksum; /* of a base */
    gboolean in_trash, is_writable;
    gboolean is_known; /* to the catalog, by now */
};

void adopt_put_layer(World *world, Store *store, Changes *changes, const Found *f,
                     const LayerRow *below, const char *state);

/* The disk of a desktop that the catalog has not heard of yet. */
void adopt_put_desktop(World *world, Store *store, Changes *changes, const Found *f,
                       const LayerRow *below, const char *version_id, gboolean is_trashed);

/* The data layers of list (of Found, the newest first), once their desktops are known. */
gboolean adopt_data_layers(World *world, Store *store, GPtrArray *list, GError **error);

/* kind: desktop, template_version (both deleted), disk or data (one that was replaced),
 * stand_in. */
void adopt_put_trash(World *world, Store *store, Changes *changes, const Found *f,
                     const char *version_id, const char *kind);

void adopt_put_snapshot(World *world, Store *store, Changes *changes, const Found *f,
                        const char *version_id);

/* A version of the template with that name, or a deleted one. */
void adopt_put_version(World *world, Store *store, Changes *changes, const Found *f);

/* A flattened disk stands on no version, but a desktop names one: one that is in the trash. Returns
 * its id; the caller frees it. */
char *adopt_put_no_version(World *world, Store *store, Changes *changes, const Found *f);
