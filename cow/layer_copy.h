/* layer_copy.h: copy a layer's file as it is, under a new identity and on a new parent.
 *
 * For moving layers between stores.  The clusters are copied untouched (shared by reflink where the
 * file systems allow); only the header is made anew.  Any thread. */
#pragma once

#include <glib.h>

#include "cow/digest.h"

typedef struct {
    int from;                 /* the source layer, open for reading */
    int to;                   /* a new, empty file, open for writing */
    const char *identity;     /* JSON */
    const char *backing_name; /* "../layers/SLOT" or NULL, as the source has one or not */
    const char *checksum;     /* of the source's file, verified on the way, or NULL */
    const gint *cancel;       /* or NULL */
    void (*progress)(guint64 bytes, gpointer data); /* or NULL */
    gpointer data;
} LayerCopy;

/* Copy and make durable; ret_checksum gets the copy's digest.  CORRUPT if the source does not match
 * its checksum or is no image, CANCELLED, NO_SPACE, UNAVAILABLE. */
gboolean layer_copy(const LayerCopy *copy, char ret_checksum[33], GError **error);
