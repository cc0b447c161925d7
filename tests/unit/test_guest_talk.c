/* test_guest_talk.c: what a helper may say, and all it must not. */
#include <glib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/guest/protocol.h"
#include "imaged/guest/talk.h"

typedef struct {
    GString *heard;
    gboolean data_fails;
} Ear;

static void on_progress(gpointer user, guint64 done, guint64 total, const char *message)
{
    g_string_append_printf(((Ear *)user)->heard, "P%d/%d:%s;", (int)done, (int)total,
                           message ? message : "-");
}

static void on_log(gpointer user, const char *text)
{
    g_string_append_printf(((Ear *)user)->heard, "L:%s;", text);
}

static void on_warning(gpointer user, const char *text)
{
    g_string_append_printf(((Ear *)user)->heard, "W:%s;", text);
}

static gboolean on_data(gpointer user, const void *bytes, gsize n, GError **error)
{
    Ear *ear = user;

    if (ear->data_fails)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE, "no room for it");
    else
        g_string_append_printf(ear->heard, "D%d:%.*s;", (int)n, (int)n, (const char *)bytes);
    return !ear->data_fails;
}

static GuestEvents events_of(Ear *ear)
{
    return (GuestEvents){ on_progress, on_log, on_warning, on_data, ear };
}

typedef struct {
    const char *said;
    const char *heard;  /* of the events */
    const char *result; /* JSON, or NULL */
    const char *error;  /* a part of the message, or NULL */
    ImagedError code;
} Case;

static const Case cases[] = {
    { "{\"event\":\"progress\",\"done\":3,\"total\":10,\"message\":\"x\"}\n", "P3/10:x;", NULL,
      NULL, 0 },
    { "{\"event\":\"log\",\"text\":\"a\\u001b[31mb\"}\n", "L:a?[31mb;", NULL, NULL, 0 },
    { "{\"event\":\"warning\",\"text\":\"w\"}\n{\"result\":{\"a\":1}}\n", "W:w;", "{\"a\":1}", NULL,
      0 },
    { "{\"event\":\"data\",\"bytes\":3}\nabc{\"result\":{}}\n", "D3:abc;", "{}", NULL, 0 },
    /* done beyond total is shown as total */
    { "{\"event\":\"progress\",\"done\":30,\"total\":10}\n", "P10/10:-;", NULL, NULL, 0 },
    { "{\"error\":{\"code\":\"not_found\",\"message\":\"no such file\",\"hint\":\"look\"}}\n", "",
      NULL, "no such file", IMAGED_ERROR_NOT_FOUND },
    { "{\"error\":{\"code\":\"cancelled\",\"message\":\"never\"}}\n", "", NULL, "never",
      IMAGED_ERROR_FAILED },
    { "{\"error\":{\"code\":7,\"message\":\"m\"}}\n", "", NULL, "m", IMAGED_ERROR_FAILED },
    { "{\"error\":{}}\n", "", NULL, "without a reason", IMAGED_ERROR_UNAVAILABLE },
    { "{\"error\":\"text\"}\n", "", NULL, "neither", IMAGED_ERROR_UNAVAILABLE },
    { "{\"result\":[]}\n", "", NULL, "neither", IMAGED_ERROR_UNAVAILABLE },
    { "{\"result\":{}}\n{\"result\":{}}\n", "", NULL, "after the last", IMAGED_ERROR_UNAVAILABLE },
    { "not json\n", "", NULL, "not JSON", IMAGED_ERROR_UNAVAILABLE },
    { "\n", "", NULL, "not JSON", IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"dance\"}\n", "", NULL, "unknown event", IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":5}\n", "", NULL, "neither", IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"progress\",\"done\":-1,\"total\":5}\n", "", NULL, "negative",
      IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"data\",\"bytes\":0}\n", "", NULL, "no possible length",
      IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"data\",\"bytes\":-5}\n", "", NULL, "no possible length",
      IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"data\",\"bytes\":1048577}\n", "", NULL, "no possible length",
      IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"data\",\"bytes\":\"9\"}\n", "", NULL, "no possible length",
      IMAGED_ERROR_UNAVAILABLE },
    { "{\"event\":\"log\",\"text\":\"a\",\"text\":\"b\"}\n", "", NULL, "not JSON",
      IMAGED_ERROR_UNAVAILABLE },
};

