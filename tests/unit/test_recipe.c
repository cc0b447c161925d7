/* test_recipe.c: recipes that are right, and each way of writing one wrong: its line, its words. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "templates/recipe.h"
#include "templates/recipe_known.h"
#include "templates/yaml_tree.h"

#define HEAD "version: 1\nbase:\n  suite: bookworm\nsize: 4G\n" /* lines 1 to 4 */

typedef struct {
    const char *name, *text;
    guint n;          /* problems */
    guint line;       /* of the first */
    const char *says; /* is in its message */
} Wrong;

static const Wrong wrongs[] = {
    { "nothing", "", 1, 1, "nothing in it" },
    { "a list", "- version\n", 1, 1, "a recipe is a map of keys, but this is a list" },
    { "tab", "version: 1\nbase:\n\tsuite: bookworm\n", 1, 3, "not YAML" },
    { "open quote", "version: \"1\nbase: x\n", 1, 3, "not YAML" },
    { "bytes", HEAD "name: \xff\xfe\n", 1, 5, "UTF-8" },
    { "two documents", HEAD "---\nversion: 1\n", 1, 5, "second document" },
    { "alias", "version: 1\nbase: &a {suite: bookworm}\n", 1, 2, "anchors" },
    { "alias alone", "version: 1\nbase: *a\n", 1, 2, "aliases" },
    { "tag", "version: !!int 1\n", 1, 1, "tags" },
    { "bomb", "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", 1, 1, "anchors" },
    { "deep", "a: [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n", 1, 1, "deep" },
    { "twice", HEAD "size: 5G\n", 1, 5, "'size' is here twice" },
    { "unknown, near", HEAD "pakages: [vim]\n", 1, 5,
      "unknown key 'pakages': is 'packages' meant?" },
    { "unknown, far", HEAD "qqqqqqqq: 1\n", 1, 5, "unknown key 'qqqqqqqq'" },
    { "unknown, below", HEAD "hardware:\n  cpu: 2\n", 1, 6, "in 'hardware': is 'cpus' meant?" },
    { "unknown, in a list", HEAD "users:\n  - name: bob\n    pasword: locked\n", 1, 7,
      "unknown key 'pasword' in 'users': is 'password' meant?" },
    { "identity, and more", HEAD "identity: {usr: x}\npakages: []\n", 2, 5, "no setting 'usr'" },
    { "no version", "base: {suite: bookworm}\nsize: 4G\n", 1, 1, "'version' is missing" },
    { "a later version", "version: 2\nbase: {suite: bookworm}\nsize: 4G\n", 1, 1, "version 2" },
    { "no base", "version: 1\nsize: 4G\n", 1, 1, "'base' is missing" },
    { "empty base", "version: 1\nbase: {}\nsize: 4G\n", 1, 2, "has none of" },
    { "two bases", "version: 1\nbase: {suite: bookworm, template: a}\nsize: 4G\n", 1, 2,
      "has several of" },
    { "image without format", "version: 1\nbase: {image: a.qcow2}\n", 1, 2, "never guessed" },
    { "mirror of a template", "version: 1\nbase: {template: a, mirror: 'http://x/'}\n", 1, 2,
      "for a suite" },
    { "file mirror", "version: 1\nbase: {suite: bookworm, mirror: 'file:///etc'}\nsize: 4G\n", 1, 2,
      "is not an http:// or https:// address" },
    { "suite of options", "version: 1\nbase: {suite: --foo}\nsize: 4G\n", 2, 2, "is not a suite" },
    { "size of a base", "version: 1\nbase: {template: a}\nsize: 4G\n", 1, 3, "for a suite" },
    { "keyboard of a base", "version: 1\nbase: {template: a}\nkeyboard: gb\n", 1, 3,
      "for a suite" },
    { "keys of users on a base",
      "version: 1\nbase: {template: a}\nusers:\n  - {name: bob, autologin: yes}\n", 1, 4,
      "for a suite" },
    { "no size", "version: 1\nbase: {suite: bookworm}\n", 1, 1, "'size' is missing" },
    { "tiny", "version: 1\nbase: {suite: bookworm}\nsize: 5M\n", 2, 3, "must be 512.0 MiB to" },
    { "size of words", "version: 1\nbase: {suite: bookworm}\nsize: big\n", 2, 3,
      "a size such as 8G" },
    { "text for a map", HEAD "hardware: fast\n", 1, 5, "must be a map, but is a text" },
    { "text for a list", HEAD "packages: vim\n", 1, 5, "must be a list, but is a text" },
    { "map in a list", HEAD "packages: [{a: b}]\n", 1, 5, "must be a text, but is a map" },
    { "option for a package", HEAD "packages: [vim, '-o=x']\n", 1, 5, "is not a package" },
    { "shell for a package", HEAD "packages: ['vim;reboot']\n", 1, 5, "is not a package" },
    { "empty entry", HEAD "commands:\n  - true\n  -\n", 1, 7, "an empty entry in 'commands'" },
    { "flag", HEAD "seal: maybe\n", 1, 5, "must be yes or no" },
    { "count", HEAD "hardware: {cpus: many}\n", 1, 5, "must be a number" },
    { "too many cpus", HEAD "hardware: {cpus: 100000}\n", 1, 5, "out of range" },
    { "huge number", HEAD "hardware: {cpus: 99999999999999999999999}\n", 1, 5, "must be a number" },
    { "firmware", HEAD "hardware: {firmware: coreboot}\n", 1, 5, "it is one of bios, uefi" },
    { "relative file", HEAD "files: [{path: etc/motd, content: x}]\n", 1, 5, "absolute" },
    { "climbing file", HEAD "files: [{path: /a/../b, content: x}]\n", 1, 5, "'..'" },
    { "file of nothing", HEAD "files: [{path: /a}]\n", 1, 5, "neither" },
    { "file of both", HEAD "files: [{path: /a, content: x, source: y}]\n", 1, 5, "'source'" },
    { "mode", HEAD "files: [{path: /a, content: x, mode: '0999'}]\n", 1, 5, "0644" },
    { "mode too large", HEAD "files: [{path: /a, content: x, mode: '17777'}]\n", 1, 5, "range" },
    { "user", HEAD "users: [{name: 'Bob Smith'}]\n", 1, 5, "is not a user's name" },
    { "root", HEAD "users: [{name: root}]\n", 1, 5, "root_password" },
    { "user twice", HEAD "users:\n  - name: a\n  - name: a\n", 1, 7, "here twice" },
    { "plain password", HEAD "root_password: secret\n", 1, 5, "is not a hash" },
    { "two log in", HEAD "users: [{name: a, autologin: yes}, {name: b, autologin: yes}]\n", 1, 5,
      "second user" },
    { "kiosk of nothing", HEAD "desktop: kiosk\n", 1, 5, "'url' is missing" },
    { "kiosk address", HEAD "desktop: {environment: kiosk, url: 'javascript:alert(1)'}\n", 2, 5,
      "is not an address" },
    { "desktop", HEAD "desktop: gnome\n", 1, 5, "it is one of xfce, kiosk" },
    { "desktop quoted", HEAD "desktop: \"x'\\n: {\"\n", 1, 5, "'desktop' is a word or a map" },
    { "several, by line",
      "version: 1\nbase: {suite: bookworm}\nsize: 4G\nsel: no\nlocale: 7\n"
      "hardware: {cpus: x}\npakages: []\n",
      4, 4, "'seal' meant" },
};

