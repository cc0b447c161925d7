/* verbs_inside.c: see verbs_inside.h. */
#include "imaged/cli/verbs_inside.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/escape.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/select.h"
#include "imaged/cli/user_file.h"

const Option inside_inspect_options[] = { OPTION_NO_WAIT, OPTION_END };
const Option inside_desktop_inspect_options[] = {
    SELECT_TEMPLATE, SELECT_PREFIX, { "all", OPTION_FLAG, NULL, "all desktops there are", NULL },
    OPTION_NO_WAIT,  OPTION_END,
};
const Option inside_apps_options[] = {
    { "app", OPTION_TEXT, "GLOB", "only applications of this name, like '*office*'", NULL },
    OPTION_END,
};

static const Column app_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "VERSION", "version", CELL_TEXT, 0 },
    { "ARCH", "arch", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column change_columns[] = {
    { "CHANGE", "change", CELL_TEXT, 0 }, { "NAME", "name", CELL_TEXT, 0 },
    { "ARCH", "arch", CELL_TEXT, 0 },     { "FROM", "from", CELL_TEXT, 0 },
    { "TO", "to", CELL_TEXT, 0 },         COLUMN_END,
};

static const Column file_columns[] = {
    { "MODE", "mode_text", CELL_TEXT, 0 },   { "OWNER", "owner", CELL_TEXT, 0 },
    { "GROUP", "group", CELL_TEXT, 0 },      { "SIZE", "size", CELL_SIZE, 0 },
    { "CHANGED", "mtime", CELL_TIME, 0 },    { "NAME", "name", CELL_TEXT, 0 },
    { "POINTS TO", "target", CELL_TEXT, 0 }, COLUMN_END,
};

/* For programs: the numbers too, as JSON has them. */
static const Column file_csv_columns[] = {
    { "", "type", CELL_TEXT, 0 },
    { "", "mode", CELL_COUNT, 0 },
    { "", "uid", CELL_COUNT, 0 },
    { "", "owner", CELL_TEXT, 0 },
    { "", "gid", CELL_COUNT, 0 },
    { "", "group", CELL_TEXT, 0 },
    { "", "size", CELL_SIZE, 0 },
    { "", "mtime", CELL_TIME, 0 },
    { "", "name", CELL_TEXT, 0 },
    { "", "target", CELL_TEXT, 0 },
    COLUMN_END,
};

/* ---- inspect ---- */

gboolean inside_template_inspect(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/templates", "template", args_word(cli->args, 0), "inspect", error);
    json_auto_t *job = NULL;

    if (!path || !job_run(cli, "POST", path->str, NULL, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "inspected", "template version", error);
}

gboolean inside_desktop_inspect(Cli *cli, GError **error)
{
    json_auto_t *body = NULL;

    if (!args_has(cli->args, "all"))
        body = select_body(cli->args, cli->args->words->len, error);
    else if (cli->args->words->len || args_has(cli->args, "template") ||
             args_has(cli->args, "all-of-prefix"))
        args_usage_error(cli->args, error, "--all stands alone");
    else
        body = json_pack("{s:b}", "all", TRUE);
    return body && select_run(cli, "/v1/desktops/inspect", body, "inspected", error);
}

/* ---- apps ---- */

static gboolean print_apps(Cli *cli, const char *prefix, const char *what, GError **error)
{
    g_autoptr(GString) path =
        client_path(prefix, what, args_word(cli->args, 0), "applications", error);

    if (!path)
        return FALSE;
    client_query(path, "app", args_text(cli->args, "app"));
    json_auto_t *answer = client_get(cli->client, path->str, error);
    if (!answer)
        return FALSE;
    if (!g_str_equal(json_text(answer, "state"), "ok")) {
        const char *why = json_text(answer, "reason");
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "'%s': %s",
                    json_text(answer, "name"), *why ? why : "nobody has looked into it yet");
        imaged_error_hint(error, "look into it: imagectl %s inspect %s", what,
                          json_text(answer, "name"));
        return FALSE;
    }
    if (cli->format == FORMAT_JSON) {
        output_json(answer);
        return TRUE;
    }
    list_print_array(cli, json_object_get(answer, "applications"), app_columns);
    if (!json_truth(answer, "is_current"))
        fprintf(stderr, "imagectl: as of %s; the disk has changed since\n",
                json_text(answer, "as_of"));
    return TRUE;
}

gboolean inside_template_apps(Cli *cli, GError **error)
{
    return print_apps(cli, "/v1/templates", "template", error);
}

gboolean inside_desktop_apps(Cli *cli, GError **error)
{
    return print_apps(cli, "/v1/desktops", "desktop", error);
}

/* ---- diff ---- */

static void add_changes(json_t *rows, const json_t *list, const char *change, const char *key)
{
    json_t *app;
    gsize i;

    json_array_foreach (list, i, app) {
        json_t *row = json_copy(app);
        json_object_set_new(row, "change", json_string(change));
        if (key)
            json_object_set(row, key, json_object_get(app, "version"));
        json_array_append_new(rows, row);
    }
}

static void print_not_known(const json_t *list, const char *size)
{
    json_t *side;
    gsize i;

    json_array_foreach (list, i, side)
        printf("applications of %s are not known: %s\n", json_text(side, "name"),
               json_text(side, "reason"));
    printf("%s differ\n", size);
}

static void print_diff(Cli *cli, const json_t *result)
{
    const json_t *apps = json_object_get(result, "applications");
    json_auto_t *rows = json_array();

    add_changes(rows, json_object_get(apps, "added"), "added", "to");
    add_changes(rows, json_object_get(apps, "removed"), "removed", "from");
    add_changes(rows, json_object_get(apps, "upgraded"), "upgraded", NULL);
    list_print_array(cli, rows, change_columns);
    if (cli->format == FORMAT_CSV)
        return;
    static const Column bytes = { "", "n_bytes", CELL_SIZE, 0 };
    g_autofree char *size = output_cell_text(result, &bytes, FALSE);
    if (json_is_object(apps))
        printf("%s%zu added, %zu removed, %zu upgraded; %s differ\n",
               json_array_size(rows) ? "\n" : "", json_array_size(json_object_get(apps, "added")),
               json_array_size(json_object_get(apps, "removed")),
               json_array_size(json_object_get(apps, "upgraded")), size);
    else
        print_not_known(json_object_get(result, "not_known"), size);
}

/* "2" behind "win11:1" is "win11:2".  Caller frees. */
static char *second_version(const char *first, const char *second)
{
    gsize length = strcspn(first, ":");

    return *second && !second[strspn(second, "0123456789")]
               ? g_strdup_printf("%.*s:%s", (int)length, first, second)
               : g_strdup(second);
}

gboolean inside_template_diff(Cli *cli, GError **error)
{
    const char *from = args_word(cli->args, 0);
    g_autofree char *to = second_version(from, args_word(cli->args, 1));
    json_auto_t *body = json_pack("{s:s,s:s}", "from", from, "to", to);
    json_auto_t *result = NULL;

    if (!job_run_result(cli, "/v1/templates/diff", body, &result, error))
        return FALSE;
    if (result && cli->format == FORMAT_JSON)
        output_json(result);
    else if (result)
        print_diff(cli, result);
    return TRUE;
}

/* ---- files ---- */

/* "drwxr-xr-x". */
static char *mode_text(const json_t *entry)
{
    static const char *const types[][2] = { { "file", "-" }, { "folder", "d" }, { "link", "l" },
                                            { "pipe", "p" }, { "socket", "s" }, { "device", "c" } };
    gint64 mode = json_number(entry, "mode");
    char text[11] = "?rwxrwxrwx";

    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_str_equal(json_text(entry, "type"), types[i][0]))
            text[0] = types[i][1][0];
    }
    for (guint bit = 0; bit < 9; bit++) {
        if (!(mode & (0400 >> bit)))
            text[1 + bit] = '-';
    }
    if (mode & 04000)
        text[3] = text[3] == 'x' ? 's' : 'S';
    if (mode & 02000)
        text[6] = text[6] == 'x' ? 's' : 'S';
    if (mode & 01000)
        text[9] = text[9] == 'x' ? 't' : 'T';
    return g_strdup(text);
}

