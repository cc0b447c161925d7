/* recipe_read.h: one walk over a YAML map by a table of the keys that it may have.
 *
 * For recipe.c alone.  Every problem is collected with its line; what is right becomes a JSON
 * object in which each key of the table is. */
#pragma once

#include <jansson.h>

#include "templates/yaml_tree.h"

typedef enum {
    TYPE_TEXT,    /* one line, at most max bytes */
    TYPE_BLOCK,   /* any text */
    TYPE_MATCH,   /* as TYPE_TEXT, and like pattern */
    TYPE_CHOICE,  /* one of pattern, "a|b|c" */
    TYPE_SIZE,    /* bytes, min .. max */
    TYPE_COUNT,   /* min .. max */
    TYPE_MODE,    /* octal */
    TYPE_FLAG,    /* yes or no */
    TYPE_TEXTS,   /* a list; each as TYPE_MATCH if there is a pattern, else TYPE_BLOCK */
    TYPE_MAP,     /* keys */
    TYPE_MAPS,    /* a list of maps, each with keys */
    TYPE_DESKTOP, /* a map, or a word that is its "environment" */
    TYPE_FREE,    /* a map of anything */
} RecipeType;

typedef struct RecipeKey RecipeKey;
struct RecipeKey {
    const char *name;
    RecipeType type;
    const char *as;        /* its name in the object, if another */
    const char *pattern;   /* of TYPE_MATCH, TYPE_TEXTS, TYPE_CHOICE */
    const char *like;      /* what the pattern means, for a message */
    gint64 min, max;       /* numbers; max: bytes of a text, entries of a list */
    const char *otherwise; /* the default as YAML text; NULL: null, or what no entries give */
    const RecipeKey *keys; /* of TYPE_MAP, TYPE_MAPS; ends with a NULL name */
    gboolean is_needed;
};

/* where names the map for a message, NULL: the recipe itself.  Never fails: what is wrong is in
 * problems, an array of {"line", "message"}. */
json_t *recipe_read_map(const RecipeKey *keys, const YamlNode *node, const char *where,
                        json_t *problems);

void recipe_problem(json_t *problems, guint line, const char *format, ...) G_GNUC_PRINTF(3, 4);
const char *recipe_kind_name(YamlKind kind);
