/* package_cache.h: packages of former builds, by their SHA-256: a folder with a bound.
 *
 * A file that is taken from it is checked again while it is copied, so what lies there is trusted
 * by nobody.  Several builds may use it at once. */
#pragma once

#include <glib.h>

/* Copy the file with this digest to target.  FALSE if there is none, or it is not what its name
 * says (then it is deleted). */
gboolean package_cache_take(const char *cache, const char *sha256, const char *target);

/* Keep a copy of source under this digest; not to succeed is no error. */
void package_cache_keep(const char *cache, const char *sha256, const char *source);

/* Delete those that were not used for longest until they are max_bytes at most. */
void package_cache_trim(const char *cache, guint64 max_bytes);