/* "/v1/files?ref=..&path=..", the path as the API writes it. */
static GString *files_path(Cli *cli, const char *url)
{
    GString *path = g_string_new(url);
    const char *wanted = args_word(cli->args, 2);
    g_autofree char *escaped = escape_bytes(wanted ? wanted : "/", strlen(wanted ? wanted : "/"));

    client_query(path, "ref", args_word(cli->args, 1));
    client_query(path, "path", escaped);
    return path;
}

static gboolean files_ls(Cli *cli, GError **error)
{
    g_autoptr(GString) path = files_path(cli, "/v1/files");
    json_auto_t *answer = client_get(cli->client, path->str, error);
    json_t *entry;
    gsize i;

    if (!answer)
        return FALSE;
    if (cli->format == FORMAT_JSON) {
        output_json(json_object_get(answer, "entries"));
    } else if (cli->format == FORMAT_CSV) {
        list_print_array(cli, json_object_get(answer, "entries"), file_csv_columns);
    } else {
        json_array_foreach (json_object_get(answer, "entries"), i, entry) {
            g_autofree char *mode = mode_text(entry);
            json_object_set_new(entry, "mode_text", json_string(mode));
        }
        list_print_array(cli, json_object_get(answer, "entries"), file_columns);
    }
    if (json_truth(answer, "is_cut"))
        fprintf(stderr, "imagectl: the folder has more than these\n");
    return TRUE;
}

typedef struct {
    Cli *cli;
    const char *url;
} Download;

static gboolean download(int fd, gpointer data, GError **error)
{
    const Download *d = data;

    return client_download(d->cli->client, d->url, fd, error);
}

static gboolean files_get(Cli *cli, GError **error)
{
    g_autoptr(GString) path = files_path(cli, "/v1/files/content");
    const char *file = args_word(cli->args, 3);

    if (args_word(cli->args, 2) == NULL) {
        args_usage_error(cli->args, error, "which file? give its path");
        return FALSE;
    }
    fflush(stdout);
    Download what = { cli, path->str };
    return file && !g_str_equal(file, "-")
               ? user_file_write(file, args_word(cli->args, 2), download, &what, error)
               : download(STDOUT_FILENO, &what, error);
}

gboolean inside_desktop_files(Cli *cli, GError **error)
{
    const char *verb = args_word(cli->args, 0);

    if (g_str_equal(verb, "ls") && cli->args->words->len <= 3)
        return files_ls(cli, error);
    if (g_str_equal(verb, "get"))
        return files_get(cli, error);
    args_usage_error(cli->args, error,
                     "it is 'files ls DISK [PATH]' or 'files get DISK PATH [FILE]'");
    return FALSE;
}
