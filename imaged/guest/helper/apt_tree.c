/* apt_tree.c: apt-get with a configuration file of ours (APT_CONFIG), in which every folder is one
 * of ours and the machine's own files are named as empty. */
#include "imaged/guest/helper/apt_tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/helper/program.h"

#define DEBIAN_KEYS "/usr/share/keyrings/debian-archive-keyring.gpg"

static char *below(const AptTree *tree, const char *path)
{
    return g_build_filename(tree->folder, "apt", path, NULL);
}

static void log_line(const char *text, gpointer task)
{
    task_log(task, text);
}

static gboolean put_text(const char *path, const char *text, GError **error)
{
    auto_fd fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot write '%s'", path);
        return FALSE;
    }
    return durable_write(fd, text, strlen(text), 0, error);
}

/* ---- Sources ---- */

/* "bookworm-updates" belongs to bookworm, and so does "bookworm/updates". */
static gboolean is_of_suite(const char *release, const char *suite)
{
    gsize len = strlen(suite);

    return strncmp(release, suite, len) == 0 &&
           (release[len] == '\0' || release[len] == '-' || release[len] == '/');
}

char *apt_source_for_guest(const char *uri, const char *release, const char *component)
{
    const char *begin = strstr(uri, "://");

    if (!g_str_has_prefix(uri, "http://") && !g_str_has_prefix(uri, "https://"))
        return NULL;
    begin += strlen("://");
    const char *at = g_strrstr_len(begin, (gssize)strcspn(begin, "/?#"), "@");
    return g_strdup_printf("deb %.*s%s %s %s", (int)(begin - uri), uri, at ? at + 1 : begin,
                           release, component);
}

/* A line once: architectures have lines of their own. */
static void add_source(AptTree *tree, GString *list, const char *uri, const char *release,
                       const char *component)
{
    g_autofree char *line = g_strdup_printf("deb %s %s %s\n", uri, release, component);
    g_autofree char *shown = apt_source_for_guest(uri, release, component);

    if (!strstr(list->str, line))
        g_string_append(list, line);
    if (shown && !g_ptr_array_find_with_equal_func(tree->sources, shown, g_str_equal, NULL))
        g_ptr_array_add(tree->sources, g_steal_pointer(&shown));
}

/* apt itself reads the machine's sources, in whichever format they are. */
static gboolean machine_sources(AptTree *tree, GString *list, GError **error)
{
    static const char *const argv[] = { "apt-get",
                                        "indextargets",
                                        "--no-release-info",
                                        "--format",
                                        "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)",
                                        "Created-By: Packages",
                                        NULL };
    g_autofree char *output = NULL;
    const Program program = { .argv = argv, .ret_output = &output };

    if (!program_run(&program, error))
        return FALSE;
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        g_auto(GStrv) parts = g_strsplit(lines[i], "\t", 3);
        if (g_strv_length(parts) == 3 && is_of_suite(parts[1], tree->suite))
            add_source(tree, list, parts[0], parts[1], parts[2]);
    }
    if (list->len)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "this machine's package sources don't have the suite '%s'", tree->suite);
    imaged_error_hint(error, "name a mirror in the recipe (base: mirror), or add the suite to"
                             " /etc/apt/sources.list.d");
    return FALSE;
}

static gboolean make_sources(AptTree *tree, GError **error)
{
    g_autoptr(GString) list = g_string_new(NULL);
    g_autofree char *path = below(tree, "sources.list");
    gsize i;
    json_t *component;

    if (!tree->mirror && !machine_sources(tree, list, error))
        return FALSE;
    if (tree->mirror && json_array_size(tree->components) == 0)
        add_source(tree, list, tree->mirror, tree->suite, "main");
    if (tree->mirror) {
        json_array_foreach ((json_t *)tree->components, i, component)
            add_source(tree, list, tree->mirror, tree->suite, json_string_value(component));
    }
    return put_text(path, list->str, error);
}

/* ---- Keys ---- */

/* apt wants them in one folder of keyrings. */
static void add_key(const AptTree *tree, const char *path)
{
    static const char *const ends[] = { ".gpg", ".asc" };
    g_autofree char *flat = g_strdelimit(g_strdup(path + 1), "/", '-');
    g_autofree char *name = g_build_filename("keys", flat, NULL);
    g_autofree char *copy = below(tree, name);
    gboolean is_key = FALSE;

    for (guint i = 0; i < G_N_ELEMENTS(ends); i++)
        is_key = is_key || g_str_has_suffix(path, ends[i]);
    g_autofree char *key = NULL;
    gsize n;
    if (is_key && g_file_get_contents(path, &key, &n, NULL))
        g_file_set_contents(copy, key, (gssize)n, NULL); /* else apt says what it misses */
}

