/* escape.h: names of files, which are bytes of any kind, as text.
 *
 * What is no printable UTF-8 becomes \xHH, a backslash \\; so any name can stand in JSON and on a
 * terminal, and comes back as it was.  Safe from any thread. */
#pragma once

#include <glib.h>

/* len bytes as text.  Caller frees. */
char *escape_bytes(const char *bytes, gsize len);

/* The bytes again.  INVALID: a backslash that does not begin \\ or \xHH, or \x00.  Caller frees. */
char *escape_undo(const char *text, GError **error);
