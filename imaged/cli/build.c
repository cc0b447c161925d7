/* build.c: see build.h.  The daemon says which files a recipe names; imagectl reads them, with the
 * caller's rights, relative to the recipe's own folder. */
#include "imaged/cli/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"
#include "imaged/base/units.h"
#include "imaged/cli/import.h"
#include "imaged/cli/interrupt.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

#define MAX_FILE (5 * MIB)
#define BUILD_PATH "/v1/templates/build"

/* ---- Finding and reading ---- */

/* Where recipes that imaged comes with may be: beside imagectl in a build folder's tree, or
 * installed. */
static char **shipped_folders(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self ? self : "/");
    char **folders = g_new0(char *, 5);

    folders[0] = g_build_filename(dir, "..", "templates", "recipes", NULL);
    folders[1] = g_build_filename(dir, "..", "..", "templates", "recipes", NULL);
    folders[2] = g_build_filename(dir, "..", "share", "imaged", "recipes", NULL);
    folders[3] = g_strdup("/usr/share/imaged/recipes");
    return folders;
}

/* The path of a recipe that imaged comes with, or NULL and the name that may have been meant (or
 * NULL, too).  Caller frees both. */
static char *shipped_recipe(const char *name, char **ret_near)
{
    g_auto(GStrv) folders = shipped_folders();
    g_autofree char *file = g_strconcat(name, ".yaml", NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    *ret_near = NULL;
    for (guint i = 0; folders[i]; i++) {
        g_autofree char *path = g_build_filename(folders[i], file, NULL);
        g_autoptr(GDir) dir = g_dir_open(folders[i], 0, NULL);
        const char *entry;
        if (access(path, R_OK) == 0)
            return g_steal_pointer(&path);
        while (dir && (entry = g_dir_read_name(dir))) {
            if (g_str_has_suffix(entry, ".yaml"))
                g_ptr_array_add(names, g_strndup(entry, strlen(entry) - strlen(".yaml")));
        }
    }
    *ret_near = g_strdup(nearest_word(name, names));
    return NULL;
}

/* A path as it is; a bare word that is no file here may be one of ours. */
static char *find_recipe(const char *word, GError **error)
{
    g_autofree char *near = NULL;

    if (strchr(word, '/') || !name_check("recipe", word, NULL) || access(word, F_OK) == 0)
        return g_strdup(word);
    char *shipped = shipped_recipe(word, &near);
    if (shipped)
        return shipped;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "'%s' is neither a file nor a recipe that imaged comes with%s%s%s", word,
                near ? ": is '" : "", near ? near : "", near ? "' meant?" : "");
    return NULL;
}

static char *read_file(const char *path, gsize *ret_len, GError **error)
{
    /* O_NONBLOCK: a FIFO nobody writes to must not hold us. */
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot open '%s'", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || (guint64)st.st_size > MAX_FILE) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is %s", path,
                    S_ISREG(st.st_mode) ? "larger than 5 MiB" : "no file");
        return NULL;
    }
    char *data = g_malloc((gsize)st.st_size + 1);
    if (!durable_pread(fd, data, (gsize)st.st_size, 0, ret_len)) {
        imaged_error_set_errno(error, errno, "cannot read '%s'", path);
        g_free(data);
        return NULL;
    }
    data[*ret_len] = '\0';
    return data;
}

static char *read_recipe(const char *path, GError **error)
{
    gsize len;
    g_autofree char *text = read_file(path, &len, error);

    if (!text)
        return NULL;
    const char *end;
    if (strlen(text) == len && g_utf8_validate(text, (gssize)len, &end))
        return g_steal_pointer(&text);
    guint line = 1;
    g_utf8_validate(text, -1, &end);
    for (const char *c = text; c < end; c++)
        line += *c == '\n';
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s: line %u: not YAML in UTF-8", path,
                line);
    return NULL;
}

/* What a recipe names is relative to its own folder.  Absolute; caller frees. */
static char *folder_of(const char *recipe_path)
{
    g_autofree char *folder = g_path_get_dirname(recipe_path);

    return g_canonicalize_filename(folder, NULL);
}

/* What the recipe says in "source", with what is in it. */
static json_t *read_sources(const char *recipe_path, const json_t *sources, GError **error)
{
    g_autofree char *folder = folder_of(recipe_path);
    json_t *files = json_array(), *source;
    size_t i;

    json_array_foreach ((json_t *)sources, i, source) {
        g_autofree char *path = g_canonicalize_filename(json_string_value(source), folder);
        gsize len;
        g_autofree char *data = read_file(path, &len, error);
        if (!data) {
            json_decref(files);
            return NULL;
        }
        g_autofree char *encoded = g_base64_encode((const guchar *)data, len);
        json_array_append_new(files,
                              json_pack("{s:O, s:s}", "source", source, "content_base64", encoded));
    }
    return files;
}

