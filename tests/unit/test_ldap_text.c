/* test_ldap_text.c: filters that names go into, and what is made of a directory's bytes. */
#include "broker/access/ldap_link.h"
#include "broker/access/ldap_text.h"
#include "broker/access/slow.h"

#include <string.h>

static void escape(const char *bytes, gsize len, const char *expected)
{
    g_autofree char *text = ldap_text_escape((const guint8 *)bytes, len);

    g_assert_cmpstr(text, ==, expected);
}

static void test_escape(void)
{
    escape("alice", 5, "alice");
    escape("*", 1, "\\2a");
    escape("a)(uid=*", 8, "a\\29\\28uid=\\2a");
    escape("a\\b", 3, "a\\5cb");
    escape("a\0b", 3, "a\\00b");
    escape("J\xc3\xbcrgen", 7, "J\\c3\\bcrgen");
    escape("", 0, "");
    escape("|&!<>~", 6, "\\7c\\26\\21\\3c\\3e\\7e");
    /* Nothing that has a meaning is left, whatever it was. */
    for (guint i = 0; i < 256; i++) {
        guint8 byte = (guint8)i;
        g_autofree char *text = ldap_text_escape(&byte, 1);
        g_assert_null(strpbrk(text, "()*"));
        g_assert_true(*text != '\\' || strlen(text) == 3);
    }
}

static void test_identities(void)
{
    const guint8 guid[16] = { 0xde, 0xad, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xff };
    const char *uuid = "0A1B2C3D-0011-2233-4455-66778899aabb";
    g_autofree char *id = ldap_text_guid(guid, 16);
    g_autofree char *filter = ldap_text_guid_filter(id);
    g_autofree char *id2 = ldap_text_uuid((const guint8 *)uuid, 36);
    g_autofree char *filter2 = ldap_text_uuid_filter(id2);
    g_autofree char *bad = ldap_text_guid_filter("x)(objectClass=*");

    g_assert_cmpstr(id, ==, "dead0102030405060708090a0b0c0dff");
    g_assert_cmpstr(filter, ==, "\\de\\ad\\01\\02\\03\\04\\05\\06\\07\\08\\09\\0a\\0b\\0c\\0d\\ff");
    g_assert_cmpstr(id2, ==, "0a1b2c3d00112233445566778899aabb");
    g_assert_cmpstr(filter2, ==, "0a1b2c3d-0011-2233-4455-66778899aabb");
    g_assert_cmpstr(bad, ==, "");
    g_assert_null(ldap_text_guid(guid, 15));
    g_assert_null(ldap_text_uuid((const guint8 *)uuid, 35));
    g_assert_null(ldap_text_uuid((const guint8 *)"0A1B2C3D-0011-2233-4455-66778899aabg", 36));
    g_assert_null(ldap_text_uuid((const guint8 *)"0A1B2C3D00011-2233-4455-66778899aabb", 36));
}

static void test_sid(void)
{
    /* S-1-5-21-1-2-3-513 */
    const guint8 sid[28] = { 1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0,
                             0, 0, 2, 0, 0, 0, 3, 0, 0,  0, 1, 2, 0, 0 };
    guint8 odd[28];
    guint32 rid = 0;

    g_assert_true(ldap_text_sid_rid(sid, 28, &rid));
    g_assert_cmpuint(rid, ==, 513);
    g_autofree char *other = ldap_text_sid_sibling(sid, 28, 0x01020304);
    g_assert_true(g_str_has_suffix(other, "\\03\\00\\00\\00\\04\\03\\02\\01"));
    for (gsize len = 0; len < 28; len++)
        g_assert_false(ldap_text_sid_rid(sid, len, &rid));
    memcpy(odd, sid, sizeof odd);
    odd[1] = 255; /* parts that are not there */
    g_assert_false(ldap_text_sid_rid(odd, 28, &rid));
    g_assert_null(ldap_text_sid_sibling(odd, 28, 1));
    odd[1] = 0;
    g_assert_false(ldap_text_sid_rid(odd, 8, &rid));
}

