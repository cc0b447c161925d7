/* directory.h: users and groups that an LDAP directory or an Active Directory knows.
 *
 * Any thread; everything that asks a server has a time limit. */
#pragma once

#include "broker/access/users.h"
#include "imaged/job/world.h"

/* Ask the directories who has this name and password; his row is made or brought up to date.
 * DENIED: none; UNAVAILABLE: the one that may know does not answer. */
gboolean directory_log_in(World *world, const char *name, const char *password, UserRow *ret,
                          GError **error);
