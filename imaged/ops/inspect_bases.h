/* inspect_bases.h: the templates of a run of desktops, opened once each, to compare with.
 *
 * One thread. */
#pragma once

#include "imaged/ops/inspect_disk.h"

typedef struct InspectBases InspectBases;

InspectBases *inspect_bases_new(World *world, const gint *cancel);
void inspect_bases_free(InspectBases *bases);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(InspectBases, inspect_bases_free)

/* Is this desktop's disk, for all that an inspection sees, its template's?  Then the row that says
 * so is put into changes.  A template that nobody looked into yet is looked into first.  FALSE
 * without an error: no, or it can't be told this way.  BUSY while QEMU writes it. */
gboolean inspect_bases_put_same(InspectBases *bases, const char *desktop_id, Changes *changes,
                                GError **error);