/* Of identity's settings, as their own module would. */
static gboolean check_setting(const char *key, const json_t *value, GError **error)
{
    g_assert_nonnull(value);
    if (!g_str_equal(key, "usr"))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no setting 'usr'");
    return FALSE;
}

static void test_wrong(gconstpointer data)
{
    const Wrong *c = data;
    g_autoptr(GError) error = NULL;
    json_t *problems = json_array();

    g_assert_null(recipe_parse(c->text, strlen(c->text), check_setting, problems, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    const json_t *first = json_array_get(problems, 0);
    const char *message = json_string_value(json_object_get(first, "message"));
    if (!strstr(message, c->says))
        g_error("%s: '%s' is not in '%s'", c->name, c->says, message);
    g_test_message("%s", message);
    g_assert_cmpint(json_integer_value(json_object_get(first, "line")), ==, c->line);
    g_assert_cmpuint(json_array_size(problems), ==, c->n);
    g_assert_nonnull(strstr(error->message, message));
    json_decref(problems);
}

static json_t *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    json_t *recipe = recipe_parse(text, strlen(text), check_setting, NULL, &error);

    g_assert_no_error(error);
    g_assert_nonnull(recipe);
    return recipe;
}

static const char *text_at(const json_t *object, const char *key, const char *below)
{
    return json_string_value(json_object_get(json_object_get(object, key), below));
}

static void test_defaults(void)
{
    json_t *r = parse(HEAD);
    const json_t *hardware = json_object_get(r, "hardware");

    g_assert_cmpstr(text_at(r, "base", "suite"), ==, "bookworm");
    g_assert_cmpint(json_integer_value(json_object_get(r, "size_bytes")), ==, 4 * GIB);
    g_assert_cmpint(json_integer_value(json_object_get(hardware, "cpus")), ==, 2);
    g_assert_cmpint(json_integer_value(json_object_get(hardware, "memory_bytes")), ==, 2 * GIB);
    g_assert_cmpstr(text_at(r, "hardware", "firmware"), ==, "bios");
    g_assert_cmpstr(text_at(r, "hardware", "video"), ==, "qxl");
    g_assert_true(json_is_true(json_object_get(json_object_get(r, "guest"), "agent")));
    g_assert_true(json_is_true(json_object_get(r, "seal")));
    g_assert_false(json_is_true(json_object_get(r, "recommends")));
    g_assert_cmpuint(json_array_size(json_object_get(r, "packages")), ==, 0);
    g_assert_true(json_is_null(json_object_get(r, "desktop")));
    g_assert_cmpstr(json_string_value(json_object_get(r, "locale")), ==, "C.UTF-8");
    json_decref(r);
}

static void test_whole(void)
{
    json_t *r = parse(HEAD "name: office\ndesktop: xfce\npackages:\n  - vim\n  - g++=4:12.2.0-3\n"
                           "files:\n  - path: /etc/motd\n    mode: 0600\n    content: |\n"
                           "      two\n      lines\n"
                           "commands:\n  - 'echo \"a: b\" > /etc/x'\n  - |\n    if true; then\n"
                           "      echo\n    fi\n"
                           "users:\n  - name: alice\n    sudo: on\n    groups: [audio, video]\n"
                           "    password: $6$abc$defghijklmnop\n"
                           "guest:\n  webdav: no\n"
                           "identity:\n  account: keep\n  join: {domain: x.org, tries: 3}\n");
    const json_t *file = json_array_get(json_object_get(r, "files"), 0);
    const json_t *user = json_array_get(json_object_get(r, "users"), 0);
    const json_t *join = json_object_get(json_object_get(r, "identity"), "join");

    g_assert_cmpstr(text_at(r, "desktop", "environment"), ==, "xfce");
    g_assert_cmpstr(text_at(r, "desktop", "browser"), ==, "firefox-esr");
    g_assert_cmpstr(json_string_value(json_object_get(file, "content")), ==, "two\nlines\n");
    g_assert_cmpint(json_integer_value(json_object_get(file, "mode")), ==, 0600);
    g_assert_cmpstr(json_string_value(json_object_get(file, "owner")), ==, "root");
    g_assert_true(json_is_true(json_object_get(user, "sudo")));
    g_assert_cmpstr(json_string_value(json_object_get(user, "shell")), ==, "/bin/bash");
    g_assert_false(json_is_true(json_object_get(json_object_get(r, "guest"), "webdav")));
    g_assert_cmpint(json_integer_value(json_object_get(join, "tries")), ==, 3);
    g_assert_cmpuint(json_array_size(json_object_get(r, "commands")), ==, 2);
    json_decref(r);
}

/* An overlay needs no size; keys may be empty. */
static void test_other_bases(void)
{
    json_t *r = parse("version: 1\nbase: {template: 'win11:4'}\npackages:\nusers: ~\n");

    g_assert_cmpint(json_integer_value(json_object_get(r, "size_bytes")), ==, 0);
    g_assert_cmpstr(text_at(r, "base", "template"), ==, "win11:4");
    g_assert_null(text_at(r, "hardware", "video")); /* as the base */
    json_decref(r);
    r = parse("version: 1\nbase:\n  image: ../my image.qcow2\n  format: qcow2\n");
    g_assert_cmpstr(text_at(r, "base", "image"), ==, "../my image.qcow2");
    json_decref(r);
}

/* What a machine's lists know; without a list nothing is said against a name. */
static void test_known(void)
{
    static const struct {
        const char *keyboard;
        gboolean is_known;
        const char *near;
    } cases[] = { { "de", TRUE, NULL },
                  { "de nodeadkeys", TRUE, NULL },
                  { "us nodeadkeys", FALSE, NULL },
                  { "zz qq", FALSE, NULL },
                  { "pc104", FALSE, NULL },
                  { "grman", FALSE, "german" } };
    g_autofree char *folder = g_dir_make_tmp("test-recipe-XXXXXX", NULL);
    g_autofree char *europe = g_build_filename(folder, "Europe", NULL);
    g_autofree char *berlin = g_build_filename(europe, "Berlin", NULL);
    g_autofree char *list = g_build_filename(folder, "base.lst", NULL);
    char *near;

    g_mkdir(europe, 0700);
    g_assert_true(g_file_set_contents(berlin, "TZif", 4, NULL));
    g_assert_true(recipe_knows_zone(folder, "Europe/Berlin"));
    g_assert_false(recipe_knows_zone(folder, "Europe"));
    g_assert_false(recipe_knows_zone(folder, "Mars/Base"));
    g_assert_true(recipe_knows_zone(berlin, "Mars/Base")); /* no folder of zones */
    g_assert_true(recipe_knows_keyboard(list, "zz", &near));
    g_assert_true(g_file_set_contents(list,
                                      "! model\n  pc104  Generic\n\n! layout\n  us  English\n"
                                      "  de  German\n  german  Old\n\n! variant\n"
                                      "  nodeadkeys  de: German (no dead keys)\n",
                                      -1, NULL));
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(recipe_knows_keyboard(list, cases[i].keyboard, &near), ==,
                        cases[i].is_known);
        g_assert_cmpstr(near, ==, cases[i].near);
        g_free(near);
    }
    g_remove(list);
    g_remove(berlin);
    g_rmdir(europe);
    g_rmdir(folder);
}

