/* layer_whole.h: is a layer that another program wrote sound, before anything relies on it? */
#pragma once

#include <glib.h>

/* Check the tables of the qcow2 file behind fd (borrowed, any open flags), which nobody writes any
 * more.  CORRUPT with the first finding; UNAVAILABLE, CANCELLED.  Leaked clusters are no fault.
 * cancel may be NULL. */
gboolean layer_whole(int fd, const gint *cancel, GError **error);
