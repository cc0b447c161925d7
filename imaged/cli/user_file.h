/* user_file.h: files that the user names on the command line: small texts that are read (keys,
 * passphrases), and files that are written.
 *
 * imagectl opens them with the caller's own rights: the daemon opens no path that a user names.
 * Not for images: import.h serves those. */
#pragma once

#include <glib.h>

/* All of it, NUL-terminated and without a NUL before that (caller frees).  A pipe will do.
 * NOT_FOUND, DENIED, UNAVAILABLE; INVALID if it is no text, or larger than any such file is. */
char *user_file_read(const char *path, GError **error);

/* Writes the content to fd. */
typedef gboolean (*UserFileFill)(int fd, gpointer data, GError **error);

/* Let fill write the file at path.  As cp does it: a folder means a file of it with the last part
 * of name; a symbolic link means what it points to; a device or a pipe is written to.  A regular
 * file is either the old one or all of the new one, and keeps owner and mode (but no set-uid bits);
 * a new one has the mode that the umask leaves.  Nothing is left of a failure. INVALID, NOT_FOUND,
 * DENIED, NO_SPACE, UNAVAILABLE, or fill's error. */
gboolean user_file_write(const char *path, const char *name, UserFileFill fill, gpointer data,
                         GError **error);
