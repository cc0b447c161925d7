/* verbs_search.c: imagectl search ...: one line that finds anything. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"

static const Column saved_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },      { "SEARCH", "text", CELL_TEXT, 0 },
    { "SHARED", "shared", CELL_TRUTH, 0 }, { "SAVED", "created_at", CELL_TIME, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV }, COLUMN_END,
};

static CellKind kind_of(const char *type)
{
    static const struct {
        const char *type;
        CellKind kind;
    } kinds[] = {
        { "number", CELL_COUNT },    { "size", CELL_SIZE },  { "time", CELL_TIME },
        { "percent", CELL_PERCENT }, { "bool", CELL_TRUTH }, { "list", CELL_LIST },
        { "duration", CELL_COUNT },
    };

    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_equal(kinds[i].type, type))
            return kinds[i].kind;
    }
    return CELL_TEXT;
}

static void free_columns(Column *columns)
{
    for (Column *c = columns; c->key; c++)
        g_free((char *)c->title);
    g_free(columns);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Column, free_columns)

/* The daemon says what the rows have; a table for people shows some of it. */
static Column *columns_of(const json_t *answer)
{
    const json_t *list = json_object_get(answer, "columns"), *item;
    Column *columns = g_new0(Column, json_array_size(list) + 1);
    gsize i;

    json_array_foreach (list, i, item) {
        const char *title = json_text(item, "title"), *name = json_text(item, "name");
        char *upper = g_ascii_strup(*title ? title : name, -1);
        columns[i] =
            (Column){ g_strdelimit(upper, "_", ' '), name, kind_of(json_text(item, "type")),
                      json_truth(item, "table") ? 0 : COLUMN_CSV };
    }
    return columns;
}

/* The words of the line from first on, as one text: quotes around it are not needed for the shell
 * where it has nothing special.  Caller frees. */
static char *text_from(const Args *args, guint first)
{
    GString *text = g_string_new(NULL);

    for (guint i = first; i < args->words->len; i++)
        g_string_append_printf(text, "%s%s", i > first ? " " : "", args_word(args, i));
    return g_string_free(text, FALSE);
}

static void tell_more(const json_t *answer)
{
    if (json_truth(answer, "has_more"))
        fprintf(stderr, "there are more: PAGE %d, or a LIMIT above %d\n",
                (int)json_number(answer, "page") + 1, (int)json_number(answer, "limit"));
}

/* "column 7: ..." points into the line that was typed. */
static void point_at(const char *text, const GError *error)
{
    guint column = 0;

    if (sscanf(error->message, "column %u:", &column) != 1 || strchr(text, '\n') ||
        column > g_utf8_strlen(text, -1) + 1 || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "    %s\n    %*s^\n", text, (int)column - 1, "");
}

static gboolean print_words(Cli *cli, const char *text, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/search/complete");
    const json_t *item;
    gsize i;

    client_query(path, "search", text);
    client_query(path, "cursor", args_text(cli->args, "cursor"));
    client_query(path, "object", args_text(cli->args, "object"));
    json_auto_t *answer = client_get(cli->client, path->str, error);
    if (!answer)
        return FALSE;
    if (cli->format == FORMAT_JSON) {
        output_json(answer);
        return TRUE;
    }
    gsize begin = args_has(cli->args, "whole") ? (gsize)json_number(answer, "begin") : 0;
    json_array_foreach (json_object_get(answer, "words"), i, item)
        printf("%.*s%s\n", (int)MIN(begin, strlen(text)), text, json_text(item, "text"));
    return TRUE;
}

static gboolean search_find(Cli *cli, GError **error)
{
    g_autofree char *text = text_from(cli->args, 0);
    g_autoptr(GString) path = g_string_new("/v1/search");
    const char *fields = args_text(cli->args, "fields");

    if (args_has(cli->args, "complete"))
        return print_words(cli, text, error);
    client_query(path, "search", text);
    client_query(path, "object", args_text(cli->args, "object"));
    client_query(path, "fields", fields ? fields : cli->format == FORMAT_TABLE ? "table" : NULL);
    json_auto_t *answer = client_get(cli->client, path->str, error);
    if (!answer) {
        point_at(text, *error);
        return FALSE;
    }
    if (!json_object_get(answer, "rows")) {
        if (cli->format == FORMAT_JSON)
            output_json(answer);
        else
            printf("%" G_GINT64_FORMAT "\n", json_number(answer, "count"));
        return TRUE;
    }
    g_autoptr(Column) columns = columns_of(answer);
    list_print_array(cli, json_object_get(answer, "rows"), columns);
    fflush(stdout);
    tell_more(answer);
    return TRUE;
}

