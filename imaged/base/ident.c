/* ident.c: see ident.h. */
#include "imaged/base/ident.h"

#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define RANDOM_BYTES 10

Id id_new(void)
{
    /* A batch needs thousands: random bytes are fetched for 256 ids at a time. */
    static __thread guint8 pool[256][RANDOM_BYTES];
    static __thread guint n_left;
    Id id;

    if (n_left == 0) {
        randombytes_buf(pool, sizeof pool);
        n_left = G_N_ELEMENTS(pool);
    }
    n_left--;
    g_snprintf(id.s, sizeof id.s, "%012" G_GINT64_MODIFIER "x",
               (guint64)(units_now_ms() & 0xffffffffffff));
    sodium_bin2hex(id.s + 12, sizeof id.s - 12, pool[n_left], RANDOM_BYTES);
    return id;
}

Id id_derive(const char *first, const char *second, const char *third)
{
    g_autofree char *text = g_strdup_printf("%s/%s/%s", first, second, third);
    guint8 bytes[ID_LEN / 2];
    Id id;

    crypto_generichash(bytes, sizeof bytes, (const guint8 *)text, strlen(text), NULL, 0);
    sodium_bin2hex(id.s, sizeof id.s, bytes, sizeof bytes);
    return id;
}

gboolean id_is_valid(const char *text)
{
    return text && strlen(text) == ID_LEN && strspn(text, "0123456789abcdef") == ID_LEN;
}

char *id_to_uuid(const char *id)
{
    return g_strdup_printf("%.8s-%.4s-%.4s-%.4s-%.12s", id, id + 8, id + 12, id + 16, id + 20);
}

char *id_to_mac(const char *id)
{
    const char *r = id + ID_LEN - 10; /* the last 40 bits, which are random */

    return g_strdup_printf("56:%.2s:%.2s:%.2s:%.2s:%.2s", r, r + 2, r + 4, r + 6, r + 8);
}

char *text_for_message(const char *text, gsize max)
{
    GString *out = g_string_new(NULL);
    gsize n = 0;

    for (const char *p = text ? text : "(nothing)"; *p; p++) {
        if (n++ >= max) {
            g_string_append(out, "...");
            break;
        }
        g_string_append_c(out, g_ascii_isprint(*p) ? *p : '?');
    }
    return g_string_free(out, FALSE);
}

gboolean name_check(const char *what, const char *name, GError **error)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-";
    gsize len = name ? strlen(name) : 0;

    if (len >= 1 && len <= NAME_MAX_LEN && g_ascii_isalnum(name[0]) && strspn(name, allowed) == len)
        return TRUE;
    g_autofree char *shown = text_for_message(name ? name : "", 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%s' is not a valid %s name", shown,
                what);
    imaged_error_hint(error, "a name has 1 to %d of A-Z a-z 0-9 . _ - and begins with a letter "
                             "or a digit", NAME_MAX_LEN);
    return FALSE;
}

gboolean text_check(const char *what, const char *text, gsize max, GError **error)
{
    const char *why = NULL;

    if (strlen(text) > max)
        why = "is too long";
    else if (!g_utf8_validate(text, -1, NULL))
        why = "is not valid UTF-8";
    for (const guchar *p = (const guchar *)text; !why && *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            why = "contains control characters";
    }
    if (!why)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the %s %s", what, why);
    return FALSE;
}
