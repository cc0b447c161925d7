/* directory.h: users and groups that an LDAP directory or an Active Directory knows.
 *
 * A row of ours stands for each of its users who has logged in or was added, and for each of its
 * groups that was added: by the identity that outlives a rename.  Log-ins ask the directory at
 * once; a thread looks at all rows now and then.  Any thread; everything that asks a server has a
 * time limit, and one that does not answer is not asked again for a while. */
#pragma once

#include <jansson.h>

#include "broker/access/users.h"
#include "imaged/job/world.h"

typedef struct Directories Directories;

/* The thread looks every interval_ms; 0: never by itself. */
Directories *directories_new(World *world, gint64 interval_ms);
void directories_free(Directories *directories);

/* A new one.  settings: servers (array), base, ca_pem, bind_dn, bind_password, user_filter,
 * group_filter, user_attribute; kind "ad" or "ldap".  Nothing is asked yet.  The password
 * is kept in a file of its own, and taken out of settings.  INVALID, EXISTS. */
gboolean directory_add(World *world, const char *name, const char *kind, json_t *settings,
                       const char *who, GError **error);

/* Change settings (those of changed; kind and name stay); bind_password "" takes it away. */
gboolean directory_set(World *world, const char *name, const json_t *changed, const char *who,
                       GError **error);

/* With its users and groups.  BUSY while one of them has desktops or a session. */
gboolean directory_remove(World *world, const char *name, const char *who, GError **error);

/* Ask it: which server answers, how many users it knows; with user, also his entry and which of the
 * groups added here he is in.  Caller unrefs. */
json_t *directory_test(World *world, const char *name, const char *user, GError **error);

/* Make rows of users and groups before anybody logs in, by their names there. */
gboolean directory_import_user(World *world, const char *directory, const char *name,
                               const char *who, UserRow *ret, GError **error);
gboolean directory_import_group(World *world, const char *directory, const char *name,
                                const char *who, GroupRow *ret, GError **error);

/* Look at all rows of one directory now: names, who is disabled or gone, who is in which group. */
gboolean directory_refresh(World *world, const char *name, GError **error);

/* Ask the directories who has this name (NAME, or NAME@DIRECTORY) and password; his row is made or
 * brought up to date.  DENIED: none; UNAVAILABLE: one that may know does not answer.
 * *ret_refusal: NULL, or why one does not let him in although the password is right; static. */
gboolean directory_log_in(World *world, const char *name, const char *password, UserRow *ret,
                          const char **ret_refusal, GError **error);
