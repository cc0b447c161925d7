/* fuzz_recipe.c: libFuzzer target: recipes.
 *
 * Either an object comes out, or an error with at least one problem, whose lines lie in the text.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "templates/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    json_t *problems = json_array(), *item;
    gsize n_lines = 2, i;

    /* A carriage return, NEL, LS and PS end a line of YAML, too. */
    for (i = 0; i < size; i++)
        n_lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 ||
                   data[i] == 0xa9;
    json_t *recipe = recipe_parse((const char *)data, size, NULL, problems, &error);
    g_assert_true((recipe != NULL) == (error == NULL));
    g_assert_true((recipe != NULL) == (json_array_size(problems) == 0));
    json_array_foreach (problems, i, item) {
        json_int_t line = json_integer_value(json_object_get(item, "line"));
        g_assert_true(line >= 1 && line <= (json_int_t)n_lines);
        g_assert_nonnull(json_string_value(json_object_get(item, "message")));
    }
    if (recipe) {
        g_autofree char *text = json_dumps(recipe, JSON_COMPACT);
        g_assert_nonnull(text);
    }
    json_decref(recipe);
    json_decref(problems);
    return 0;
}
