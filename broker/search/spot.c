/* spot.c: the words before the cursor are walked through to see what is due: an object, a term, a
 * sign, a value, or what follows a term. */
#include "broker/search/spot.h"

#include <string.h>

#include "broker/search/lexer.h"

typedef enum {
    DUE_TERM, /* a field, a word, NOT, ( */
    DUE_SIGN, /* behind a word that may be a field */
    DUE_VALUE,
    DUE_LIST, /* behind IN */
    DUE_NEXT, /* behind a term: AND, OR, a clause */
    DUE_IS,   /* NONE, SET */
    DUE_BY,
    DUE_SORT,  /* a field to sort by */
    DUE_ORDER, /* behind that: ASC, DESC, a comma */
    DUE_GROUP,
    DUE_NUMBER,
} Due;

typedef struct {
    const SearchObject *object;
    const char *typed; /* of the word at the cursor, up to it */
    json_t *words;
} Offer;

static void offer(Offer *o, const char *text, const char *kind)
{
    if (g_ascii_strncasecmp(text, o->typed, strlen(o->typed)) == 0)
        json_array_append_new(o->words, json_pack("{s:s,s:s}", "text", text, "kind", kind));
}

static void offer_all(Offer *o, const char *const *words, const char *kind)
{
    for (guint i = 0; words[i]; i++)
        offer(o, words[i], kind);
}

/* Fields and links, behind the part of a path that is there already. */
static void offer_fields(Offer *o)
{
    const SearchObject *at = o->object;
    const char *dot = strrchr(o->typed, '.');
    g_autofree char *before = dot ? g_strndup(o->typed, (gsize)(dot - o->typed)) : g_strdup("");
    SearchPath path;

    if (dot) {
        const SearchWord word = { before, 1, FALSE };
        if (!resolve_path(at, &word, &path, NULL) || !path.n_links)
            return;
        at = path.objects[path.n_links];
    }
    for (const SearchField *f = at->fields; f->name; f++) {
        g_autofree char *text = g_strconcat(before, dot ? "." : "", f->name, NULL);
        offer(o, text, "field");
    }
    for (const SearchLink *l = at->links; l->name; l++) {
        g_autofree char *text = g_strconcat(before, dot ? "." : "", l->name, NULL);
        if (!objects_field(at, l->name))
            offer(o, text, "link");
    }
}

/* Of fields whose values are always the same. */
static void offer_values(Offer *o, const SearchPath *path)
{
    static const char *const truths[] = { "yes", "no", NULL };
    static const char *const times[] = { "now",       "now-1h",   "now-1d", "today",
                                         "yesterday", "today-7d", NULL };

    if (path->field->type == TYPE_BOOL)
        offer_all(o, truths, "value");
    else if (path->field->type == TYPE_TIME)
        offer_all(o, times, "value");
}

static void offer_objects(Offer *o)
{
    for (guint i = 0; search_objects[i]; i++) {
        g_autofree char *text = g_strconcat(search_objects[i]->name, ":", NULL);
        if (!search_objects[i]->is_inner)
            offer(o, text, "object");
    }
    offer(o, "vms:", "object");
}

static void offer_due(Offer *o, Due due, const Spot *spot, gboolean is_begin)
{
    static const char *const signs[] = { "=",  "!=",   "<",       "<=",     ">",
                                         ">=", "IN (", "IS NONE", "IS SET", NULL };
    static const char *const next[] = { "AND",   "OR",    "SORTBY", "GROUP BY",
                                        "COUNT", "LIMIT", "PAGE",   NULL };
    static const char *const is[] = { "NONE", "SET", "NOT", NULL };
    static const char *const by[] = { "BY", NULL };
    static const char *const order[] = { "ASC", "DESC", "LIMIT", "PAGE", NULL };

    switch (due) {
    case DUE_TERM:
        if (is_begin)
            offer_objects(o);
        offer_fields(o);
        offer(o, "NOT", "keyword");
        break;
    case DUE_SIGN:
        offer_all(o, signs, "sign");
        offer_all(o, next, "keyword"); /* it may have been a word */
        break;
    case DUE_VALUE:
        if (spot->is_value)
            offer_values(o, &spot->path);
        break;
    case DUE_LIST:
        offer(o, "(", "sign");
        break;
    case DUE_NEXT:
        offer_all(o, next, "keyword");
        break;
    case DUE_IS:
        offer_all(o, is, "keyword");
        break;
    case DUE_BY:
        offer_all(o, by, "keyword");
        break;
    case DUE_SORT:
    case DUE_GROUP:
        offer_fields(o);
        break;
    case DUE_ORDER:
        offer_all(o, order, "keyword");
        break;
    case DUE_NUMBER:
        break;
    }
}

static gboolean is_word(const Token *t, const char *word)
{
    return t->kind == TOKEN_WORD && g_ascii_strcasecmp(t->text, word) == 0;
}

/* What a clause's word wants behind it; FALSE: it is none. */
static gboolean begins_clause(const Token *t, Due *due)
{
    if (is_word(t, "SORTBY"))
        *due = DUE_SORT;
    else if (is_word(t, "SORT") || is_word(t, "ORDER") || is_word(t, "GROUP"))
        *due = DUE_BY;
    else if (is_word(t, "GROUPBY"))
        *due = DUE_GROUP;
    else if (is_word(t, "LIMIT") || is_word(t, "PAGE"))
        *due = DUE_NUMBER;
    else if (is_word(t, "COUNT"))
        *due = DUE_NEXT;
    else
        return FALSE;
    return TRUE;
}

