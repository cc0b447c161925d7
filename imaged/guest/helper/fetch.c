/* fetch.c: task "fetch": FOLDER/packages gets every package that a build will install, and the list
 * (Packages) that makes it a source for apt.
 *
 * It has network; nothing that is fetched is run or unpacked here.  What comes from the network was
 * checked by apt against the archive's signature.
 *
 * asks: suite, mirror, components, packages, recommends, status, cache, cache_bytes, reserve_bytes
 * result: packages (how many), bytes, fetched_bytes, sources */
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/guest/helper/apt_tree.h"
#include "imaged/guest/helper/package_cache.h"
#include "imaged/guest/helper/program.h"
#include "imaged/guest/helper/tasks.h"

static gboolean check_space(Task *task, guint64 bytes, GError **error)
{
    struct statvfs fs;
    guint64 reserve = (guint64)MAX(task_int(task, "reserve_bytes", 0), 0);

    if (statvfs(task_folder(task), &fs) < 0 ||
        (guint64)fs.f_bavail * fs.f_frsize >= bytes + reserve)
        return TRUE;
    g_autofree char *wanted = units_format_size(bytes);
    g_autofree char *free_bytes = units_format_size((guint64)fs.f_bavail * fs.f_frsize);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE,
                "the packages need %s, but %s are free where builds are made", wanted, free_bytes);
    return FALSE;
}

/* Take what the cache has; the bytes that are left to be fetched. */
static guint64 use_cache(Task *task, const GPtrArray *files)
{
    const char *cache = task_cache(task);
    guint64 left = 0;

    for (guint i = 0; i < files->len; i++) {
        const AptFile *file = files->pdata[i];
        g_autofree char *target = g_build_filename(task_folder(task), "packages", file->name, NULL);
        if (!package_cache_take(cache, file->sha256, target))
            left += file->bytes;
    }
    return left;
}

static void fill_cache(Task *task, const GPtrArray *files)
{
    const char *cache = task_cache(task);

    for (guint i = 0; i < files->len; i++) {
        const AptFile *file = files->pdata[i];
        g_autofree char *source = g_build_filename(task_folder(task), "packages", file->name, NULL);
        package_cache_keep(cache, file->sha256, source);
    }
    package_cache_trim(cache, (guint64)MAX(task_int(task, "cache_bytes", 0), 0));
}

/* FOLDER/packages/Packages */
static gboolean make_list(Task *task, GError **error)
{
    g_autofree char *folder = g_build_filename(task_folder(task), "packages", NULL);
    g_autofree char *list = g_build_filename(folder, "Packages", NULL);
    g_autofree char *output = NULL;
    const char *const argv[] = { "apt-ftparchive", "packages", ".", NULL };
    const Program program = { .argv = argv, .ret_output = &output };

    if (chdir(folder) < 0 || !program_run(&program, error)) {
        g_prefix_error(error, "cannot make the list of what was fetched: ");
        return FALSE;
    }
    GError *local = NULL;
    if (g_file_set_contents(list, output, -1, &local))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "cannot write '%s': %s", list,
                local->message);
    g_error_free(local);
    return FALSE;
}

static json_t *fetch(Task *task, AptTree *tree, const json_t *packages, GError **error)
{
    guint64 bytes = 0;

    task_progress(task, 0, 0, "reading the lists of packages");
    if (!apt_tree_make(tree, error) || !apt_tree_update(tree, error))
        return NULL;
    g_autoptr(GPtrArray) files = apt_tree_resolve(tree, packages, error);
    if (!files)
        return NULL;
    for (guint i = 0; i < files->len; i++)
        bytes += ((AptFile *)files->pdata[i])->bytes;
    /* Twice: the archives, and about as much again in the cache. */
    if (!check_space(task, 2 * bytes, error))
        return NULL;
    guint64 left = use_cache(task, files);
    g_autofree char *size = units_format_size(bytes);
    g_autofree char *rest = units_format_size(left);
    g_autofree char *words =
        g_strdup_printf("%u packages, %s, of which %s are fetched", files->len, size, rest);
    task_log(task, words);
    if ((left && !apt_tree_fetch(tree, packages, files->len, error)) || !make_list(task, error))
        return NULL;
    fill_cache(task, files);
    json_t *sources = json_array();
    for (guint i = 0; i < tree->sources->len; i++)
        json_array_append_new(sources, json_string(tree->sources->pdata[i]));
    return json_pack("{s:i, s:I, s:I, s:o}", "packages", (int)files->len, "bytes",
                     (json_int_t)bytes, "fetched_bytes", (json_int_t)left, "sources", sources);
}

json_t *task_fetch(Task *task, GError **error)
{
    const json_t *request = task_request(task);
    const json_t *packages = json_object_get(request, "packages");
    AptTree tree = { .task = task,
                     .folder = task_folder(task),
                     .suite = task_text(task, "suite", NULL),
                     .mirror = task_text(task, "mirror", NULL),
                     .components = json_object_get(request, "components"),
                     .status = task_text(task, "status", NULL),
                     .has_recommends = json_is_true(json_object_get(request, "recommends")) };

    if (!tree.folder || !tree.suite || !json_array_size(packages)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "what is to be fetched?");
        return NULL;
    }
    json_t *result = fetch(task, &tree, packages, error);
    if (!apt_tree_remove(&tree, result ? error : NULL))
        g_clear_pointer(&result, json_decref);
    apt_tree_clear(&tree);
    return result;
}
