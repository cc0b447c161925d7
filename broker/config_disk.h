/* config_disk.h: the small read-only disk that tells a desktop who it is (docs/design/identity.md).
 *
 * One for each generation of a desktop, in its store: config/DESKTOP-GENERATION.iso.  It is made
 * from the catalog whenever it is asked for, so that it may be lost at any time.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

/* Make it, unless it is there and says the same.  os_type is what was found in its disk ("windows",
 * "linux"), or NULL: then the version's name of its system decides which files it has.  Its path,
 * for QEMU; caller frees.  NOT_FOUND (desktop; a password that is not on this machine),
 * UNAVAILABLE. */
char *config_disk_make(World *world, const char *desktop, const char *os_type, GError **error);

/* The name that the desktop will have in its guest; caller frees.  And what it will be told, for
 * people: caller unrefs. */
char *config_disk_hostname(Db *db, const DesktopRow *desktop);
json_t *config_disk_shown(Db *db, const DesktopRow *desktop);

/* Remove those of generations, desktops and stores that are no more; and secrets likewise. */
void config_disks_tidy(World *world);
