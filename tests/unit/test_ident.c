/* test_ident.c: ids, and which names and texts are taken. */
#include <glib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define LEN63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"

static void test_names(void)
{
    static const struct {
        const char *name;
        gboolean ok;
    } table[] = {
        { "a", TRUE },
        { "Z", TRUE },
        { "0", TRUE },
        { "desk-001", TRUE },
        { "a.b_c-D", TRUE },
        { "a..b", TRUE },
        { "a-", TRUE },
        { LEN63, TRUE },
        { LEN63 "4", FALSE },
        { "", FALSE },
        { NULL, FALSE },
        { ".", FALSE },
        { "..", FALSE },
        { ".hidden", FALSE },
        { "-option", FALSE },
        { "_a", FALSE },
        { "a b", FALSE },
        { " a", FALSE },
        { "a ", FALSE },
        { "a/b", FALSE },
        { "../a", FALSE },
        { "a\\b", FALSE },
        { "a:1", FALSE },
        { "a\n", FALSE },
        { "a\tb", FALSE },
        { "a\x01", FALSE },
        { "a\x7f", FALSE },
        { "a'b", FALSE },
        { "a\"b", FALSE },
        { "a%s%n", FALSE },
        { "\xc3\xa4", FALSE },
        { "a\xff", FALSE },
        { "\xef\xbb\xbf"
          "a",
          FALSE },
        { "a*", FALSE },
        { "a,b", FALSE },
        { "a@b", FALSE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(name_check("desktop", table[i].name, &error) == table[i].ok);
        if (table[i].ok) {
            g_assert_no_error(error);
            continue;
        }
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_autofree char *message = imaged_error_message(error);
        g_assert_nonnull(strstr(message, "desktop name"));
        g_assert_nonnull(imaged_error_get_hint(error));
        for (const char *p = message; *p; p++)
            g_assert_true(g_ascii_isprint(*p));
    }
    for (char c = 'a'; c <= 'c'; c++) { /* 10 KB of a fine letter, of a bad one, of control ones */
        g_autofree char *huge = g_strnfill(10240, c == 'a' ? 'x' : c == 'b' ? '/' : 1);
        g_autoptr(GError) error = NULL;
        g_assert_false(name_check("template", huge, &error));
        g_assert_cmpuint(strlen(error->message), <, 250);
    }
}

static void test_ids(void)
{
    static const struct {
        const char *text;
        gboolean ok;
    } table[] = {
        { "0123456789abcdef0123456789abcdef", TRUE },
        { "", FALSE },
        { NULL, FALSE },
        { "0123456789abcdef0123456789abcde", FALSE },
        { "0123456789abcdef0123456789abcdef0", FALSE },
        { "0123456789ABCDEF0123456789abcdef", FALSE },
        { "0123456789abcdef0123456789abcdeg", FALSE },
        { "0123456789abcdef0123456789abcde\n", FALSE },
        { "../../../../../../../../../../..", FALSE },
    };
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(table); i++)
        g_assert_true(id_is_valid(table[i].text) == table[i].ok);
    for (guint i = 0; i < 2000; i++) {
        Id id = id_new();
        g_assert_true(id_is_valid(id.s));
        g_assert_true(g_hash_table_add(seen, g_strdup(id.s)));
    }
    g_autofree char *uuid = id_to_uuid("0123456789abcdef0123456789abcdef");
    g_assert_cmpstr(uuid, ==, "01234567-89ab-cdef-0123-456789abcdef");
    g_assert_true(g_uuid_string_is_valid(uuid));
}

/* A MAC is locally administered and not a group's; ids made one after the other differ in theirs.
 */
static void test_macs(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < 1000; i++) {
        Id id = id_new();
        g_autofree char *mac = id_to_mac(id.s), *again = id_to_mac(id.s);
        g_assert_cmpstr(mac, ==, again);
        g_assert_true(g_regex_match_simple("^[0-9a-f]{2}(:[0-9a-f]{2}){5}$", mac, 0, 0));
        g_assert_cmpuint(g_ascii_strtoull(mac, NULL, 16) & 3, ==, 2);
        g_assert_true(g_hash_table_add(seen, g_steal_pointer(&mac)));
    }
}

static void test_derived(void)
{
    static const char *const words[] = { "", "a", "b", "ab", "A", "a ", "0" };
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    guint n = G_N_ELEMENTS(words);

    for (guint i = 0; i < n * n * n; i++) {
        Id id = id_derive(words[i % n], words[i / n % n], words[i / n / n]);
        Id again = id_derive(words[i % n], words[i / n % n], words[i / n / n]);
        g_assert_true(id_is_valid(id.s));
        g_assert_cmpstr(id.s, ==, again.s);
        g_assert_true(g_hash_table_add(seen, g_strdup(id.s)));
    }
}

static void test_texts(void)
{
    static const struct {
        const char *text;
        gsize max;
        const char *message; /* NULL: taken */
    } table[] = {
        { "", 0, NULL },
        { "a", 0, "the owner is too long" },
        { "abc", 3, NULL },
        { "abcd", 3, "the owner is too long" },
        { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa9 '\"\\<>&;", 100, NULL },
        { "\xc3\xa4", 1, "the owner is too long" }, /* bytes, not letters */
        { "a\xff", 100, "the owner is not valid UTF-8" },
        { "\xc3", 100, "the owner is not valid UTF-8" },
        { "\xed\xa0\x80", 100, "the owner is not valid UTF-8" }, /* half a surrogate */
        { "\xc0\x80", 100, "the owner is not valid UTF-8" },     /* a long zero */
        { "a\nb", 100, "the owner contains control characters" },
        { "a\x1b[31m", 100, "the owner contains control characters" },
        { "a\x7f", 100, "the owner contains control characters" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(text_check("owner", table[i].text, table[i].max, &error) ==
                      !table[i].message);
        g_assert_cmpstr(error ? error->message : NULL, ==, table[i].message);
        if (error)
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

static void test_for_message(void)
{
    static const struct {
        const char *text;
        gsize max;
        const char *shown;
    } table[] = {
        { "", 10, "" },           { "abc", 3, "abc" },
        { "abcd", 3, "abc..." },  { "a\nb\x01\x7f", 10, "a?b??" },
        { "\xc3\xa4", 10, "??" }, { "abc", 0, "..." },
        { NULL, 20, "(nothing)" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *shown = text_for_message(table[i].text, table[i].max);
        g_assert_cmpstr(shown, ==, table[i].shown);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ident/names", test_names);
    g_test_add_func("/ident/ids", test_ids);
    g_test_add_func("/ident/macs", test_macs);
    g_test_add_func("/ident/derived", test_derived);
    g_test_add_func("/ident/texts", test_texts);
    g_test_add_func("/ident/for-message", test_for_message);
    return g_test_run();
}
