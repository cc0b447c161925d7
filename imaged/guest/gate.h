/* gate.h: how many helpers run at a time, in all and with an appliance.
 *
 * An appliance is a QEMU: a processor and the better part of a GiB.  Anybody who may look into
 * disks can ask for one, so there are no more than the machine bears.  Jobs (which can be cancelled
 * and hold no client's connection) have a number of their own: a build of hours is in nobody's way.
 * Any thread. */
#pragma once

#include "imaged/guest/guest.h"

typedef struct GuestGate GuestGate;

GuestGate *guest_gate_new(guint max_runs, guint max_of_jobs, guint max_of_others);
void guest_gate_free(GuestGate *gate);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestGate, guest_gate_free)

/* Wait until the run may begin; guest_gate_leave() follows once it is over.  BUSY if there was no
 * room within the run's limit (half a minute if it is no job's), CANCELLED, look's own error. */
gboolean guest_gate_enter(GuestGate *gate, const GuestRun *run, GError **error);
void guest_gate_leave(GuestGate *gate, const GuestRun *run);
