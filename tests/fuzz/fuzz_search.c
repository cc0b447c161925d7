/* fuzz_search.c: libFuzzer target: searches, and what can stand at their cursor.
 *
 * Either a tree comes out or an error; the names and values of a tree are looked up; what is
 * offered lies in the text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "broker/search/parser.h"
#include "broker/search/resolve.h"
#include "broker/search/spot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const SearchObject *object, const SearchNode *n)
{
    SearchPath path;

    for (guint i = 0; i < n->children->len; i++)
        look_up(object, n->children->pdata[i]);
    if (n->kind != NODE_TERM || !resolve_path(object, &n->word, &path, NULL))
        return;
    for (guint i = 0; i < n->values->len; i++) {
        g_auto(SearchValue) value = { 0 };
        g_autoptr(GError) error = NULL;
        gboolean ok = resolve_value(path.field, &g_array_index(n->values, SearchWord, i),
                                    1700000000000, &value, &error);
        g_assert_true(ok == (error == NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(SearchTree) tree = search_parse(text, &error);
    gsize length = strlen(text), at = length ? data[0] % (length + 1) : 0;

    g_assert_true((tree != NULL) == (error == NULL));
    if (tree && tree->condition) {
        const SearchObject *object = tree->object.text ? objects_find(tree->object.text) : NULL;
        look_up(object ? object : objects_find("desktops"), tree->condition);
    }
    while (at > 0 && (text[at] & 0xc0) == 0x80)
        at--;
    g_auto(Spot) spot = { 0 };
    spot_find(text, (gssize)at, NULL, &spot);
    g_assert_true(spot.begin <= at && at <= spot.end && spot.end <= length);
    return 0;
}
