/* yaml_tree.h: a small YAML text as a tree whose every node knows its line, by libyaml.
 *
 * Only what a person writes into a recipe: maps, lists and texts.  Anchors, aliases and tags are
 * refused (so no few lines become a gigabyte), and depth, number of nodes and length are bounded.
 * No state; any thread. */
#pragma once

#include <glib.h>

#define YAML_MAX_TEXT (1u << 20) /* bytes */
#define YAML_MAX_NODES 20000
#define YAML_MAX_DEPTH 8

typedef enum { YAML_TEXT, YAML_LIST, YAML_MAP } YamlKind;

typedef struct YamlNode YamlNode;
struct YamlNode {
    YamlKind kind;
    guint line;        /* from 1 */
    gboolean is_plain; /* of a text: not quoted, no block */
    char *text;        /* of a text */
    GPtrArray *keys;   /* of a map: char *, each with its value in items; no key comes twice */
    GArray *lines;     /* of a map: guint, of each key */
    GPtrArray *items;  /* of a list or a map: YamlNode */
};

/* Returns NULL with INVALID, whose message begins with "line N: ". */
YamlNode *yaml_tree_parse(const char *text, gsize len, GError **error);
void yaml_tree_free(YamlNode *node);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(YamlNode, yaml_tree_free)

/* The value of a map's key, or NULL. */
const YamlNode *yaml_tree_get(const YamlNode *map, const char *key);
