/* last_words.h: what a child process says on its standard error.  Only the end is kept: a child may
 * say any amount.  Any thread, one at a time for a child. */
#pragma once

#include <glib.h>

/* Append what can be read now from *fd, which does not block, to words, of which the last KiB stay.
 * At its end, or if it is broken, *fd is closed and -1; -1 is fine. */
void last_words_read(int *fd, GString *words);
