/* saved.c: a saved search is kept as it was written; where it is named its condition is put in.
 * One without a user is everybody's; what it finds is filtered by who asks all the same. */
#include "broker/search/saved.h"

#include <string.h>

#include "broker/search/lexer.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MAX_NESTING 8
#define MAX_NODES 512
#define MAX_SAVED 1000

typedef struct {
    Db *db;
    const Caller *caller;
    gint64 now;
    const SearchObject *object;
    guint depth, n_nodes;
} Expander;

#define COLUMNS "SELECT id, name, text, user_id, created_at FROM saved_search"

/* His own come before everybody's; ?1: his id, ?2: the name. */
#define OF_NAME                                                                                    \
    COLUMNS " WHERE name = ?2 COLLATE NOCASE AND (user_id IS NULL OR user_id = ?1)"                \
            " ORDER BY user_id IS NULL LIMIT 1"

static gboolean read_text(Db *db, const Caller *caller, const SearchWord *word, char **ret,
                          GError **error)
{
    Query *q = db_query(db, OF_NAME, "tt", caller->user_id, word->text);
    *ret = query_next(q) ? g_strdup(query_text(q, "text")) : NULL;

    if (!query_end(q, error))
        return FALSE;
    if (*ret)
        return TRUE;
    g_autofree char *shown = text_for_message(word->text, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "column %u: there is no saved search '%s'", word->column, shown);
    imaged_error_hint(error, "imagectl search list");
    return FALSE;
}

/* What a saved search says, as a tree. */
static SearchTree *read_tree(Expander *e, const SearchWord *word, GError **error)
{
    g_autofree char *text = NULL;

    if (e->depth >= MAX_NESTING) {
        search_error(error, word->column, "saved searches name one another more than %d deep",
                     MAX_NESTING);
        return NULL;
    }
    if (!read_text(e->db, e->caller, word, &text, error))
        return NULL;
    SearchTree *tree = search_parse(text, error);
    if (!tree)
        g_prefix_error(error, "in @%s: ", word->text);
    return tree;
}

static gboolean expand(Expander *e, SearchNode *n, GError **error);

/* Put a saved search's condition into the node that names it. */
static gboolean put_in(Expander *e, SearchNode *n, GError **error)
{
    g_autoptr(SearchTree) tree = read_tree(e, &n->word, error);
    const SearchObject *object =
        tree && tree->object.text ? objects_find(tree->object.text) : e->object;

    if (!tree)
        return FALSE;
    if (object != e->object) {
        search_error(error, n->word.column, "@%s is a search for %s, not for %s", n->word.text,
                     object->name, e->object->name);
        return FALSE;
    }
    SearchNode *inner = g_steal_pointer(&tree->condition);
    n->kind = NODE_AND;
    if (!inner)
        return TRUE; /* all of them */
    g_ptr_array_add(n->children, inner);
    e->depth++;
    gboolean ok = expand(e, inner, error);
    e->depth--;
    g_auto(Compiler) c = { 0 };
    compiler_init(&c, e->caller, e->now);
    if (ok && !compile_node(&c, inner, e->object, 0, MODE_SET, error)) {
        g_prefix_error(error, "in @%s: ", n->word.text); /* the column is one of that text */
        return FALSE;
    }
    return ok;
}

