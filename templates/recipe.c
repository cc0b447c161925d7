/* recipe.c: the keys, a table for each level of the text; and what concerns several of them. */
#include "templates/recipe.h"

#include <stdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "templates/recipe_known.h"
#include "templates/recipe_read.h"

#define PATH_PATTERN "/[^\\x00-\\x1f\\x7f]*"
#define USER_PATTERN "[a-z_][a-z0-9_-]{0,31}"
#define HASH_PATTERN "locked|\\$[0-9a-z]+\\$[./A-Za-z0-9$=,+-]{8,200}"
#define PACKAGE_PATTERN "[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?"

static const RecipeKey base_keys[] = {
    { "suite", TYPE_MATCH, .pattern = "[a-z][a-z0-9-]{0,31}", .like = "a suite such as bookworm" },
    { "mirror", TYPE_MATCH, .pattern = "https?://[A-Za-z0-9._~:/%+-]{1,300}",
      .like = "an http:// or https:// address" },
    { "components", TYPE_TEXTS, .pattern = "[a-z][a-z0-9-]{0,31}", .like = "a component",
      .max = 10 },
    { "template", TYPE_MATCH, .pattern = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}(:[0-9]{1,9})?",
      .like = "NAME or NAME:VERSION" },
    { "image", TYPE_TEXT, .max = 1000 },
    { "format", TYPE_CHOICE, .pattern = "raw|qcow2|vmdk|vdi|vhdx" },
    { NULL },
};

static const RecipeKey file_keys[] = {
    { "path", TYPE_MATCH, .pattern = PATH_PATTERN, .like = "an absolute path", .is_needed = TRUE },
    { "content", TYPE_BLOCK },
    { "source", TYPE_TEXT, .max = 1000 },
    { "owner", TYPE_MATCH, .pattern = USER_PATTERN, .like = "a user", .otherwise = "root" },
    { "group", TYPE_MATCH, .pattern = USER_PATTERN, .like = "a group", .otherwise = "root" },
    { "mode", TYPE_MODE, .otherwise = "0644" },
    { NULL },
};

static const RecipeKey user_keys[] = {
    { "name", TYPE_MATCH, .pattern = USER_PATTERN, .like = "a user's name", .is_needed = TRUE },
    { "full_name", TYPE_MATCH, .pattern = "[^:,]{0,100}", .like = "a name without : and ,",
      .otherwise = "''" },
    { "groups", TYPE_TEXTS, .pattern = USER_PATTERN, .like = "a group", .max = 50 },
    { "password", TYPE_MATCH, .pattern = HASH_PATTERN,
      .like = "a hash as of mkpasswd(1), or locked", .otherwise = "locked" },
    { "sudo", TYPE_FLAG, .otherwise = "no" },
    { "autologin", TYPE_FLAG, .otherwise = "no" },
    { "ssh_keys", TYPE_TEXTS, .pattern = "[a-z][a-z0-9@.-]+ [A-Za-z0-9+/=]+( .{0,200})?",
      .like = "a line of authorized_keys", .max = 50 },
    { "shell", TYPE_MATCH, .pattern = "/[A-Za-z0-9/._-]+", .like = "an absolute path",
      .otherwise = "/bin/bash" },
    { NULL },
};

static const RecipeKey hardware_keys[] = {
    { "cpus", TYPE_COUNT, .min = 1, .max = 1024 },
    { "memory", TYPE_SIZE, .as = "memory_bytes", .min = MIB, .max = 64 * TIB },
    { "firmware", TYPE_CHOICE, .pattern = "bios|uefi" },
    { "video", TYPE_CHOICE, .pattern = "qxl|virtio" },
    { NULL },
};

static const RecipeKey guest_keys[] = {
    { "agent", TYPE_FLAG, .otherwise = "yes" },
    { "spice_agent", TYPE_FLAG, .otherwise = "yes" },
    { "webdav", TYPE_FLAG, .otherwise = "yes" },
    { "display_driver", TYPE_FLAG, .otherwise = "yes" },
    { NULL },
};

static const RecipeKey desktop_keys[] = {
    { "environment", TYPE_CHOICE, .pattern = "xfce|kiosk", .is_needed = TRUE },
    { "browser", TYPE_CHOICE, .pattern = "firefox-esr|chromium|none", .otherwise = "firefox-esr" },
    { "url", TYPE_MATCH, .pattern = "(https?|file)://[^\\x00-\\x20\\x7f\"'\\\\`$]{1,500}",
      .like = "an address such as https://example.org/" },
    { NULL },
};

