/* recipe_read.c: see recipe_read.h. */
#include "templates/recipe_read.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"
#include "imaged/base/units.h"
#include "templates/recipe.h"

#define MAX_PROBLEMS 50
#define FREE_DEPTH 4 /* of what is not checked here */

/* ---- problems ---- */

void recipe_problem(json_t *problems, guint line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    if (json_array_size(problems) < MAX_PROBLEMS)
        json_array_append_new(problems,
                              json_pack("{s:I,s:s}", "line", (json_int_t)line, "message", message));
}

const char *recipe_kind_name(YamlKind kind)
{
    static const char *const names[] = {
        [YAML_TEXT] = "a text", [YAML_LIST] = "a list", [YAML_MAP] = "a map"
    };

    return names[kind];
}

static gboolean is_kind(const YamlNode *node, YamlKind kind, const char *name, json_t *problems)
{
    if (node->kind == kind)
        return TRUE;
    recipe_problem(problems, node->line, "'%s' must be %s, but is %s", name, recipe_kind_name(kind),
                   recipe_kind_name(node->kind));
    return FALSE;
}

/* ---- one value ---- */

static gboolean is_empty(const YamlNode *node)
{
    return node->kind == YAML_TEXT && node->is_plain &&
           (!*node->text || g_str_equal(node->text, "~") || g_str_equal(node->text, "null"));
}

static json_t *read_flag(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    static const char *const yes[] = { "yes", "true", "on", NULL };
    static const char *const no[] = { "no", "false", "off", NULL };

    if (g_strv_contains(yes, node->text))
        return json_true();
    if (!g_strv_contains(no, node->text))
        recipe_problem(problems, node->line, "'%s' must be yes or no", key->name);
    return json_false();
}

static json_t *read_number(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    char *end = NULL;
    guint64 value = g_ascii_strtoull(node->text, &end, key->type == TYPE_MODE ? 8 : 10);
    guint64 max = key->type == TYPE_MODE ? 07777 : (guint64)key->max;
    g_autofree char *shown = text_for_message(node->text, 40);

    if (!g_ascii_isdigit(*node->text) || *end || strlen(node->text) > 18) {
        recipe_problem(problems, node->line, "'%s' must be %s, not '%s'", key->name,
                       key->type == TYPE_MODE ? "a mode such as 0644" : "a number", shown);
        value = 0;
    } else if (value < (guint64)key->min || value > max) {
        if (g_str_equal(key->name, "version"))
            recipe_problem(problems, node->line,
                           "this is a recipe of version %s; this imaged knows %d", shown,
                           RECIPE_VERSION);
        else
            recipe_problem(problems, node->line, "'%s' is out of range", key->name);
        value = 0;
    }
    return json_integer((json_int_t)value);
}

static json_t *read_size(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    g_autoptr(GError) local = NULL;
    guint64 bytes = 0;

    if (!units_parse_size(node->text, &bytes, &local)) {
        g_autofree char *shown = text_for_message(node->text, 40);
        recipe_problem(problems, node->line, "'%s' must be a size such as 8G, not '%s'", key->name,
                       shown);
    } else if (bytes && (bytes < (guint64)key->min || bytes > (guint64)key->max)) {
        g_autofree char *min = units_format_size((guint64)key->min);
        g_autofree char *max = units_format_size((guint64)key->max);
        recipe_problem(problems, node->line, "'%s' must be %s to %s", key->name, min, max);
        bytes = 0;
    }
    return json_integer((json_int_t)bytes);
}

static gboolean matches(const char *pattern, const char *text)
{
    g_autofree char *whole = g_strdup_printf("\\A(?:%s)\\z", pattern);

    return g_regex_match_simple(whole, text, 0, 0);
}

