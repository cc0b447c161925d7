/* user_name.c: what users and groups can be called (users.h). */
#include "broker/access/users.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

char *user_name_key(const char *name)
{
    g_autofree char *normal = g_utf8_normalize(name, -1, G_NORMALIZE_NFKC);

    return normal ? g_utf8_casefold(normal, -1) : g_strdup("");
}

gboolean user_check_name(const char *what, const char *name, GError **error)
{
    gboolean ok = g_utf8_validate(name, -1, NULL) && g_utf8_strlen(name, -1) <= NAME_MAX_LEN &&
                  g_unichar_isalnum(g_utf8_get_char(name));

    for (const char *p = name; ok && *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        ok = g_unichar_isalnum(c) || g_unichar_ismark(c) || (c < 128 && strchr("._-@+", (int)c));
    }
    if (ok && id_is_valid(name)) /* it would be taken for one */
        ok = FALSE;
    if (ok)
        return TRUE;
    g_autofree char *shown = text_for_message(name, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' cannot be the name of a %s", shown,
                what);
    imaged_error_hint(error, "letters and digits, then also . _ - @ +, at most %d", NAME_MAX_LEN);
    return FALSE;
}
