/* users.c: see users.h. */
#include "broker/access/users.h"

char *user_name_key(const char *name)
{
    g_autofree char *normal = g_utf8_normalize(name, -1, G_NORMALIZE_NFKC);

    return normal ? g_utf8_casefold(normal, -1) : g_strdup("");
}
