/* identity.h: who a layer is, as it stands in its own file (the "IMGD" header extension, JSON).
 *
 * It holds what is fixed at birth; every later fact is in the store's journal.  It is untrusted
 * when read: a copied or edited file may say anything, so callers compare it with the catalog. */
#pragma once

#include <glib.h>

typedef struct {
    char *id;         /* of the layer: its content */
    char *parent;     /* id of the layer below, NULL for a base */
    char *owner_kind; /* "template", "desktop", "data" (of its data disk) or "stand-in" */
    char *owner_id;   /* of the template version or the desktop; a stand-in's is its own id */
    char *owner_name; /* its name at birth, for people who look at a file */
    gint64 generation; /* of the desktop, or the number of the template version */
    gint64 created_at; /* milliseconds since 1970 */
    char *slot;        /* where it was made for, if that is not its id: a merge; else NULL */
} Identity;

/* The JSON text (at most IDENTITY_MAX bytes).  Caller frees. */
#define IDENTITY_MAX 512
char *identity_to_json(const Identity *identity);

/* Parse; CORRUPT if it is not exactly such a text. Caller clears. */
gboolean identity_parse(const char *json, Identity *ret_identity, GError **error);

void identity_clear(Identity *identity);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Identity, identity_clear)
