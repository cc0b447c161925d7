/* ldap_text.c: see ldap_text.h. */
#include "broker/access/ldap_text.h"

#include <string.h>

#include "imaged/base/ident.h"

char *ldap_text_escape(const guint8 *bytes, gsize len)
{
    GString *out = g_string_new(NULL);

    for (gsize i = 0; i < len; i++) {
        if (g_ascii_isalnum(bytes[i]) || (bytes[i] && strchr("-_.,=@+ :/", bytes[i])))
            g_string_append_c(out, (char)bytes[i]);
        else
            g_string_append_printf(out, "\\%02x", bytes[i]);
    }
    return g_string_free(out, FALSE);
}

char *ldap_text_guid(const guint8 *bytes, gsize len)
{
    GString *out;

    if (len != 16)
        return NULL;
    out = g_string_sized_new(ID_LEN + 1);
    for (gsize i = 0; i < len; i++)
        g_string_append_printf(out, "%02x", bytes[i]);
    return g_string_free(out, FALSE);
}

char *ldap_text_uuid(const guint8 *bytes, gsize len)
{
    g_autoptr(GString) out = g_string_sized_new(ID_LEN + 1);

    if (len != 36)
        return NULL;
    for (gsize i = 0; i < len; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (bytes[i] != '-')
                return NULL;
        } else if (!g_ascii_isxdigit(bytes[i])) {
            return NULL;
        } else {
            g_string_append_c(out, g_ascii_tolower((char)bytes[i]));
        }
    }
    return g_strdup(out->str);
}

char *ldap_text_guid_filter(const char *id)
{
    GString *out = g_string_new(NULL);

    for (gsize i = 0; id_is_valid(id) && i < ID_LEN; i += 2)
        g_string_append_printf(out, "\\%.2s", id + i);
    return g_string_free(out, FALSE);
}

char *ldap_text_uuid_filter(const char *id)
{
    return id_is_valid(id) ? id_to_uuid(id) : g_strdup("");
}

/* Revision 1, the number of parts, six bytes of authority, parts of four bytes. */
static gboolean is_sid(const guint8 *sid, gsize len)
{
    return len >= 12 && sid[0] == 1 && sid[1] >= 1 && sid[1] <= 15 && len == 8 + 4 * (gsize)sid[1];
}

gboolean ldap_text_sid_rid(const guint8 *sid, gsize len, guint32 *ret)
{
    if (!is_sid(sid, len))
        return FALSE;
    const guint8 *p = sid + len - 4;
    *ret = p[0] | (guint32)p[1] << 8 | (guint32)p[2] << 16 | (guint32)p[3] << 24;
    return TRUE;
}

char *ldap_text_sid_sibling(const guint8 *sid, gsize len, guint32 rid)
{
    guint8 other[8 + 4 * 15];

    if (!is_sid(sid, len))
        return NULL;
    memcpy(other, sid, len);
    for (guint i = 0; i < 4; i++)
        other[len - 4 + i] = (guint8)(rid >> (8 * i));
    return ldap_text_escape(other, len);
}

gboolean ldap_text_range(const char *description, const char *attribute, guint *ret_next)
{
    gsize len = strlen(attribute);
    guint64 first, last;
    char *end;

    *ret_next = 0;
    if (g_ascii_strncasecmp(description, attribute, len) != 0 ||
        g_ascii_strncasecmp(description + len, ";range=", 7) != 0)
        return FALSE;
    const char *p = description + len + 7;
    if (!g_ascii_isdigit(*p))
        return FALSE;
    first = g_ascii_strtoull(p, &end, 10);
    if (*end != '-')
        return FALSE;
    if (g_str_equal(end + 1, "*"))
        return TRUE;
    if (!g_ascii_isdigit(end[1]))
        return FALSE;
    last = g_ascii_strtoull(end + 1, &end, 10);
    if (*end || last < first || last >= G_MAXINT32)
        return FALSE;
    *ret_next = (guint)last + 1;
    return TRUE;
}

gint64 ldap_text_int(const guint8 *bytes, gsize len, gint64 fallback)
{
    char text[24], *end;

    if (len == 0 || len >= sizeof text)
        return fallback;
    memcpy(text, bytes, len);
    text[len] = '\0';
    gint64 n = g_ascii_strtoll(text, &end, 10);
    return end == text + len ? n : fallback;
}

char *ldap_text_utf8(const guint8 *bytes, gsize len, gsize max)
{
    if (len > max || memchr(bytes, 0, len) ||
        !g_utf8_validate((const char *)bytes, (gssize)len, NULL))
        return NULL;
    for (const char *p = (const char *)bytes; p < (const char *)bytes + len;
         p = g_utf8_next_char(p)) {
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return NULL;
    }
    return g_strndup((const char *)bytes, len);
}

gboolean ldap_text_is_expired(gint64 account_expires, gint64 now_ms)
{
    const gint64 unix_epoch_ms = 11644473600000ll; /* of 1970, counted from 1601 */

    return account_expires > 0 && account_expires != G_MAXINT64 &&
           account_expires / 10000 - unix_epoch_ms < now_ms;
}

const char *ldap_text_refusal(const char *diagnostic)
{
    static const struct {
        const char *code, *text;
    } known[] = { { "530", "not at this time" },
                  { "531", "not from here" },
                  { "532", "the password has expired: set another one there" },
                  { "533", "the account is disabled" },
                  { "701", "the account has expired" },
                  { "773", "the password has to be changed there first" } };
    const char *at = diagnostic ? strstr(diagnostic, ", data ") : NULL;

    for (guint i = 0; at && i < G_N_ELEMENTS(known); i++) {
        if (strncmp(at + strlen(", data "), known[i].code, 3) == 0 &&
            !g_ascii_isxdigit(at[strlen(", data ") + 3]))
            return known[i].text;
    }
    return NULL;
}

gboolean ldap_text_is_filter(const char *text)
{
    gint depth = 0;

    if (*text != '(')
        return FALSE;
    for (const char *p = text; *p; p++) {
        depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
        if (depth < 0 || (depth == 0 && p[1]) || g_ascii_iscntrl(*p))
            return FALSE;
    }
    return depth == 0;
}

gboolean ldap_text_is_name(const char *text)
{
    const char *at = text;

    for (;;) {
        gsize n = 0;
        while (*at == ' ')
            at++;
        while (g_ascii_isalnum(at[n]) || at[n] == '-' || at[n] == '.')
            n++;
        at += n;
        if (n == 0 || *at != '=' || !at[1] || at[1] == ',')
            return FALSE;
        for (at++; *at && *at != ','; at++) {
            if (g_ascii_iscntrl(*at) || (*at == '\\' && !*++at))
                return FALSE;
        }
        if (!*at++)
            return TRUE;
    }
}