/* ---- Checking ---- */

/* "minimal.yaml:12: unknown key 'pakages': is 'packages' meant?", each in a line of its own. */
static gboolean tell_problems(const char *path, const json_t *checked, GError **error)
{
    const json_t *problems = json_object_get(checked, "problems");
    size_t n = json_array_size(problems);

    if (json_truth(checked, "is_sound"))
        return TRUE;
    for (size_t i = 0; i < n; i++) {
        const json_t *problem = json_array_get(problems, i);
        fprintf(stderr, "%s:%d: %s\n", path, (int)json_number(problem, "line"),
                json_text(problem, "message"));
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the recipe '%s' has %zu problem%s",
                path, n, n == 1 ? "" : "s");
    imaged_error_hint(error, "see imaged-recipe(5)");
    return FALSE;
}

static const Column checked_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "VERSION", "version", CELL_COUNT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "STORE", "store", CELL_TEXT, 0 },
    { "BASE", "base", CELL_TEXT, 0 },
    { "KIND", "base_kind", CELL_TEXT, 0 },
    { "SIZE", "size_bytes", CELL_SIZE, 0 },
    { "LAYERS", "chain_depth", CELL_COUNT, 0 },
    { "FORMAT", "base_format", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static json_t *check(Cli *cli, const char *path, const char *text, GError **error)
{
    json_auto_t *body = json_pack("{s:s}", "recipe", text);
    json_auto_t *checked = client_request(cli->client, CLIENT_CHANGE, "POST",
                                          BUILD_PATH "/check", body, error);

    if (checked && tell_problems(path, checked, error))
        return g_steal_pointer(&checked);
    if (checked && args_has(cli->args, "check") && cli->format == FORMAT_JSON)
        output_json(checked);
    return NULL;
}

/* ---- Building ---- */

static json_t *request_body(const Args *args, const char *text, json_t *files)
{
    json_t *body = json_pack("{s:s, s:O}", "recipe", text, "files", files);

    json_set_text(body, "name", args_text(args, "name"));
    json_set_text(body, "store", args_text(args, "store"));
    if (args_has(args, "draft"))
        json_object_set_new(body, "draft", json_true());
    if (args_has(args, "unsealed"))
        json_object_set_new(body, "unsealed", json_true());
    if (args_has(args, "flat"))
        json_object_set_new(body, "flat", json_true());
    return body;
}

/* The base is a file: it is checked, and served while serve is there. */
static NbdServe *serve_image(Cli *cli, const char *path, const json_t *checked, json_t *body,
                             GError **error)
{
    g_autofree char *folder = folder_of(path);
    g_autofree char *image = g_canonicalize_filename(json_text(checked, "base"), folder);
    json_auto_t *notes = json_array();

    interrupt_catch();
    NbdServe *serve =
        import_serve_file(cli, image, json_text(checked, "base_format"), notes, error);
    if (serve)
        json_object_set_new(body, "source", json_string(nbd_serve_uri(serve)));
    return serve;
}

/* The build's own request, but for its job. */
static void check_plan(Cli *cli, json_t *body, GError **error)
{
    json_object_set_new(body, "plan", json_true());
    json_auto_t *planned = client_request(cli->client, CLIENT_CHANGE, "POST",
                                          BUILD_PATH "/check", body, error);
    if (planned)
        list_print_object(cli, planned, checked_columns);
}

static json_t *build(Cli *cli, const char *path, const char *text, const json_t *checked,
                     json_t *files, GError **error)
{
    json_auto_t *body = request_body(cli->args, text, files);
    g_autoptr(NbdServe) serve = NULL;
    json_t *job = NULL;

    if (g_str_equal(json_text(checked, "base_kind"), "image") &&
        !(serve = serve_image(cli, path, checked, body, error)))
        return NULL;
    cli->is_quiet = args_has(cli->args, "quiet");
    cli->shows_log = !cli->is_quiet;
    if (args_has(cli->args, "check")) {
        check_plan(cli, body, error);
        return NULL;
    }
    if (!serve)
        return job_run(cli, "POST", BUILD_PATH, body, &job, error) ? job : NULL;
    /* An interrupt cancels it, for its source goes with us. */
    json_auto_t *begun =
        client_request(cli->client, CLIENT_CHANGE, "POST", BUILD_PATH, body, error);
    return begun ? job_wait_or_cancel(cli, begun, error) : NULL;
}

json_t *build_run(Cli *cli, GError **error)
{
    g_autofree char *path = find_recipe(args_word(cli->args, 0), error);
    g_autofree char *text = path ? read_recipe(path, error) : NULL;
    json_auto_t *checked = text ? check(cli, path, text, error) : NULL;
    json_auto_t *files =
        checked ? read_sources(path, json_object_get(checked, "sources"), error) : NULL;

    return files ? build(cli, path, text, checked, files, error) : NULL;
}