static const RecipeKey recipe_keys[] = {
    { "version", TYPE_COUNT, .min = RECIPE_VERSION, .max = RECIPE_VERSION, .is_needed = TRUE },
    { "name", TYPE_MATCH, .pattern = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
      .like = "a template's name" },
    { "os", TYPE_TEXT, .max = 256 },
    { "description", TYPE_TEXT, .max = 2000 },
    { "base", TYPE_MAP, .keys = base_keys, .is_needed = TRUE },
    { "size", TYPE_SIZE, .as = "size_bytes", .min = 512 * MIB, .max = 64 * TIB, .otherwise = "0" },
    { "packages", TYPE_TEXTS, .pattern = PACKAGE_PATTERN, .like = "a package", .max = 2000 },
    { "recommends", TYPE_FLAG, .otherwise = "no" },
    { "desktop", TYPE_DESKTOP, .keys = desktop_keys },
    { "files", TYPE_MAPS, .keys = file_keys, .max = RECIPE_MAX_FILES },
    { "commands", TYPE_TEXTS, .max = 1000 },
    { "users", TYPE_MAPS, .keys = user_keys, .max = 100 },
    { "root_password", TYPE_MATCH, .pattern = HASH_PATTERN,
      .like = "a hash as of mkpasswd(1), or locked" },
    { "locale", TYPE_MATCH, .pattern = "C(\\.UTF-8)?|[a-z]{2,3}_[A-Z]{2}(\\.UTF-8)?(@[a-z]+)?",
      .like = "a locale such as de_DE.UTF-8" },
    { "keyboard", TYPE_MATCH, .pattern = "[a-z]{2,8}( [a-z0-9_-]{1,32})?",
      .like = "a layout such as de, or de nodeadkeys" },
    { "timezone", TYPE_MATCH, .pattern = "[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}",
      .like = "a time zone such as Europe/Berlin" },
    { "hostname", TYPE_MATCH, .pattern = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
      .like = "a host name" },
    { "hardware", TYPE_MAP, .keys = hardware_keys, .otherwise = "{}" },
    { "guest", TYPE_MAP, .keys = guest_keys, .otherwise = "{}" },
    { "identity", TYPE_FREE },
    { "seal", TYPE_FLAG, .otherwise = "yes" },
    { NULL },
};

/* ---- what concerns several keys ---- */

static gboolean has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return value && !json_is_null(value);
}

static guint line_at(const YamlNode *root, const char *key)
{
    const YamlNode *node = root->kind == YAML_MAP ? yaml_tree_get(root, key) : NULL;

    return node ? node->line : root->line;
}

static void check_base(const json_t *recipe, const YamlNode *root, json_t *problems)
{
    const json_t *base = json_object_get(recipe, "base");
    guint n = has(base, "suite") + has(base, "template") + has(base, "image");
    guint line = line_at(root, "base");

    if (json_is_object(base) && json_object_size(base) && n != 1)
        recipe_problem(problems, line, "'base' has %s of suite, template and image: give one",
                       n ? "several" : "none");
    if (has(base, "image") != has(base, "format") && n == 1)
        recipe_problem(problems, line,
                       has(base, "image")
                           ? "'format' is missing in 'base': a file's format is never guessed"
                           : "'format' in 'base' is for an image");
    if (!has(base, "suite") && n == 1 &&
        (has(base, "mirror") || json_array_size(json_object_get(base, "components"))))
        recipe_problem(problems, line, "'mirror' and 'components' in 'base' are for a suite");
    if (!has(base, "suite") && n == 1 && json_integer_value(json_object_get(recipe, "size_bytes")))
        recipe_problem(problems, line_at(root, "size"),
                       "'size' is for a suite: a base has its own, and desktops may have larger"
                       " disks");
    if (has(base, "suite") && json_integer_value(json_object_get(recipe, "size_bytes")) == 0)
        recipe_problem(problems, line_at(root, "size"),
                       "'size' is missing: how large is the disk?");
}

static gboolean is_clean_path(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (guint i = 1; parts[i]; i++) {
        if (!*parts[i] || g_str_equal(parts[i], ".") || g_str_equal(parts[i], ".."))
            return FALSE;
    }
    return parts[1] != NULL;
}

