/* resolve.h: names of a search looked up in the table of objects, and its values by their types.
 *
 * An unknown name is INVALID with its column and the nearest name there is.  Pure; any thread. */
#pragma once

#include "broker/search/objects.h"
#include "broker/search/parser.h"

#define SEARCH_MAX_HOPS 3

/* user.group.name: over links[0..n_links) from objects[0] to objects[n_links], whose field it is.
 */
typedef struct {
    const SearchLink *links[SEARCH_MAX_HOPS];
    const SearchObject *objects[SEARCH_MAX_HOPS + 1];
    guint n_links;
    const SearchField *field;
} SearchPath;

const SearchObject *resolve_object(const SearchWord *word, GError **error);
gboolean resolve_path(const SearchObject *object, const SearchWord *word, SearchPath *ret,
                      GError **error);

/* May one row have several? */
gboolean resolve_is_many(const SearchPath *path);

/* Where links lead that a row has itself, or through its desktops; NULL. */
const SearchLink *resolve_through_desktops(const SearchObject *object, const char *name);

typedef struct {
    char *text;   /* of a name or text: as it is; or a pattern for search_matches() */
    char *pieces; /* of it, unfolded, what stands between the wildcards: by newlines */
    gboolean is_pattern, is_prefix; /* prefix: one * at the end and nothing else */
    gint64 integer;                 /* bytes, ms, truth */
    double real;
    gint64 until; /* of a time: it is from integer to before until */
} SearchValue;

gboolean resolve_value(const SearchField *field, const SearchWord *word, gint64 now,
                       SearchValue *ret, GError **error);
void search_value_clear(SearchValue *value);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SearchValue, search_value_clear)

/* The text of a free word: a pattern that also fits inside. */
void resolve_free(const SearchWord *word, SearchValue *ret);

/* In a pattern: any text, any one character. */
#define PATTERN_ANY '\001'
#define PATTERN_ONE '\002'
