/* visible.c: which rows a caller may see. */
#include "broker/access/caller.h"

char *access_visible_sql(const Caller *caller, const char *object, const char *alias)
{
    (void)object;
    (void)alias;
    /* So far only admins get in: by the unix socket. */
    return caller->is_admin ? NULL : g_strdup("0");
}