static void check_files(const json_t *recipe, json_t *problems)
{
    gsize i, total = 0;
    json_t *file;

    json_array_foreach (json_object_get(recipe, "files"), i, file) {
        const char *path = json_string_value(json_object_get(file, "path"));
        guint line = (guint)json_integer_value(json_object_get(file, "line"));
        if (path && !is_clean_path(path))
            recipe_problem(problems, line, "the path of a file has empty parts, '.' or '..'");
        if (has(file, "content") == has(file, "source"))
            recipe_problem(problems, line, "a file has %s: give one of them",
                           has(file, "content") ? "'content' and 'source'"
                                                : "neither 'content' nor 'source'");
        total += json_string_length(json_object_get(file, "content"));
        if (total > RECIPE_MAX_CONTENT) {
            recipe_problem(problems, line, "the files are larger than 5 MiB together");
            return;
        }
    }
}

static void check_users(const json_t *recipe, json_t *problems)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    guint n_autologin = 0;
    gsize i;
    json_t *user;

    json_array_foreach (json_object_get(recipe, "users"), i, user) {
        const char *name = json_string_value(json_object_get(user, "name"));
        guint line = (guint)json_integer_value(json_object_get(user, "line"));
        if (name && g_str_equal(name, "root"))
            recipe_problem(problems, line, "root is not made: 'root_password' is root's password");
        if (name && !g_hash_table_add(seen, (char *)name))
            recipe_problem(problems, line, "the user '%s' is here twice", name);
        n_autologin += json_is_true(json_object_get(user, "autologin"));
        if (n_autologin == 2 && json_is_true(json_object_get(user, "autologin")))
            recipe_problem(problems, line, "a second user with 'autologin'");
    }
}

static void check_desktop(const json_t *recipe, const YamlNode *root, json_t *problems)
{
    const json_t *desktop = json_object_get(recipe, "desktop");
    const char *name = json_string_value(json_object_get(desktop, "environment"));
    const char *browser = json_string_value(json_object_get(desktop, "browser"));

    if (!name || !g_str_equal(name, "kiosk"))
        return;
    if (!has(desktop, "url"))
        recipe_problem(problems, line_at(root, "desktop"), "'url' is missing in 'desktop'");
    if (browser && g_str_equal(browser, "none"))
        recipe_problem(problems, line_at(root, "desktop"), "a kiosk needs a browser");
}

/* A base is changed in the appliance, which can do less than a build from nothing. */
static void check_fresh_only(const json_t *recipe, const YamlNode *root, json_t *problems)
{
    static const char *const keys[] = { "keyboard", "guest" };
    gsize i;
    json_t *user;

    if (root->kind != YAML_MAP || has(json_object_get(recipe, "base"), "suite"))
        return;
    for (i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (yaml_tree_get(root, keys[i]))
            recipe_problem(problems, line_at(root, keys[i]),
                           "'%s' is for a suite: on a base, use 'files' and 'commands'", keys[i]);
    }
    json_array_foreach (json_object_get(recipe, "users"), i, user) {
        if (json_array_size(json_object_get(user, "ssh_keys")) ||
            json_is_true(json_object_get(user, "autologin")))
            recipe_problem(problems, (guint)json_integer_value(json_object_get(user, "line")),
                           "'ssh_keys' and 'autologin' of users are for a suite: on a base, use"
                           " 'files'");
    }
}

/* Names that a pattern lets through, and that do not exist. */
static void check_names(const json_t *recipe, const YamlNode *root, json_t *problems)
{
    const char *zone = json_string_value(json_object_get(recipe, "timezone"));
    const char *keyboard = json_string_value(json_object_get(recipe, "keyboard"));
    g_autofree char *near = NULL;

    if (zone && !recipe_knows_zone(RECIPE_ZONES, zone))
        recipe_problem(problems, line_at(root, "timezone"), "there is no time zone '%s'", zone);
    if (keyboard && !recipe_knows_keyboard(RECIPE_KEYBOARDS, keyboard, &near))
        recipe_problem(problems, line_at(root, "keyboard"), "there is no keyboard '%s'%s%s%s",
                       keyboard, near ? ": is '" : "", near ? near : "", near ? "' meant?" : "");
}

/* What the YAML parser says, as a problem: its message begins with "line N: ". */
static void add_syntax_problem(json_t *problems, const GError *why)
{
    g_autofree char *message = imaged_error_message(why);
    const char *colon = strstr(message, ": ");
    unsigned line = 1;

    if (sscanf(message, "line %u: ", &line) == 1 && colon)
        recipe_problem(problems, line, "%s", colon + 2);
    else
        recipe_problem(problems, 1, "%s", message);
}

