/* recipe_known.c: see recipe_known.h.  A zone is a file of the zone database; keyboards stand in
 * X's list of rules, below "! layout" as "  de  German" and below "! variant" as
 * "  nodeadkeys  de: German (no dead keys)". */
#include "templates/recipe_known.h"

#include <string.h>

#include "imaged/base/nearest.h"

gboolean recipe_knows_zone(const char *folder, const char *zone)
{
    g_autofree char *path = g_build_filename(folder, zone, NULL);

    return !g_file_test(folder, G_FILE_TEST_IS_DIR) || g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

/* The first word of line, and the rest behind it; NULL if it has none.  Changes line. */
static char *split_line(char *line, char **ret_rest)
{
    char *word = line + strspn(line, " \t");
    gsize length = strcspn(word, " \t");

    *ret_rest = word + length + strspn(word + length, " \t");
    word[length] = '\0';
    return *word ? word : NULL;
}

gboolean recipe_knows_keyboard(const char *list, const char *keyboard, char **ret_near)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) wanted = g_strsplit(keyboard, " ", 2);
    g_autofree char *of_layout = g_strconcat(wanted[0], ":", NULL);
    g_autoptr(GPtrArray) layouts = g_ptr_array_new();
    gboolean has_layout = FALSE, has_variant = FALSE;
    char section = ' ', *rest;

    *ret_near = NULL;
    if (!g_file_get_contents(list, &text, NULL, NULL))
        return TRUE;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        if (g_str_has_prefix(lines[i], "! ")) {
            section = lines[i][2]; /* layout, variant; also model, option */
            continue;
        }
        const char *word = split_line(lines[i], &rest);
        if (word && section == 'l')
            g_ptr_array_add(layouts, (char *)word);
        has_layout |= word && section == 'l' && g_str_equal(word, wanted[0]);
        has_variant |= word && section == 'v' && wanted[1] && g_str_equal(word, wanted[1]) &&
                       g_str_has_prefix(rest, of_layout);
    }
    if (!layouts->len || (has_layout && (!wanted[1] || has_variant)))
        return TRUE;
    if (!has_layout)
        *ret_near = g_strdup(nearest_word(wanted[0], layouts));
    return FALSE;
}