static void test_range(void)
{
    guint next;

    g_assert_true(ldap_text_range("member;range=0-1499", "member", &next));
    g_assert_cmpuint(next, ==, 1500);
    g_assert_true(ldap_text_range("Member;Range=1500-*", "member", &next));
    g_assert_cmpuint(next, ==, 0);
    static const char *const bad[] = { "member",
                                       "memberOf;range=0-1",
                                       "member;range=",
                                       "member;range=-",
                                       "member;range=5-1",
                                       "member;range=0-1x",
                                       "member;range=0-99999999999999999999",
                                       "member;range=0-2147483647",
                                       "member;range=*-0" };
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(ldap_text_range(bad[i], "member", &next));
}

static void test_values(void)
{
    g_autofree char *text = ldap_text_utf8((const guint8 *)"Zo\xc3\xab", 4, 4);

    g_assert_cmpstr(text, ==, "Zo\xc3\xab");
    g_assert_null(ldap_text_utf8((const guint8 *)"Zo\xc3\xab", 4, 3));
    g_assert_null(ldap_text_utf8((const guint8 *)"a\0b", 3, 10));
    g_assert_null(ldap_text_utf8((const guint8 *)"a\nb", 3, 10));
    g_assert_null(ldap_text_utf8((const guint8 *)"\xff\xfe", 2, 10));
    g_assert_cmpint(ldap_text_int((const guint8 *)"66050", 5, -1), ==, 66050);
    g_assert_cmpint(ldap_text_int((const guint8 *)"66050x", 6, -1), ==, -1);
    g_assert_cmpint(ldap_text_int((const guint8 *)"", 0, 7), ==, 7);
    g_assert_cmpint(ldap_text_int((const guint8 *)"111111111111111111111111111", 27, -1), ==, -1);
    g_assert_false(ldap_text_is_expired(0, 1));
    g_assert_false(ldap_text_is_expired(G_MAXINT64, 1));
    g_assert_true(ldap_text_is_expired(133485408000000000, 1800000000000)); /* 2024 */
    g_assert_false(ldap_text_is_expired(133485408000000000, 1600000000000));
    g_assert_true(ldap_text_is_filter("(&(a=b)(c=d))"));
    static const char *const bad[] = { "", "a=b", "(a=b", "(a=b))", "(a=b)(c=d)", "(a=\n)" };
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(ldap_text_is_filter(bad[i]));
    static const char *const names[] = { "dc=example,dc=org", "OU=a b, DC=x", "o=a\\,b,c=de",
                                         "2.5.4.10=x" };
    static const char *const no_names[] = { "",   "notadn", "dc=",     "dc=a,", "dc=a,,dc=b",
                                            "=a", "dc=a,b", "dc=a\nb", "dc=a\\" };
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_true(ldap_text_is_name(names[i]));
    for (guint i = 0; i < G_N_ELEMENTS(no_names); i++)
        g_assert_false(ldap_text_is_name(no_names[i]));
}

static void same_name(const char *a, const char *b, gboolean expected)
{
    g_autofree char *key = ldap_dn_key(a), *other = ldap_dn_key(b);

    g_assert_cmpint(g_str_equal(key, other), ==, expected);
}

static void test_names(void)
{
    same_name("CN=Ann Ash,OU=Staff,DC=t", "cn=ann ash, ou=staff, dc=T", TRUE);
    same_name("cn=Ash\\, Ann,dc=t", "cn=Ash\\2C Ann,dc=t", TRUE);
    same_name("cn=J\xc3\x9cRGEN,dc=t", "cn=j\xc3\xbcrgen,dc=t", TRUE);
    same_name("cn=Ash\\, Ann,dc=t", "cn=Ash,cn=Ann,dc=t", FALSE);
    same_name("cn=a,dc=t", "cn=b,dc=t", FALSE);
    same_name("no name", "no name", TRUE); /* what is none stays what it is */
    same_name("cn=\xff\xc3", "cn=\xff", FALSE);
    same_name("", "cn=a", FALSE);
}

