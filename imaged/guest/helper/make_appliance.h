/* make_appliance.h: libguestfs' fixed appliance, made once from this machine's own packages.
 *
 * Not in the sandbox and not with anything hostile: supermin copies the machine's own files. */
#pragma once

#include <glib.h>

/* The appliance in DIR that fits this machine's libguestfs and kernels: DIR/STAMP, or DIR itself if
 * somebody put one there.  Made if there is none and may_make is set, by one process at a time.
 * Caller frees the path.  UNAVAILABLE if it cannot be made, NOT_FOUND if it may not. */
char *make_appliance(const char *dir, gboolean may_make, GError **error);
