/* appliance.h: libguestfs' appliance with the task's disks: launched, shut down, its errors.
 *
 * Disks of different desktops never go into one appliance (their file systems have the same UUIDs).
 * Everything inside is addressed by device, never by label or UUID. */
#pragma once

#include <guestfs.h>

#include "imaged/guest/helper/task.h"

/* Launch it with all the task's disks, as /dev/sda and on.  Reports progress.  Caller closes with
 * appliance_close(), or guestfs_close() after an error.
 * UNAVAILABLE if it does not start. */
guestfs_h *appliance_open(Task *task, GError **error);

/* Set an error from the handle's last one: "CANNOT: reason". */
void appliance_error(guestfs_h *g, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Flush, unmount all, shut down, close.  FALSE if any of it failed: what was written may be lost.
 */
gboolean appliance_close(guestfs_h *g, GError **error);