static void test_refusal(void)
{
#define SAYS "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data "
    g_assert_nonnull(strstr(ldap_text_refusal(SAYS "773, v1db1"), "changed"));
    g_assert_nonnull(strstr(ldap_text_refusal(SAYS "532, v1db1"), "expired"));
    g_assert_nonnull(ldap_text_refusal(SAYS "701"));
    /* a wrong password, no such user, locked: nothing that a stranger may know */
    static const char *const silent[] = {
        SAYS "52e, v1db1", SAYS "525, v1db1", SAYS "775, v1db1", SAYS "7733", SAYS, "", "data 773"
    };
    for (guint i = 0; i < G_N_ELEMENTS(silent); i++)
        g_assert_null(ldap_text_refusal(silent[i]));
    g_assert_null(ldap_text_refusal(NULL));
}

/* No bytes make any of them read beyond their end (the sanitizer looks). */
static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (guint i = 0; i < 20000; i++) {
        gsize len = (gsize)g_rand_int_range(rand, 1, 80);
        g_autofree guint8 *bytes = g_malloc(len + 1);
        guint32 rid;
        guint next;
        for (gsize k = 0; k < len; k++)
            bytes[k] = (guint8)g_rand_int(rand);
        bytes[len] = 0;
        if (len >= 2 && i % 2)
            bytes[0] = 1, bytes[1] = (guint8)(bytes[1] % 20);
        g_autofree char *exact = g_memdup2(bytes, len); /* without room behind it */
        g_autofree char *a = ldap_text_guid((guint8 *)exact, len);
        g_autofree char *b = ldap_text_uuid((guint8 *)exact, len);
        g_autofree char *c = ldap_text_sid_sibling((guint8 *)exact, len, 1);
        g_autofree char *d = ldap_text_utf8((guint8 *)exact, len, 100);
        g_autofree char *e = ldap_text_escape((guint8 *)exact, len);
        ldap_text_sid_rid((guint8 *)exact, len, &rid);
        ldap_text_int((guint8 *)exact, len, 0);
        ldap_text_range((char *)bytes, "member", &next);
        ldap_text_is_filter((char *)bytes);
        ldap_text_is_name((char *)bytes);
        g_assert_nonnull(e);
    }
}

/* ---- Failed log-ins ---- */

/* One that fails, if it may be tried at all: what slow_begin() said. */
static gint64 fail(Slow *slow, const char *account, const char *address, gint64 now)
{
    gint64 wait = slow_begin(slow, account, address, now);

    if (wait == 0)
        slow_failed(slow, account, address, now);
    return wait;
}

static void test_slow(void)
{
    Slow *slow = slow_new();
    gint64 now = 1000000;

    for (int i = 0; i < 3; i++)
        g_assert_cmpint(fail(slow, "ann", "1.2.3.4", now), ==, 0);
    g_assert_cmpint(fail(slow, "ann", "1.2.3.4", now), ==, 1000);
    g_assert_cmpint(fail(slow, "ann", "1.2.3.4", now), ==, 1000); /* not tried, not counted */
    g_assert_cmpint(fail(slow, "ann", "1.2.3.5", now), ==, 0);    /* she herself, elsewhere */
    g_assert_cmpint(fail(slow, "bob", "1.2.3.4", now), ==, 0);
    now += 1000;
    g_assert_cmpint(fail(slow, "ann", "1.2.3.4", now), ==, 0);
    g_assert_cmpint(fail(slow, "ann", "1.2.3.4", now), ==, 2000);
    for (int i = 0; i < 20; i++) {
        gint64 wait = fail(slow, "ann", "1.2.3.4", now);
        g_assert_cmpint(wait, <=, 60000);
        now += wait;
    }
    for (int i = 0; i < 30; i++) { /* the address, whoever is tried */
        g_autofree char *name = g_strdup_printf("user%d", i);
        fail(slow, name, "1.2.3.4", now);
    }
    g_assert_cmpint(fail(slow, "zed", "1.2.3.4", now), >, 0);
    g_assert_cmpint(fail(slow, "zed", "1.2.3.4", now + 15 * 60 * 1000), ==, 0);
    slow_free(slow);
}

