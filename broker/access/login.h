/* login.h: names and passwords: of local users by their hash, of a directory's by asking it.
 *
 * Any thread; a check may take as long as a directory's time limit. */
#pragma once

#include "broker/access/users.h"
#include "imaged/job/world.h"

typedef struct Logins Logins;

Logins *logins_new(void);
void logins_free(Logins *logins);

/* Who is it?  DENIED with the same words, after the same time, whether the name or the password is
 * wrong (with others, if both are right, but he is disabled, or his directory does not let him in);
 * BUSY: too many have failed, with the seconds to wait; UNAVAILABLE: his directory does not answer.
 * address: where from, or NULL. */
gboolean login_check(World *world, const char *name, const char *password, const char *address,
                     UserRow *ret, GError **error);
