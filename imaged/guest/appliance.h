/* appliance.h: the appliance that a run needs, and what it runs on.
 *
 * For guest.c, and for who shows the daemon's state.  Any thread. */
#pragma once

#include "imaged/guest/guest.h"

/* The folder of the appliance; made now if there is none that fits (a few seconds, once; events'
 * progress says so).  Caller frees.  UNAVAILABLE, NOT_FOUND, CANCELLED. */
char *guest_appliance_get(const char *state_dir, const GuestSettings *settings, const GuestRun *run,
                          GError **error);

/* The same if it is there, else NULL. */
char *guest_appliance_find(const char *state_dir, const GuestSettings *settings);

/* "kvm" or "tcg", if that was configured or found out before; else NULL.  Static. */
const char *guest_accelerator_known(const char *state_dir, const GuestSettings *settings);

/* Remember what a probe found. */
gboolean guest_accelerator_remember(const char *state_dir, gboolean is_kvm, GError **error);
