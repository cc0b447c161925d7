/* complete.c: the language's words are known; values and saved searches are looked up: those that
 * the caller may see, some of them, for a short while. */
#include <string.h>

#include "broker/search/compiler.h"
#include "broker/search/functions.h"
#include "broker/search/parser.h"
#include "broker/search/saved.h"
#include "broker/search/search.h"
#include "broker/search/spot.h"
#include "imaged/base/units.h"

#define MAX_WORDS 50
#define MAX_STEPS 300000 /* of SQLite: some ms */
#define TIME_LIMIT_US (G_TIME_SPAN_SECOND / 2)

/* As it is written in a search: in quotes if it must be. */
static char *quoted(const char *value)
{
    g_autoptr(GString) out = g_string_new("\"");
    gboolean is_plain = *value && !search_is_keyword(value) && *value != '@';

    for (const char *p = value; *p; p++) {
        if (strchr("\"\\*?", *p))
            g_string_append_c(out, '\\');
        is_plain = is_plain && (g_ascii_isalnum(*p) || strchr("._-@/+:", *p) || (*p & 0x80));
        g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
    return g_strdup(is_plain ? value : out->str);
}

static void add_word(json_t *words, const char *text, const char *kind)
{
    json_array_append_new(words, json_pack("{s:s,s:s}", "text", text, "kind", kind));
}

/* Is it a field whose values one picks from, and may this caller know them? */
static gboolean has_values(const Caller *caller, const Spot *spot)
{
    const SearchObject *at = spot->path.objects[spot->path.n_links];
    const SearchField *f = spot->path.field;

    if ((f->type != TYPE_NAME && f->type != TYPE_TEXT) ||
        (f->type == TYPE_TEXT && at->text_index && !at->is_inner) ||
        (g_str_equal(f->name, "id") && !*spot->typed))
        return FALSE;
    if (at->one)
        return TRUE;
    /* it is seen with the desktop that has it: all of them are for who sees all desktops */
    g_autofree char *visible = access_visible_sql(caller, "desktop", "a0");
    return !visible;
}

static int compare(gconstpointer a, gconstpointer b)
{
    return g_utf8_collate(*(char *const *)a, *(char *const *)b);
}

/* Values of the field in rows that are seen, which begin with what is typed. */
static GPtrArray *find_values(Db *db, const Caller *caller, gint64 now, const Spot *spot)
{
    const SearchObject *at = spot->path.objects[spot->path.n_links];
    const SearchField *f = spot->path.field;
    GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *folded = functions_fold(spot->typed);
    g_autofree char *pattern = g_strdup_printf("%s%c", folded, PATTERN_ANY);
    g_auto(Compiler) c = { 0 };

    compiler_init(&c, caller, now);
    compile_sql(&c, "SELECT DISTINCT ");
    compile_template(&c, f->sql, 0, 0);
    g_string_append_printf(c.sql, " AS v FROM %s a0 WHERE ", at->table);
    compile_base(&c, at, 0);
    compile_sql(&c, " AND search_matches(");
    compile_text(&c, pattern);
    compile_sql(&c, ", ");
    compile_template(&c, f->sql, 0, 0);
    g_string_append_printf(c.sql, ") LIMIT %d", MAX_WORDS);
    Query *q = db_query_made(db, c.sql->str, (DbValue *)c.values->data, c.values->len);
    while (query_next(q)) {
        const char *value = query_text(q, "v");
        if (value && *value)
            g_ptr_array_add(out, quoted(value));
    }
    query_end(q, NULL); /* what was found in time will do */
    g_ptr_array_sort(out, compare);
    return out;
}

static void add_saved(World *world, const Caller *caller, const Spot *spot)
{
    json_t *list = saved_list(world, caller, NULL), *item;
    size_t i;

    json_array_foreach (list, i, item) {
        g_autofree char *word =
            g_strconcat("@", json_string_value(json_object_get(item, "name")), NULL);
        if (g_ascii_strncasecmp(word, spot->typed, strlen(spot->typed)) == 0)
            add_word(spot->words, word, "saved");
    }
    json_decref(list);
}

static void add_values(World *world, const Caller *caller, const Spot *spot)
{
    Db *db = catalog_read_begin_long(world->catalog);

    functions_define(db, world);
    db_set_deadline(db, g_get_monotonic_time() + TIME_LIMIT_US, MAX_STEPS);
    g_autoptr(GPtrArray) values = find_values(db, caller, units_now_ms(), spot);
    db_set_deadline(db, 0, 0);
    catalog_read_end_long(world->catalog, db);
    for (guint i = 0; i < values->len; i++)
        add_word(spot->words, values->pdata[i], "value");
}

json_t *search_complete(World *world, const Caller *caller, const char *text, gssize cursor,
                        const char *object)
{
    g_auto(Spot) spot = { 0 };

    spot_find(text, cursor, object, &spot);
    if (spot.is_term)
        add_saved(world, caller, &spot);
    if (spot.is_value && has_values(caller, &spot))
        add_values(world, caller, &spot);
    return json_pack("{s:I,s:I,s:O}", "begin", (json_int_t)spot.begin, "end", (json_int_t)spot.end,
                     "words", spot.words);
}