static json_t *read_text(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    gsize max = key->type == TYPE_TEXT && key->max ? (gsize)key->max : 1000;
    g_autoptr(GError) local = NULL;

    if (!text_check(key->name, node->text, max, &local)) {
        g_autofree char *why = imaged_error_message(local);
        recipe_problem(problems, node->line, "%s", why);
        return json_null();
    }
    if (key->pattern && !matches(key->pattern, node->text)) {
        g_autofree char *shown = text_for_message(node->text, 40);
        recipe_problem(problems, node->line, "'%s' is not %s (key '%s')", shown, key->like,
                       key->name);
        return json_null();
    }
    return json_string(node->text);
}

static json_t *read_choice(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    g_auto(GStrv) choices = g_strsplit(key->pattern, "|", -1);
    g_autofree char *list = g_strjoinv(", ", choices);

    if (g_strv_contains((const char *const *)choices, node->text))
        return json_string(node->text);
    g_autofree char *shown = text_for_message(node->text, 40);
    recipe_problem(problems, node->line, "'%s' cannot be '%s': it is one of %s", key->name, shown,
                   list);
    return json_null();
}

static json_t *read_block(const YamlNode *node)
{
    return json_string(node->text); /* the parser took UTF-8 alone, without NUL */
}

/* The items of a list to be read: 0 if the node is none. */
static guint n_items(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    if (!is_kind(node, YAML_LIST, key->name, problems))
        return 0;
    if (node->items->len > (guint)key->max)
        recipe_problem(problems, node->line, "'%s' has more than %d entries", key->name,
                       (int)key->max);
    return MIN(node->items->len, (guint)key->max);
}

static json_t *read_texts(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    guint n = n_items(key, node, problems);
    json_t *out = json_array();

    for (guint i = 0; i < n; i++) {
        const YamlNode *item = node->items->pdata[i];
        if (is_empty(item))
            recipe_problem(problems, item->line, "an empty entry in '%s'", key->name);
        else if (is_kind(item, YAML_TEXT, key->name, problems))
            json_array_append_new(out,
                                  key->pattern ? read_text(key, item, problems) : read_block(item));
    }
    return out;
}

/* What another module checks.  Plain yes/no and numbers become what they mean. */
static json_t *read_free(const YamlNode *node, guint depth, json_t *problems)
{
    if (depth > FREE_DEPTH) {
        recipe_problem(problems, node->line, "nested too deeply");
        return json_null();
    }
    if (node->kind == YAML_TEXT) {
        char *end = NULL;
        gint64 number = g_ascii_strtoll(node->text, &end, 10);
        if (is_empty(node))
            return json_null();
        if (node->is_plain && (g_str_equal(node->text, "yes") || g_str_equal(node->text, "true")))
            return json_true();
        if (node->is_plain && (g_str_equal(node->text, "no") || g_str_equal(node->text, "false")))
            return json_false();
        if (node->is_plain && *node->text && !*end && strlen(node->text) < 16)
            return json_integer(number);
        return json_string(node->text);
    }
    json_t *out = node->kind == YAML_LIST ? json_array() : json_object();
    for (guint i = 0; i < node->items->len; i++) {
        json_t *item = read_free(node->items->pdata[i], depth + 1, problems);
        if (node->kind == YAML_LIST)
            json_array_append_new(out, item);
        else
            json_object_set_new(out, node->keys->pdata[i], item);
    }
    return out;
}

/* ---- maps ---- */

static json_t *read_maps(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    guint n = n_items(key, node, problems);
    json_t *out = json_array();

    for (guint i = 0; i < n; i++) {
        const YamlNode *item = node->items->pdata[i];
        if (!is_kind(item, YAML_MAP, key->name, problems))
            continue;
        json_t *object = recipe_read_map(key->keys, item, key->name, problems);
        json_object_set_new(object, "line", json_integer(item->line));
        json_array_append_new(out, object);
    }
    return out;
}

