/* data_disk.h: the data disk of a desktop: added, grown, detached; and a larger disk.
 *
 * docs/design/data-disks.md has the whole picture.  A data disk is made with its desktop by
 * broker/desktop.h, or added here.  Planning functions run in the asker's thread; any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType data_disk_add_job;
extern const JobType data_disk_attach_job;
extern const JobType data_disk_detach_job;
extern const JobType data_disk_resize_job;
extern const JobType disk_resize_job;

/* Plan to give each of these desktops a blank data disk of size bytes.  One that has a data disk is
 * rejected. */
gboolean data_disk_plan_add(World *world, const LookupRows *desktops, guint64 size, BatchPlan *plan,
                            GError **error);

/* Plan to give this one desktop (others: INVALID) the data disk that a trash entry holds, its own
 * or another desktop's.  NOT_FOUND, INVALID (something else stands on it), EXISTS. */
gboolean data_disk_plan_attach(World *world, const LookupRows *desktops, const char *entry_id,
                               BatchPlan *plan, GError **error);

/* Plan to put these desktops' data disks into the trash. */
gboolean data_disk_plan_detach(World *world, const LookupRows *desktops, BatchPlan *plan,
                               GError **error);

/* Plan to make the data disks (is_data), or the disks, size bytes large.  One that is larger
 * already is rejected. */
gboolean disk_plan_grow(World *world, const LookupRows *desktops, gboolean is_data, guint64 size,
                        BatchPlan *plan, GError **error);
