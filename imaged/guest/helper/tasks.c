/* tasks.c: the table of all tasks.  A role of NULL: any may. */
#include "imaged/guest/helper/tasks.h"

const TaskType task_types[] = {
    { NULL, "ping", task_ping },
    { "guest", "appliance-check", task_appliance_check },
    { "guest", "kvm-probe", task_kvm_probe },
    { "guest", "inspect", task_inspect },
    { "guest", "files", task_files },
    { "guest", "seal", task_seal },
    { "guest", "keep", task_keep },
    { "guest", "customize", task_customize },
    { "fetch", "fetch", task_fetch },
    { "build", "build", task_build },
    { "build", "clean", task_clean },
    { "fetch", "clean", task_clean },
    { NULL, NULL, NULL },
};