static gboolean search_save(Cli *cli, GError **error)
{
    json_auto_t *body = json_object();
    g_autofree char *text = text_from(cli->args, 1);

    json_set_text(body, "name", args_word(cli->args, 0));
    json_set_text(body, "search", text);
    if (args_has(cli->args, "replace"))
        json_object_set_new(body, "replace", json_true());
    if (args_has(cli->args, "shared"))
        json_object_set_new(body, "shared", json_true());
    json_auto_t *saved =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/searches", body, error);
    if (!saved) {
        point_at(text, *error);
        return FALSE;
    }
    if (cli->format == FORMAT_TABLE)
        printf("saved; use it as @%s\n", json_text(saved, "name"));
    else
        list_print_object(cli, saved, saved_columns);
    return TRUE;
}

static gboolean search_list(Cli *cli, GError **error)
{
    return list_print(cli, "/v1/searches", NULL, 0, saved_columns, error);
}

static gboolean search_delete(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/searches", "saved search", args_word(cli->args, 0), NULL, error);
    json_auto_t *saved =
        path ? client_request(cli->client, CLIENT_CHANGE, "DELETE", path->str, NULL, error) : NULL;

    if (!saved)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s is deleted\n", json_text(saved, "name"));
    else
        list_print_object(cli, saved, saved_columns);
    return TRUE;
}

static const Option find_options[] = {
    { "fields", OPTION_TEXT, "FIELDS", "what to show: name,user.email,host", NULL },
    { "complete", OPTION_FLAG, NULL,
      "print what can stand at the end (or at --cursor), a line each", NULL },
    { "cursor", OPTION_COUNT, "N", "bytes of the text before the cursor", NULL },
    { "whole", OPTION_FLAG, NULL, "of --complete: the text up to there before each word", NULL },
    { "object", OPTION_TEXT, "OBJECT", "what is searched if SEARCH does not say", NULL },
    OPTION_END,
};
static const Option save_options[] = {
    { "replace", OPTION_FLAG, NULL, "exchange the one of this name", NULL },
    { "shared", OPTION_FLAG, NULL, "for everybody", NULL },
    OPTION_END,
};

static const Command commands[] = {
    { "save", "NAME SEARCH", 2, COMMAND_MANY, NULL, "Save a search under a name",
      "It is used as @NAME: alone, or in another search.",
      "search save idle 'Vms: status = running AND cpu < 1%'\nsearch @idle\n", save_options,
      search_save },
    { "list", "", 0, 0, NULL, "List saved searches", NULL, "search list\n", NULL, search_list },
    { "delete", "NAME", 1, 1, "search", "Delete a saved search", NULL, "search delete idle\n", NULL,
      search_delete },
    { NULL, "SEARCH", 1, COMMAND_MANY, "search", "Find anything by its fields and what it hangs on",
      "OBJECT: CONDITION SORTBY field DESC LIMIT n; the objects are desktops (or Vms), templates,\n"
      "versions, users, groups, roles, hosts, pools, sessions, snapshots, archives, jobs, events,\n"
      "layers and stores. All of the language: imagectl-search(7), docs/search.md.",
      "search 'Vms: user.username = *John* AND template.name = *xp* AND Apps = *office*'\n"
      "search 'Vms: CPU_Usage > 90 AND Hosts.Name = vs-a'\n"
      "search 'Users: desktops IS NONE AND created < now-30d' -o csv\n"
      "search 'Vms: GROUP BY template'\n",
      find_options, search_find },
    { NULL },
};

const Noun noun_search = { "search", "find anything; saved searches", commands };
