/* test_alert.c: what a receiver of events gets, and which events are wanted: pure functions,
 * against texts that nobody means well with. */
#include <glib.h>
#include <jansson.h>
#include <string.h>

#include "broker/alert/event_filter.h"
#include "broker/alert/message.h"
#include "broker/alert/send.h"
#include "imaged/base/error.h"
#include "tests/unit/catalog_fixture.h"

static GPtrArray *events_of(const char *object, const char *message)
{
    GPtrArray *events = g_ptr_array_new_with_free_func(alert_event_free);

    for (guint i = 0; i < 2; i++) {
        AlertEvent *e = g_new0(AlertEvent, 1);
        *e = (AlertEvent){ .id = 7 + i,
                           .time = 1700000000000,
                           .kind = g_strdup(i ? "host.down" : "host.add"),
                           .severity = g_strdup(i ? "alarm" : "info"),
                           .object = g_strdup(object),
                           .who = g_strdup("root"),
                           .message = g_strdup(message) };
        g_ptr_array_add(events, e);
    }
    return events;
}

static const char *const hostile[] = {
    "plain",
    "",
    "a\nBcc: x@y",
    "a\r\n\r\nbody",
    "a\rSubject: z",
    "\xff\xfe\n.\n",
    "=?UTF-8?Q?=0A?=",
    "\"\\\b\f\x01\x7f",
    "ends with a blank \n",
    "<script>",
    "\xc3\xa4\xe2\x82\xac",
};

static void test_json(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autoptr(GPtrArray) events = events_of(hostile[i], hostile[i]);
        const AlertMessage message = { "oncall", "0123", events, 3 };
        g_autofree char *text = alert_message_json(&message, 1700000001000);
        json_error_t why;
        json_t *body = json_loads(text, JSON_REJECT_DUPLICATES, &why);
        g_assert_nonnull(body);
        g_assert_null(strchr(text, '\n'));
        json_t *list = json_object_get(body, "events");
        g_assert_cmpuint(json_array_size(list), ==, 2);
        g_assert_cmpint(json_integer_value(json_object_get(body, "n_lost")), ==, 3);
        g_autofree char *valid = g_utf8_make_valid(hostile[i], -1);
        g_assert_cmpstr(json_string_value(json_object_get(json_array_get(list, 1), "object")), ==,
                        valid);
        g_assert_cmpstr(json_string_value(json_object_get(json_array_get(list, 1), "id")), ==, "8");
        json_decref(body);
    }
}

/* Each line of the head begins with a name of ours; the text is base64 alone. */
static void test_mail(void)
{
    static const char *const names[] = {
        "From: ",       "To: ",           "Date: ",
        "Subject: ",    "Message-ID: ",   "Auto-Submitted: ",
        "MIME-Version", "Content-Type: ", "Content-Transfer-Encoding: "
    };

    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autoptr(GPtrArray) events = events_of(hostile[i], hostile[i]);
        const AlertMessage message = { "oncall", "0123", events, 0 };
        g_autofree char *mail = alert_message_mail(&message, "a@b", "c@d", "h", 1700000001000);
        char *text = strstr(mail, "\n\n");
        g_assert_nonnull(text);
        *text = '\0';
        g_auto(GStrv) lines = g_strsplit(mail, "\n", -1);
        g_assert_cmpuint(g_strv_length(lines), ==, G_N_ELEMENTS(names));
        for (guint l = 0; lines[l]; l++) {
            g_assert_true(g_str_has_prefix(lines[l], names[l]));
            g_assert_true(g_str_is_ascii(lines[l]));
            g_assert_cmpuint(strlen(lines[l]), <, 300);
        }
        g_assert_nonnull(strstr(mail, "Date: Tue, 14 Nov 2023 22:13:21 +0000"));
        g_assert_nonnull(strstr(mail, "imaged: alarm: host.down "));
        g_assert_nonnull(strstr(mail, " and 1 more"));
        for (const char *c = text + 2; *c; c++)
            g_assert_true(g_ascii_isalnum(*c) || strchr("+/=\n", *c));
    }
}

