/* slow.h: who fails to log in again and again has to wait, by account and by address.
 *
 * Three counts: of the pair (soon slow), of the address (many accounts tried from there), and of
 * the account (tried from many addresses: only a little slow, so that nobody can lock another
 * out).  A name that is no user's counts alike.  In memory and bounded.  Any thread; the time is
 * handed in. */
#pragma once

#include <glib.h>

typedef struct Slow Slow;

Slow *slow_new(void);
void slow_free(Slow *slow);

/* How long this account has to wait from this address before it is tried again, in ms; 0: not at
 * all. */
gint64 slow_wait_ms(Slow *slow, const char *account, const char *address, gint64 now_ms);

void slow_failed(Slow *slow, const char *account, const char *address, gint64 now_ms);

/* A right password: the pair begins anew, and the account. */
void slow_worked(Slow *slow, const char *account, const char *address);