static json_t *read_desktop(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    if (node->kind == YAML_MAP)
        return recipe_read_map(key->keys, node, key->name, problems);
    if (!is_kind(node, YAML_TEXT, key->name, problems) || g_str_equal(node->text, "none"))
        return json_null();
    g_autoptr(GString) text = g_string_new("environment: '");
    g_string_append(text, node->text);
    g_string_append(text, "'\n");
    g_autoptr(YamlNode) map = yaml_tree_parse(text->str, text->len, NULL);
    if (!map || map->kind != YAML_MAP || map->items->len != 1) {
        recipe_problem(problems, node->line, "'%s' is a word or a map", key->name);
        return json_null();
    }
    ((YamlNode *)map->items->pdata[0])->line = node->line;
    return recipe_read_map(key->keys, map, key->name, problems);
}

static json_t *read_value(const RecipeKey *key, const YamlNode *node, json_t *problems)
{
    switch (key->type) {
    case TYPE_MAP:
        return is_kind(node, YAML_MAP, key->name, problems)
                   ? recipe_read_map(key->keys, node, key->name, problems)
                   : json_object();
    case TYPE_FREE:
        return is_kind(node, YAML_MAP, key->name, problems) ? read_free(node, 0, problems)
                                                            : json_null();
    case TYPE_MAPS:
        return read_maps(key, node, problems);
    case TYPE_TEXTS:
        return read_texts(key, node, problems);
    case TYPE_DESKTOP:
        return read_desktop(key, node, problems);
    default:
        break;
    }
    if (!is_kind(node, YAML_TEXT, key->name, problems))
        return json_null();
    switch (key->type) {
    case TYPE_FLAG:
        return read_flag(key, node, problems);
    case TYPE_COUNT:
    case TYPE_MODE:
        return read_number(key, node, problems);
    case TYPE_SIZE:
        return read_size(key, node, problems);
    case TYPE_CHOICE:
        return read_choice(key, node, problems);
    case TYPE_BLOCK:
        return read_block(node);
    default:
        return read_text(key, node, problems);
    }
}

static json_t *read_default(const RecipeKey *key, json_t *problems)
{
    if (key->otherwise) {
        g_autoptr(YamlNode) node = yaml_tree_parse(key->otherwise, strlen(key->otherwise), NULL);
        return read_value(key, node, problems);
    }
    return key->type == TYPE_TEXTS || key->type == TYPE_MAPS ? json_array() : json_null();
}

static const RecipeKey *find_key(const RecipeKey *keys, const char *name)
{
    for (; keys->name; keys++) {
        if (g_str_equal(keys->name, name))
            return keys;
    }
    return NULL;
}

static void unknown_key(const RecipeKey *keys, const char *name, guint line, const char *where,
                        json_t *problems)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_autofree char *shown = text_for_message(name, 40);
    g_autofree char *in = where ? g_strdup_printf(" in '%s'", where) : g_strdup("");

    for (const RecipeKey *key = keys; key->name; key++)
        g_ptr_array_add(words, (char *)key->name);
    const char *near = nearest_word(name, words);
    if (near)
        recipe_problem(problems, line, "unknown key '%s'%s: is '%s' meant?", shown, in, near);
    else
        recipe_problem(problems, line, "unknown key '%s'%s", shown, in);
}

json_t *recipe_read_map(const RecipeKey *keys, const YamlNode *node, const char *where,
                        json_t *problems)
{
    json_t *out = json_object();

    for (guint i = 0; i < node->keys->len; i++) {
        if (!find_key(keys, node->keys->pdata[i]))
            unknown_key(keys, node->keys->pdata[i], g_array_index(node->lines, guint, i), where,
                        problems);
    }
    for (const RecipeKey *key = keys; key->name; key++) {
        const YamlNode *value = yaml_tree_get(node, key->name);
        gboolean is_given = value && !is_empty(value);
        if (!is_given && key->is_needed)
            recipe_problem(problems, value ? value->line : node->line, "'%s' is missing%s%s%s",
                           key->name, where ? " in '" : "", where ? where : "", where ? "'" : "");
        json_object_set_new(out, key->as ? key->as : key->name,
                            is_given ? read_value(key, value, problems)
                                     : read_default(key, problems));
    }
    return out;
}
