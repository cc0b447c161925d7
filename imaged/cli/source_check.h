/* source_check.h: is an image fit to be imported?  Looked at with the caller's rights, before
 * anything of it reaches the daemon. */
#pragma once

#include <glib.h>

/* Check the image behind fd, which is of this format ("raw", "qcow2", "vmdk", "vdi", "vhdx"); label
 * is its name for messages.  What is odd but no hindrance is appended to notes (char *).  CORRUPT,
 * UNSUPPORTED, INVALID, BUSY. */
gboolean source_check(int fd, const char *format, const char *label, GPtrArray *notes,
                      GError **error);
