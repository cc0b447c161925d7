/* customize.h: what a recipe says about a root file system, done in it.
 *
 * Everything here runs with that file system as its root (in_root.h), with its own programs. */
#pragma once

#include "imaged/guest/helper/task.h"

/* The recipe's files, users, locale, ..., imaged's own parts (guest_files, guest_links of the
 * request), and last its commands.  data: the Task.  FAILED shows the command and its last lines.
 */
gboolean customize_run(gpointer task, GError **error);

/* Remove what belongs to the machine that built it: machine-id, keys, logs, caches, histories.
 * In the root at that path, which it enters by itself.  Returns the report {operations: [{name,
 * n_removed, bytes, paths}], n_removed, bytes}, as that of the task "seal"; caller unrefs. */
json_t *customize_seal(Task *task, const char *root, GError **error);

/* A file as a whole: made anew, never through a link; folders above are made (0755, root). */
gboolean customize_put(const char *path, const void *bytes, gsize n, guint mode, GError **error);
gboolean customize_put_text(const char *path, const char *text, guint mode, GError **error);
