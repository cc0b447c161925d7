/* run_console.h: the serial console of a desktop that runs.
 *
 * Any thread. */
#pragma once

#include "imaged/ops/ops.h"

/* The console of the desktop in the call's arguments ("force": take it from who has it), as a
 * socket: caller closes it.  Who opened it is an event.  -1: NOT_FOUND, UNSUPPORTED (it does not
 * run), BUSY, UNAVAILABLE, UNSUPPORTED (its host has none). */
int run_console_open(OpsCall *call, GError **error);
