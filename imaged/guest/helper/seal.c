/* seal.c: remove from a disk what belongs to one machine, give back its free space, and say what
 * was removed.
 *
 *   {"root_password": "keep"|"lock"}
 *   {"os": {type, distro, product}, "operations": [{name, n_removed, bytes, paths}],
 *    "n_removed", "bytes", "trimmed": ["/"], "elapsed_ms"}
 *
 * Nothing of the guest's own programs is run, not even in the appliance. */
#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/mounted.h"
#include "imaged/guest/helper/seal_ops.h"
#include "imaged/guest/helper/tasks.h"

#define GENERALIZED "IMAGE_STATE_GENERALIZE_RESEAL_TO_"
#define STATE_INI "/Windows/Setup/State/State.ini"

/* Windows is sealed by its own sysprep, which leaves its state in a file (UTF-16 or not). */
static gboolean check_windows(guestfs_h *g, GError **error)
{
    char *path = guestfs_case_sensitive_path(g, STATE_INI);
    size_t size = 0;
    char *text = path ? guestfs_read_file(g, path, &size) : NULL;
    g_autoptr(GString) plain = g_string_new(NULL);

    for (size_t i = 0; text && i < size; i++) {
        if (text[i])
            g_string_append_c(plain, text[i]);
    }
    free(text);
    free(path);
    if (strstr(plain->str, GENERALIZED))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "this Windows was not generalized: only its own sysprep can do that");
    imaged_error_hint(error, "in the draft run: sysprep /generalize /oobe /shutdown, then publish");
    return FALSE;
}

static gboolean check_type(guestfs_h *g, const MountedOs *os, GError **error)
{
    if (strcmp(os->type, "linux") == 0)
        return TRUE;
    if (strcmp(os->type, "windows") == 0)
        return check_windows(g, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "sealing knows Linux and Windows, and this is %s", os->type);
    return FALSE;
}

static json_t *trim(Task *task, guestfs_h *g, const MountedOs *os)
{
    json_t *out = json_array();

    for (guint i = 0; i < os->points->len; i++) {
        task_progress(task, i, os->points->len, "trimming %s", (char *)os->points->pdata[i]);
        if (guestfs_fstrim(g, os->points->pdata[i], -1) == 0)
            json_array_append_new(out, json_string(os->points->pdata[i]));
        else /* FAT and old NTFS can't; nothing is wrong with the disk then */
            task_warning(task, "the free space of '%s' cannot be given back: %s",
                         (char *)os->points->pdata[i], guestfs_last_error(g));
    }
    return out;
}

static gboolean seal_all(Seal *seal, const MountedOs *os, GError **error)
{
    if (strcmp(os->type, "linux") != 0)
        return TRUE;
    return seal_root_password(seal, task_text(seal->task, "root_password", "keep"), error) &&
           seal_linux(seal, error) && seal_swap(seal, error);
}

static json_t *seal_disk(Task *task, guestfs_h *g, GError **error)
{
    g_auto(MountedOs) os = { 0 };
    Seal seal = { .g = g, .task = task };
    gint64 begin = g_get_monotonic_time();

    task_progress(task, 0, 0, "looking for the operating system");
    if (!mounted_os_find(g, &os, error) || !mounted_os_mount(task, g, &os, error) ||
        !check_type(g, &os, error))
        return NULL;
    seal.operations = json_array();
    if (!seal_all(&seal, &os, error)) {
        json_decref(seal.operations);
        return NULL;
    }
    json_t *trimmed = trim(task, g, &os);
    return json_pack("{s:{s:s, s:s, s:s}, s:o, s:I, s:I, s:o, s:I}", "os", "type", os.type,
                     "distro", os.distro, "product", os.product, "operations", seal.operations,
                     "n_removed", (json_int_t)seal.n_removed, "bytes", (json_int_t)seal.bytes,
                     "trimmed", trimmed, "elapsed_ms",
                     (json_int_t)((g_get_monotonic_time() - begin) / 1000));
}

json_t *task_seal(Task *task, GError **error)
{
    const char *policy = task_text(task, "root_password", "keep");

    if (task_n_disks(task) != 1 || task_disk_is_read_only(task, 0)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "sealing needs one disk to write");
        return NULL;
    }
    if (strcmp(policy, "keep") != 0 && strcmp(policy, "lock") != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "root's password can be kept or locked, not '%.20s'", policy);
        return NULL;
    }
    guestfs_h *g = appliance_open(task, error);
    json_t *result = g ? seal_disk(task, g, error) : NULL;
    if (!g)
        return NULL;
    if (!appliance_close(g, result ? error : NULL))
        g_clear_pointer(&result, json_decref);
    return result;
}
