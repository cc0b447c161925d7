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
#include "imaged/base/units.h"
#include "imaged/cli/import.h"
#include "imaged/cli/interrupt.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

#define MAX_FILE (5 * MIB)

/* ---- Finding and reading ---- */

/* Recipes that imaged comes with: beside imagectl in a build folder's tree, or installed. */
static char *shipped_recipe(const char *name)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self ? self : "/");
    g_autofree char *file = g_strconcat(name, ".yaml", NULL);
    char *places[] = { g_build_filename(dir, "..", "templates", "recipes", file, NULL),
                       g_build_filename(dir, "..", "..", "templates", "recipes", file, NULL),
                       g_build_filename(dir, "..", "share", "imaged", "recipes", file, NULL),
                       g_build_filename("/usr/share/imaged/recipes", file, NULL) };
    char *found = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!found && access(places[i], R_OK) == 0)
            found = g_steal_pointer(&places[i]);
        g_free(places[i]);
    }
    return found;
}

/* A path as it is; a bare word that is no file here may be one of ours. */
static char *find_recipe(const char *word)
{
    gboolean is_bare = !strchr(word, '/') && name_check("recipe", word, NULL);
    char *shipped = is_bare && access(word, F_OK) != 0 ? shipped_recipe(word) : NULL;

    return shipped ? shipped : g_strdup(word);
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
    { "BASE", "base", CELL_TEXT, 0 },
    { "KIND", "base_kind", CELL_TEXT, 0 },
    { "SIZE", "size_bytes", CELL_SIZE, 0 },
    { "FORMAT", "base_format", CELL_TEXT, COLUMN_CSV },
    COLUMN_END,
};

static json_t *check(Cli *cli, const char *path, const char *text, GError **error)
{
    json_auto_t *body = json_pack("{s:s}", "recipe", text);
    json_auto_t *checked = client_request(cli->client, CLIENT_CHANGE, "POST",
                                          "/v1/templates/build/check", body, error);

    return checked && tell_problems(path, checked, error) ? g_steal_pointer(&checked) : NULL;
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

/* The base is a file: it is served while the job runs, so an interrupt cancels that. */
static json_t *build_on_image(Cli *cli, const char *path, const json_t *checked, json_t *body,
                              GError **error)
{
    g_autofree char *folder = folder_of(path);
    g_autofree char *image = g_canonicalize_filename(json_text(checked, "base"), folder);
    json_auto_t *notes = json_array();

    interrupt_catch();
    g_autoptr(NbdServe) serve =
        import_serve_file(cli, image, json_text(checked, "base_format"), notes, error);
    if (!serve)
        return NULL;
    json_object_set_new(body, "source", json_string(nbd_serve_uri(serve)));
    json_auto_t *job =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/templates/build", body, error);
    return job ? job_wait_or_cancel(cli, job, error) : NULL;
}

static json_t *build(Cli *cli, const char *path, const char *text, const json_t *checked,
                     json_t *files, GError **error)
{
    json_auto_t *body = request_body(cli->args, text, files);
    json_t *job = NULL;

    cli->shows_log = !args_has(cli->args, "quiet");
    if (g_str_equal(json_text(checked, "base_kind"), "image"))
        return build_on_image(cli, path, checked, body, error);
    return job_run(cli, "POST", "/v1/templates/build", body, &job, error) ? job : NULL;
}

json_t *build_run(Cli *cli, gboolean *ret_is_checked, GError **error)
{
    g_autofree char *path = find_recipe(args_word(cli->args, 0));
    g_autofree char *text = read_recipe(path, error);
    json_auto_t *checked = text ? check(cli, path, text, error) : NULL;
    json_auto_t *files =
        checked ? read_sources(path, json_object_get(checked, "sources"), error) : NULL;

    *ret_is_checked = FALSE;
    if (!files)
        return NULL;
    if (args_has(cli->args, "check")) {
        list_print_object(cli, checked, checked_columns);
        *ret_is_checked = TRUE;
        return NULL;
    }
    return build(cli, path, text, checked, files, error);
}
