/* pool_guard.h: what may not be done to a pool's desktops by themselves, because another user's
 * data could come to somebody by it.
 *
 * The second wall: the first is in the pick, which gives out nothing that may hold another's
 * (broker/pool/pick.h).  This one says so at once, with what to do instead. */
#pragma once

#include "imaged/ops/submit.h"

typedef enum {
    GUARD_DELETE,    /* its pool does that */
    GUARD_DATA_DISK, /* it would stay when the desktop goes to the next user */
    GUARD_UNDO,      /* brings back a disk: only of its present user */
    GUARD_REVERT,    /* the same; snapshot is the argument's name */
    GUARD_ARCHIVE,   /* nobody knows whose it was */
    GUARD_WRITE,     /* into its disk, from outside: only while somebody has it */
} PoolGuard;

/* DENIED. */
gboolean pool_guard_check(Db *db, PoolGuard guard, const DesktopRow *desktop, const char *snapshot,
                          GError **error);

/* The same for one desktop by its id, or NULL. */
gboolean pool_guard_item(World *world, PoolGuard guard, const char *desktop_id, GError **error);

/* Plan with make, and reject the desktops for which that may not be. */
gboolean pool_guard_plan(OpsCall *call, PoolGuard guard, const char *snapshot,
                         const LookupRows *desktops, SubmitPlan make, BatchPlan *plan,
                         GError **error);

/* May these entries of the trash (ids) be brought back?  DENIED. */
gboolean pool_guard_trash(World *world, const json_t *ids, GError **error);

/* May this template version (NAME:N), or the template, be deleted?  BUSY names the pool. */
gboolean pool_guard_template(World *world, const char *ref, GError **error);
