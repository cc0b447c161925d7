/* caller.h: who asks for something, and how much of it is for him to see. */
#pragma once

#include <glib.h>

typedef struct {
    const char *user_id; /* of the row in user; NULL: root or the daemon's own user */
    const char *name;    /* for events */
    const char *address; /* "unix", or the client's address */
    gboolean is_admin;   /* may everything, everywhere */
} Caller;

/* A condition for the rows of object (desktop, template, pool, session, user, host, event ...)
 * under this alias that the caller may see: SQL made of our own words and of ids alone, such as
 * "d.id IN (...)"; NULL: all of them.  Caller frees. */
char *access_visible_sql(const Caller *caller, const char *object, const char *alias);
