/* slow.h: who fails to log in again and again has to wait, by account and by address.
 *
 * Three counts: of the pair (soon slow), of the address (many accounts tried from there), and of
 * the account (tried from many addresses: only a little slow, so that nobody can lock another
 * out).  Of an IPv6 address its network (/64) counts, which is one customer's.  A name that is no
 * user's counts alike.  In memory and bounded.  Any thread; the time is
 * handed in. */
#pragma once

#include <glib.h>

typedef struct Slow Slow;

Slow *slow_new(void);
void slow_free(Slow *slow);

/* A password is to be tried: 0, or how long this account has to wait from this address, in ms.  0
 * counts as a failure of the pair until it is known better, so that many tries at the same moment
 * are no more than one after the other; one of the next three follows. */
gint64 slow_begin(Slow *slow, const char *account, const char *address, gint64 now_ms);

void slow_failed(Slow *slow, const char *account, const char *address, gint64 now_ms);

/* A right password: the pair begins anew, and the account. */
void slow_worked(Slow *slow, const char *account, const char *address);

/* It was not tried after all: nobody could be asked. */
void slow_untried(Slow *slow, const char *account, const char *address);

/* For tests: entries in memory, and the most that there ever are. */
guint slow_size(Slow *slow);
#define SLOW_MAX 20000
