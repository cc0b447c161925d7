/* What desktops are told: which settings are taken, what names become. */
#include <string.h>

#include "broker/config_files.h"
#include "broker/identity_settings.h"
#include "imaged/base/error.h"

#define DESKTOP_ID "0123456789abcdef0123456789abcdef"

/* ' stands for ". */
static json_t *parse(const char *text)
{
    g_autofree char *quoted = g_strdup(text);
    json_t *object = json_loads(g_strdelimit(quoted, "'", '"'), 0, NULL);

    g_assert_nonnull(object);
    return object;
}

static void test_check(void)
{
    static const struct {
        const char *text;
        IdentityLevel level;
        gboolean is_sound;
    } cases[] = {
        { "{'user':'alice','auto_login':true}", IDENTITY_OF_RECIPE, TRUE },
        { "{'user':'alice'}", IDENTITY_OF_VERSION, TRUE },
        { "{'user':null,'domain':''}", IDENTITY_OF_DESKTOP, TRUE },
        { "{'user':'_a.b-c'}", IDENTITY_OF_DESKTOP, TRUE },
        { "{'user':'a b'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'user':'-r'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'user':'a:b'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'user':'abcdefghijklmnopqrstuvwxyz1234567'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'user':7}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'auto_login':'yes'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'account':'renew'}", IDENTITY_OF_DESKTOP, TRUE },
        { "{'account':'other'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'hostname':'desk-1'}", IDENTITY_OF_DESKTOP, TRUE },
        { "{'hostname':'desk-1'}", IDENTITY_OF_VERSION, FALSE },
        { "{'hostname':'desk-'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'hostname':'desk.org'}", IDENTITY_OF_DESKTOP, FALSE },
        { "{'domain':'ad.example.org'}", IDENTITY_OF_VERSION, TRUE },
        { "{'domain':'ad..org'}", IDENTITY_OF_VERSION, FALSE },
        { "{'domain':'$(reboot).org'}", IDENTITY_OF_VERSION, FALSE },
        { "{'ou':'OU=Lab,DC=a'}", IDENTITY_OF_VERSION, TRUE },
        { "{'ou':'Lab'}", IDENTITY_OF_VERSION, FALSE },
        { "{'join_user':'a\\nb'}", IDENTITY_OF_VERSION, FALSE },
        { "{'join_user':'a\\u0085b'}", IDENTITY_OF_VERSION, FALSE },
        { "{'join_user':'a\\ufffeb'}", IDENTITY_OF_VERSION, FALSE },
        { "{'join_user':'J\\u00fcrgen \\ud83d\\ude00'}", IDENTITY_OF_VERSION, TRUE },
        { "{'join_password':'$(x) `y` \\\\ <&>'}", IDENTITY_OF_VERSION, TRUE },
        { "{'join_password':''}", IDENTITY_OF_VERSION, FALSE },
        { "{'join_password':'x'}", IDENTITY_OF_RECIPE, FALSE },
        { "{'user_password':'x'}", IDENTITY_OF_RECIPE, FALSE },
        { "{'join_password':'x','one_time_password':'y'}", IDENTITY_OF_VERSION, FALSE },
        { "{'join_password':'x','one_time_password':null}", IDENTITY_OF_VERSION, TRUE },
        { "{'usr':'x'}", IDENTITY_OF_DESKTOP, FALSE },
        { "['user']", IDENTITY_OF_DESKTOP, FALSE },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        json_t *change = parse(cases[i].text);
        gboolean is = identity_settings_check(change, cases[i].level, &error);
        g_test_message("%s: %s", cases[i].text, error ? error->message : "taken");
        g_assert_cmpint(is, ==, cases[i].is_sound);
        if (!is)
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        json_decref(change);
    }
}

static void test_nearest_key(void)
{
    g_autoptr(GError) error = NULL;
    json_t *change = parse("{'auto_logn':true}");

    g_assert_false(identity_settings_check(change, IDENTITY_OF_DESKTOP, &error));
    g_assert_nonnull(strstr(error->message, "is 'auto_login' meant?"));
    json_decref(change);
}

