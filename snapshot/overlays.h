/* overlays.h: new overlays of a batch, gathered store by store so that they share flushes.
 *
 * For the files of this folder.  One thread. */
#pragma once

#include "cow/identity.h"
#include "cow/store.h"

typedef struct Overlays Overlays;

Overlays *overlays_new(void);
void overlays_free(Overlays *overlays);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Overlays, overlays_free)

/* One more, of size bytes on backing_slot (NULL: a blank base).  Its slot is identity->id, which
 * stays the caller's until overlays_write(). */
void overlays_add(Overlays *overlays, Store *store, const Identity *identity,
                  const char *backing_slot, guint64 size);

/* Write them, durable.  On an error those of some stores may be there: the caller discards. */
gboolean overlays_write(Overlays *overlays, GError **error);
