/* test_search.c: the search language without a catalog: what is understood, what is refused and
 * where, what can stand at the cursor. */
#include <string.h>

#include "broker/search/functions.h"
#include "broker/search/parser.h"
#include "broker/search/resolve.h"
#include "broker/search/spot.h"
#include "imaged/base/error.h"

/* A tree as a text: (and a (not b)). */
static void show(const SearchNode *n, GString *out)
{
    static const char *const kinds[] = { "and", "or", "not", "", "~", "@" };
    static const char *const ops[] = { "=",  "!=", "<",      "<=",   ">",
                                       ">=", "in", "not in", "none", "set" };

    if (n->kind == NODE_FREE || n->kind == NODE_SAVED) {
        g_string_append_printf(out, "%s%s", kinds[n->kind], n->word.text);
        return;
    }
    if (n->kind == NODE_TERM) {
        g_string_append_printf(out, "[%s %s", n->word.text, ops[n->op]);
        for (guint i = 0; i < n->values->len; i++)
            g_string_append_printf(out, " %s", g_array_index(n->values, SearchWord, i).text);
        g_string_append_c(out, ']');
        return;
    }
    g_string_append_printf(out, "(%s", kinds[n->kind]);
    for (guint i = 0; i < n->children->len; i++) {
        g_string_append_c(out, ' ');
        show(n->children->pdata[i], out);
    }
    g_string_append_c(out, ')');
}

static char *shown(const SearchTree *tree)
{
    GString *out = g_string_new(NULL);

    if (tree->object.text)
        g_string_append_printf(out, "%s: ", tree->object.text);
    if (tree->condition)
        show(tree->condition, out);
    for (guint i = 0; i < tree->sorts->len; i++) {
        const SearchSort *sort = &g_array_index(tree->sorts, SearchSort, i);
        g_string_append_printf(out, " %s%s", sort->is_descending ? "v" : "^", sort->field.text);
    }
    if (tree->group.text)
        g_string_append_printf(out, " by %s", tree->group.text);
    if (tree->is_count)
        g_string_append(out, " count");
    if (tree->page)
        g_string_append_printf(out, " page %d", (int)tree->page);
    if (tree->limit)
        g_string_append_printf(out, " limit %d", (int)tree->limit);
    return g_string_free(out, FALSE);
}

