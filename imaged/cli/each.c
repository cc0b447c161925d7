/* each.c: the hits take the place of the words that name things; then the verb runs as if they had
 * been typed: once with all of them where it takes several, else once for each. */
#include "imaged/cli/each.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/output.h"

#define MAX_HITS 10000
#define MAX_SHOWN 10
#define TOO_MANY "the search finds more than " G_STRINGIFY(MAX_HITS) "; add a condition"

/* The words that name this row: those of its fields; of a template's version the two as one. */
static void add_words(GPtrArray *words, const json_t *row, const char *object, const char *fields)
{
    g_auto(GStrv) each = g_strsplit(fields, ",", -1);

    if (g_str_equal(object, "versions")) {
        g_ptr_array_add(words, g_strdup_printf("%s:%" G_GINT64_FORMAT, json_text(row, "template"),
                                               json_number(row, "version")));
        return;
    }
    for (guint i = 0; each[i]; i++)
        g_ptr_array_add(words, g_strdup(json_text(row, each[i])));
}

/* What is searched: the verb's objects; a template's versions too. */
static const char *object_of(const EachVerb *verb, const char *text)
{
    return g_str_equal(verb->object, "templates") &&
                   g_ascii_strncasecmp(text, "version", strlen("version")) == 0 &&
                   strcspn(text, ": ") < strlen(text)
               ? "versions"
               : verb->object;
}

/* What is found, of an object of the language. */
static json_t *search_rows(Cli *cli, const EachVerb *verb, const char *object, const char *text,
                           GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/search");

    client_query(path, "search", text);
    client_query(path, "object", object);
    client_query(path, "limit", G_STRINGIFY(MAX_HITS));
    client_query(path, "fields",
                 g_str_equal(object, "versions")   ? "template,version"
                 : g_str_equal(object, "sessions") ? "id,ended"
                                                   : verb->fields);
    json_auto_t *answer = client_get(cli->client, path->str, error);
    if (!answer)
        return NULL;
    const char *found = json_text(answer, "object");
    if (!g_str_equal(found, object))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "here only %s can be searched",
                    object);
    else if (!json_object_get(answer, "rows") || json_object_get(answer, "group"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "COUNT and GROUP BY select nothing");
    else if (json_truth(answer, "has_more") && !strcasestr(text, "LIMIT"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, TOO_MANY);
    return *error ? NULL : json_incref(json_object_get(answer, "rows"));
}

/* Of a list. */
static json_t *list_rows(Cli *cli, const char *list, const char *text, GError **error)
{
    g_autoptr(GString) path = g_string_new(list);

    client_query(path, "search", text);
    json_t *rows = client_get(cli->client, path->str, error);
    if (json_array_size(rows) <= MAX_HITS)
        return rows;
    json_decref(rows);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, TOO_MANY);
    return NULL;
}

/* Arrays of words, one for each hit. */
static GPtrArray *find_hits(Cli *cli, const EachVerb *verb, GError **error)
{
    const char *text = args_text(cli->args, "search"), *object = object_of(verb, text);
    const json_t *row;
    gsize i;

    if (!text[strspn(text, " \t\r\n")]) {
        /* a variable of a script that is not set must not mean all there is */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the search is empty");
        return NULL;
    }
    json_auto_t *rows = *object == '/' ? list_rows(cli, object, text, error)
                                       : search_rows(cli, verb, object, text, error);
    if (!rows)
        return NULL;
    g_autoptr(GPtrArray) hits = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    json_array_foreach (rows, i, row) {
        if (g_str_equal(object, "sessions") && !verb->reads && json_text(row, "ended")[0])
            continue; /* of the last ninety days */
        GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
        add_words(words, row, object, verb->fields);
        g_ptr_array_add(hits, words);
    }
    if (hits->len)
        return g_steal_pointer(&hits);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the search finds nothing");
    return NULL;
}

static char *name_of(const GPtrArray *words)
{
    return words->len > 1
               ? g_strdup_printf("%s@%s", (char *)words->pdata[0], (char *)words->pdata[1])
               : g_strdup(words->pdata[0]);
}

