/* boot_files.h: what a root file system needs to boot from its own disk: fstab, GRUB, growing.
 *
 * Runs with that file system as its root (in_root.h). */
#pragma once

#include <glib.h>

typedef struct {
    char root_uuid[37]; /* of the root file system */
} BootFiles;

#define BOOT_CORE "/boot/grub/i386-pc/core.img"      /* GRUB for the BIOS boot partition */
#define BOOT_SECTOR "/usr/lib/grub/i386-pc/boot.img" /* and its first sector */
#define BOOT_EFI "/boot/grub/x86_64-efi/core.efi"

/* data: BootFiles. */
gboolean boot_files_install(gpointer data, GError **error);