static gboolean expand(Expander *e, SearchNode *n, GError **error)
{
    if (++e->n_nodes > MAX_NODES) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "with the saved searches in it the search has more than %d terms", MAX_NODES);
        return FALSE;
    }
    if (n->kind == NODE_SAVED)
        return put_in(e, n, error);
    for (guint i = 0; i < n->children->len; i++) {
        if (!expand(e, n->children->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

/* "@name" alone is that search with all that it says; what stands behind it comes first. */
static gboolean take_over(Expander *e, SearchTree *tree, GError **error)
{
    if (!tree->condition || tree->condition->kind != NODE_SAVED)
        return TRUE;
    g_autoptr(SearchTree) saved = read_tree(e, &tree->condition->word, error);
    if (!saved)
        return FALSE;
    if (!tree->object.text)
        tree->object = saved->object, saved->object = (SearchWord){ 0 };
    if (!tree->sorts->len) {
        GArray *sorts = tree->sorts;
        tree->sorts = saved->sorts;
        saved->sorts = sorts;
    }
    if (!tree->group.text && !tree->is_count) {
        tree->group = saved->group, saved->group = (SearchWord){ 0 };
        tree->is_count = saved->is_count;
    }
    if (!tree->limit)
        tree->limit = saved->limit;
    return TRUE;
}

gboolean saved_prepare(Db *db, const char *text, const char *object, gboolean is_fixed,
                       const Caller *caller, gint64 now, SearchPlan *ret, GError **error)
{
    const SearchObject *wanted = objects_find(object ? object : "desktops");
    Expander e = { .db = db, .caller = caller, .now = now };
    g_auto(SearchPlan) plan = { .caller = caller, .now = now };

    plan.tree = search_parse(text, error);
    if (!plan.tree || !take_over(&e, plan.tree, error))
        return FALSE;
    plan.object = plan.tree->object.text ? resolve_object(&plan.tree->object, error) : wanted;
    if (!plan.object)
        return FALSE;
    if (is_fixed && plan.object != wanted) {
        search_error(error, plan.tree->object.column, "here only %s can be searched", wanted->name);
        imaged_error_hint(error, "imagectl search searches everything");
        return FALSE;
    }
    e.object = plan.object;
    if (plan.tree->condition && !expand(&e, plan.tree->condition, error))
        return FALSE;
    *ret = plan;
    plan = (SearchPlan){ 0 };
    return TRUE;
}

static gboolean check_name(const char *name, GError **error)
{
    gsize n = strlen(name);
    gboolean ok = n >= 1 && n <= 63 && g_ascii_isalnum(*name);

    for (gsize i = 0; ok && i < n; i++)
        ok = g_ascii_isalnum(name[i]) || strchr("._-", name[i]);
    if (ok)
        return TRUE;
    g_autofree char *shown = text_for_message(name, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' cannot be the name of a saved search", shown);
    imaged_error_hint(error, "1 to 63 letters, digits, '.', '_' and '-', a letter or digit first");
    return FALSE;
}

static gboolean has_node(const SearchNode *n, const char *name)
{
    if (n->kind == NODE_SAVED)
        return g_ascii_strcasecmp(n->word.text, name) == 0;
    for (guint i = 0; i < n->children->len; i++) {
        if (has_node(n->children->pdata[i], name))
            return TRUE;
    }
    return FALSE;
}

/* Is all of it right, and does it not name itself? */
static gboolean check_text(World *world, const Caller *caller, const char *name, const char *text,
                           GError **error)
{
    g_autoptr(SearchTree) tree = search_parse(text, error);
    g_auto(SearchPlan) plan = { 0 };
    g_auto(Compiler) c = { 0 };

    if (!tree)
        return FALSE;
    if (tree->condition && has_node(tree->condition, name)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "it names itself");
        return FALSE;
    }
    compiler_init(&c, caller, units_now_ms());
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = saved_prepare(db, text, NULL, FALSE, caller, c.now, &plan, error) &&
                  (!plan.tree->condition ||
                   compile_node(&c, plan.tree->condition, plan.object, 0, MODE_SET, error)) &&
                  plan_order(&plan, &c, error);
    SearchPath path;
    if (ok && plan.tree->group.text)
        ok = resolve_path(plan.object, &plan.tree->group, &path, error);
    catalog_read_end(world->catalog, db);
    return ok;
}

static json_t *row_json(Query *q)
{
    g_autofree char *created = units_format_time(query_int(q, "created_at"));

    return json_pack("{s:s,s:s,s:s,s:b,s:s}", "id", query_text(q, "id"), "name",
                     query_text(q, "name"), "text", query_text(q, "text"), "shared",
                     query_is_null(q, "user_id"), "created_at", created);
}

static json_t *show(World *world, const Caller *caller, const char *name, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, OF_NAME, "tt", caller->user_id, name);
    json_t *out = query_next(q) ? row_json(q) : NULL;

    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    if (!out) {
        g_autofree char *shown = text_for_message(name, 40);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no saved search '%s'",
                    shown);
    }
    return out;
}

static gboolean may_share(const Caller *caller, GError **error)
{
    if (caller_may_everywhere(caller, PERMISSION_SEARCH_SHARE))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                "searches that are everybody's need the permission '%s'",
                permission_name(PERMISSION_SEARCH_SHARE));
    return FALSE;
}

json_t *saved_save(World *world, const Caller *caller, const SavedSearch *s, GError **error)
{
    gboolean is_shared = s->is_shared || !caller->user_id;
    const char *user_id = is_shared ? NULL : caller->user_id;
    Id id = id_new();

    if (!check_name(s->name, error) || (is_shared && !may_share(caller, error)) ||
        !check_text(world, caller, s->name, s->text, error))
        return NULL;
    Changes *changes = changes_new();
    changes_sql(
        changes,
        "INSERT INTO saved_search (id, name, user_id, text, created_at) SELECT ?1, ?2, ?3,"
        " ?4, ?5 WHERE (SELECT count(*) FROM saved_search WHERE user_id IS ?3) < " G_STRINGIFY(
            MAX_SAVED) " ON CONFLICT (coalesce(user_id, ''), name COLLATE NOCASE) DO UPDATE SET"
                       " text = CASE WHEN ?6 THEN ?4 ELSE text END",
        "ttttii", id.s, s->name, user_id, s->text, units_now_ms(), (gint64)s->replace);
    if (!catalog_commit(world->catalog, changes, error))
        return NULL;
    json_t *out = show(world, caller, s->name, error);
    if (out && !g_str_equal(json_string_value(json_object_get(out, "text")), s->text)) {
        g_clear_pointer(&out, json_decref);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                    "there is another saved search '%s' already", s->name);
        imaged_error_hint(error, "imagectl search save --replace exchanges it");
    }
    return out;
}

json_t *saved_list(World *world, const Caller *caller, GError **error)
{
    json_t *out = json_array();
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, COLUMNS " WHERE user_id IS NULL OR user_id = ?1 ORDER BY name", "t",
                        caller->user_id);

    while (query_next(q))
        json_array_append_new(out, row_json(q));
    if (!query_end(q, error))
        g_clear_pointer(&out, json_decref);
    catalog_read_end(world->catalog, db);
    return out;
}

json_t *saved_delete(World *world, const Caller *caller, const char *name, GError **error)
{
    json_t *out = show(world, caller, name, error);
    Changes *changes = changes_new();

    changes_sql(changes, "DELETE FROM saved_search WHERE id = ?1", "t",
                json_string_value(json_object_get(out, "id")));
    if (out && json_is_true(json_object_get(out, "shared")) && !may_share(caller, error))
        g_clear_pointer(&out, json_decref);
    if (!out) {
        changes_free(changes);
        return NULL;
    }
    if (!catalog_commit(world->catalog, changes, error))
        g_clear_pointer(&out, json_decref);
    return out;
}
