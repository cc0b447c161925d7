/* guest_parts.h: what goes into a template beside what its recipe says: packages, and the files of
 * templates/guest/.
 *
 * No state; any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* All packages of this recipe (recipe.h) on a suite: the system, its boot loader and kernel, the
 * guest parts, the desktop, and the recipe's own.  Caller unrefs the array. */
json_t *guest_parts_packages(const json_t *recipe);

/* Those that a recipe adds to a base: its own, and the desktop's if it has one. */
json_t *guest_parts_more_packages(const json_t *recipe);

/* The files and links, [{path, mode, content}], [{path, target}], of the folder of guest parts.
 * UNAVAILABLE if imaged was not installed with them.  Callers unref. */
gboolean guest_parts_files(const json_t *recipe, json_t **ret_files, json_t **ret_links,
                           GError **error);

/* The folder NAME of what imaged comes with (guest, recipes): beside the program in a build
 * folder's tree, or in PREFIX/share/imaged.  Caller frees; NULL if there is none. */
char *guest_parts_folder(const char *name);
