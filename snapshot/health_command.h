/* health_command.h: one run of a command that tells whether a desktop is well.
 *
 * A command is an executable in a folder that the site's administrator fills, and is named without
 * a path: whoever may start roll-outs chooses among them, and gives them neither words nor a shell.
 * It runs with no more than an unprivileged user's rights (or ours, if those are no more than that
 * and the configuration allows it), nothing on its standard input, few
 * environment variables, and a time limit.  One thread per run. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Look for the command; a descriptor (caller closes), or -1.  INVALID for a name that is none,
 * NOT_FOUND; DENIED if others than its owner could change it. */
int health_command_open(const char *dir, const char *name, GError **error);

/* Whom a command becomes; drops is FALSE if it keeps our rights: where we are not root and name is
 * this word.  Where we are not root and it is not: DENIED. */
#define HEALTH_USER_SELF "self"
typedef struct {
    gboolean drops;
    uid_t uid;
    gid_t gid;
} HealthUser;
gboolean health_command_user(const char *name, HealthUser *ret, GError **error);

typedef struct {
    const char *name;
    int fd;                         /* of health_command_open() */
    const char *user;               /* whose rights it gets, if we may give them */
    const char *const *environment; /* "NAME=value", NULL at the end */
    gint64 limit_ms;
    const gint *cancel; /* or NULL */
} HealthCommand;

/* Run it.  TRUE if it ended with exit code 0.  FAILED says how it ended, with its last lines;
 * CANCELLED.  Nothing of its process group runs on afterwards. */
gboolean health_command_run(const HealthCommand *command, GError **error);
