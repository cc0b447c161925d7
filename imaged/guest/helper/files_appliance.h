/* files_appliance.h: files.h on file systems that only the appliance reads. */
#pragma once

#include "imaged/guest/helper/files.h"
#include "imaged/guest/helper/task.h"

json_t *files_list_appliance(Task *task, const char *path, GError **error);
json_t *files_get_appliance(Task *task, const char *path, FilesData data, gpointer user,
                            GError **error);