/* Many at the same moment are as many as one after the other. */
static void test_slow_at_once(void)
{
    Slow *slow = slow_new();
    int n = 0;

    for (int i = 0; i < 50; i++)
        n += slow_begin(slow, "ann", "1.2.3.4", 5) == 0; /* none of them has ended */
    g_assert_cmpint(n, ==, 3);
    slow_untried(slow, "ann", "1.2.3.4");
    g_assert_cmpint(slow_begin(slow, "ann", "1.2.3.4", 5), ==, 0);
    slow_worked(slow, "ann", "1.2.3.4");
    g_assert_cmpint(slow_begin(slow, "ann", "1.2.3.4", 5), ==, 0);
    slow_free(slow);
}

/* From everywhere: the account gets a little slow, so that nobody is locked out by others. */
static void test_slow_account(void)
{
    Slow *slow = slow_new();
    gint64 now = 1000000;

    for (int i = 0; i < 300; i++) {
        g_autofree char *from = g_strdup_printf("10.0.%d.%d", i / 200, i % 200);
        gint64 wait = fail(slow, "ann", from, now);
        g_assert_cmpint(wait, <=, 2000);
        now += wait;
    }
    gint64 wait = slow_begin(slow, "ann", "9.9.9.9", now);
    g_assert_cmpint(wait, >, 0);
    g_assert_cmpint(wait, <=, 2000);
    g_assert_cmpint(slow_begin(slow, "ann", "9.9.9.9", now + wait), ==, 0);
    slow_worked(slow, "ann", "9.9.9.9");
    g_assert_cmpint(slow_begin(slow, "ann", "9.9.9.9", now + wait), ==, 0);
    slow_free(slow);
}

/* Addresses of one network are one; a flood neither grows without end nor frees who is at it. */
static void test_slow_flood(void)
{
    Slow *slow = slow_new();
    gint64 now = 1000000;
    guint most = 0;

    for (int i = 0; i < 40; i++) {
        g_autofree char *from = g_strdup_printf("2001:db8:1:2::%x", i + 1);
        g_autofree char *name = g_strdup_printf("user%d", i);
        fail(slow, name, from, now);
    }
    g_assert_cmpint(slow_begin(slow, "zed", "2001:db8:1:2:ffff::9", now), >, 0);
    g_assert_cmpint(slow_begin(slow, "zed", "2001:db8:1:3::9", now), ==, 0);
    for (int i = 0; i < 100000; i++) {
        g_autofree char *from = g_strdup_printf("2001:db8:%x:%x::1", i / 256, i % 256);
        g_autofree char *name = g_strdup_printf("name%d", i);
        now += 1;
        fail(slow, name, from, now);
        if (i % 2000 == 0) /* he goes on in the midst of it */
            fail(slow, "ann", "6.6.6.6", now);
        most = MAX(most, slow_size(slow));
    }
    g_assert_cmpint(most, <=, SLOW_MAX);
    g_assert_cmpint(slow_begin(slow, "ann", "6.6.6.6", now), >, 0);
    slow_free(slow);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ldap-text/escape", test_escape);
    g_test_add_func("/ldap-text/identities", test_identities);
    g_test_add_func("/ldap-text/sid", test_sid);
    g_test_add_func("/ldap-text/range", test_range);
    g_test_add_func("/ldap-text/values", test_values);
    g_test_add_func("/ldap-text/refusal", test_refusal);
    g_test_add_func("/ldap-text/names", test_names);
    g_test_add_func("/ldap-text/noise", test_noise);
    g_test_add_func("/slow/waits", test_slow);
    g_test_add_func("/slow/at-once", test_slow_at_once);
    g_test_add_func("/slow/account", test_slow_account);
    g_test_add_func("/slow/flood", test_slow_flood);
    return g_test_run();
}
