/* lease_warnings.h: users are told that their time is about to be over.
 *
 * Each on a thread of its own, since a guest may take its time to answer.  The keeper's thread. */
#pragma once

#include "imaged/job/world.h"

typedef struct LeaseWarnings LeaseWarnings;
LeaseWarnings *lease_warnings_new(World *world);
void lease_warnings_free(LeaseWarnings *warnings); /* waits for those under way */

typedef struct {
    gboolean is_pooled; /* a pool's; else assigned to him */
    const char *desktop_id, *name, *user_id;
    const char *user_name; /* NULL: nobody knows it */
    gint64 until_ms;
} LeaseWarning;

/* Tell him, and write down at now_ms that he was, and whether it was delivered.  One that is under
 * way is not begun again. */
void lease_warn(LeaseWarnings *warnings, const LeaseWarning *warning, gint64 now_ms);
