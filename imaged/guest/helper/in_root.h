/* in_root.h: run a function with a folder as its root, so that no link in there leads out of it.
 * One thread. */
#pragma once

#include <glib.h>

/* In a child process; what it sets as its error comes back. */
gboolean in_root(const char *root, gboolean (*run)(gpointer data, GError **error), gpointer data,
                 GError **error);
