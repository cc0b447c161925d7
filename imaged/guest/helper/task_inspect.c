/* task_inspect.c: the tasks "inspect" and "files": quick if no appliance was asked for.
 *
 *   inspect  -> the result of inspect_fast.h
 *   files    {"verb":"list"|"get", "path":"/home"} -> the result of files.h; get sends data
 *
 * Without an appliance UNSUPPORTED means: ask again, with one. */
#include "imaged/base/error.h"
#include "imaged/guest/helper/files_appliance.h"
#include "imaged/guest/helper/inspect_appliance.h"
#include "imaged/guest/helper/inspect_fast.h"
#include "imaged/guest/helper/tasks.h"

static gboolean check_disk(Task *task, GError **error)
{
    if (task_n_disks(task) == 1)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "one disk, please");
    return FALSE;
}

json_t *task_inspect(Task *task, GError **error)
{
    if (!check_disk(task, error))
        return NULL;
    if (task_appliance(task))
        return inspect_appliance(task, error);
    g_autoptr(Block) disk = block_open_nbd(task_disk_socket(task, 0), error);
    return disk ? inspect_fast(disk, error) : NULL;
}

static gboolean send(gpointer user, const void *bytes, gsize n, GError **error)
{
    return task_data(user, bytes, n, error);
}

static json_t *files_quick(Task *task, const char *path, gboolean is_get, GError **error)
{
    g_autoptr(Block) disk = block_open_nbd(task_disk_socket(task, 0), error);

    if (!disk)
        return NULL;
    return is_get ? files_get(disk, path, send, task, error) : files_list(disk, path, error);
}

json_t *task_files(Task *task, GError **error)
{
    const char *verb = task_text(task, "verb", ""), *path = task_text(task, "path", "");
    gboolean is_get = g_str_equal(verb, "get");

    if (!check_disk(task, error))
        return NULL;
    if (!task_appliance(task))
        return files_quick(task, path, is_get, error);
    return is_get ? files_get_appliance(task, path, send, task, error)
                  : files_list_appliance(task, path, error);
}