/* In pieces of every size up to the whole: where a line is cut must not matter. */
static void check(const Case *c, gsize piece)
{
    Ear ear = { .heard = g_string_new(NULL) };
    GuestEvents events = events_of(&ear);
    g_autoptr(GuestTalk) talk = guest_talk_new(&events);
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) data = g_string_new(NULL);
    gsize n = strlen(c->said);
    gboolean ok = TRUE;

    for (gsize at = 0; ok && at < n; at += piece)
        ok = guest_talk_take(talk, c->said + at, MIN(piece, n - at), &error);
    if (c->error) {
        g_assert_false(ok);
        g_assert_error(error, IMAGED_ERROR, (gint)c->code);
        g_assert_nonnull(strstr(error->message, c->error));
    } else {
        g_assert_no_error(error);
        g_assert_true(ok);
    }
    if (piece == n || !strstr(c->said, "\"data\""))
        g_assert_cmpstr(ear.heard->str, ==, c->heard);
    json_t *result = guest_talk_steal_result(talk);
    json_t *expected = c->result ? json_loads(c->result, 0, NULL) : NULL;
    if (!c->error)
        g_assert_true(expected ? json_equal(result, expected) : result == NULL);
    json_decref(result);
    json_decref(expected);
    g_string_free(ear.heard, TRUE);
}

static void test_cases(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (gsize piece = 1; piece <= strlen(cases[i].said); piece++)
            check(&cases[i], piece);
    }
}

static void test_error_keeps_hint(void)
{
    static const char said[] =
        "{\"error\":{\"code\":\"busy\",\"message\":\"m\\nx\",\"hint\":\"h\"}}\n";
    g_autoptr(GuestTalk) talk = guest_talk_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(guest_talk_take(talk, said, strlen(said), &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    g_assert_cmpstr(imaged_error_get_hint(error), ==, "h");
    g_autofree char *message = imaged_error_message(error);
    g_assert_cmpstr(message, ==, "m?x");
}

static gboolean feed(GuestTalk *talk, const char *piece, gsize times, GError **error)
{
    gsize n = strlen(piece);

    for (gsize i = 0; i < times; i++) {
        if (!guest_talk_take(talk, piece, n, error))
            return FALSE;
    }
    return TRUE;
}

/* A line without end, and one of a million empty lists: bounded, and refused. */
static void test_floods(void)
{
    g_autofree char *long_piece = g_strnfill(65536, 'x');
    g_autofree char *rich_piece = g_strnfill(65536, '[');
    g_autoptr(GuestTalk) endless = guest_talk_new(NULL);
    g_autoptr(GuestTalk) rich = guest_talk_new(NULL);
    g_autoptr(GuestTalk) deep = guest_talk_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(feed(endless, long_piece, GUEST_LINE_MAX / 65536 + 1, &error));
    g_assert_nonnull(strstr(error->message, "too long"));
    g_clear_error(&error);
    g_assert_true(feed(rich, rich_piece, 20, &error));
    g_assert_false(guest_talk_take(rich, "\n", 1, &error));
    g_assert_nonnull(strstr(error->message, "too many values"));
    g_clear_error(&error);
    g_assert_true(feed(deep, rich_piece, 10, &error));
    g_assert_false(guest_talk_take(deep, "\n", 1, &error));
    g_assert_nonnull(strstr(error->message, "not JSON"));
}

static void test_data(void)
{
    static const char said[] = "{\"event\":\"data\",\"bytes\":4}\nabcd";
    Ear ear = { .heard = g_string_new(NULL), .data_fails = TRUE };
    GuestEvents events = events_of(&ear);
    g_autoptr(GuestTalk) talk = guest_talk_new(&events);
    g_autoptr(GuestTalk) unasked = guest_talk_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(guest_talk_take(talk, said, strlen(said), &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_NO_SPACE);
    g_clear_error(&error);
    g_assert_false(guest_talk_take(unasked, said, strlen(said), &error));
    g_assert_nonnull(strstr(error->message, "nobody asked"));
    g_string_free(ear.heard, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-talk/cases", test_cases);
    g_test_add_func("/guest-talk/hint", test_error_keeps_hint);
    g_test_add_func("/guest-talk/floods", test_floods);
    g_test_add_func("/guest-talk/data", test_data);
    return g_test_run();
}
