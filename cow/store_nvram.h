/* store_nvram.h: what a desktop's UEFI firmware keeps (its variables), as a file of the store.
 *
 * config/DESKTOP-GENERATION.nvram: of one generation, like the disk.  A generation whose disk was
 * brought back from the trash takes over the file of the generation in which that disk was last
 * used, which its layer's row says.  Without a file the firmware starts fresh.  Any thread; the
 * caller has claimed the desktop. */
#pragma once

#include "cow/store.h"

/* Is there one of this generation? */
gboolean store_nvram_is_there(Store *store, const char *desktop_id, gint64 generation);

/* The file for a start in this generation, whose active layer was last used in layer_generation
 * (mostly the same): the one that is there, or that generation's, or a new one as template_path has
 * it.  Its path; caller frees.  UNAVAILABLE: there is no such template; or as the store has it. */
char *store_nvram_make(Store *store, const char *desktop_id, gint64 generation,
                       gint64 layer_generation, const char *template_path, GError **error);

/* The one that store_nvram_make() would find in from, if any, into another store for to_generation;
 * what an earlier try left there is replaced or removed. */
gboolean store_nvram_copy(Store *from, const char *desktop_id, gint64 generation,
                          gint64 layer_generation, Store *to, gint64 to_generation, GError **error);

/* Remove it; one that is not there is no error. */
void store_nvram_remove(Store *store, const char *desktop_id, gint64 generation);
