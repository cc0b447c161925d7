/* Whose a password is: no change of the user or the domain, at the version or at the desktop, may
 * give it to another. */
#include <string.h>

#include "broker/identity_merge.h"
#include "broker/identity_settings.h"
#include "imaged/base/error.h"

/* ' stands for ". */
static json_t *parse(const char *text)
{
    g_autofree char *quoted = g_strdup(text);
    json_t *object = json_loads(g_strdelimit(quoted, "'", '"'), 0, NULL);

    g_assert_nonnull(object);
    return object;
}

/* Changes separated by |, one after the other.  Caller frees. */
static char *apply(const char *of_version, const char *changes)
{
    g_auto(GStrv) each = g_strsplit(changes, "|", -1);
    g_autofree char *stored = NULL;

    for (guint i = 0; each[i] && *each[i]; i++) {
        g_autoptr(GError) error = NULL;
        json_t *change = parse(each[i]);
        char *next = NULL;
        gboolean ok = identity_merge_apply(of_version, stored, change, &next, &error);
        g_assert_no_error(error);
        g_assert_true(ok);
        json_decref(change);
        g_free(stored);
        stored = next;
    }
    return g_steal_pointer(&stored);
}

static void test_apply(void)
{
    g_autofree char *first =
        apply(NULL, "{'user':'alice','domain':'a.org','join_password':'ID1','account':'keep'}");
    g_assert_cmpstr(first, ==,
                    "{\"account\":\"keep\",\"domain\":\"a.org\",\"join_password\":\"ID1\","
                    "\"join_password_of\":\"Administrator@a.org\",\"user\":\"alice\"}");
    json_t *merged = identity_merge(first, "{\"user\":\"\",\"ou\":\"OU=x\"}");
    g_assert_cmpstr(json_string_value(json_object_get(merged, "user")), ==, "");
    g_assert_cmpstr(json_string_value(json_object_get(merged, "account")), ==, "keep");
    g_assert_cmpstr(json_string_value(json_object_get(merged, "join_password")), ==, "ID1");
    g_assert_cmpuint(json_object_size(merged), ==, 5);
    json_decref(merged);
    json_t *shown = identity_settings_shown(first);
    g_assert_true(json_is_true(json_object_get(shown, "join_password")));
    g_assert_cmpuint(json_object_size(shown), ==, 4);
    json_decref(shown);
    g_assert_null(identity_settings_shown(NULL));

    json_t *change = parse("{'user':null,'domain':null,'account':null,'ou':null}");
    char *none = NULL;
    g_assert_true(identity_merge_apply(NULL, first, change, &none, NULL));
    g_assert_null(none); /* the password went with its domain */
    json_decref(change);
}