/* No text, however large, costs more than its length. */
static void test_bounds(void)
{
    g_autoptr(GString) many = g_string_new(HEAD "packages:\n");
    g_autoptr(GString) big = g_string_new(HEAD "description: ");
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < 30000; i++)
        g_string_append(many, "- a1\n");
    g_assert_null(recipe_parse(many->str, many->len, NULL, NULL, &error));
    g_assert_nonnull(strstr(error->message, "too many entries"));
    g_clear_error(&error);
    for (guint i = 0; i <= YAML_MAX_TEXT; i++)
        g_string_append_c(big, 'x');
    g_assert_null(recipe_parse(big->str, big->len, NULL, NULL, &error));
    g_assert_nonnull(strstr(error->message, "longer than 1 MiB"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(wrongs); i++) {
        g_autofree char *path = g_strdup_printf("/recipe/wrong/%s", wrongs[i].name);
        g_test_add_data_func(path, &wrongs[i], test_wrong);
    }
    g_test_add_func("/recipe/defaults", test_defaults);
    g_test_add_func("/recipe/whole", test_whole);
    g_test_add_func("/recipe/other bases", test_other_bases);
    g_test_add_func("/recipe/known", test_known);
    g_test_add_func("/recipe/bounds", test_bounds);
    return g_test_run();
}
