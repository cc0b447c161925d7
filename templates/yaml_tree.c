/* yaml_tree.c: libyaml says what comes next (an event); the tree is built from that, depth first.
 */
#include "templates/yaml_tree.h"

#include <string.h>
#include <yaml.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

typedef struct {
    yaml_parser_t parser;
    const char *text;
    gsize len;
    guint n_nodes;
} Reader;

static void refuse(guint line, const char *why, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "line %u: %s", line, why);
}

/* libyaml's complaint; its marks count from 0.  What cannot be read at all has an offset alone. */
static void refuse_syntax(const Reader *r, GError **error)
{
    const yaml_parser_t *parser = &r->parser;
    g_autofree char *why = text_for_message(parser->problem ? parser->problem : "not YAML", 200);
    gsize line = parser->problem_mark.line + 1;

    if (parser->error == YAML_READER_ERROR) {
        line = 1;
        for (gsize i = 0; i < MIN(parser->problem_offset, r->len); i++)
            line += r->text[i] == '\n';
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "line %zu: not YAML%s: %s", line,
                parser->error == YAML_READER_ERROR ? " in UTF-8" : "", why);
    if (strstr(why, "cannot start any token"))
        imaged_error_hint(error, "YAML is indented by spaces, not by tabs");
}

static gboolean next(Reader *r, yaml_event_t *event, GError **error)
{
    if (yaml_parser_parse(&r->parser, event))
        return TRUE;
    refuse_syntax(r, error);
    return FALSE;
}

static guint line_of(const yaml_event_t *event)
{
    return (guint)event->start_mark.line + 1;
}

/* What would let a short text mean a long one, or code. */
static gboolean check_event(const yaml_event_t *event, GError **error)
{
    const char *why = NULL;

    if (event->type == YAML_ALIAS_EVENT)
        why = "aliases (*name) are not allowed";
    else if ((event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor) ||
             (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.anchor) ||
             (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.anchor))
        why = "anchors (&name) are not allowed";
    else if ((event->type == YAML_SCALAR_EVENT && event->data.scalar.tag) ||
             (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.tag) ||
             (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.tag))
        why = "tags (!name) are not allowed";
    else if (event->type == YAML_SCALAR_EVENT &&
             memchr(event->data.scalar.value, 0, event->data.scalar.length))
        why = "a text holds a NUL character";
    if (why)
        refuse(line_of(event), why, error);
    return why == NULL;
}

static YamlNode *node_new(YamlKind kind, guint line)
{
    YamlNode *node = g_new0(YamlNode, 1);

    node->kind = kind;
    node->line = line;
    if (kind != YAML_TEXT)
        node->items = g_ptr_array_new_with_free_func((GDestroyNotify)yaml_tree_free);
    if (kind == YAML_MAP) {
        node->keys = g_ptr_array_new_with_free_func(g_free);
        node->lines = g_array_new(FALSE, FALSE, sizeof(guint));
    }
    return node;
}

static YamlNode *read_node(Reader *r, const yaml_event_t *event, guint depth, GError **error);

static gboolean add_key(YamlNode *map, const yaml_event_t *event, GError **error)
{
    guint line = line_of(event);

    if (event->type != YAML_SCALAR_EVENT) {
        refuse(line, "a key must be a plain word", error);
        return FALSE;
    }
    const char *key = (const char *)event->data.scalar.value;
    if (yaml_tree_get(map, key)) {
        g_autofree char *shown = text_for_message(key, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "line %u: '%s' is here twice", line,
                    shown);
        return FALSE;
    }
    g_ptr_array_add(map->keys, g_strdup(key));
    g_array_append_val(map->lines, line);
    return TRUE;
}

/* The items of a list or map that has begun. */
static gboolean read_items(Reader *r, YamlNode *into, guint depth, GError **error)
{
    yaml_event_type_t end =
        into->kind == YAML_LIST ? YAML_SEQUENCE_END_EVENT : YAML_MAPPING_END_EVENT;

    for (;;) {
        yaml_event_t event;
        if (!next(r, &event, error))
            return FALSE;
        gboolean is_end = event.type == end;
        gboolean is_key = into->kind == YAML_MAP && into->keys->len == into->items->len;
        gboolean ok = is_end || check_event(&event, error);
        if (ok && !is_end && is_key) {
            ok = add_key(into, &event, error);
        } else if (ok && !is_end) {
            YamlNode *item = read_node(r, &event, depth + 1, error);
            ok = item != NULL;
            if (ok)
                g_ptr_array_add(into->items, item);
        }
        yaml_event_delete(&event);
        if (!ok || is_end)
            return ok;
    }
}

static YamlNode *read_node(Reader *r, const yaml_event_t *event, guint depth, GError **error)
{
    guint line = line_of(event);

    if (depth > YAML_MAX_DEPTH || ++r->n_nodes > YAML_MAX_NODES) {
        refuse(line, depth > YAML_MAX_DEPTH ? "nested too deeply" : "too many entries", error);
        return NULL;
    }
    if (!check_event(event, error))
        return NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        YamlNode *node = node_new(YAML_TEXT, line);
        node->text = g_strndup((const char *)event->data.scalar.value, event->data.scalar.length);
        node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return node;
    }
    g_autoptr(YamlNode) node =
        node_new(event->type == YAML_SEQUENCE_START_EVENT ? YAML_LIST : YAML_MAP, line);
    return read_items(r, node, depth, error) ? g_steal_pointer(&node) : NULL;
}

static YamlNode *read_document(Reader *r, GError **error)
{
    g_autoptr(YamlNode) root = NULL;
    gboolean is_end = FALSE;

    while (!is_end) {
        yaml_event_t event;
        if (!next(r, &event, error))
            return NULL;
        gboolean ok = TRUE;
        is_end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && root) {
            refuse(line_of(&event), "a second document begins here", error);
            ok = FALSE;
        } else if (event.type == YAML_ALIAS_EVENT) {
            ok = check_event(&event, error);
        } else if (event.type == YAML_SCALAR_EVENT || event.type == YAML_SEQUENCE_START_EVENT ||
                   event.type == YAML_MAPPING_START_EVENT) {
            root = read_node(r, &event, 1, error);
            ok = root != NULL;
        }
        yaml_event_delete(&event);
        if (!ok)
            return NULL;
    }
    if (!root)
        refuse(1, "there is nothing in it", error);
    return g_steal_pointer(&root);
}

YamlNode *yaml_tree_parse(const char *text, gsize len, GError **error)
{
    Reader r = { .text = text, .len = len };

    if (len > YAML_MAX_TEXT) {
        refuse(1, "the text is longer than 1 MiB", error);
        return NULL;
    }
    if (!yaml_parser_initialize(&r.parser)) {
        refuse(1, "no memory", error);
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    YamlNode *root = read_document(&r, error);
    yaml_parser_delete(&r.parser);
    return root;
}

void yaml_tree_free(YamlNode *node)
{
    if (!node)
        return;
    g_free(node->text);
    g_clear_pointer(&node->keys, g_ptr_array_unref);
    g_clear_pointer(&node->lines, g_array_unref);
    g_clear_pointer(&node->items, g_ptr_array_unref);
    g_free(node);
}

const YamlNode *yaml_tree_get(const YamlNode *map, const char *key)
{
    for (guint i = 0; i < map->keys->len; i++) {
        if (g_str_equal(map->keys->pdata[i], key))
            return i < map->items->len ? map->items->pdata[i] : NULL;
    }
    return NULL;
}