/* What a fresh build has if nothing is said; a base has its own. */
static void add_defaults(json_t *recipe)
{
    static const struct {
        const char *key, *text;
    } texts[] = { { "root_password", "locked" },
                  { "locale", "C.UTF-8" },
                  { "keyboard", "us" },
                  { "timezone", "Etc/UTC" },
                  { "hostname", "desktop" } };
    json_t *hardware = json_object_get(recipe, "hardware");

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (!has(recipe, texts[i].key))
            json_object_set_new(recipe, texts[i].key, json_string(texts[i].text));
    }
    if (!has(hardware, "cpus"))
        json_object_set_new(hardware, "cpus", json_integer(2));
    if (!has(hardware, "memory_bytes"))
        json_object_set_new(hardware, "memory_bytes", json_integer((json_int_t)(2 * GIB)));
    if (!has(hardware, "firmware"))
        json_object_set_new(hardware, "firmware", json_string("bios"));
    if (!has(hardware, "video"))
        json_object_set_new(hardware, "video", json_string("qxl"));
}

/* Each setting by itself, so that all problems are told, each with its line. */
static void check_identity(const json_t *recipe, const YamlNode *root, RecipeSettingCheck check,
                           json_t *problems)
{
    const YamlNode *map = yaml_tree_get(root, "identity");
    const json_t *identity = json_object_get(recipe, "identity");

    for (guint i = 0; map && map->kind == YAML_MAP && i < map->keys->len; i++) {
        g_autoptr(GError) local = NULL;
        const char *key = map->keys->pdata[i];
        if (check(key, json_object_get(identity, key), &local))
            continue;
        g_autofree char *why = imaged_error_message(local);
        recipe_problem(problems, g_array_index(map->lines, guint, i), "%s", why);
    }
}

static json_t *read_recipe(const YamlNode *root, RecipeSettingCheck check, json_t *problems)
{
    if (root->kind != YAML_MAP) {
        recipe_problem(problems, root->line, "a recipe is a map of keys, but this is %s",
                       recipe_kind_name(root->kind));
        return NULL;
    }
    json_t *recipe = recipe_read_map(recipe_keys, root, NULL, problems);
    if (check)
        check_identity(recipe, root, check, problems);
    check_base(recipe, root, problems);
    check_files(recipe, problems);
    check_users(recipe, problems);
    check_desktop(recipe, root, problems);
    check_fresh_only(recipe, root, problems);
    check_names(recipe, root, problems);
    if (has(json_object_get(recipe, "base"), "suite"))
        add_defaults(recipe);
    return recipe;
}

static int by_line(gconstpointer a, gconstpointer b)
{
    const json_t *const *one = a, *const *other = b;
    json_int_t first = json_integer_value(json_object_get(*one, "line"));
    json_int_t second = json_integer_value(json_object_get(*other, "line"));

    return first < second ? -1 : first > second;
}

/* As a reader meets them.  Takes problems over. */
static json_t *sorted(json_t *problems)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    json_t *out = json_array(), *item;
    gsize i;

    json_array_foreach (problems, i, item)
        g_ptr_array_add(list, item);
    g_ptr_array_sort(list, by_line);
    for (i = 0; i < list->len; i++)
        json_array_append(out, list->pdata[i]);
    json_decref(problems);
    return out;
}

json_t *recipe_parse(const char *text, gsize len, RecipeSettingCheck check, json_t *ret_problems,
                     GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(YamlNode) root = yaml_tree_parse(text, len, &local);
    json_t *problems = json_array(), *recipe = NULL;

    if (root)
        recipe = read_recipe(root, check, problems);
    else
        add_syntax_problem(problems, local);
    problems = sorted(problems);
    gsize n = json_array_size(problems);
    if (n) {
        const json_t *first = json_array_get(problems, 0);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "line %d: %s",
                    (int)json_integer_value(json_object_get(first, "line")),
                    json_string_value(json_object_get(first, "message")));
        if (n > 1)
            g_prefix_error(error, "%zu problems, the first: ", n);
        g_clear_pointer(&recipe, json_decref);
    }
    if (ret_problems)
        json_array_extend(ret_problems, problems);
    json_decref(problems);
    return recipe;
}
