/* ntfs_acl.c: some calls for each file, milliseconds: Windows profiles have thousands. */
#include "imaged/guest/helper/ntfs_acl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"

static const char *const names[] = { "system.ntfs_acl", "system.ntfs_attrib_be",
                                     "system.ntfs_times_be" };

static gboolean copy_one(guestfs_h *g, const char *from, const char *to, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        size_t size = 0;
        char *value = guestfs_lgetxattr(g, from, names[i], &size);
        gboolean ok = !value || guestfs_lsetxattr(g, names[i], value, (int)size, to) == 0;
        free(value);
        if (!ok) {
            appliance_error(g, error, "'%s': its permissions cannot be copied", to);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean ntfs_acl_copy(Task *task, guestfs_h *g, const char *from, const char *to, GError **error)
{
    g_autofree char *list = g_build_filename(task_tmp(task), "names", NULL);
    char *name = NULL;
    size_t size = 0;

    if (!copy_one(g, from, to, error))
        return FALSE;
    if (guestfs_is_dir(g, from) != 1)
        return TRUE;
    if (guestfs_find0(g, from, list) < 0) {
        appliance_error(g, error, "'%s' cannot be listed", from);
        return FALSE;
    }
    FILE *file = fopen(list, "re");
    gboolean ok = file != NULL;
    while (ok && getdelim(&name, &size, '\0', file) > 0) {
        g_autofree char *a = g_build_filename(from, name, NULL);
        g_autofree char *b = g_build_filename(to, name, NULL);
        ok = copy_one(g, a, b, error);
    }
    if (!file)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the list of files is gone");
    else
        fclose(file);
    free(name);
    unlink(list);
    return ok;
}