/* What is due behind token t, where due was before it. */
static Due after(const Token *t, const Token *before, Due due, gboolean *in_list)
{
    if (due != DUE_VALUE && due != DUE_SORT && due != DUE_GROUP && begins_clause(t, &due))
        return due;
    if (t->kind == TOKEN_CLOSE) {
        *in_list = FALSE;
        return DUE_NEXT;
    }
    if (is_word(t, "AND") || is_word(t, "OR"))
        return DUE_TERM;
    switch (due) {
    case DUE_TERM:
    case DUE_NEXT:
        return t->kind == TOKEN_OPEN || is_word(t, "NOT") ? DUE_TERM : DUE_SIGN;
    case DUE_SIGN:
        return t->kind == TOKEN_SIGN                        ? DUE_VALUE
               : is_word(t, "IN")                           ? DUE_LIST
               : is_word(t, "IS")                           ? DUE_IS
               : is_word(t, "NOT") || t->kind == TOKEN_OPEN ? DUE_TERM
                                                            : DUE_SIGN;
    case DUE_LIST:
        *in_list = TRUE;
        return DUE_VALUE;
    case DUE_VALUE:
        return t->kind == TOKEN_COMMA || *in_list ? DUE_VALUE : DUE_NEXT;
    case DUE_IS:
        return is_word(t, "NOT") ? DUE_IS : DUE_NEXT;
    case DUE_BY:
        return before && is_word(before, "GROUP") ? DUE_GROUP : DUE_SORT;
    case DUE_SORT:
        return DUE_ORDER;
    case DUE_ORDER:
        return t->kind == TOKEN_COMMA ? DUE_SORT : DUE_ORDER;
    case DUE_GROUP:
    case DUE_NUMBER:
        return DUE_NEXT;
    }
    return due;
}

/* The object that the first word names, with what stands behind its colon taken off the token. */
static const SearchObject *take_object(const char *text, gsize *ret_skip)
{
    const char *colon = strchr(text, ':');
    gsize lead = strspn(text, " \t\n");

    *ret_skip = 0;
    if (!colon || (gsize)(colon - text) > 40)
        return NULL;
    g_autofree char *name = g_strndup(text + lead, (gsize)(colon - text) - lead);
    const SearchObject *object = objects_find(g_strchomp(name));
    if (object)
        *ret_skip = (gsize)(colon + 1 - text);
    return object;
}

/* Walk up to the cursor.  ret_field: what a value would be of, or NULL; caller frees. */
static Due walk(const char *head, gsize skip, Spot *spot, char **ret_field)
{
    g_autoptr(GArray) tokens = search_tokens(head + skip, NULL);
    gsize at = strlen(head);
    gboolean in_list = FALSE;
    Due due = DUE_TERM;

    if (!tokens)
        spot->object = NULL; /* no text at all */
    for (guint i = 0; tokens && i < tokens->len; i++) {
        const Token *t = &g_array_index(tokens, Token, i);
        if (t->kind == TOKEN_END)
            break;
        if (t->end + skip == at && (t->kind == TOKEN_WORD || t->is_open)) {
            g_free(spot->typed);
            spot->typed = g_strdup(t->text);
            spot->begin = skip + t->begin;
            break;
        }
        if (t->kind == TOKEN_WORD && (due == DUE_TERM || due == DUE_NEXT || due == DUE_SIGN) &&
            !(due == DUE_SIGN && (is_word(t, "IN") || is_word(t, "IS") || is_word(t, "NOT")))) {
            g_free(*ret_field);
            *ret_field = g_strdup(t->text);
        }
        due = after(t, i ? t - 1 : NULL, due, &in_list);
    }
    return due;
}

void spot_find(const char *text, gssize cursor, const char *object, Spot *ret)
{
    gsize length = strlen(text), at = cursor < 0 ? length : MIN((gsize)cursor, length), skip;
    g_autofree char *head = g_strndup(text, at), *field = NULL;
    const SearchObject *named = take_object(head, &skip);

    *ret = (Spot){ .words = json_array(), .begin = at, .end = at, .typed = g_strdup("") };
    ret->object = named ? named : objects_find(object ? object : "desktops");
    Due due = walk(head, skip, ret, &field);
    while (text[ret->end] && !g_ascii_isspace(text[ret->end]) && !strchr("(),=<>!", text[ret->end]))
        ret->end++;
    if (!ret->object)
        return;
    const SearchWord word = { field, 1, FALSE };
    Offer o = { ret->object, ret->typed, ret->words };
    ret->is_term = due == DUE_TERM;
    ret->is_value = due == DUE_VALUE && field && resolve_path(ret->object, &word, &ret->path, NULL);
    offer_due(&o, due, ret, ret->begin == strspn(text, " \t\n"));
}

void spot_clear(Spot *spot)
{
    json_decref(spot->words);
    g_free(spot->typed);
    *spot = (Spot){ 0 };
}
