/* confirm.c: see confirm.h.  With --yes the daemon is not asked for a dry run at all: nobody would
 * read it, and a script's reset is one request. */
#include "imaged/cli/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/list.h"
#include "imaged/cli/output.h"

#define MAX_SHOWN 20 /* lines of one kind; the rest is counted */

static const Column object_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "OK", "ok", CELL_TRUTH, 0 },
    { "FREED NOW", "freed_now_bytes", CELL_SIZE, 0 },
    { "FREED LATER", "freed_later_bytes", CELL_SIZE, 0 },
    { "BREAKS", "breaks", CELL_LIST, 0 },
    COLUMN_END,
};

static void append_breaks(GString *out, const json_t *breaks, const char *prefix)
{
    gsize i;
    json_t *item;

    json_array_foreach (breaks, i, item) {
        if (i == MAX_SHOWN) {
            g_string_append_printf(out, "  ... and %zu more\n", json_array_size(breaks) - i);
            return;
        }
        g_string_append_printf(out, "  %s%s\n", prefix, json_string_value(item));
    }
}

void confirm_text(GString *out, const json_t *dry_run)
{
    const json_t *objects = json_object_get(dry_run, "objects");
    const json_t *breaks = json_object_get(dry_run, "breaks");
    gsize n = json_array_size(objects);

    if (n) {
        json_auto_t *some = json_array();
        for (gsize i = 0; i < MIN(n, MAX_SHOWN); i++)
            json_array_append(some, json_array_get(objects, i));
        output_table_text(out, some, object_columns, FALSE);
        if (n > MAX_SHOWN)
            g_string_append_printf(out, "... and %zu more\n", n - MAX_SHOWN);
    }
    g_autofree char *now = units_format_size((guint64)json_number(dry_run, "freed_now_bytes"));
    g_autofree char *later = units_format_size((guint64)json_number(dry_run, "freed_later_bytes"));
    g_string_append_printf(out, "frees %s now, and %s when the trash empties\n", now, later);
    if (json_array_size(breaks)) {
        g_string_append(out, "breaks:\n");
        append_breaks(out, breaks, "");
    } else {
        g_string_append(out, "breaks nothing\n");
    }
}

static json_t *ask_daemon(Cli *cli, const ConfirmRequest *request, GError **error)
{
    g_autoptr(GString) path = g_string_new(request->path);
    json_auto_t *body = request->body ? json_deep_copy(request->body) : NULL;

    if (body)
        json_object_set_new(body, "dry_run", json_true());
    else
        client_query(path, "dry_run", "1");
    return client_request(cli->client, CLIENT_READ, request->method, path->str, body, error);
}

static gboolean ask_person(const char *question, GError **error)
{
    char answer[16] = "";

    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    if (fgets(answer, sizeof answer, stdin)) {
        g_strstrip(answer);
        if (!g_ascii_strcasecmp(answer, "y") || !g_ascii_strcasecmp(answer, "yes"))
            return TRUE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "nothing was changed");
    return FALSE;
}

ConfirmAnswer confirm_dry_run(Cli *cli, const ConfirmRequest *request, GError **error)
{
    if (!args_has(cli->args, "dry-run"))
        return CONFIRM_GO;
    json_auto_t *told = ask_daemon(cli, request, error);
    if (!told)
        return CONFIRM_FAILED;
    if (cli->format == FORMAT_JSON) {
        output_json(told);
    } else if (cli->format == FORMAT_CSV) {
        list_print_array(cli, json_object_get(told, "objects"), object_columns);
    } else {
        GString *text = g_string_new(NULL);
        confirm_text(text, told);
        output_print(text);
    }
    return CONFIRM_TOLD;
}

ConfirmAnswer confirm(Cli *cli, const ConfirmRequest *request, GError **error)
{
    if (args_has(cli->args, "dry-run"))
        return confirm_dry_run(cli, request, error);
    if (args_has(cli->args, "yes"))
        return CONFIRM_GO;
    if (!isatty(STDIN_FILENO)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "nobody can be asked: standard input is not a terminal");
        imaged_error_hint(error, "--yes goes on without asking, --dry-run tells what would happen");
        return CONFIRM_FAILED;
    }
    json_auto_t *told = ask_daemon(cli, request, error);
    if (!told)
        return CONFIRM_FAILED;
    g_autoptr(GString) text = g_string_new(NULL);
    confirm_text(text, told);
    fputs(text->str, stderr);
    gsize n = json_array_size(json_object_get(told, "objects"));
    g_autofree char *count = output_count_text((gint64)n, request->noun);
    g_autofree char *question = n ? g_strdup_printf("%s %s?", request->question, count)
                                  : g_strdup_printf("%s?", request->question);
    return ask_person(question, error) ? CONFIRM_GO : CONFIRM_FAILED;
}

gboolean confirm_question(Cli *cli, const char *question, const char *consent, GError **error)
{
    if (args_has(cli->args, consent))
        return TRUE;
    if (isatty(STDIN_FILENO))
        return ask_person(question, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "nobody can be asked '%s': standard input is not a terminal", question);
    imaged_error_hint(error, "--%s goes on without asking", consent);
    return FALSE;
}
