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

/* Arrays of words, one for each hit. */
static GPtrArray *find_hits(Cli *cli, const EachVerb *verb, GError **error)
{
    const char *text = args_text(cli->args, "search"), *object = object_of(verb, text);
    gboolean is_version = g_str_equal(object, "versions");
    gboolean is_session = g_str_equal(object, "sessions");
    g_autoptr(GString) path = g_string_new("/v1/search");
    const json_t *row;
    gsize i;

    if (!text[strspn(text, " \t\r\n")]) {
        /* a variable of a script that is not set must not mean all there is */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the search is empty");
        return NULL;
    }
    client_query(path, "search", text);
    client_query(path, "object", object);
    client_query(path, "limit", G_STRINGIFY(MAX_HITS));
    client_query(path, "fields",
                 is_version   ? "template,version"
                 : is_session ? "id,ended"
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
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the search finds more than " G_STRINGIFY(MAX_HITS) "; add a condition");
    if (*error)
        return NULL;
    g_autoptr(GPtrArray) hits = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    json_array_foreach (json_object_get(answer, "rows"), i, row) {
        if (is_session && !verb->reads && json_text(row, "ended")[0])
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

static gboolean ask(Cli *cli, const EachVerb *verb, const GPtrArray *hits, GError **error)
{
    g_autofree char *count = g_strdup_printf("%u %.*s%s", hits->len, (int)strlen(verb->object) - 1,
                                             verb->object, hits->len == 1 ? "" : "s");
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
    int code = 0;

    if (!hits || !ask(cli, verb, hits, error))
        return FALSE;
    for (guint i = 0; i < hits->len; i += n) {
        g_autoptr(GPtrArray) words = words_with(cli->args, verb, hits, i, n);
        GError *local = NULL;
        if (is_dry)
            g_hash_table_remove(cli->args->values, "yes");
        if (run_with(cli, words, &local))
            continue;
        if (n == hits->len) { /* as if these had been typed */
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
    cli->exit_code = code ? code : cli->exit_code;
    return TRUE;
}