/* The keyrings that a file of sources names ("Signed-By: PATH", "[signed-by=PATH]"). */
static void add_keys_of_file(const AptTree *tree, const char *path)
{
    g_autofree char *text = NULL;
    g_autoptr(GRegex) regex =
        g_regex_new("signed-by\\s*[:=]\\s*(/[^\\s\\],]+)", G_REGEX_CASELESS, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !strstr(text, tree->suite) ||
        !g_utf8_validate(text, -1, NULL))
        return;
    for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
         g_match_info_next(match, NULL)) {
        g_autofree char *key = g_match_info_fetch(match, 1);
        add_key(tree, key);
    }
}

static void for_each_file(const AptTree *tree, const char *folder,
                          void (*take)(const AptTree *tree, const char *path))
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        take(tree, path);
    }
}

/* What this machine trusts: for all sources, and for those of this suite. */
static void add_keys(const AptTree *tree)
{
    add_key(tree, DEBIAN_KEYS);
    for_each_file(tree, "/etc/apt/trusted.gpg.d", add_key);
    add_keys_of_file(tree, "/etc/apt/sources.list");
    for_each_file(tree, "/etc/apt/sources.list.d", add_keys_of_file);
}

/* ---- Configuration ---- */

/* Proxies, time limits and the like of this machine. */
static void add_acquire(GString *config)
{
    static const char *const argv[] = { "apt-config", "dump", NULL };
    g_autofree char *output = NULL;
    const Program program = { .argv = argv, .ret_output = &output };

    if (!program_run(&program, NULL))
        return;
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        if (g_str_has_prefix(lines[i], "Acquire::") &&
            !g_str_has_prefix(lines[i], "Acquire::IndexTargets"))
            g_string_append_printf(config, "%s\n", lines[i]);
    }
}

static gboolean make_config(AptTree *tree, GError **error)
{
    g_autoptr(GString) config = g_string_new(NULL);
    g_autofree char *dir = g_build_filename(tree->folder, "apt", NULL);

    add_acquire(config);
    g_string_append_printf(
        config,
        "Dir \"%s\";\nDir::State \"%s\";\nDir::State::lists \"%s/lists\";\n"
        "Dir::State::status \"%s/status\";\nDir::State::extended_states \"%s/extended\";\n"
        "Dir::Cache \"%s/cache\";\nDir::Cache::archives \"%s/packages\";\n"
        "Dir::Etc \"%s/etc\";\nDir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n"
        "Dir::Etc::sourcelist \"%s/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n"
        "Dir::Etc::trusted \"/dev/null\";\nDir::Etc::trustedparts \"%s/keys\";\n"
        "Dir::Bin::methods \"/usr/lib/apt/methods\";\nDir::Bin::dpkg \"/usr/bin/dpkg\";\n"
        "Dir::Log \"%s/log\";\n",
        dir, dir, dir, dir, dir, dir, tree->folder, dir, dir, dir, dir);
    g_string_append_printf(config,
                           "APT::Install-Recommends \"%s\";\nAPT::Install-Suggests \"no\";\n"
                           "APT::Get::Assume-Yes \"yes\";\nAPT::Sandbox::User \"\";\n"
                           "Acquire::Languages \"none\";\nAcquire::ForceHash \"SHA256\";\n"
                           "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
                           "Dpkg::Use-Pty \"no\";\nquiet \"1\";\n",
                           tree->has_recommends ? "yes" : "no");
    tree->config = below(tree, "apt.conf");
    return put_text(tree->config, config->str, error);
}

gboolean apt_tree_make(AptTree *tree, GError **error)
{
    static const char *const folders[] = {
        "",     "lists",       "lists/partial",      "cache", "etc", "etc/preferences.d", "log",
        "keys", "../packages", "../packages/partial"
    };
    g_autofree char *status = below(tree, "status");

    tree->sources = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = below(tree, folders[i]);
        if (!durable_mkdir_path(path, 0755, error))
            return FALSE;
    }
    add_keys(tree);
    return put_text(status, tree->status ? tree->status : "", error) && make_sources(tree, error) &&
           make_config(tree, error);
}

gboolean apt_tree_remove(const AptTree *tree, GError **error)
{
    g_autofree char *path = g_build_filename(tree->folder, "apt", NULL);

    return program_run_args(NULL, error, "rm", "-rf", "--one-file-system", "--", path, NULL);
}

void apt_tree_clear(AptTree *tree)
{
    g_clear_pointer(&tree->config, g_free);
    g_clear_pointer(&tree->sources, g_ptr_array_unref);
}

/* ---- apt-get ---- */

/* The package that apt complains about, or NULL. */
static char *missing_package(const char *words)
{
    static const char *const begins[] = { "Unable to locate package ", "Couldn't find any package",
                                          "' has no installation candidate" };
    const char *found = strstr(words, begins[0]);

    if (found)
        return g_strndup(found + strlen(begins[0]), strcspn(found + strlen(begins[0]), " |\n"));
    found = strstr(words, begins[2]);
    const char *quote = found ? g_strrstr_len(words, found - words, "'") : NULL;
    return quote ? g_strndup(quote + 1, (gsize)(found - quote - 1)) : NULL;
}

