/* converse.h: the conversation with one helper, from the request to the end of its process.
 *
 * The helper and the servers of its disks run already.  For guest.c alone; in the run's thread. */
#pragma once

#include "imaged/guest/child.h"
#include "imaged/guest/guest.h"

/* Where one run happens. */
typedef struct {
    const char *folder, *appliance, *accelerator; /* the latter two or NULL */
} GuestPlace;

/* Send the request (disks, which is taken over, is what it says about them), pass on what the
 * helper reports, and see it end.  The result's object (caller unrefs), or NULL with an error as
 * guest_run() has them, but BUSY. */
json_t *guest_converse(const GuestRun *run, const GuestPlace *place, GuestChild *child,
                       json_t *disks, GError **error);