/* RFC 4231, test case 2. */
static void test_sign(void)
{
    g_autofree char *hex = alert_message_sign("what do ya want for nothing?", "Jefe");

    g_assert_cmpstr(hex, ==, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void test_addresses(void)
{
    static const char *const good[] = { "root", "a@b", "a.b+c@mail.example.org", "x_1=2@h-1" };
    static const char *const bad[] = { "",        "@b",    "a@",         "a@b@c",
                                       "-oQ/tmp", "a b@c", "a@b,c@d",    "a@b\nBcc:",
                                       "a<b@c",   "a@-b",  "\xc3\xa4@b", "a;b" };

    for (guint i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(alert_check_address(good[i], NULL));
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(alert_check_address(bad[i], &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

static void test_urls(void)
{
    static const char *const good[] = { "http://h/", "https://h:8443/a?b=c#d", "http://[::1]:80/",
                                        "https://example.org" };
    static const char *const bad[] = { "",
                                       "h",
                                       "ftp://h/",
                                       "file:///etc/passwd",
                                       "gopher://h/",
                                       "https://",
                                       "http://u:p@h/",
                                       "http://u@h/",
                                       "http://h/ x",
                                       "http://h/\nX: y",
                                       "http://h:99999/",
                                       "\xc3\xa4",
                                       "dict://h:1/x" };

    for (guint i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(send_check_url(good[i], NULL));
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(send_check_url(bad[i], &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
    }
}

static void test_filters(void)
{
    static const struct {
        const char *severity, *kinds;
        const char *want_severities, *want_kinds; /* both NULL: refused, unless none was given */
    } cases[] = {
        { NULL, NULL, NULL, NULL },
        { "info", NULL, "[\"info\",\"warning\",\"alarm\"]", NULL },
        { "alarm", "store.*", "[\"alarm\"]", "[\"store.*\"]" },
        { NULL, "host.down,host.up", NULL, "[\"host.down\",\"host.up\"]" },
        { "bad", NULL, NULL, NULL },
        { NULL, "", NULL, NULL },
        { NULL, "a,,b", NULL, NULL },
        { NULL, "a\"]", NULL, NULL },
        { NULL, "A", NULL, NULL },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(EventFilter) filter = { 0 };
        g_autoptr(GError) error = NULL;
        gboolean is_good = i == 0 || cases[i].want_severities || cases[i].want_kinds;
        g_assert_cmpint(event_filter_init(&filter, cases[i].severity, cases[i].kinds, &error), ==,
                        is_good);
        g_assert_cmpstr(filter.severities, ==, cases[i].want_severities);
        g_assert_cmpstr(filter.kinds, ==, cases[i].want_kinds);
    }
}

/* ---- Found by kind, or looked at one by one ---- */

#define N_EVENTS 1000
#define BY_ONE(order)                                                                              \
    "SELECT event.id FROM event WHERE event.id > ?3 AND event.id < ?4 AND " EVENT_FILTER_SQL       \
    " ORDER BY event.id " order " LIMIT ?5"

static void fill(Catalog *catalog)
{
    static const char *const kinds[] = { "store.low", "store.full", "host.down", "host.up", "job" };
    static const char *const severities[] = { "info", "warning", "alarm" };
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    Changes *changes = changes_new();

    for (guint i = 0; i < N_EVENTS; i++) {
        guint kind = g_rand_int_range(random, 0, 100) < 90 ? 4 : g_rand_int_range(random, 0, 5);
        changes_event(changes, kinds[kind], severities[g_rand_int_range(random, 0, 3)], "x", NULL,
                      "%u", i);
    }
    g_assert_true(commit(catalog, changes));
}

/* Caller frees. */
static char *ids(Db *db, const char *sql, const EventFilter *f, gint64 after, gint64 before,
                 gint64 limit)
{
    GString *out = g_string_new(NULL);
    Query *q = db_query(db, sql, "ttiii", f->severities, f->kinds, after, before, limit);

    while (query_next(q))
        g_string_append_printf(out, "%d ", (int)query_int(q, "id"));
    g_assert_true(query_end(q, NULL));
    return g_string_free(out, FALSE);
}

static void check_found(Db *db, const EventFilter *f, gint64 after, gint64 before, gint64 limit)
{
    g_autofree char *old = ids(db, BY_ONE("ASC"), f, after, before, limit);
    g_autofree char *older = ids(db, BY_ONE("DESC"), f, after, before, limit);
    g_autofree char *next = ids(db, EVENT_FIND_SQL("event.id", "ASC"), f, after, before, limit);
    g_autofree char *last = ids(db, EVENT_FIND_SQL("event.id", "DESC"), f, after, before, limit);
    guint n = 0;

    g_assert_cmpstr(next, ==, old);
    g_assert_cmpstr(last, ==, older);
    for (const char *c = old; *c; c++)
        n += *c == ' ';
    g_assert_cmpint(
        lookup_int(db, EVENT_COUNT_SQL, "ttiii", f->severities, f->kinds, after, before, limit), ==,
        n);
}

static void test_found(void)
{
    static const struct {
        const char *severity, *kinds;
    } wanted[] = { { NULL, NULL },      { "alarm", NULL },         { "warning", "host.*" },
                   { NULL, "store.*" }, { NULL, "job,host.down" }, { NULL, "there.is-none" },
                   { "info", "*" } };
    static const gint64 bounds[][2] = { { 0, G_MAXINT64 }, { 400, 700 }, { 700, 400 } };

    catalog_fixture_start();
    Catalog *catalog = catalog_open_named("events");
    Db *db = catalog_read_begin(catalog);
    const EventFilter all = { 0 };
    check_found(db, &all, 0, G_MAXINT64, 10); /* of none at all */
    catalog_read_end(catalog, db);
    fill(catalog);
    db = catalog_read_begin(catalog);
    for (guint i = 0; i < G_N_ELEMENTS(wanted) * G_N_ELEMENTS(bounds); i++) {
        const gint64 *b = bounds[i % G_N_ELEMENTS(bounds)];
        g_auto(EventFilter) f = { 0 };
        g_assert_true(event_filter_init(&f, wanted[i / G_N_ELEMENTS(bounds)].severity,
                                        wanted[i / G_N_ELEMENTS(bounds)].kinds, NULL));
        check_found(db, &f, b[0], b[1], 7);
        check_found(db, &f, b[0], b[1], 2 * N_EVENTS);
    }
    catalog_read_end(catalog, db);
    catalog_close(catalog);
    catalog_fixture_end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/alert/json", test_json);
    g_test_add_func("/alert/mail", test_mail);
    g_test_add_func("/alert/sign", test_sign);
    g_test_add_func("/alert/addresses", test_addresses);
    g_test_add_func("/alert/urls", test_urls);
    g_test_add_func("/alert/filters", test_filters);
    g_test_add_func("/alert/found", test_found);
    return g_test_run();
}
