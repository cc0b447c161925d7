/* disk_image.h: a bootable disk out of a root file system's folder, without mounting anything.
 *
 *   sector 0        GRUB's first sector, in the space before the partition table's entry
 *   1 MiB  1 MiB    BIOS boot partition: GRUB
 *   2 MiB  64 MiB   EFI system partition: GRUB as EFI/BOOT/BOOTX64.EFI
 *   66 MiB ...      root, ext4, the last so that it can grow
 *
 * So the same disk boots with either firmware.  One thread. */
#pragma once

#include <glib.h>

#include "imaged/guest/helper/task.h"

#define DISK_IMAGE_ROOT_START (66ull << 20)

/* Make the sparse file path from the folder root, whose boot files are installed (boot_files.h).
 * NO_SPACE if root does not fit in size_bytes. */
gboolean disk_image_make(Task *task, const char *root, const char *path, guint64 size_bytes,
                         const char *root_uuid, GError **error);

/* Tell imaged all data of path: pieces "offset, length" (64 bits each, little-endian) and as many
 * bytes, ascending; at the end the file's size and 0. */
gboolean disk_image_send(Task *task, const char *path, GError **error);
