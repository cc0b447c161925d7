/* escape.c: see escape.h. */
#include "imaged/base/escape.h"

#include <string.h>

#include "imaged/base/error.h"

char *escape_bytes(const char *bytes, gsize len)
{
    GString *out = g_string_sized_new(len);

    for (gsize i = 0; i < len;) {
        gunichar c = g_utf8_get_char_validated(bytes + i, (gssize)(len - i));
        gboolean is_text = c != (gunichar)-1 && c != (gunichar)-2 && c != 0 && g_unichar_isprint(c);
        gsize n = is_text ? (gsize)g_unichar_to_utf8(c, NULL) : 1;
        if (bytes[i] == '\\')
            g_string_append(out, "\\\\");
        else if (is_text)
            g_string_append_len(out, bytes + i, (gssize)n);
        else
            g_string_append_printf(out, "\\x%02x", (guchar)bytes[i]);
        i += n;
    }
    return g_string_free(out, FALSE);
}

char *escape_undo(const char *text, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);

    for (const char *p = text; *p; p++) {
        int high, low;
        if (*p != '\\') {
            g_string_append_c(out, *p);
        } else if (p[1] == '\\') {
            g_string_append_c(out, '\\');
            p++;
        } else if (p[1] == 'x' && (high = g_ascii_xdigit_value(p[2])) >= 0 &&
                   (low = g_ascii_xdigit_value(p[3])) >= 0 && (high || low)) {
            g_string_append_c(out, (char)(high << 4 | low));
            p += 3;
        } else {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "a backslash in a path is written \\\\, any byte \\xHH");
            return NULL;
        }
    }
    return g_strdup(out->str);
}
