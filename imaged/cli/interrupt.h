/* interrupt.h: Ctrl-C while something is waited for.
 *
 * From interrupt_catch() on, the first SIGINT, SIGTERM or SIGHUP is only noted; a second one ends
 * the process as usual, so that nobody is ever stuck in our waiting. */
#pragma once

#include <glib.h>

void interrupt_catch(void);

/* The signal that came, or 0. */
int interrupt_seen(void);

/* Forget it, and catch the next one: for the work that an interrupt itself asks for. */
void interrupt_rearm(void);

/* End as the signal would have ended us, so that a shell sees why.  Does nothing if none came. */
void interrupt_end(void);
