/* inspection_same.h: would an inspection of a desktop find what it found in the template?
 *
 * An inspection's answer hangs on the bytes that it read (its ranges, imaged/guest/helper/trace.h).
 * A diff that leaves them as they are has its template's applications, and no helper need read it.
 * Decided from the layers' tables; bytes are read and compared only where the diff holds any of
 * them.  A base is used by one thread at a time. */
#pragma once

#include "cow/layer.h"

typedef struct InspectionBase InspectionBase;

/* layers: the template's chain, the base first (borrowed, must outlive it).  ranges: its
 * inspection's, as text; NULL: then only a diff that holds nothing at all is the same.  INVALID. */
InspectionBase *inspection_base_new(Layer *const *layers, guint n_layers, const char *ranges,
                                    GError **error);
void inspection_base_free(InspectionBase *base);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(InspectionBase, inspection_base_free)

/* own: the layers that stand on it; cancel: set, it stops (CANCELLED), may be NULL.  An error means
 * that it could not be told. */
gboolean inspection_base_compare(InspectionBase *base, Layer *const *own, guint n_own,
                                 const gint *cancel, gboolean *ret_is_same, GError **error);