static void test_sound(void)
{
    static const struct {
        const char *text, *tree;
    } table[] = {
        { "Vms: user.username = *John* AND template.name = *xp* AND Apps = *office*",
          "Vms: (and [user.username = *John*] [template.name = *xp*] [Apps = *office*])" },
        { "Vms: CPU_Usage > 90 AND Hosts.Name = vs-a",
          "Vms: (and [CPU_Usage > 90] [Hosts.Name = vs-a])" },
        { "", "" },
        { "Hosts:", "Hosts: " },
        { "vms:cpu>90", "vms: [cpu > 90]" },
        { "golden:3", "~golden:3" },
        { "52:54:00:00:00:01", "~52:54:00:00:00:01" },
        { "a b", "(and ~a ~b)" },
        { "a=1 or b=2 and not c=3", "(or [a = 1] (and [b = 2] (not [c = 3])))" },
        { "(a=1 or b=2) c=3", "(and (or [a = 1] [b = 2]) [c = 3])" },
        { "not not x", "(not (not ~x))" },
        { "a in (1, \"two words\",3)", "[a in 1 two words 3]" },
        { "a not in (1)", "[a not in 1]" },
        { "a is none", "[a none]" },
        { "a IS NOT NONE", "[a set]" },
        { "a is not set", "[a none]" },
        { "a<>1 b==2 c!=3", "(and [a != 1] [b = 2] [c != 3])" },
        { "\"a and b\" 'x'", "(and ~a and b ~x)" },
        { "O'Brien", "~O'Brien" },
        { "name = \"say \\\"x\\\"\"", "[name = say \\\"x\\\"]" },
        { "@old and x", "(and @old ~x)" },
        { "x sortby a desc, b limit 5 page 2", "~x va ^b page 2 limit 5" },
        { "sort by a order", NULL },
        { "group by template", " by template" },
        { "x count", "~x count" },
        { "time > now-2h", "[time > now-2h]" },
        { "size >= 20G", "[size >= 20G]" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(SearchTree) tree = search_parse(table[i].text, &error);
        if (!table[i].tree) {
            g_assert_null(tree);
            continue;
        }
        g_assert_no_error(error);
        g_autofree char *text = shown(tree);
        g_assert_cmpstr(text, ==, table[i].tree);
    }
}

static void test_wrong(void)
{
    static const struct {
        const char *text, *says;
    } table[] = {
        { "a =", "column 4: the search ends where a value" },
        { "a = and b", "column 5: 'and' stands where a value" },
        { "(a", "column 1: the parenthesis" },
        { "a)", "column 2: ')' stands where" },
        { "\"abc", "column 1: the quote" },
        { "a in 1", "column 6: '1' stands where the list" },
        { "a in (1", "column 8: the search ends where a comma" },
        { "a is here", "column 6: 'here' stands where NONE or SET" },
        { "= 3", "column 1: '=' stands where" },
        { "or a", "column 1: 'or' stands where" },
        { "a or", "column 5: the search ends where" },
        { "limit 0", "column 7: LIMIT wants a number" },
        { "limit 100001", "column 7: LIMIT wants a number" },
        { "limit 99999999999999999999", "column 7: LIMIT wants a number" },
        { "limit -1", "column 7: " },
        { "page 100001", "column 6: PAGE wants a number" },
        { "limit 5 limit 6", "column 9: limit is there already" },
        { "\"a\" = 3", "column 1: a field is written without quotes" },
        { "äöü = ", "column 7: the search ends" },
        { "x sortby", "column 9: the search ends where a field" },
        { "a\001b", "column 2: there is a control character" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(SearchTree) tree = search_parse(table[i].text, &error);
        g_assert_null(tree);
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        if (!g_str_has_prefix(error->message, table[i].says))
            g_error("'%s': %s", table[i].text, error->message);
    }
}

/* Depth, terms and length are bounded. */
static void test_bounds(void)
{
    GString *deep = g_string_new(NULL), *many = g_string_new("a"), *nots = g_string_new(NULL);
    g_autofree char *with_parentheses = NULL, *with_terms = NULL, *with_nots = NULL;
    g_autofree char *is_long = g_strnfill(20000, 'x');

    for (guint i = 0; i < 2000; i++) {
        g_string_append_c(deep, '(');
        g_string_append(many, " a");
        g_string_append(nots, "not ");
    }
    const char *texts[] = { with_parentheses = g_string_free(deep, FALSE),
                            with_terms = g_string_free(many, FALSE),
                            with_nots = g_string_free(nots, FALSE), is_long };
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(search_parse(texts[i], &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

static void test_paths(void)
{
    static const struct {
        const char *object, *path, *is; /* is: the objects on the way and the field; or the error */
    } table[] = {
        { "vms", "CPU_Usage", "cpu_usage" },
        { "vms", "cpu-usage", "cpu_usage" },
        { "vms", "user.username", "users.name" },
        { "vms", "Apps", "applications.name" },
        { "vms", "Hosts.Name", "hosts.name" },
        { "vms", "vm.name", "name" },
        { "vms", "snapshot.age", "snapshots.age" },
        { "hosts", "user", "desktops.users.name" },
        { "groups", "users.desktops.template", "users.desktops.templates.name" },
        { "users", "group", "groups.name" },
        { "vms", "nmae", "!column 5: desktops have no field 'nmae'\ndid you mean 'name'?" },
        { "vms", "user.nmae", "!column 10: users have no field 'nmae'\ndid you mean 'user.name'?" },
        { "vms", "email", "!column 5: desktops have no field 'email'\ndid you mean 'user.email'?" },
        { "vms", "user.group.pool.template", "!column 21: a field is at most 3 steps away" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        const SearchWord word = { (char *)table[i].path, 5, FALSE };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) is = g_string_new(NULL);
        SearchPath path;
        if (resolve_path(objects_find(table[i].object), &word, &path, &error)) {
            for (guint k = 1; k <= path.n_links; k++)
                g_string_append_printf(is, "%s.", path.objects[k]->name);
            g_string_append(is, path.field->name);
        } else {
            g_autofree char *message = imaged_error_message(error);
            const char *hint = imaged_error_get_hint(error);
            g_string_append_printf(is, "!%s%s%s", message, hint ? "\n" : "", hint ? hint : "");
        }
        g_assert_cmpstr(is->str, ==, table[i].is);
    }
}

static void test_values(void)
{
    static const struct {
        SearchType type;
        const char *text;
        double is;     /* real, or integer of a time */
        gint64 length; /* of a time */
    } table[] = {
        { TYPE_NUMBER, "2.5", 2.5, 0 },
        { TYPE_SIZE, "20G", 20.0 * 1024 * 1024 * 1024, 0 },
        { TYPE_PERCENT, "90%", 0.9, 0 },
        { TYPE_PERCENT, "90", 0.9, 0 },
        { TYPE_AGE, "7d", 7 * 86400000.0, 0 },
        { TYPE_TIME, "now", 1000000000000.0, 1000 },
        { TYPE_TIME, "NOW-2h", 1000000000000.0 - 7200000, 1000 },
        { TYPE_TIME, "1970-01-02T00:00:00Z", 86400000, 1000 },
        { TYPE_TIME, "1970-01-02T00:00:00+01:00", 82800000, 1000 },
        { TYPE_BOOL, "yes", 1, 0 },
    };
    static const struct {
        SearchType type;
        const char *text;
    } wrong[] = { { TYPE_NUMBER, "x" },   { TYPE_NUMBER, "0x10" },     { TYPE_SIZE, "20X" },
                  { TYPE_PERCENT, "%" },  { TYPE_AGE, "7" },           { TYPE_TIME, "now-" },
                  { TYPE_TIME, "later" }, { TYPE_TIME, "2026-13-45" }, { TYPE_BOOL, "maybe" } };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        const SearchField field = { .name = "f", .type = table[i].type };
        const SearchWord word = { (char *)table[i].text, 1, FALSE };
        g_auto(SearchValue) value = { 0 };
        g_assert_true(resolve_value(&field, &word, 1000000000000, &value, NULL));
        g_assert_cmpfloat(field.type == TYPE_TIME || field.type == TYPE_BOOL ? (double)value.integer
                                                                             : value.real,
                          ==, table[i].is);
        if (field.type == TYPE_TIME)
            g_assert_cmpint(value.until - value.integer, ==, table[i].length);
    }
    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        const SearchField field = { .name = "f", .type = wrong[i].type };
        const SearchWord word = { (char *)wrong[i].text, 1, FALSE };
        g_auto(SearchValue) value = { 0 };
        g_autoptr(GError) error = NULL;
        g_assert_false(resolve_value(&field, &word, 1000000000000, &value, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

static void test_patterns(void)
{
    static const struct {
        const char *pattern, *text;
        gboolean fits;
    } table[] = {
        { "*john*", "Sir JOHN Doe", TRUE },
        { "john*", "Johnny", TRUE },
        { "john*", "a john", FALSE },
        { "*ny", "Johnny", TRUE },
        { "j?hn", "John", TRUE },
        { "j?hn", "Jhn", FALSE },
        { "*", "", TRUE },
        { "a*b*c", "aXbYbZc", TRUE },
        { "a*b*c", "aXbYbZ", FALSE },
        { "müller", "MÜLLER", TRUE },
        { "m?ller", "Müller", TRUE },
        { "2\\*3", "2*3", TRUE },
        { "2\\*3", "2x3", FALSE },
        { "*üll*", "Frau MÜLLER", TRUE },
        { "DOM\\user", "dom\\USER", TRUE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        const SearchField field = { .name = "f", .type = TYPE_TEXT };
        const SearchWord word = { (char *)table[i].pattern, 1, FALSE };
        g_auto(SearchValue) value = { 0 };
        g_assert_true(resolve_value(&field, &word, 0, &value, NULL));
        g_autofree char *folded = functions_fold(value.text);
        if (functions_fits(folded, table[i].text) != table[i].fits)
            g_error("'%s' and '%s'", table[i].pattern, table[i].text);
    }
}

/* Many stars over a text that nearly fits: a walk that comes back to each of them would not end. */
static void test_hostile_patterns(void)
{
    g_autofree char *text = g_strnfill(100000, 'a');
    g_autoptr(GString) stars = g_string_new(NULL);

    for (int i = 0; i < 40; i++)
        g_string_append_printf(stars, "%ca", PATTERN_ANY);
    g_autofree char *nearly = g_strconcat(stars->str, "b", NULL);
    g_autofree char *fits = g_strconcat(stars->str, "\001", NULL);
    g_assert_false(functions_fits(nearly, text));
    g_assert_true(functions_fits(fits, text));
    g_assert_false(functions_fits(nearly, "\xc3\xbc"
                                          "aaaaaaaaaaaa"));
    /* a text that is cut off within a character */
    g_assert_true(functions_fits("\001a\001", "aaa\xe2\x82"));
    g_assert_false(functions_fits("a\002", "a\xe2\x82\xac"
                                           "b"));
    g_assert_true(functions_fits("a\002\001", "a\xe2"));
}

/* The bar is the cursor; words: some that are offered; not: one that is not. */
static void test_completion(void)
{
    static const struct {
        const char *text, *has, *has_not;
    } table[] = {
        { "|", "hosts: name NOT", "AND" },
        { "Ho|", "hosts: host", "users:" },
        { "Vms: us|", "user", "name" },
        { "Vms: user.na|", "user.name", "name" },
        { "Vms: name |", "= IS_NONE AND", "name" },
        { "Vms: name = x |", "AND SORTBY", "name" },
        { "Vms: name = x AND |", "name NOT", "AND" },
        { "Vms: created > |", "now-1h today", "name" },
        { "Vms: orphan = |", "yes no", "name" },
        { "Vms: name = x SORTBY |", "name host", "AND" },
        { "Vms: name = x SORTBY name |", "DESC", "AND" },
        { "Vms: name = x GROUP |", "BY", "AND" },
        { "Vms: x IS |", "NONE SET", "AND" },
        { "Vms: na| = x", "name", "user" },
        { "Vms: name IN (a, b) |", "AND", "name" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        const char *bar = strchr(table[i].text, '|');
        g_autofree char *head = g_strndup(table[i].text, (gsize)(bar - table[i].text));
        g_autofree char *text = g_strconcat(head, bar + 1, NULL);
        g_auto(Spot) spot = { 0 };
        json_t *word;
        g_autoptr(GString) all = g_string_new("\n");
        size_t k;
        spot_find(text, bar - table[i].text, NULL, &spot);
        json_array_foreach (spot.words, k, word)
            g_string_append_printf(all, "%s\n", json_string_value(json_object_get(word, "text")));
        g_auto(GStrv) wanted = g_strsplit(table[i].has, " ", -1);
        for (guint w = 0; wanted[w]; w++) {
            g_autofree char *line = g_strdup_printf("\n%s\n", g_strdelimit(wanted[w], "_", ' '));
            if (!strstr(all->str, line))
                g_error("'%s' does not offer %s but:%s", table[i].text, wanted[w], all->str);
        }
        g_autofree char *not = g_strdup_printf("\n%s\n", table[i].has_not);
        if (strstr(all->str, not ))
            g_error("'%s' offers %s", table[i].text, table[i].has_not);
    }
}

/* The manual has every object, field and link. */
static void test_manual(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "docs", "search.md", NULL);
    g_autofree char *manual = NULL;

    if (!g_file_get_contents("docs/search.md", &manual, NULL, NULL))
        g_assert_true(g_file_get_contents(path, &manual, NULL, NULL));
    for (guint i = 0; search_objects[i]; i++) {
        const SearchObject *o = search_objects[i];
        g_autofree char *row = g_strdup_printf("\n| %s ", o->name);
        const char *begin = strstr(manual, row);
        if (!begin)
            g_error("docs/search.md has no row for %s", o->name);
        g_autofree char *line = g_strndup(begin + 1, strcspn(begin + 1, "\n"));
        g_strdelimit(line, "|()*", ' ');
        for (const SearchField *f = o->fields; f->name; f++) {
            g_autofree char *word = g_strdup_printf(" %s ", f->name);
            if (!strstr(line, word))
                g_error("docs/search.md: %s have a field '%s'", o->name, f->name);
        }
        for (const SearchLink *l = o->links; l->name; l++) {
            g_autofree char *word = g_strdup_printf(" %s ", l->name);
            if (!strstr(line, word))
                g_error("docs/search.md: %s hang on '%s'", o->name, l->name);
        }
    }
}

/* What every link names is there. */
static void test_tables(void)
{
    for (guint i = 0; search_objects[i]; i++) {
        const SearchObject *o = search_objects[i];
        g_assert_nonnull(objects_field(o, o->main));
        g_assert_nonnull(objects_field(o, o->order));
        for (const SearchLink *l = o->links; l->name; l++)
            g_assert_nonnull(objects_find(l->object));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/search/sound", test_sound);
    g_test_add_func("/search/wrong", test_wrong);
    g_test_add_func("/search/bounds", test_bounds);
    g_test_add_func("/search/paths", test_paths);
    g_test_add_func("/search/values", test_values);
    g_test_add_func("/search/patterns", test_patterns);
    g_test_add_func("/search/hostile-patterns", test_hostile_patterns);
    g_test_add_func("/search/completion", test_completion);
    g_test_add_func("/search/manual", test_manual);
    g_test_add_func("/search/tables", test_tables);
    return g_test_run();
}
