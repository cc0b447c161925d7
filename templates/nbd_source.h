/* nbd_source.h: read an image from an NBD server, data only, in order, with several requests under
 * way.  The server is not trusted: sizes are bounded, a server that says nothing for a minute is
 * given up.  One thread. */
#pragma once

#include <glib.h>

typedef struct NbdSource NbdSource;

/* Connect.  UNAVAILABLE, UNSUPPORTED (a size out of range). */
NbdSource *nbd_source_open(const char *uri, GError **error);
void nbd_source_close(NbdSource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdSource, nbd_source_close)

guint64 nbd_source_size(const NbdSource *source); /* bytes, a multiple of 512 */

/* Hand all data to sink, in ascending order, holes left out.  progress gets the offset reached.
 * UNAVAILABLE if the server fails or goes away, CANCELLED, or what sink says. */
typedef struct {
    gboolean (*data)(guint64 offset, const void *data, guint64 len, gpointer user, GError **error);
    gboolean (*progress)(guint64 offset, gpointer user, GError **error); /* also between pieces */
    gpointer user;
} NbdSink;
gboolean nbd_source_read_all(NbdSource *source, const NbdSink *sink, GError **error);
