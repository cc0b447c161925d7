/* tasks.h: the functions of all tasks. */
#pragma once

#include "imaged/guest/helper/task.h"

json_t *task_ping(Task *task, GError **error);
json_t *task_appliance_check(Task *task, GError **error);
json_t *task_kvm_probe(Task *task, GError **error);
json_t *task_inspect(Task *task, GError **error);
json_t *task_files(Task *task, GError **error);
json_t *task_seal(Task *task, GError **error);
json_t *task_keep(Task *task, GError **error);
json_t *task_customize(Task *task, GError **error);
json_t *task_fetch(Task *task, GError **error);
json_t *task_build(Task *task, GError **error);
json_t *task_clean(Task *task, GError **error);
