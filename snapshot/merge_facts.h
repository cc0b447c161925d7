/* merge_facts.h: what the catalog says of layers whose slot got another content.
 *
 * For the files of this folder. */
#pragma once

#include "imaged/catalog/changes.h"
#include "imaged/catalog/lookup.h"

/* All that stands on the layer from stands on the layer to: layers above, trashed ones too,
 * snapshots, and the trash entries of deleted ones.  The caller holds the claims on the desktop,
 * its layers and its snapshots. */
gboolean merge_put_moved(Db *db, Changes *changes, const char *from, const char *to,
                         GError **error);
