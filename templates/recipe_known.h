/* recipe_known.h: is there such a time zone, such a keyboard?  Asked of the lists of this machine,
 * where it has them; else nothing is said against a name.  A template may have newer lists, but
 * names are rarely added, and often mistyped.  Any thread. */
#pragma once

#include <glib.h>

#define RECIPE_ZONES "/usr/share/zoneinfo"
#define RECIPE_KEYBOARDS "/usr/share/X11/xkb/rules/base.lst"

/* zone is of the pattern in recipe.c: no "." in it. */
gboolean recipe_knows_zone(const char *folder, const char *zone);

/* "de", "de nodeadkeys".  *ret_near: a layout's name that may have been meant, or NULL; caller
 * frees. */
gboolean recipe_knows_keyboard(const char *list, const char *keyboard, char **ret_near);