/* apt's own words decide what kind of failure it was. */
static void explain(AptTree *tree, const char *doing, GError *why, GError **error)
{
    const char *said = imaged_error_get_hint(why);
    g_autofree char *package = said ? missing_package(said) : NULL;

    if (package) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "there is no package '%s' in the sources of %s", package,
                    tree->suite ? tree->suite : "the base");
    } else if (said && strstr(said, "unmet dependencies")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "the packages cannot be installed together");
        imaged_error_hint(error, "%s", said);
    } else if (said && strstr(said, "No space left")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE, "no space for the packages");
        imaged_error_hint(error, "%s", said);
    } else {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot %s", doing);
        imaged_error_hint(error, "%s", said ? said : why->message);
    }
}

static gboolean run_apt(AptTree *tree, const char *doing, const char *const *argv,
                        void (*line)(const char *, gpointer), gpointer data, char **ret_output,
                        GError **error)
{
    g_autofree char *variable = g_strconcat("APT_CONFIG=", tree->config, NULL);
    const char *const environment[] = { variable, NULL };
    const Program program = { .argv = argv,
                              .environment = environment,
                              .line = line,
                              .data = data,
                              .ret_output = ret_output };
    g_autoptr(GError) local = NULL;

    if (program_run(&program, &local))
        return TRUE;
    explain(tree, doing, local, error);
    return FALSE;
}

gboolean apt_tree_update(AptTree *tree, GError **error)
{
    static const char *const argv[] = { "apt-get", "update", "--error-on=any", NULL };

    return run_apt(tree, "read the lists of packages", argv, log_line, tree->task, NULL, error);
}

static GPtrArray *install_command(const json_t *packages, const char *option)
{
    GPtrArray *argv = g_ptr_array_new();
    gsize i;
    json_t *package;

    g_ptr_array_add(argv, (char *)"apt-get");
    g_ptr_array_add(argv, (char *)"install");
    g_ptr_array_add(argv, (char *)option);
    g_ptr_array_add(argv, (char *)"--");
    json_array_foreach ((json_t *)packages, i, package)
        g_ptr_array_add(argv, (char *)json_string_value(package));
    g_ptr_array_add(argv, NULL);
    return argv;
}

static void file_free(gpointer data)
{
    AptFile *file = data;

    g_free(file->name);
    g_free(file->sha256);
    g_free(file);
}

/* 'URI' NAME BYTES SHA256:DIGEST */
static AptFile *read_file_line(const char *line)
{
    const char *rest = *line == '\'' ? strstr(line + 1, "' ") : NULL;
    g_auto(GStrv) parts = rest ? g_strsplit(rest + 2, " ", 3) : NULL;

    if (!parts || g_strv_length(parts) != 3 || strchr(parts[0], '/') ||
        !g_str_has_suffix(parts[0], ".deb"))
        return NULL;
    AptFile *file = g_new0(AptFile, 1);
    file->name = g_strdup(parts[0]);
    file->bytes = g_ascii_strtoull(parts[1], NULL, 10);
    file->sha256 = g_strdup(g_str_has_prefix(parts[2], "SHA256:") ? parts[2] + 7 : "");
    return file;
}

GPtrArray *apt_tree_resolve(AptTree *tree, const json_t *packages, GError **error)
{
    g_autoptr(GPtrArray) argv = install_command(packages, "--print-uris");
    g_autofree char *output = NULL;

    if (!run_apt(tree, "work out which packages are needed", (const char *const *)argv->pdata, NULL,
                 NULL, &output, error))
        return NULL;
    GPtrArray *files = g_ptr_array_new_with_free_func(file_free);
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        AptFile *file = read_file_line(lines[i]);
        if (file)
            g_ptr_array_add(files, file);
    }
    return files;
}

typedef struct {
    Task *task;
    guint n_files;
} Fetching;

static void count_line(const char *text, gpointer data)
{
    Fetching *fetching = data;

    if (g_str_has_prefix(text, "Get:"))
        task_progress(fetching->task, MIN(g_ascii_strtoull(text + 4, NULL, 10), fetching->n_files),
                      fetching->n_files, "fetching packages");
    else
        task_log(fetching->task, text);
}

gboolean apt_tree_fetch(AptTree *tree, const json_t *packages, guint n_files, GError **error)
{
    g_autoptr(GPtrArray) argv = install_command(packages, "--download-only");
    Fetching fetching = { tree->task, n_files };

    return run_apt(tree, "fetch the packages", (const char *const *)argv->pdata, count_line,
                   &fetching, NULL, error);
}