/* "users", "/v1/tokens": in the plural.  Caller frees. */
static char *things_of(const EachVerb *verb)
{
    const char *last = strrchr(verb->object, '/');

    return !last                            ? g_strdup(verb->object)
           : g_str_equal(last + 1, "trash") ? g_strdup("things")
                                            : g_strndup(last + 1, strcspn(last + 1, "?"));
}

static gboolean ask(Cli *cli, const EachVerb *verb, const GPtrArray *hits, GError **error)
{
    g_autofree char *things = things_of(verb);
    g_autofree char *count = g_strdup_printf("%u %.*s%s", hits->len, (int)strlen(things) - 1,
                                             things, hits->len == 1 ? "" : "s");
    g_autofree char *question = g_strdup_printf("%s %s: %s?", verb->noun, verb->verb, count);

    if (verb->reads || args_has(cli->args, "yes") || args_has(cli->args, "dry-run"))
        return TRUE;
    for (guint i = 0; isatty(STDIN_FILENO) && i < MIN(hits->len, MAX_SHOWN); i++) {
        g_autofree char *name = name_of(hits->pdata[i]);
        fprintf(stderr, "  %s\n", name);
    }
    if (isatty(STDIN_FILENO) && hits->len > MAX_SHOWN)
        fprintf(stderr, "  ... and %u more\n", hits->len - MAX_SHOWN);
    return confirm_question(cli, question, "yes", error);
}

/* What was typed, with these words in the place of names. */
static GPtrArray *words_with(const Args *args, const EachVerb *verb, const GPtrArray *hits,
                             guint first, guint n)
{
    GPtrArray *out = g_ptr_array_new();
    guint at = MIN(verb->at, args->words->len);

    for (guint i = 0; i < at; i++)
        g_ptr_array_add(out, args->words->pdata[i]);
    for (guint h = first; h < first + n; h++) {
        const GPtrArray *words = hits->pdata[h];
        for (guint i = 0; i < words->len; i++)
            g_ptr_array_add(out, words->pdata[i]);
    }
    for (guint i = at; i < args->words->len; i++)
        g_ptr_array_add(out, args->words->pdata[i]);
    return out;
}

/* It was asked once; nothing is asked again. */
static gboolean run_with(Cli *cli, GPtrArray *words, GError **error)
{
    const Args *typed = cli->args;
    Args args = *typed;

    args.words = words;
    g_hash_table_insert(args.values, (gpointer) "yes", (gpointer) "");
    cli->args = &args;
    gboolean ok = args_check_count(&args, error) && args.command->run(cli, error);
    cli->args = typed;
    fflush(stdout);
    return ok;
}

gboolean each_run(Cli *cli, GError **error)
{
    const EachVerb *verb = each_find(cli->args->noun, cli->args->command);
    g_autoptr(GPtrArray) hits = find_hits(cli, verb, error);
    g_autofree char *what = cli_what(cli);
    gboolean is_dry = args_has(cli->args, "dry-run");
    guint n = hits && verb->takes_many ? hits->len : 1;
    /* one document, whatever fails: for scripts */
    gboolean is_one_array = !verb->takes_many && cli->format == FORMAT_JSON;
    int code = 0;

    if (!hits || !ask(cli, verb, hits, error))
        return FALSE;
    if (is_one_array)
        output_gather();
    for (guint i = 0; i < hits->len; i += n) {
        g_autoptr(GPtrArray) words = words_with(cli->args, verb, hits, i, n);
        GError *local = NULL;
        if (is_dry)
            g_hash_table_remove(cli->args->values, "yes");
        if (i && cli->format == FORMAT_TABLE && g_str_equal(verb->verb, "show"))
            putchar('\n');
        if (run_with(cli, words, &local))
            continue;
        if (verb->takes_many) { /* as if these had been typed */
            g_propagate_error(error, local);
            return FALSE;
        }
        g_autofree char *name = name_of(hits->pdata[i]);
        g_autofree char *message = imaged_error_message(local);
        g_autofree char *line = g_strdup_printf("%s: %s", name, message);
        cli_complain(what, line, imaged_error_get_hint(local));
        code = CLI_FAILED;
        g_error_free(local);
    }
    if (is_one_array)
        output_gathered();
    cli->exit_code = code ? code : cli->exit_code;
    return TRUE;
}
