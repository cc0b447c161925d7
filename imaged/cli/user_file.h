/* user_file.h: small text files that the user names on the command line: keys, passphrases.
 *
 * imagectl reads them with the caller's own rights and sends what they hold: the daemon opens no
 * path that a user names.  Not for images: import.h serves those. */
#pragma once

#include <glib.h>

/* All of it, NUL-terminated and without a NUL before that (caller frees).  A pipe will do.
 * NOT_FOUND, DENIED, UNAVAILABLE; INVALID if it is no text, or larger than any such file is. */
char *user_file_read(const char *path, GError **error);