/* A message must not tell a password that was refused. */
static void test_secret_is_not_quoted(void)
{
    g_autoptr(GError) error = NULL;
    json_t *change = parse("{'user_password':'hidden\\u0001'}");

    g_assert_false(identity_settings_check(change, IDENTITY_OF_DESKTOP, &error));
    g_assert_null(strstr(error->message, "hidden"));
    json_decref(change);
}

static void test_secret_is_empty(void)
{
    g_autoptr(GError) error = NULL;
    json_t *change = parse("{'user_password':''}");

    g_assert_false(identity_settings_check(change, IDENTITY_OF_DESKTOP, &error));
    g_assert_cmpstr(error->message, ==, "identity: 'user_password' is empty");
    json_decref(change);
}

static void test_names(void)
{
    static const char *const hosts[][2] = {
        { "alice", "alice" }, { "Lab_1.a", "Lab-1-a" }, { "a.", "a" }, { "a-_.", "a" },
        { "x", "x" },
    };
    static const char *const computers[][2] = {
        { "alice", "ALICE" },
        { "abcdefghijklmno", "ABCDEFGHIJKLMNO" },
        { "abcdefghijklmnop", "ABCDEFGHIJ-CDEF" },
        { "12345", "D12345" },
        { "123456789012345", "1234567890-CDEF" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(hosts); i++) {
        g_autofree char *host = identity_hostname(hosts[i][0]);
        g_assert_cmpstr(host, ==, hosts[i][1]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(computers); i++) {
        g_autofree char *computer = identity_computer_name(computers[i][0], DESKTOP_ID);
        g_assert_cmpstr(computer, ==, computers[i][1]);
    }
}

/* The same facts give the same bytes; another generation gives others. */
static void test_disk(void)
{
    ConfigFacts facts = { .desktop_id = DESKTOP_ID,
                          .generation = 3,
                          .hostname = "desk",
                          .computer_name = "desk",
                          .user = "alice" };
    g_autoptr(GByteArray) first = config_files_disk(&facts);
    g_autoptr(GByteArray) again = config_files_disk(&facts);

    g_assert_cmpmem(first->data, first->len, again->data, again->len);
    g_assert_cmpuint(first->len % 2048, ==, 0);
    g_assert_cmpmem(first->data + 16 * 2048, 6, "\1CD001", 6);
    facts.generation = 4;
    g_autoptr(GByteArray) other = config_files_disk(&facts);
    g_assert_true(other->len != first->len || memcmp(other->data, first->data, first->len) != 0);
}

/* Neither the password nor the right to join leaves us where it is of no use. */
static void test_least(void)
{
    ConfigFacts facts = { .desktop_id = DESKTOP_ID,
                          .hostname = "desk",
                          .computer_name = "desk",
                          .user = "alice",
                          .user_password = "clear-text",
                          .user_password_hash = "$y$hash",
                          .join_user = "joiner" };
    g_autofree char *conf = config_files_conf(&facts);
    g_autofree char *user_data = config_files_user_data(&facts);

    g_assert_null(strstr(conf, "clear-text"));
    g_assert_null(strstr(user_data, "clear-text"));
    g_assert_nonnull(strstr(conf, "'$y$hash'"));
    g_assert_null(strstr(conf, "JOIN"));
    facts.domain = "a.org";
    g_autofree char *unjoined = config_files_conf(&facts);
    g_assert_null(strstr(unjoined, "JOIN"));
    facts.one_time_password = "otp";
    facts.join_password = "joins-all";
    g_autofree char *joined = config_files_conf(&facts);
    g_assert_nonnull(strstr(joined, "IMAGED_JOIN='yes'"));
    g_assert_null(strstr(joined, "joins-all"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity/check", test_check);
    g_test_add_func("/identity/secret-is-not-quoted", test_secret_is_not_quoted);
    g_test_add_func("/identity/nearest", test_nearest_key);
    g_test_add_func("/identity/secret-is-empty", test_secret_is_empty);
    g_test_add_func("/identity/names", test_names);
    g_test_add_func("/identity/disk", test_disk);
    g_test_add_func("/identity/least", test_least);
    return g_test_run();
}
