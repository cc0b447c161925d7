/* data_disks.c: data disks added, grown, detached, and larger disks: from the words of a request to
 * a planned job. */
#include "snapshot/data_disk.h"

#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/dry_run.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/pool_guard.h"
#include "imaged/ops/submit.h"

static gboolean need_size(const OpsCall *call, const char *key, guint64 *ret, GError **error)
{
    if (!args_disk_size(call, key, ret, error))
        return FALSE;
    if (!*ret)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is missing", key);
    return *ret != 0;
}

static gboolean make_allowed_add(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                 GError **error)
{
    const char *entry = args_text(call, "disk", FALSE, NULL);
    guint64 size;

    if (!args_are_texts(call, "disk", error) || !args_disk_size(call, "size", &size, error))
        return FALSE;
    if ((entry != NULL) == (size != 0)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "give the size of a new data disk, or the trash entry of one that was"
                    " detached: one of the two");
        return FALSE;
    }
    return entry ? data_disk_plan_attach(call->world, desktops, entry, plan, error)
                 : data_disk_plan_add(call->world, desktops, size, plan, error) &&
                       jobs_check_stores(call->world, desktops, error);
}

static gboolean make_add(OpsCall *call, const LookupRows *desktops, BatchPlan *plan, GError **error)
{
    return pool_guard_plan(call, GUARD_DATA_DISK, NULL, desktops, make_allowed_add, plan, error);
}

json_t *ops_data_disk_add(OpsCall *call, GError **error)
{
    return submit_counted(call, "names prefix template size disk", QUOTA_DISK_BYTES, make_add,
                          error);
}

static gboolean make_resize(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                            GError **error)
{
    guint64 size;

    return need_size(call, "size", &size, error) &&
           disk_plan_grow(call->world, desktops, TRUE, size, plan, error) &&
           jobs_check_stores(call->world, desktops, error);
}

json_t *ops_data_disk_resize(OpsCall *call, GError **error)
{
    return submit_counted(call, "names prefix template size", QUOTA_DISK_BYTES, make_resize, error);
}

static gboolean make_detach(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                            GError **error)
{
    return data_disk_plan_detach(call->world, desktops, plan, error);
}

static json_t *dry_detach(World *world, const LookupRows *desktops, const json_t *missing)
{
    return dry_run_disks(world, desktops, missing, DISKS_DATA, "its data disk goes to the trash");
}

json_t *ops_data_disk_detach(OpsCall *call, GError **error)
{
    return submit_on_desktops(call, "names prefix template dry_run", dry_detach, make_detach,
                              error);
}

static gboolean make_disk_resize(OpsCall *call, const LookupRows *desktops, BatchPlan *plan,
                                 GError **error)
{
    guint64 size;

    return need_size(call, "size", &size, error) &&
           disk_plan_grow(call->world, desktops, FALSE, size, plan, error) &&
           jobs_check_stores(call->world, desktops, error);
}

json_t *ops_disk_resize(OpsCall *call, GError **error)
{
    return submit_counted(call, "names prefix template size", QUOTA_DISK_BYTES, make_disk_resize,
                          error);
}