static void test_whose(void)
{
    static const struct {
        const char *version, *desktop, *merged; /* changes; what counts */
    } cases[] = {
        /* One level. */
        { "{'user':'alice','user_password':'A'}|{'user':'bob','auto_login':true}", "",
          "{'user':'bob','auto_login':true}" },
        { "{'user':'alice','user_password':'A','domain_user':true}|{'user':'bob'}", "",
          "{'user':'bob'}" },
        { "{'user':'alice','user_password':'A'}|{'user':'bob'}|{'user':'alice'}", "",
          "{'user':'alice'}" },
        { "{'user':'alice','user_password':'A'}|{'user':'bob','user_password':'B'}", "",
          "{'user':'bob','user_password':'B'}" },
        { "{'user':'alice','user_password':'A'}|{'user':'alice','auto_login':true}", "",
          "{'user':'alice','user_password':'A','auto_login':true}" },
        { "{'user':'alice','user_password':'A'}|{'user':null}|{'user':'bob'}", "",
          "{'user':'bob'}" },
        /* The desktop's user over the version's. */
        { "{'user':'alice','user_password':'A','auto_login':true}", "{'user':'Bob'}",
          "{'user':'Bob'}" },
        { "{'user':'alice','user_password':'A'}", "{'user':'alice','auto_login':true}",
          "{'user':'alice','user_password':'A','auto_login':true}" },
        { "{'user':'alice','user_password':'A'}", "{'user':''}", "{'user':''}" },
        { "{'user':'alice','user_password':'A'}", "{'user_password':'own'}",
          "{'user':'alice','user_password':'own'}" },
        /* The domain's alice is another one. */
        { "{'user':'alice','user_password':'A'}|{'domain':'a.org','domain_user':true}", "",
          "{'user':'alice','domain':'a.org','domain_user':true}" },
        { "{'user':'alice','user_password':'A','domain':'a.org','domain_user':true}",
          "{'domain':'b.org'}", "{'user':'alice','domain':'b.org','domain_user':true}" },
        { "{'user':'alice','user_password':'A','domain':'a.org'}", "{'domain':'b.org'}",
          "{'user':'alice','user_password':'A','domain':'b.org'}" },
        /* Domains. */
        { "{'domain':'a.org','join_user':'j','join_password':'J','ou':'OU=x','account':'renew'}",
          "{'domain':'b.org'}", "{'domain':'b.org','account':'renew'}" },
        { "{'domain':'a.org','join_user':'j','join_password':'J','ou':'OU=x'}|{'domain':'b.org'}",
          "", "{'domain':'b.org'}" },
        { "{'domain':'a.org','join_user':'j','join_password':'J'}|{'join_user':'k'}", "",
          "{'domain':'a.org','join_user':'k'}" },
        { "{'domain':'a.org','one_time_password':'O'}|{'domain':'b.org'}", "",
          "{'domain':'b.org'}" },
        { "{'domain':'a.org','join_password':'J'}", "{'ou':'OU=x'}",
          "{'domain':'a.org','join_password':'J','ou':'OU=x'}" },
        /* Two ways to join: the one that was given last, or nearer. */
        { "{'domain':'a.org','join_password':'J'}|{'one_time_password':'O'}", "",
          "{'domain':'a.org','one_time_password':'O'}" },
        { "{'domain':'a.org','join_password':'J'}", "{'one_time_password':'O'}",
          "{'domain':'a.org','one_time_password':'O'}" },
        { "{'domain':'a.org','one_time_password':'O'}", "{'join_password':'J'}",
          "{'domain':'a.org','join_password':'J'}" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *version = apply(NULL, cases[i].version);
        g_autofree char *desktop = apply(version, cases[i].desktop);
        json_t *merged = identity_merge(version, desktop), *wanted = parse(cases[i].merged);
        char *text = json_dumps(merged, JSON_SORT_KEYS);
        g_test_message("%u: %s", i, text);
        g_assert_true(json_equal(merged, wanted));
        free(text);
        json_decref(merged);
        json_decref(wanted);
    }
}

/* The version below the desktop changes afterwards, or the desktop gets another one. */
static void test_version_changes(void)
{
    g_autofree char *alice = apply(NULL, "{'user':'alice'}");
    g_autofree char *bob = apply(NULL, "{'user':'bob','user_password':'B'}");
    g_autofree char *own = apply(alice, "{'user_password':'A'}");
    json_t *merged = identity_merge(alice, own);

    g_assert_cmpstr(json_string_value(json_object_get(merged, "user_password")), ==, "A");
    json_decref(merged);
    merged = identity_merge(bob, own);
    g_assert_cmpstr(json_string_value(json_object_get(merged, "user_password")), ==, "B");
    json_decref(merged);
}

static void test_nobodys(void)
{
    static const char *const changes[] = { "{'user_password':'A'}", "{'join_password':'J'}",
                                           "{'one_time_password':'O','user':'alice'}",
                                           "{'user':'','user_password':'A'}" };

    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autoptr(GError) error = NULL;
        json_t *change = parse(changes[i]);
        char *text = NULL;
        g_assert_false(identity_merge_apply(NULL, NULL, change, &text, &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
        g_assert_null(text);
        json_decref(change);
    }
}

static void test_warnings(void)
{
    static const struct {
        const char *version, *before, *change, *warnings;
    } cases[] = {
        { "{}", "{'user':'alice','user_password':'A'}", "{'user':'bob'}",
          "['\\u0027user_password\\u0027 was dropped: it was for \\u0027alice\\u0027']" },
        { "{}", "{'user':'alice','user_password':'A'}", "{'user':'bob','user_password':'B'}",
          "[]" },
        { "{}", "{'user':'alice','user_password':'A'}", "{'user':null,'user_password':null}",
          "[]" },
        { "{'user':'alice','user_password':'A'}", "{}", "{'user':'bob'}",
          "['\\u0027user_password\\u0027 of the template does not count here: it is for "
          "\\u0027alice\\u0027']" },
        { "{'user':'alice','user_password':'A'}", "{}", "{'user':''}", "[]" },
        { "{}", "{}", "{'domain':'a.org'}", "[]" },
        { "{}", "{}", "{'domain':'a.org','join_user':'j'}",
          "['nothing will join \\u0027a.org\\u0027: there is neither \\u0027join_password\\u0027 "
          "nor \\u0027one_time_password\\u0027']" },
        { "{}", "{'domain':'a.org','join_password':'J'}", "{'one_time_password':'O'}",
          "['\\u0027join_password\\u0027 counts no more: \\u0027one_time_password\\u0027 takes "
          "its place']" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *version = apply(NULL, cases[i].version);
        g_autofree char *before = apply(version, cases[i].before), *after = NULL;
        json_t *change = parse(cases[i].change), *wanted = parse(cases[i].warnings);
        g_assert_true(identity_merge_apply(version, before, change, &after, NULL));
        json_t *is = identity_merge_warnings(version, before, after, change);
        char *text = json_dumps(is, 0);
        g_test_message("%u: %s", i, text);
        g_assert_true(json_equal(is, wanted));
        free(text);
        json_decref(is);
        json_decref(change);
        json_decref(wanted);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity-merge/apply", test_apply);
    g_test_add_func("/identity-merge/whose", test_whose);
    g_test_add_func("/identity-merge/version-changes", test_version_changes);
    g_test_add_func("/identity-merge/nobodys", test_nobodys);
    g_test_add_func("/identity-merge/warnings", test_warnings);
    return g_test_run();
}
