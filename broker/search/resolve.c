/* resolve.c: names.  What an object does not have itself it has through its desktops: "Hosts:
 * user.name = x" are the hosts on which a desktop of x runs. */
#include "broker/search/resolve.h"

#include <string.h>

#include "broker/search/lexer.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"

/* words: what is listed if nothing is near; more: synonyms (separated by spaces), or NULL. */
static void hint_nearest(GError **error, const char *prefix, const char *typed, GPtrArray *words,
                         const char *more)
{
    g_autofree char *folded = g_ascii_strdown(typed, -1);
    g_auto(GStrv) synonyms = g_strsplit(more ? more : "", " ", -1);
    const char *nearest = nearest_word(folded, words);

    if (!nearest) {
        g_autoptr(GPtrArray) others = g_ptr_array_new();
        for (guint i = 0; synonyms[i]; i++)
            g_ptr_array_add(others, synonyms[i]);
        nearest = nearest_word(folded, others);
    }

    if (nearest) {
        imaged_error_hint(error, "did you mean '%s%s'?", prefix, nearest);
        return;
    }
    GString *all = g_string_new(NULL);
    for (guint i = 0; i < words->len; i++)
        g_string_append_printf(all, "%s%s", i ? ", " : "", (const char *)words->pdata[i]);
    imaged_error_hint(error, "there are: %s", all->str);
    g_string_free(all, TRUE);
}

const SearchObject *resolve_object(const SearchWord *word, GError **error)
{
    const SearchObject *object = objects_find(word->text);
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    if (object && !object->is_inner)
        return object;
    g_autofree char *shown = text_for_message(word->text, 40);
    search_error(error, word->column, "there is nothing called '%s' to search", shown);
    g_ptr_array_add(names, "vms");
    for (guint i = 0; search_objects[i]; i++) {
        if (!search_objects[i]->is_inner)
            g_ptr_array_add(names, (gpointer)search_objects[i]->name);
    }
    hint_nearest(error, "", word->text, names, NULL);
    return NULL;
}

const SearchLink *resolve_through_desktops(const SearchObject *object, const char *name)
{
    const SearchLink *desktops = objects_link(object, "desktops");

    return desktops ? objects_link(objects_find(desktops->object), name) : NULL;
}

static gboolean add_hop(SearchPath *path, const SearchLink *link)
{
    if (path->n_links >= SEARCH_MAX_HOPS)
        return FALSE;
    path->links[path->n_links++] = link;
    path->objects[path->n_links] = objects_find(link->object);
    return TRUE;
}

/* One word of a path that leads on.  FALSE: it does not. */
static gboolean follow(SearchPath *path, const char *word)
{
    const SearchObject *at = path->objects[path->n_links];
    const SearchLink *link = objects_link(at, word);

    if (link)
        return add_hop(path, link);
    if (!resolve_through_desktops(at, word))
        return FALSE;
    return add_hop(path, objects_link(at, "desktops")) &&
           add_hop(path, resolve_through_desktops(at, word));
}

static void add_names(GPtrArray *names, GString *synonyms, const SearchObject *object)
{
    for (const SearchField *f = object->fields; f->name; f++) {
        g_ptr_array_add(names, (gpointer)f->name);
        g_string_append_printf(synonyms, " %s", f->synonyms ? f->synonyms : "");
    }
    for (const SearchLink *l = object->links; l->name; l++) {
        g_ptr_array_add(names, (gpointer)l->name);
        g_string_append_printf(synonyms, " %s", l->synonyms ? l->synonyms : "");
    }
}

/* Something that hangs on it has such a field: that is more likely meant than a similar word. */
static gboolean hint_elsewhere(const SearchObject *at, const char *word, GError **error)
{
    for (const SearchLink *l = at->links; l->name; l++) {
        const SearchField *f = objects_field(objects_find(l->object), word);
        if (f) {
            imaged_error_hint(error, "did you mean '%s.%s'?", l->name, f->name);
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean unknown(const SearchPath *path, const char *word, const char *before, guint column,
                        GError **error)
{
    const SearchObject *at = path->objects[path->n_links];
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *shown = text_for_message(word, 40);

    search_error(error, column, "%s have no field '%s'", at->name, shown);
    g_autoptr(GString) synonyms = g_string_new(NULL);
    add_names(names, synonyms, at);
    g_autofree char *folded = g_ascii_strdown(word, -1);
    if (nearest_word(folded, names) || !hint_elsewhere(at, word, error))
        hint_nearest(error, before, word, names, synonyms->str);
    return FALSE;
}

/* What the last word of a path means: a field, or what a link leads to. */
static gboolean end_path(SearchPath *path, const char *word)
{
    path->field = objects_field(path->objects[path->n_links], word);
    if (path->field)
        return TRUE;
    if (!follow(path, word))
        return FALSE;
    const SearchObject *at = path->objects[path->n_links];
    path->field = objects_field(at, at->main);
    return TRUE;
}

gboolean resolve_path(const SearchObject *object, const SearchWord *word, SearchPath *ret,
                      GError **error)
{
    g_auto(GStrv) parts = g_strsplit(word->text, ".", -1);
    guint column = word->column, n = g_strv_length(parts), i = 0;
    g_autoptr(GString) before = g_string_new(NULL);

    *ret = (SearchPath){ .objects = { object } };
    /* "Vms: vm.name": the object itself */
    if (n > 1 && !objects_link(object, parts[0]) && objects_find(parts[0]) == object) {
        g_string_append_printf(before, "%s.", parts[0]);
        column += (guint)g_utf8_strlen(parts[0], -1) + 1;
        i++;
    }
    for (; i < n; i++) {
        guint n_links = ret->n_links;
        gboolean ok = i + 1 < n ? follow(ret, parts[i]) : end_path(ret, parts[i]);
        if (!ok && ret->n_links > n_links) /* it is known, but too far away */
            ret->n_links = SEARCH_MAX_HOPS;
        if (!ok && ret->n_links >= SEARCH_MAX_HOPS) {
            search_error(error, column, "a field is at most %d steps away", SEARCH_MAX_HOPS);
            return FALSE;
        }
        if (!ok)
            return unknown(ret, parts[i], before->str, column, error);
        column += (guint)g_utf8_strlen(parts[i], -1) + 1;
        g_string_append_printf(before, "%s.", parts[i]);
    }
    return TRUE;
}

gboolean resolve_is_many(const SearchPath *path)
{
    for (guint i = 0; i < path->n_links; i++) {
        if (path->links[i]->is_many)
            return TRUE;
    }
    return FALSE;
}
