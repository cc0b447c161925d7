/* deadline.h: clients that connect over TCP and then do not finish their handshake are dropped.
 *
 * nbdkit itself waits for ever.  For the plugin alone; the functions are called by the thread of
 * the connection they are about. */
#pragma once

/* Start the thread that watches.  Returns 0 or an errno. */
int deadline_start(void);

/* This thread's connection was accepted; its handshake ends with deadline_met(). */
void deadline_begin(void);
void deadline_met(void);
